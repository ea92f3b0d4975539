package machine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// namespaces are those that a node has of its own.
const namespaces = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC

// Options says which node to run.
type Options struct {
	// Kubeconfig says how the kubelet connects to the API server.
	Kubeconfig string
	// Logs is a directory for the logs of the node. It is created if absent.
	Logs string
	// Programs is the directory of the kubelet, containerd and what else is compiled for the node.
	Programs string
	// Forwards are the addresses of this machine that the node reaches, and its pods.
	Forwards []Forward
}

// A Node is a node that runs.
type Node struct {
	// Name is the node's name in the cluster.
	Name string `json:"name"`
	// Process is the first process in the node's namespaces.
	Process int `json:"process"`
	// Address is the node's address in the network of its pods.
	Address string `json:"address"`
	// Host is the address of this machine for the node and its pods.
	Host string `json:"host"`
}

// Run runs a node until ctx ends, and calls ready when the containers of pods can run. The kubelet may not have
// registered the node by then. Nothing is left when Run returns, except the Node object in the cluster.
func Run(ctx context.Context, o Options, ready func(Node) error) (err error) {
	if err := Check(); err != nil {
		return err
	}
	if err := sweep(); err != nil {
		return err
	}
	name := nameOf(os.Getpid())
	defer func() { err = errors.Join(err, remove(name)) }()
	dir, err := makeDirectory(name)
	if err != nil {
		return err
	}
	if err := makeCgroups(name); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Logs, 0o700); err != nil {
		return fmt.Errorf("make the directory of the node's logs: %w", err)
	}
	first, err := startFirst(o.Logs)
	if err != nil {
		return err
	}
	defer first.kill()
	return o.runIn(ctx, dir, first, ready)
}

// runIn runs the node in the namespaces of its first process.
func (o Options) runIn(ctx context.Context, dir string, first *firstProcess, ready func(Node) error) (err error) {
	process := first.cmd.Process.Pid
	net, err := connect(process)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.remove()) }()
	for _, forward := range o.Forwards {
		if err := forward.start(ctx, process); err != nil {
			return err
		}
	}
	node := Node{Name: fmt.Sprintf("real-%d", net.number), Process: process, Address: net.node(), Host: net.host()}
	if err := configure(dir, *net, o.Kubeconfig); err != nil {
		return err
	}
	if err := first.boot(ctx, bootOrder{Node: node, Directory: dir, Logs: o.Logs, Programs: o.Programs}); err != nil {
		return err
	}
	if err := ready(node); err != nil {
		return err
	}
	return first.await(ctx)
}

func makeDirectory(name string) (string, error) {
	dir := filepath.Join(os.TempDir(), name)
	// An earlier process of the same number may have left something.
	if err := remove(name); err != nil {
		return "", err
	}
	for _, sub := range []string{"lib", "cni", "tunables"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return "", fmt.Errorf("make the node's directory: %w", err)
		}
	}
	// Containers that are not root's run below it.
	for _, path := range []string{dir, filepath.Join(dir, "lib")} {
		if err := os.Chmod(path, 0o711); err != nil { //nolint:gosec // not to be read, only passed
			return "", fmt.Errorf("make the node's directory: %w", err)
		}
	}
	return dir, nil
}

// A firstProcess is the first in the node's namespaces. When it ends, the kernel kills all others.
type firstProcess struct {
	cmd    *exec.Cmd
	log    string
	orders io.WriteCloser
	output *bufio.Reader
	ended  chan struct{}
}

// startFirst starts this program once more, in new namespaces, where it waits for its order.
func startFirst(logs string) (*firstProcess, error) {
	f := &firstProcess{
		cmd: exec.Command("/proc/self/exe", bootCommand), log: filepath.Join(logs, "boot.log"), ended: make(chan struct{}),
	}
	log, err := os.Create(f.log)
	if err != nil {
		return nil, fmt.Errorf("start the node: %w", err)
	}
	defer log.Close()
	f.cmd.Stderr = log
	if f.orders, err = f.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the node: %w", err)
	}
	output, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the node: %w", err)
	}
	f.output = bufio.NewReader(output)
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		// Never unlocked: the death signal is tied to the thread that forked, so that has to live for as long.
		runtime.LockOSThread()
		err := f.cmd.Start()
		started <- err
		if err == nil {
			_, _ = f.cmd.Process.Wait() // its log says more
			close(f.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start the node: %w", err)
	}
	return f, nil
}

// boot gives the process its order and returns when containers can run.
func (f *firstProcess) boot(ctx context.Context, order bootOrder) error {
	if err := json.NewEncoder(f.orders).Encode(order); err != nil {
		return fmt.Errorf("boot the node: %w", err)
	}
	booted := make(chan error, 1)
	go func() {
		_, err := f.output.ReadString('\n')
		booted <- err
	}()
	select {
	case err := <-booted:
		if err != nil {
			return f.failure()
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("boot the node: %w", ctx.Err())
	}
}

// await returns nil when ctx ends, or an error when the node ends by itself.
func (f *firstProcess) await(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-f.ended:
		return f.failure()
	}
}

// failure says why the process has ended.
func (f *firstProcess) failure() error {
	<-f.ended
	text, err := os.ReadFile(f.log)
	if err != nil {
		text = []byte(err.Error())
	}
	return fmt.Errorf("the node has ended: %s", text)
}

// kill ends all processes of the node, and returns when the kernel has ended them.
func (f *firstProcess) kill() {
	_ = f.cmd.Process.Kill() // it may have ended
	<-f.ended
	f.orders.Close()
}
