package serving

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
)

// from is a connection that comes from an address.
type from struct {
	net.Conn
	addr   netip.Addr
	closed bool
}

func (f *from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.addr, 1)) }

func (f *from) Close() error {
	f.closed = true
	return nil
}

// arriving is a listener at which these connections come.
type arriving struct {
	net.Listener
	connections []*from
}

func (a *arriving) Accept() (net.Conn, error) {
	if len(a.connections) == 0 {
		return nil, io.EOF
	}
	c := a.connections[0]
	a.connections = a.connections[1:]
	return c, nil
}

func TestWhoIsConnected(t *testing.T) {
	for name, tt := range map[string]struct {
		callers string // one letter for each connection
		open    string
	}{
		"all for whom there is room":               {"aab", "aab"},
		"no more of the same":                      {"aaaaaa", "aaaa"},
		"a newcomer in the place of the greediest": {"abbbc", "abbc"},
		"many newcomers":                           {"aaaabcd", "abcd"},
		"a second of a newcomer":                   {"aaaabb", "aabb"},
		"no more than the greediest":               {"aabba", "aabb"},
	} {
		t.Run(name, func(t *testing.T) {
			incoming := &arriving{}
			for _, c := range tt.callers {
				incoming.connections = append(incoming.connections, &from{addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(c)})})
			}
			all := slices.Clone(incoming.connections)
			b := &bounded{Listener: incoming, maxConnections: 4, byCaller: map[netip.Addr][]*connection{}}
			var accepted []net.Conn
			for {
				c, err := b.Accept()
				if errors.Is(err, io.EOF) {
					break
				}
				accepted = append(accepted, c)
			}
			var open []byte
			for i, c := range all {
				if !c.closed {
					open = append(open, tt.callers[i])
				}
			}
			slices.Sort(open)
			if string(open) != tt.open || b.total != len(tt.open) {
				t.Errorf("open are %s, counted %d; want %s", open, b.total, tt.open)
			}
			for _, c := range accepted {
				_ = c.Close()
				_ = c.Close() // as servers do
			}
			if b.total != 0 || len(b.byCaller) != 0 {
				t.Errorf("%d connections are left, of %d callers", b.total, len(b.byCaller))
			}
		})
	}
}
