package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// errPortTaken says that a component could not listen on the port that was free a moment ago.
var errPortTaken = errors.New("port taken by another process")

// A componentError is a component's failure, with the log that explains it.
type componentError struct {
	name, log string
	err       error
}

func (e *componentError) Error() string { return fmt.Sprintf("%s: %v (log: %s)", e.name, e.err, e.log) }
func (e *componentError) Unwrap() error { return e.err }

// A launcher starts processes that cannot outlive this one. The kernel's parent-death signal is tied to the thread
// that forked, not to the process, so all children are started from one thread, kept for nothing else.
type launcher struct {
	requests chan func()
}

func newLauncher() *launcher {
	l := &launcher{requests: make(chan func())}
	go func() {
		// Never unlocked: the thread ends with the goroutine, and takes with it whatever child is still there.
		runtime.LockOSThread()
		for start := range l.requests {
			start()
		}
	}()
	return l
}

func (l *launcher) close() { close(l.requests) }

// A process is a component that was started.
type process struct {
	name, log string
	cmd       *exec.Cmd
	done      chan struct{}
	err       error // how it ended; set before done is closed
}

// start runs a component in the cluster's directory, with its output going to its log. The process is sent to exited
// when it ends, by whatever cause.
func (l *launcher) start(name, binary string, args []string, d *directory, exited chan<- *process) (*process, error) {
	out, err := os.OpenFile(d.log(name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer out.Close()
	cmd := exec.Command(binary, append([]string{name}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.path, out, out
	// The user's settings for etcd, kubectl, KWOK or a proxy are not meant for this cluster.
	cmd.Env = []string{"HOME=" + d.path, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	// Its own process group: the terminal's Ctrl-C is for the supervisor, which stops the components in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}

	started := make(chan error)
	l.requests <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, log: d.log(name), cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
		exited <- p
	}()
	return p, nil
}

// stop asks the process to end, kills it after the grace, and returns when it is gone.
func (p *process) stop(grace time.Duration) {
	// Errors mean that it is gone already, which is what is wanted.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(grace):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// failure says why a process that ended by itself did.
func (p *process) failure() error {
	<-p.done
	cause := fmt.Errorf("ended unexpectedly: %w", p.err)
	if p.err == nil {
		cause = errors.New("ended unexpectedly: exit status 0")
	}
	if strings.Contains(tail(p.log, 50), "address already in use") {
		cause = errPortTaken
	}
	return &componentError{name: p.name, log: p.log, err: cause}
}
