package env_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/gridlatch/gridlatch/test/env"
)

func TestReservedPortIsForWhoAsksForIt(t *testing.T) {
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	reserved := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	from := net.Dialer{LocalAddr: reserved}
	if connection, err := from.DialContext(t.Context(), "tcp", other.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a connection from the port gave %v, %v, want %v", connection, err, syscall.EADDRINUSE)
	}
	for range 2 { // a program, and its successor
		listener, err := net.ListenTCP("tcp", reserved)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := net.ListenTCP("tcp", reserved); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listening twice gave %v, %v, want %v", second, err, syscall.EADDRINUSE)
		}
		listener.Close()
	}
}
