package env

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// ReservePort returns a port of the loopback interface for a program that is yet to start, for as long as this process
// lives. Linux gives the port of a socket that is bound, even if it does not listen, to nobody who asks for any port,
// be it for a server or for the near end of a connection. Who asks for this one gets it, as long as both sides allow
// the sharing of addresses and nobody listens; Go's listeners allow it.
func ReservePort() (int, error) {
	port, err := reservePort()
	if err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	return port, nil
}

// reserveAddress returns the same as an address.
func reserveAddress() (string, error) {
	port, err := ReservePort()
	return "127.0.0.1:" + strconv.Itoa(port), err
}

func reservePort() (int, error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err := syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	address, err := syscall.Getsockname(socket)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return address.(*syscall.SockaddrInet4).Port, nil
}
