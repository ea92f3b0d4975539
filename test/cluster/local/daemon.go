package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// supervisorLog is where a detached supervisor writes, by the name it has among the logs.
const supervisorLog = "supervisor"

// Up starts a cluster that lives on after this process, and returns when it is ready. Progress is repeated as it
// happens. A cluster that is up already is left as it is.
func Up(ctx context.Context, o Options) error {
	d, err := open(o.Dir)
	if err != nil {
		return err
	}
	if d.busy() {
		fmt.Fprintf(o.Progress, "a cluster is up already in %s\n", d.path)
		return awaitReady(ctx, d, o, nil)
	}
	started, err := detach(d, o)
	if err != nil {
		return err
	}
	return awaitReady(ctx, d, o, started)
}

// detach starts a supervisor in a session of its own. The channel yields when it has ended.
func detach(d *directory, o Options) (<-chan error, error) {
	// Claimed for a moment, so that a directory that cannot be used is found out here.
	claimed, err := claim(d.path)
	if err != nil {
		return nil, err
	}
	defer claimed.release()
	if err := claimed.wipe(); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(d.log(supervisorLog), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(o.Binary, "run", "--dir="+d.path, "--nodes="+strconv.Itoa(o.Nodes),
		"--node-labels="+o.Labels.String(), "--scheduler-config="+o.SchedulerConfig, "--timeout="+o.Timeout.String())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	claimed.release()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return ended, nil
}

// awaitReady repeats the supervisor's log until the cluster is ready. It stops the cluster again if ctx ends first.
func awaitReady(ctx context.Context, d *directory, o Options, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout+10*time.Second)
	defer cancel()
	var shown int64
	for {
		_, missing := os.Stat(d.ready())
		if ended != nil {
			shown += repeat(d.log(supervisorLog), shown, o.Progress)
		}
		if missing == nil {
			return nil
		}
		select {
		case err := <-ended:
			repeat(d.log(supervisorLog), shown, o.Progress)
			return fmt.Errorf("the cluster did not start: %w", err)
		case <-ctx.Done():
			err := fmt.Errorf("the cluster is not ready: %w", ctx.Err())
			if ended == nil {
				return err
			}
			return errors.Join(err, signalAndWait(d, stopTimeout))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// repeat copies a file from an offset and returns how much that was. A file that cannot be read has nothing to say.
func repeat(path string, from int64, to io.Writer) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	n, _ := io.Copy(to, io.NewSectionReader(f, from, 1<<20))
	return n
}

// stopTimeout is ample for every component to use up its grace.
const stopTimeout = 30 * time.Second

// Down stops the cluster in a directory and removes the directory. It tells whether there was one running. A directory
// that has never been a cluster's is left alone.
func Down(dir string) (stopped bool, err error) {
	d, err := open(dir)
	if err != nil {
		return false, err
	}
	if !d.isCluster() {
		return false, nil
	}
	stopped = d.busy()
	if stopped {
		if err := signalAndWait(d, stopTimeout); err != nil {
			return true, err
		}
	}
	return stopped, d.remove()
}

// signalAndWait ends the supervisor, and returns when it is gone and its components with it.
func signalAndWait(d *directory, timeout time.Duration) error {
	pid, err := d.supervisor()
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop process %d: %w", pid, err)
	}
	for deadline := time.Now().Add(timeout); d.busy(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			// The kernel ends the components with it.
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				return fmt.Errorf("kill process %d: %w", pid, err)
			}
			deadline = time.Now().Add(timeout)
		}
	}
	return nil
}
