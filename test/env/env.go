// Package env gives tests and demonstrations a real Kubernetes cluster in one line:
//
//	c := env.Start(t, env.Nodes(3))
//
// The cluster is made of the components in bin/gridlatch-cluster, with simulated nodes; see test/cluster. It takes a
// few seconds to start and about 1.2 GiB of memory. It is gone when the test ends, and also when the test's process
// ends without a chance to clean up. Any number of clusters can run at once.
package env

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	startTimeout = 3 * time.Minute
	stopTimeout  = 30 * time.Second
)

// A Cluster is a Kubernetes cluster that is up, seen as its administrator.
type Cluster struct {
	// Config connects as the administrator, without a limit on the client's side.
	Config *rest.Config
	// Kubeconfig is the path of a file that says the same.
	Kubeconfig string
	// Client knows the types of client-go; others can be added to its scheme.
	Client client.Client
	// Home is the namespace into which Gridlatch is installed, if it is another one than Namespace.
	Home string

	binary string
	run    *process // nil if attached
}

// An Option changes the cluster that is started.
type Option func(*options)

type options struct {
	binary string
	args   []string
}

// Nodes says how many nodes the cluster has, node-0 and on. Without it there is one.
func Nodes(n int) Option { return flag("nodes", strconv.Itoa(n)) }

// NodeLabels gives labels to the nodes, as "key=value,key=value:value"; several values are dealt out in turn.
func NodeLabels(labels string) Option { return flag("node-labels", labels) }

// SchedulerConfig names a file with a KubeSchedulerConfiguration, whose connection is filled in.
func SchedulerConfig(path string) Option { return flag("scheduler-config", path) }

func flag(name, value string) Option {
	return func(o *options) { o.args = append(o.args, "--"+name+"="+value) }
}

// Start gives the test a cluster of its own, until the test ends. It fails the test if it cannot, and never skips it.
// If the test fails, the ends of the components' logs are in its log.
func Start(t testing.TB, opts ...Option) *Cluster {
	t.Helper()
	SkipIfShort(t)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	c, err := Run(ctx, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Logs(15))
		}
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// SkipIfShort skips a test that needs a cluster when tests run with -short.
func SkipIfShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("the test needs a cluster, and -short is for tests without one")
	}
}

// Run starts a cluster that lives until Stop is called or this process ends. ctx bounds the start only.
func Run(ctx context.Context, opts ...Option) (*Cluster, error) {
	binary, err := findBinary()
	if err != nil {
		return nil, err
	}
	o := options{binary: binary}
	for _, apply := range opts {
		apply(&o)
	}
	run, err := start(ctx, o)
	if err != nil {
		return nil, err
	}
	c, err := connect(filepath.Join(run.dir, "kubeconfig"), binary)
	if err != nil {
		return nil, errors.Join(err, run.stop())
	}
	c.run = run
	return c, nil
}

// Attach gives access to a cluster that is up already. Stop does nothing to it.
func Attach(kubeconfig string) (*Cluster, error) {
	binary, err := findBinary()
	if err != nil {
		return nil, err
	}
	absolute, err := filepath.Abs(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return connect(absolute, binary)
}

func connect(kubeconfig, binary string) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config.QPS = -1
	scheme := runtime.NewScheme()
	if err := clientscheme.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("make scheme: %w", err)
	}
	// The logger as it is: a name for it would have controller-runtime complain in programs that set none.
	client, err := client.New(config, client.Options{Scheme: scheme, Log: log.Log})
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return &Cluster{Config: config, Kubeconfig: kubeconfig, Client: client, binary: binary}, nil
}

// Stop ends the cluster and removes its files. No process is left when it returns. It may be called more than once.
func (c *Cluster) Stop() error {
	if c.run == nil {
		return nil
	}
	return c.run.stop()
}

// Logs gives the last lines of every component's log, for a cluster that Run or Start made.
func (c *Cluster) Logs(lines int) string {
	if c.run == nil {
		return ""
	}
	return c.run.logs(lines)
}

// A process is a cluster's supervisor, whose life is tied to this process by a pipe.
type process struct {
	dir    string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	output bytes.Buffer // may be read when done is closed
	done   chan struct{}
	once   sync.Once
	err    error // of stop
}

// start returns when the cluster is ready. Nothing is left if it fails.
func start(ctx context.Context, o options) (*process, error) {
	dir, err := os.MkdirTemp("", "gridlatch-cluster-")
	if err != nil {
		return nil, fmt.Errorf("start cluster: %w", err)
	}
	p := &process{dir: dir, done: make(chan struct{})}
	p.cmd = exec.Command(o.binary, append([]string{"run", "--until-eof", "--dir=" + dir}, o.args...)...)
	p.cmd.Stderr = &p.output
	// Its own process group: the terminal's Ctrl-C is for this process, which then stops the cluster when it is done.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.stdin, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start cluster: %w", err), os.RemoveAll(dir))
	}
	go func() {
		_ = p.cmd.Wait() // the supervisor's output says more than its exit code
		close(p.done)
	}()
	if err := p.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *process) awaitReady(ctx context.Context) error {
	for {
		if _, err := os.Stat(filepath.Join(p.dir, "ready")); err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("the cluster did not start:\n%s", p.output.String())
		case <-ctx.Done():
			return fmt.Errorf("the cluster did not start: %w\n%s", ctx.Err(), p.logs(15))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *process) stop() error {
	p.once.Do(func() {
		p.stdin.Close()
		select {
		case <-p.done:
		case <-time.After(stopTimeout):
			// The kernel ends the components with their supervisor.
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		if err := os.RemoveAll(p.dir); err != nil {
			p.err = fmt.Errorf("remove the cluster's files: %w", err)
		}
	})
	return p.err
}

func (p *process) logs(lines int) string {
	paths, err := filepath.Glob(filepath.Join(p.dir, "logs", "*.log"))
	if err != nil {
		return err.Error()
	}
	return ends(paths, lines)
}

// ends returns the last lines of files.
func ends(paths []string, lines int) string {
	var all strings.Builder
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			text = []byte(err.Error())
		}
		split := strings.Split(strings.TrimSpace(string(text)), "\n")
		last := split[max(0, len(split)-lines):]
		fmt.Fprintf(&all, "--- end of %s\n%s\n", filepath.Base(path), strings.Join(last, "\n"))
	}
	return all.String()
}
