package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Program runs beside a cluster: a controller, as it would run in a pod.
type Program struct {
	// Metrics and Probes are the base URLs of what it serves.
	Metrics, Probes string
	// PID is its process.
	PID int

	name, log string
	ready     func(context.Context) error // fails until the program is ready
	deaf      bool                        // to the request to end, or so for long
	cmd       *exec.Cmd
	done      chan struct{}
}

// command makes a program of bin/NAME that has the flags of a controller.
func command(name string, args ...string) (*Program, error) {
	p, err := program(name, args...)
	if err != nil {
		return nil, err
	}
	p.serveByFlags()
	return p, nil
}

// serveByFlags tells the program where to serve metrics and probes by the flags that controllers have for that.
func (p *Program) serveByFlags() {
	p.cmd.Args = append(p.cmd.Args, "--metrics-bind-address="+address(p.Metrics), "--health-probe-bind-address="+address(p.Probes))
}

// program makes a program of bin/NAME that is told by other means where to serve metrics and probes.
func program(name string, args ...string) (*Program, error) {
	root, err := sourceTree()
	if err != nil {
		return nil, err
	}
	metrics, err := reserveAddress()
	if err != nil {
		return nil, err
	}
	probes, err := reserveAddress()
	if err != nil {
		return nil, err
	}
	p := &Program{Metrics: "http://" + metrics, Probes: "http://" + probes, name: name, done: make(chan struct{})}
	p.ready = answers(p.Probes + "/readyz")
	p.cmd = exec.Command(filepath.Join(root, "bin", name), args...)
	// Its own process group: the terminal's Ctrl-C is for this process, which then stops the program. Not its own session:
	// where Linux groups processes by session, on a busy machine one alone gets next to nothing for seconds.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return p, nil
}

// address is where a base URL of a program is served.
func address(url string) string { return strings.TrimPrefix(url, "http://") }

// start runs the program and returns when it is ready. log is a file for what it writes; it is appended to.
func (p *Program) start(ctx context.Context, log string) error {
	if err := p.launch(log); err != nil {
		return err
	}
	if err := p.awaitReady(ctx); err != nil {
		return errors.Join(err, p.Stop())
	}
	return nil
}

// launch runs the program and does not wait until it is ready.
func (p *Program) launch(log string) error {
	output, err := openLog(log)
	if err != nil {
		return err
	}
	defer output.Close()
	p.log, p.cmd.Stdout, p.cmd.Stderr = log, output, output
	started := make(chan error)
	go func() {
		// Never unlocked: a death signal is tied to the thread that forked, so that has to live for as long.
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // its log says more
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s (is it built? make bin/%s): %w", p.name, p.name, err)
	}
	p.PID = p.cmd.Process.Pid
	return nil
}

// openLog opens a file to append to.
func openLog(path string) (*os.File, error) {
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return log, nil
}

func (p *Program) awaitReady(ctx context.Context) error {
	for {
		err := p.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended:\n%s", p.name, p.Log())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %w\n%s", p.name, ctx.Err(), err, p.Log())
		case <-time.After(pollInterval):
		}
	}
}

// answers returns a check that fails until the URL answers.
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := get(ctx, url)
		return err
	}
}

// Stop ends the program as a kubelet would. It may have ended before.
func (p *Program) Stop() error {
	if p.deaf {
		return p.Kill()
	}
	return p.end(syscall.SIGTERM, 40*time.Second)
}

// Terminate asks the program to end, as a kubelet does, and does not wait.
func (p *Program) Terminate() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("terminate %s: %w", p.name, err)
	}
	return nil
}

// Kill ends it without warning.
func (p *Program) Kill() error { return p.end(syscall.SIGKILL, 10*time.Second) }

func (p *Program) end(signal syscall.Signal, patience time.Duration) error {
	select {
	case <-p.done:
		return p.crash()
	default:
	}
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", p.name, err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("%s did not end within %s", p.name, patience), p.cmd.Process.Kill())
	}
}

// crash returns an error if the program, which has ended, has ended by a panic.
func (p *Program) crash() error {
	const panicked = 2 // the exit code of Go's runtime
	if log := p.Log(); p.cmd.ProcessState.ExitCode() == panicked && strings.Contains(log, "\ngoroutine ") {
		return fmt.Errorf("%s has crashed:\n%s", p.name, log)
	}
	return nil
}

// Log returns what the program has written.
func (p *Program) Log() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// during runs something for as long as the test. The error of run, and what it has written, are the test's.
func during[P interface {
	Log() string
	Stop() error
}](t testing.TB, run func(ctx context.Context, log string) (P, error),
) P {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	log := filepath.Join(t.TempDir(), "log")
	p, err := run(ctx, log)
	if err != nil {
		text, _ := os.ReadFile(log) // for the failure's sake only
		t.Fatalf("%v\n%s", err, text)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.Log())
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// Metric returns the sum of all samples of a metric whose line has all of parts, as in
// Metric(ctx, "gridlatch_released_pods_total", `cause="latest-start"`).
func (p *Program) Metric(ctx context.Context, name string, parts ...string) (float64, error) {
	text, err := get(ctx, p.Metrics+"/metrics")
	if err != nil {
		return 0, err
	}
	sum := 0.0
lines:
	for line := range strings.Lines(text) {
		labels, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || labels != name && !strings.HasPrefix(labels, name+"{") {
			continue
		}
		for _, part := range parts {
			if !strings.Contains(labels, part) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum += v
	}
	return sum, nil
}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("get %s: %w", url, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("get %s: %w", url, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s: %s", response.Status, body)
	}
	if err != nil {
		return "", fmt.Errorf("get %s: %w", url, err)
	}
	return string(body), nil
}
