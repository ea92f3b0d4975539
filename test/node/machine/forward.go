package machine

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A Forward carries connections from an address in the node to an address of this machine.
type Forward struct{ Address, Target string }

// start listens in the network namespace of a process, and carries connections until ctx ends.
func (f Forward) start(ctx context.Context, process int) error {
	address, err := net.ResolveTCPAddr("tcp4", f.Address)
	if err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	if err := addAddress(process, address.IP); err != nil {
		return err
	}
	listener, err := listenIn(process, address)
	if err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	go func() {
		for {
			from, err := listener.AcceptTCP()
			if err != nil {
				return // closed
			}
			go f.carry(ctx, from)
		}
	}()
	return nil
}

// carry connects to the target and copies both ways until both sides have ended.
func (f Forward) carry(ctx context.Context, from *net.TCPConn) {
	defer from.Close()
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "tcp4", f.Target)
	if err != nil {
		return // who called sees a closed connection, as if nobody listened
	}
	to := connection.(*net.TCPConn)
	defer to.Close()
	stop := context.AfterFunc(ctx, func() { from.Close(); to.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		copyOneWay(to, from)
		close(done)
	}()
	copyOneWay(from, to)
	<-done
}

func copyOneWay(to, from *net.TCPConn) {
	_, _ = io.Copy(to, from) // a broken connection ends, as a closed one does
	_ = to.CloseWrite()
}

// listenIn listens in the network namespace of a process. A socket stays in the namespace in which it was made.
func listenIn(process int, address *net.TCPAddr) (*net.TCPListener, error) {
	type result struct {
		listener *net.TCPListener
		err      error
	}
	results := make(chan result)
	go func() {
		// Never unlocked: the thread, which is in the wrong namespace, ends with the goroutine.
		runtime.LockOSThread()
		namespace, err := netns.GetFromPid(process)
		if err != nil {
			results <- result{err: err}
			return
		}
		defer namespace.Close()
		if err := netns.Set(namespace); err != nil {
			results <- result{err: err}
			return
		}
		listener, err := net.ListenTCP("tcp4", address)
		results <- result{listener, err}
	}()
	r := <-results
	return r.listener, r.err
}

// handleIn returns a handle that changes the network in the namespace of a process.
func handleIn(process int) (*netlink.Handle, error) {
	namespace, err := netns.GetFromPid(process)
	if err != nil {
		return nil, fmt.Errorf("find the node's network: %w", err)
	}
	defer namespace.Close()
	handle, err := netlink.NewHandleAt(namespace)
	if err != nil {
		return nil, fmt.Errorf("find the node's network: %w", err)
	}
	return handle, nil
}
