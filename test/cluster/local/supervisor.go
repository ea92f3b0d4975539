// Package local runs a Kubernetes control plane and simulated nodes as child processes on this machine: it picks
// ports, makes keys and a kubeconfig, starts the components in order, waits until a pod can be created, and then
// watches over them.
//
// Nothing outlives the supervisor: every child gets SIGKILL from the kernel when the supervisor ends, however it ends.
// Everything a cluster writes is in one directory, which one supervisor at a time owns through a lock. Two clusters in
// two directories do not see each other: etcd listens on a socket in the directory, the API server accepts only the
// directory's token, and no component trusts another directory's certificate.
//
// The package does not import Kubernetes, so it builds and tests in seconds.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

const (
	// portAttempts bounds how often a start is repeated because another process took a port in the meantime.
	portAttempts = 3
	// stopGrace is how long a component may take to end by itself. Its data is thrown away, so it need not be long.
	stopGrace = 300 * time.Millisecond
)

// Options says which cluster to run.
type Options struct {
	// Dir holds everything the cluster writes. It is created if absent; it must be empty or an earlier cluster's.
	Dir string
	// Nodes is how many simulated nodes there are, node-0 and on.
	Nodes int
	// Labels are given to the nodes over and above the usual ones.
	Labels NodeLabels
	// SchedulerConfig is the path of a KubeSchedulerConfiguration whose connection settings are replaced by the
	// cluster's own; "" means the scheduler's defaults.
	SchedulerConfig string
	// QuickAutoscaler has the HorizontalPodAutoscalers look every second, and scale down without the usual wait.
	QuickAutoscaler bool
	// Timeout bounds the time until the cluster is ready.
	Timeout time.Duration
	// Binary is the program that contains the components.
	Binary string
	// Disturbances are what a test wants to happen to the components of a cluster that is ready; nil for none. Each is a
	// verb and the name of a component, such as "kill kube-apiserver". See disturbance.go.
	Disturbances <-chan string
	// Progress receives a line per step, and the end of a failed component's log.
	Progress io.Writer
}

// Run starts a cluster, and returns when ctx ends, with nil, or when something fails, with an error that names the
// component and its log. No child process is left when it returns. Without an error, nothing is left in the
// directory but the logs.
func Run(ctx context.Context, o Options) error {
	d, err := claim(o.Dir)
	if err != nil {
		return err
	}
	defer d.release()
	for attempt := 1; ; attempt++ {
		err = runOnce(ctx, d, o)
		if ctx.Err() != nil {
			return d.wipe()
		}
		if !errors.Is(err, errPortTaken) || attempt == portAttempts {
			return err
		}
		fmt.Fprintf(o.Progress, "%v; trying other ports\n", err)
	}
}

// runOnce is one attempt at running the cluster. It returns only with an error or because ctx ended.
func runOnce(ctx context.Context, d *directory, o Options) error {
	s, err := prepare(d, o)
	if err != nil {
		return err
	}
	err = s.start(ctx)
	if err == nil {
		err = s.watch(ctx)
	}
	var failed *componentError
	if errors.As(err, &failed) && ctx.Err() == nil {
		fmt.Fprintf(o.Progress, "--- end of %s\n%s---\n", failed.log, tail(failed.log, 20))
	}
	if err := os.Remove(d.ready()); err != nil && !errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(o.Progress, err)
	}
	s.stop()
	return err
}

// A supervisor is one attempt: its components, in the order they were started.
type supervisor struct {
	options  Options
	dir      *directory
	settings settings
	api      *api
	launcher *launcher
	running  []*process
	exited   chan *process
	began    time.Time
}

// prepare makes the files that the components read, on new ports. Nothing of an earlier attempt is left but logs.
func prepare(d *directory, o Options) (*supervisor, error) {
	if err := d.wipe(); err != nil {
		return nil, err
	}
	if err := d.populate(o.Binary); err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	set := settings{dir: d, apiPort: ports[0], managerPort: ports[1], schedulerPort: ports[2], quickAutoscaler: o.QuickAutoscaler}
	credentials, err := writeCredentials(d)
	if err != nil {
		return nil, err
	}
	if err := writeKubeconfig(d.kubeconfig(), set.server(), credentials); err != nil {
		return nil, err
	}
	if o.SchedulerConfig != "" {
		if err := writeSchedulerConfig(o.SchedulerConfig, d); err != nil {
			return nil, err
		}
		set.schedulerConfig = d.schedulerConfig()
	}
	client, err := newAPI(set.server(), credentials)
	if err != nil {
		return nil, err
	}
	return &supervisor{options: o, dir: d, settings: set, api: client, launcher: newLauncher(),
		exited: make(chan *process, len(componentNames)), began: time.Now()}, nil
}

// start brings the components up in order and returns when a pod can be created and will run.
func (s *supervisor) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	steps := []struct {
		launch    []string
		component string // which one the check is about
		check     func(context.Context) error
		last      bool // the component is ready after this
	}{
		{[]string{etcd}, etcd, s.etcdListens, true},
		{[]string{apiServer}, apiServer, s.api.answers, false},
		// They wait for the API server by themselves; what they do before is done while it gets ready.
		{[]string{controllerManager, scheduler, nodeSimulator}, apiServer, s.api.ready, true},
		{nil, apiServer, s.createNodes, false},
		{nil, controllerManager, s.api.defaultAccountExists, true},
		{nil, scheduler, s.schedulerHealthy, true},
		{nil, nodeSimulator, s.nodesReady, true},
	}
	for _, step := range steps {
		for _, name := range step.launch {
			if err := s.launch(name); err != nil {
				return err
			}
		}
		if err := s.await(ctx, step.component, step.check); err != nil {
			return err
		}
		if step.last {
			s.say("%s ready", step.component)
		}
	}
	return s.announce()
}

func (s *supervisor) launch(name string) error {
	p, err := s.launcher.start(name, s.options.Binary, s.settings.arguments(name), s.dir, s.exited)
	if err != nil {
		return err
	}
	s.running = append(s.running, p)
	return nil
}

// await polls a check of the component until it succeeds. It gives up when ctx ends or a component dies.
func (s *supervisor) await(ctx context.Context, name string, check func(context.Context) error) error {
	var missing error
	for {
		began := time.Now()
		err := check(ctx)
		if err == nil {
			return nil
		}
		if missing == nil || ctx.Err() == nil { // that a check was cut short says less than the one before
			missing = err
		}
		// A slow check, such as listing thousands of nodes, is made less often.
		pause := max(30*time.Millisecond, 2*time.Since(began))
		select {
		case p := <-s.exited:
			return p.failure()
		case <-ctx.Done():
			return &componentError{name: name, log: s.dir.log(name), err: fmt.Errorf("not ready in time: %w", missing)}
		case <-time.After(pause):
		}
	}
}

// announce says that the cluster is ready: by a line, and by a file for those who wait.
func (s *supervisor) announce() error {
	if err := os.WriteFile(s.dir.ready(), []byte(s.dir.kubeconfig()+"\n"), 0o600); err != nil {
		return fmt.Errorf("announce readiness: %w", err)
	}
	s.say("%d nodes ready, cluster ready", s.options.Nodes)
	return nil
}

// watch returns nil when ctx ends, or the failure of the first component that ends by itself.
func (s *supervisor) watch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case text := <-s.options.Disturbances:
			if err := s.disturb(text); err != nil {
				return err
			}
		case p := <-s.exited:
			if slices.Contains(s.running, p) {
				return p.failure()
			}
		}
	}
}

// stop ends the components, last started first. None is left when it returns.
func (s *supervisor) stop() {
	for i := len(s.running) - 1; i >= 0; i-- {
		s.running[i].stop(stopGrace)
	}
	s.launcher.close()
}

func (s *supervisor) say(format string, args ...any) {
	fmt.Fprintf(s.options.Progress, format+" after %.1fs\n", append(args, time.Since(s.began).Seconds())...)
}
