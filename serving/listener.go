package serving

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// MaxConnections is how many connections a listener of [Bound] has at once. An
// idle TLS connection takes some 40 KB. The API server makes as many as it has
// requests that wait for us: 200 by its own default for requests that change
// something.
const MaxConnections = 512

// Bound returns a listener that has at most [MaxConnections] connections at once.
// If there are as many, a caller that has less than another gets the place of the
// other's oldest: nobody can take the places of all. Callers are told apart by
// their address.
func Bound(listener net.Listener) net.Listener {
	return &bounded{Listener: listener, maxConnections: MaxConnections, byCaller: map[netip.Addr][]*connection{}}
}

type bounded struct {
	net.Listener
	maxConnections int

	mu       sync.Mutex
	total    int
	byCaller map[netip.Addr][]*connection // by caller, the oldest first
}

// connection leaves the listener's books when it is closed.
type connection struct {
	net.Conn
	listener *bounded
	caller   netip.Addr
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		in, out := b.admit(c)
		if out != nil {
			_ = out.Close()
		}
		if in != nil {
			return in, nil
		}
	}
}

// admit takes up a connection, if there is room or somebody has to make some, and
// says which is to be closed.
func (b *bounded) admit(c net.Conn) (in, out net.Conn) {
	admitted := &connection{Conn: c, listener: b, caller: callerOf(c)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.total >= b.maxConnections {
		greedy := b.busiestCaller()
		if len(b.byCaller[greedy]) <= len(b.byCaller[admitted.caller]) {
			return nil, c
		}
		oldest := b.byCaller[greedy][0]
		b.remove(oldest)
		out = oldest.Conn
	}
	b.byCaller[admitted.caller] = append(b.byCaller[admitted.caller], admitted)
	b.total++
	return admitted, out
}

// greediest is the caller with the most connections.
func (b *bounded) busiestCaller() (caller netip.Addr) {
	most := 0
	for addr, connections := range b.byCaller {
		if len(connections) > most {
			caller, most = addr, len(connections)
		}
	}
	return caller
}

// drop takes a connection out of the books, unless it is out already.
func (b *bounded) remove(c *connection) {
	of := b.byCaller[c.caller]
	at := slices.Index(of, c)
	if at < 0 {
		return
	}
	b.total--
	if b.byCaller[c.caller] = slices.Delete(of, at, at+1); len(b.byCaller[c.caller]) == 0 {
		delete(b.byCaller, c.caller)
	}
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.listener.mu.Lock()
	c.listener.remove(c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// callerOf is the address that a connection comes from, without its port.
func callerOf(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
