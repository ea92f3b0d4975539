package env

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// How a kubelet looks whether a replica is ready, as manifests/base/deployment.yaml has it.
const (
	readinessPeriod  = 2 * time.Second
	readinessTimeout = 2 * time.Second
	readinessMisses  = 3
)

// restartPause is how long a program that has ended stays away, as with a kubelet at the first time.
const restartPause = time.Second

// startPatience is how long a replica may take to be ready.
const startPatience = 2 * time.Minute

// Replicas are the parts of an installation beside the cluster: replicas of Gridlatch, what stands for their
// Service, and the part that makes certificates.
type Replicas struct {
	All []*Replica
	// Certs is the part that makes certificates.
	Certs *Keeper
	// Service is the way from the API server to the replicas that are ready.
	Service *Link

	stop context.CancelFunc // of the looks at whether replicas are ready
}

// RunReplicas installs Gridlatch and runs so many replicas, and returns when the API server calls
// them. The logs are files in dir.
func (c *Cluster) RunReplicas(ctx context.Context, n int, dir string) (_ *Replicas, err error) {
	r := &Replicas{Certs: &Keeper{cluster: c, log: filepath.Join(dir, "certs.log")}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Stop())
		}
	}()
	for i := range n {
		port, err := ReservePort()
		if err != nil {
			return nil, err
		}
		r.All = append(r.All, &Replica{port: port, log: filepath.Join(dir, fmt.Sprintf("gridlatch-%d.log", i))})
	}
	if r.Service, err = NewLink("127.0.0.1:0"); err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(r.Service.Address, ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("find the port of the service: %w", err)
	}
	if err := c.InstallWithDeployment(ctx, number); err != nil {
		return nil, err
	}
	config, err := c.ServiceAccountConfig(ctx, Namespace, "gridlatch")
	if err != nil {
		return nil, err
	}
	if err := r.Certs.Start(ctx); err != nil {
		return nil, err
	}
	for i, replica := range r.All {
		if err := replica.connect(c, config, i); err != nil {
			return nil, err
		}
		if err := replica.Start(ctx, Clock{}); err != nil {
			return nil, err
		}
	}
	looking, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	go r.serveReady(looking)
	return r, c.AwaitWebhook(ctx)
}

// serveReady has the service lead to the replicas that are ready, until the context ends.
func (r *Replicas) serveReady(ctx context.Context) {
	misses := map[*Replica]int{}
	for ctx.Err() == nil {
		var ready []string
		for _, replica := range r.All {
			misses[replica]++
			looking, cancel := context.WithTimeout(ctx, readinessTimeout)
			if replica.Ready(looking) == nil {
				misses[replica] = 0
			}
			cancel()
			if misses[replica] < readinessMisses {
				ready = append(ready, replica.address())
			}
		}
		r.Service.SetEnds(ready...)
		select {
		case <-ctx.Done():
		case <-time.After(readinessPeriod):
		}
	}
}

// Leader returns the replica that leads, or nil.
func (r *Replicas) Leader(ctx context.Context) *Replica {
	for _, replica := range r.All {
		if replica.leads(ctx) {
			return replica
		}
	}
	return nil
}

// Stop ends all parts.
func (r *Replicas) Stop() error {
	if r.stop != nil {
		r.stop()
	}
	failed := []error{r.Certs.Stop()}
	for _, replica := range r.All {
		failed = append(failed, replica.Stop())
		if replica.Link != nil {
			failed = append(failed, replica.Link.Close())
		}
	}
	if r.Service != nil {
		failed = append(failed, r.Service.Close())
	}
	return errors.Join(failed...)
}

// A Keeper runs the part that makes certificates.
type Keeper struct {
	cluster *Cluster
	log     string
	program *Program // nil while it is away
}

// Start runs the part unless it runs, and returns when it is ready.
func (k *Keeper) Start(ctx context.Context) (err error) {
	if k.program != nil {
		return nil
	}
	k.program, err = k.cluster.runCerts(ctx, k.log)
	return err
}

// Stop ends the part. It may be away.
func (k *Keeper) Stop() error {
	if k.program == nil {
		return nil
	}
	stopped := k.program
	k.program = nil
	return stopped.Stop()
}

// A Clock is that of a program. The zero Clock is right.
type Clock struct {
	// Program is the path of the program that [BuildShifted] has built.
	Program string
	// Ahead is by how much the clock is ahead; below zero, the clock is behind.
	Ahead time.Duration
}

// command makes a program that has the clock.
func (c Clock) command(args ...string) (*Program, error) {
	name := "gridlatch"
	if c.Program != "" {
		name = filepath.Base(c.Program)
	}
	p, err := command(name, args...)
	if err != nil {
		return nil, err
	}
	p.cmd.Env = append(os.Environ(), clockShiftVariable+"="+c.Ahead.String())
	return p, nil
}

// A Replica is one of several controllers. It runs until it is told to end: if it ends by itself, it
// is started again.
type Replica struct {
	// Link is the way from the replica to the API server.
	Link *Link

	port       int
	kubeconfig string
	log        string

	mu      sync.Mutex
	program *Program // nil while it is away
	clock   Clock
}

// connect makes the link.
func (r *Replica) connect(c *Cluster, config *rest.Config, number int) error {
	server, err := url.Parse(config.Host)
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	if r.Link, err = NewLink("127.0.0.1:0", server.Host); err != nil {
		return err
	}
	linked := rest.CopyConfig(config)
	linked.Host = "https://" + r.Link.Address
	r.kubeconfig, err = c.writeKubeconfig(linked, fmt.Sprintf("gridlatch-%d", number))
	return err
}

// Start runs the replica with a clock unless it runs, and returns when it is ready.
func (r *Replica) Start(ctx context.Context, clock Clock) (err error) {
	r.mu.Lock()
	p := r.program
	if p == nil {
		r.clock = clock
		p, err = r.launch()
	}
	r.mu.Unlock()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return p.awaitReady(ctx)
}

// launch starts the program. The caller holds mu.
func (r *Replica) launch() (*Program, error) {
	p, err := r.clock.command(controllerFlags(r.kubeconfig, r.port, "--deployment=gridlatch")...)
	if err != nil {
		return nil, err
	}
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // it is not to outlive this process
	if err := p.launch(r.log); err != nil {
		return nil, err
	}
	r.program = p
	go r.restart(p)
	return p, nil
}

// restart starts the program again after it has ended, unless it was ended.
func (r *Replica) restart(ended *Program) {
	<-ended.done
	time.Sleep(restartPause)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.program != ended {
		return
	}
	if _, err := r.launch(); err != nil {
		r.program = nil // whoever waits for the replica will say so
	}
}

// Kill ends the replica without warning. It stays away until Start.
func (r *Replica) Kill() error { return r.end((*Program).Kill) }

// Stop ends the replica as a kubelet would. It stays away until Start.
func (r *Replica) Stop() error { return r.end((*Program).Stop) }

func (r *Replica) end(how func(*Program) error) error {
	r.mu.Lock()
	p := r.program
	r.program = nil
	r.mu.Unlock()
	if p == nil {
		return nil
	}
	return how(p)
}

// Ready returns an error unless the replica is ready.
func (r *Replica) Ready(ctx context.Context) error {
	p := r.running()
	if p == nil {
		return errors.New("the replica is away")
	}
	return p.ready(ctx)
}

// leads reports whether the replica is the leader by its own account.
func (r *Replica) leads(ctx context.Context) bool {
	p := r.running()
	if p == nil {
		return false
	}
	leading, err := p.Metric(ctx, "leader_election_master_status")
	return err == nil && leading > 0
}

// address is where the replica serves the webhook.
func (r *Replica) address() string { return "127.0.0.1:" + strconv.Itoa(r.port) }

func (r *Replica) running() *Program {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.program
}

// Log returns what the replica has written.
func (r *Replica) Log() string {
	text, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
