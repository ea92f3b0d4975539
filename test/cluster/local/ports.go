package local

import (
	"fmt"
	"net"
)

// freePorts gives n different loopback ports that were free a moment ago. Another process may take one before it is
// used; whoever uses them must be ready for that.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		// All stay open until the last is found, so that none is given twice.
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
