package serving

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// MaxConnections is how many connections a listener of [Bound] has at once. An idle TLS connection
// takes some 40 KB. The API server makes one connection for each request that waits for an answer:
// by default, up to 200 for requests that change something.
const MaxConnections = 512

// Bound returns a listener that has at most [MaxConnections] connections at once. If there are as
// many, a caller with fewer connections than another caller takes the place of the other's oldest
// one. So nobody can take the places of all. The address tells callers apart.
func Bound(listener net.Listener) net.Listener {
	return &bounded{Listener: listener, maxConnections: MaxConnections, byCaller: map[netip.Addr][]*connection{}}
}

// bounded is a listener that counts its connections.
type bounded struct {
	net.Listener
	maxConnections int

	mu       sync.Mutex
	total    int
	byCaller map[netip.Addr][]*connection // the oldest connection first
}

// connection tells its listener that it was closed.
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

// admit counts a connection, if there is a place or another connection gives up its place. admit
// returns the connection to serve and the connection to close.
func (b *bounded) admit(c net.Conn) (in, out net.Conn) {
	admitted := &connection{Conn: c, listener: b, caller: callerOf(c)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.total >= b.maxConnections {
		busiest := b.busiestCaller()
		if len(b.byCaller[busiest]) <= len(b.byCaller[admitted.caller]) {
			return nil, c
		}
		oldest := b.byCaller[busiest][0]
		b.remove(oldest)
		out = oldest.Conn
	}
	b.byCaller[admitted.caller] = append(b.byCaller[admitted.caller], admitted)
	b.total++
	return admitted, out
}

// busiestCaller returns the caller with the most connections.
func (b *bounded) busiestCaller() (caller netip.Addr) {
	count := 0
	for addr, connections := range b.byCaller {
		if len(connections) > count {
			caller, count = addr, len(connections)
		}
	}
	return caller
}

// remove stops counting a connection. A second call does nothing.
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

// callerOf returns the address that a connection comes from, without the port.
func callerOf(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
