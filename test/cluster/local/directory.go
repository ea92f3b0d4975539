package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lockName is the file that makes a directory a cluster's. Its lock is held for as long as the supervisor lives; its
// content is the supervisor's process id.
const lockName = "supervisor.pid"

// entries are the names in a cluster's directory, gridlatch.kubeconfig being that of package env. Nothing else is ever
// removed from it.
var entries = []string{"pki", "etcd", "kubeconfig", "gridlatch.kubeconfig", "kwok.yaml", "scheduler.json", "ready", "bin", "cache",
	etcdClientSocket, etcdPeerSocket}

// errBusy says that a supervisor runs in the directory.
var errBusy = errors.New("a cluster is running there already")

// A directory is a cluster's place on disk.
type directory struct {
	path string
	lock *os.File
}

func (d *directory) file(name ...string) string {
	return filepath.Join(append([]string{d.path}, name...)...)
}
func (d *directory) kubeconfig() string      { return d.file("kubeconfig") }
func (d *directory) schedulerConfig() string { return d.file("scheduler.json") }
func (d *directory) ready() string           { return d.file("ready") }
func (d *directory) log(name string) string  { return d.file("logs", name+".log") }

// open gives the directory at path, which need not exist, without claiming it.
func open(path string) (*directory, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("cluster directory: %w", err)
	}
	return &directory{path: absolute}, nil
}

// claim takes the directory for this process until release. It creates it if absent, and refuses one that is in use
// or that holds something other than a cluster.
func claim(path string) (*directory, error) {
	d, err := open(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.file("logs"), 0o700); err != nil {
		return nil, fmt.Errorf("cluster directory: %w", err)
	}
	if err := d.onlyOurs(); err != nil {
		return nil, err
	}
	if err := d.acquire(os.O_CREATE); err != nil {
		return nil, err
	}
	if err := d.lock.Truncate(0); err != nil {
		return nil, fmt.Errorf("cluster directory: %w", err)
	}
	if _, err := d.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return nil, fmt.Errorf("cluster directory: %w", err)
	}
	return d, nil
}

// onlyOurs fails if the directory holds files but has never been a cluster's.
func (d *directory) onlyOurs() error {
	if d.isCluster() {
		return nil
	}
	names, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("cluster directory: %w", err)
	}
	for _, n := range names {
		if n.Name() != "logs" {
			return fmt.Errorf("%s is neither empty nor a cluster's directory", d.path)
		}
	}
	return nil
}

func (d *directory) isCluster() bool {
	_, err := os.Stat(d.file(lockName))
	return err == nil
}

// acquire locks the directory, or returns errBusy.
func (d *directory) acquire(flags int) error {
	f, err := os.OpenFile(d.file(lockName), os.O_RDWR|flags, 0o600)
	if err != nil {
		return fmt.Errorf("cluster directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return errBusy
		}
		return fmt.Errorf("lock %s: %w", d.path, err)
	}
	d.lock = f
	return nil
}

func (d *directory) release() {
	if d.lock != nil {
		d.lock.Close()
		d.lock = nil
	}
}

// busy tells whether a supervisor runs in the directory.
func (d *directory) busy() bool {
	if !d.isCluster() {
		return false
	}
	err := d.acquire(0)
	d.release()
	return errors.Is(err, errBusy)
}

// supervisor gives the process id of the supervisor that runs in the directory. It fails when the process with that
// id is not one, so that nobody else's process is ever signalled.
func (d *directory) supervisor() (int, error) {
	text, err := os.ReadFile(d.file(lockName))
	if err != nil {
		return 0, fmt.Errorf("find the supervisor: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("no process id in %s", d.file(lockName))
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return 0, fmt.Errorf("find the supervisor: %w", err)
	}
	args := strings.Split(string(command), "\x00")
	if len(args) < 2 || args[1] != "run" {
		return 0, fmt.Errorf("process %d is not a cluster's supervisor", pid)
	}
	return pid, nil
}

// wipe removes what a cluster leaves, except for logs and the lock.
func (d *directory) wipe() error {
	for _, name := range entries {
		if err := os.RemoveAll(d.file(name)); err != nil {
			return fmt.Errorf("clean up: %w", err)
		}
	}
	return nil
}

// remove deletes the directory, if nothing is in it that is not a cluster's.
func (d *directory) remove() error {
	if err := d.wipe(); err != nil {
		return err
	}
	for _, name := range []string{"logs", lockName} {
		if err := os.RemoveAll(d.file(name)); err != nil {
			return fmt.Errorf("clean up: %w", err)
		}
	}
	if err := os.Remove(d.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

// populate makes the sub-directories, the simulator's configuration and a kubectl.
func (d *directory) populate(binary string) error {
	for _, name := range []string{"pki", "etcd", "logs", "bin"} {
		if err := os.MkdirAll(d.file(name), 0o700); err != nil {
			return fmt.Errorf("cluster directory: %w", err)
		}
	}
	if err := os.Symlink(binary, d.file("bin", "kubectl")); err != nil {
		return fmt.Errorf("cluster directory: %w", err)
	}
	if err := os.WriteFile(d.file("kwok.yaml"), stages, 0o600); err != nil {
		return fmt.Errorf("cluster directory: %w", err)
	}
	return nil
}

// tail gives the last n lines of a file, and says so if it cannot.
func tail(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error() + "\n"
	}
	lines := strings.SplitAfter(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "") + "\n"
}
