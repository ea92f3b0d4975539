package env

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// A Link carries connections between programs of this machine. It stands for the network between
// them: it can be cut. It also stands for a Service: of several far ends, a connection goes to the
// next that accepts it.
type Link struct {
	// Address is where the link accepts connections.
	Address string

	listener net.Listener

	mu     sync.Mutex
	to     []string // addresses
	whole  *sync.Cond
	isCut  bool
	next   int
	ended  bool
	opened map[net.Conn]bool
}

// NewLink carries what comes to an address to others.
func NewLink(from string, to ...string) (*Link, error) {
	listener, err := net.Listen("tcp", from)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l := &Link{Address: listener.Addr().String(), listener: listener, to: to, opened: map[net.Conn]bool{}}
	l.whole = sync.NewCond(&l.mu)
	go l.accept()
	return l, nil
}

// Cut has the link carry nothing until Mend, without a word to either end.
func (l *Link) Cut() { l.setCut(true) }

// Mend ends what Cut began. What was under way arrives late.
func (l *Link) Mend() { l.setCut(false) }

// SetEnds has new connections go to other addresses.
func (l *Link) SetEnds(to ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = to
}

func (l *Link) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = cut
	l.whole.Broadcast()
}

// Drop closes all connections. New ones are as good as before.
func (l *Link) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for connection := range l.opened {
		_ = connection.Close() // nobody needs it any more
	}
}

// Close ends the link with all connections.
func (l *Link) Close() error {
	l.mu.Lock()
	l.ended = true
	l.whole.Broadcast()
	l.mu.Unlock()
	l.Drop()
	return l.listener.Close()
}

func (l *Link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		go l.carry(near)
	}
}

// carry carries one connection until either end closes it.
func (l *Link) carry(near net.Conn) {
	defer near.Close()
	if l.await() != nil {
		return
	}
	far, err := l.dial()
	if err != nil {
		return
	}
	defer far.Close()
	if !l.keep(near, far) {
		return
	}
	defer l.drop(near, far)
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() {
			l.copy(way[1], way[0])
			done <- struct{}{}
		}()
	}
	<-done
}

// copy carries one way, piece by piece, each only while the link is whole.
func (l *Link) copy(to io.Writer, from io.Reader) {
	piece := make([]byte, 64<<10)
	for {
		n, err := from.Read(piece)
		if l.await() != nil {
			return
		}
		if n > 0 {
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// await returns when the link is whole, or an error when it has ended.
func (l *Link) await() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.isCut && !l.ended {
		l.whole.Wait()
	}
	if l.ended {
		return net.ErrClosed
	}
	return nil
}

// dial connects to the next far end that accepts.
func (l *Link) dial() (net.Conn, error) {
	l.mu.Lock()
	first, to := l.next, l.to
	l.next++
	l.mu.Unlock()
	failed := []error{errors.New("no far end accepts")}
	for i := range to {
		far, err := net.Dial("tcp", to[(first+i)%len(to)])
		if err == nil {
			return far, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

// keep notes connections that Close has to close, and reports whether the link still is.
func (l *Link) keep(connections ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range connections {
		l.opened[c] = true
	}
	return !l.ended
}

func (l *Link) drop(connections ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range connections {
		delete(l.opened, c)
	}
}
