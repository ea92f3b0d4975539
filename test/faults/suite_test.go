package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	stockNamespace = "stock"
	stockJobs      = 75 // of podsPerJob pods
	stockSuspended = 20

	patience = 2 * time.Minute // for what should take a moment, on a busy machine
	// beginsAfter is how long after the first wave a fault begins.
	beginsAfter = 3 * time.Second
	probePause  = 200 * time.Millisecond
)

// A suite is a cluster with two replicas of Gridlatch that hold a stock of pods, on which one fault
// after the other happens.
type suite struct {
	cluster   *env.Cluster
	replicas  *env.Replicas
	clientset kubernetes.Interface
	watcher   *watcher
	// lead is how long it takes to create the work of one fault.
	lead     time.Duration
	baseline result
	// expiresAt is when a certificate expires that a fault has put in place.
	expiresAt time.Time
}

func newSuite(t *testing.T) *suite {
	t.Helper()
	s := &suite{cluster: env.Start(t, env.Nodes(1))}
	protobuf := rest.CopyConfig(s.cluster.Config)
	protobuf.ContentType = "application/vnd.kubernetes.protobuf"
	var err error
	if s.clientset, err = kubernetes.NewForConfig(protobuf); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if s.replicas, err = s.cluster.RunReplicas(ctx, 2, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.replicas.Stop(); err != nil {
			t.Error(err)
		}
	})
	s.watcher = newWatcher(t.Context(), s.clientset)
	return s
}

// fillStock has pods held that are due long after all faults.
func (s *suite) fillStock(ctx context.Context, t *testing.T) error {
	t.Helper()
	if err := s.namespace(ctx, stockNamespace); err != nil {
		return err
	}
	if err := s.forecast(ctx); err != nil {
		return err
	}
	var jobs []*batchv1.Job
	deadline := time.Now().Add(12 * time.Hour)
	for range stockJobs {
		jobs = append(jobs, newJob(stockNamespace, podsPerJob, waits(deadline)))
	}
	for range stockSuspended {
		jobs = append(jobs, newSuspendedJob(stockNamespace, deadline))
	}
	began := time.Now()
	if err := s.createJobs(ctx, jobs, true); err != nil {
		return err
	}
	s.lead = time.Since(began)*2/3 + 5*time.Second // for a quarter as many, with some to spare
	t.Logf("the stock of %d pods and Jobs was created in %v", heldBy(jobs), time.Since(began))
	return nil
}

// forecast publishes a new forecast, by which all work waits until its latest start, and returns when
// work is held by the forecast.
func (s *suite) forecast(ctx context.Context) error {
	if err := s.cluster.Forecast(ctx, falling(time.Now())...); err != nil {
		return err
	}
	return poll(ctx, s.probe)
}

// probe returns an error unless a pod that asks to wait would be held.
func (s *suite) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	pod := newPod(metav1.NamespaceDefault, "probe-", waits(time.Now().Add(12*time.Hour)))
	got, err := s.clientset.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	if !hold.HasGate(got.Spec.SchedulingGates) {
		return fmt.Errorf("a pod that asks to wait is not held: %v", got.Annotations)
	}
	return nil
}

// namespace makes a namespace, which is ready once it has its service account.
func (s *suite) namespace(ctx context.Context, name string) error {
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := s.clientset.CoreV1().Namespaces().Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create namespace: %w", err)
	}
	return poll(ctx, func(ctx context.Context) error {
		_, err := s.clientset.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// createJobs creates Jobs of one namespace, and returns when they and their pods are held, if they
// are to be.
func (s *suite) createJobs(ctx context.Context, jobs []*batchv1.Job, areHeld bool) error {
	want := 0
	for some := range slices.Chunk(jobs, jobsAtOnce) {
		for _, job := range some {
			if _, err := s.clientset.BatchV1().Jobs(job.Namespace).Create(ctx, job, metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("create a Job: %w", err)
			}
		}
		if !areHeld {
			continue
		}
		want += heldBy(some)
		if err := s.awaitHeld(ctx, some[0].Namespace, want); err != nil {
			return err
		}
	}
	return nil
}

// awaitHeld returns when so many pods and Jobs are or were held.
func (s *suite) awaitHeld(ctx context.Context, namespace string, want int) error {
	return poll(ctx, func(context.Context) error {
		if held := s.watcher.everHeld(namespace); held < want {
			return fmt.Errorf("%d pods and Jobs have been held in %s, want %d", held, namespace, want)
		}
		return nil
	})
}

// check returns nil once all is well: both replicas are ready, one leads, the webhook holds work, and
// the stock is as it was.
func (s *suite) check(ctx context.Context) error {
	stock := stockJobs*(podsPerJob+1) + stockSuspended
	return poll(ctx, func(ctx context.Context) error {
		var failed []error
		for _, replica := range s.replicas.All {
			failed = append(failed, replica.Ready(ctx))
		}
		if s.replicas.Leader(ctx) == nil {
			failed = append(failed, errors.New("no replica leads"))
		}
		if held := s.watcher.held(stockNamespace); held != stock {
			failed = append(failed, fmt.Errorf("%d of the stock are held, want %d", held, stock))
		}
		return errors.Join(append(failed, s.probe(ctx))...)
	})
}

// maxAttempts is how often a fault is tried on a machine that gets slower and slower.
const maxAttempts = 3

// errTooSlow is the error if the work of a fault was not held in time.
var errTooSlow = errors.New("the first wave was due before all were held: the machine is slower than it was")

// run has a fault happen in the middle of a load of its own.
func (s *suite) run(ctx context.Context, f fault) (r result, err error) {
	for attempt := range maxAttempts {
		if r, err = s.attempt(ctx, f, f.namespace(attempt)); !errors.Is(err, errTooSlow) {
			break
		}
		s.lead *= 2
	}
	return r, err
}

// attempt has a fault happen to the work of a namespace, and leaves the installation as it was found.
func (s *suite) attempt(ctx context.Context, f fault, namespace string) (r result, err error) {
	defer func() {
		if hasChanged := f.prepare != nil || !r.began.IsZero(); err != nil && hasChanged && f.end != nil {
			err = errors.Join(err, f.end(ctx, s))
		}
		if f.after != nil {
			err = errors.Join(err, f.after(ctx, s))
		}
	}()
	r.fault = f.name
	if f.prepare != nil {
		if err := f.prepare(ctx, s); err != nil {
			return r, fmt.Errorf("prepare: %w", err)
		}
	}
	first, last, err := s.createWork(ctx, f, namespace)
	if err != nil {
		return r, err
	}
	creating, done := s.createPods(ctx, namespace, last)
	defer done()
	if err := sleepUntil(ctx, first.Add(beginsAfter)); err != nil {
		return r, err
	}
	if err := s.suffer(ctx, f, &r, namespace, last); err != nil {
		return r, err
	}
	done()
	r.ordinary, r.tolerant = creating[0], creating[1]
	until := r.ended
	switch {
	case f.changesLeader:
		until = until.Add(takeover)
	case !f.stopsReleases:
		until = r.began
	}
	r.releases = s.watcher.releases(namespace, r.began, until)
	return r, nil
}

// createWork creates waves of work, and returns when the first wave is due and when the last.
func (s *suite) createWork(ctx context.Context, f fault, namespace string) (first, last time.Time, err error) {
	if err := s.namespace(ctx, namespace); err != nil {
		return first, last, err
	}
	if err := s.forecast(ctx); err != nil {
		return first, last, err
	}
	first = time.Now().Add(s.lead)
	last = first.Add(time.Duration(f.waves()) * wavePause)
	bounded, cancel := context.WithDeadline(ctx, first)
	defer cancel()
	err = s.createJobs(bounded, waves(namespace, first, f.waves()), !f.startsEarly)
	if bounded.Err() != nil && ctx.Err() == nil {
		err = errTooSlow
	}
	return first, last, err
}

// createPods creates ordinary pods and pods that ask to wait, until done is called. The latter are due
// by the last moment.
func (s *suite) createPods(ctx context.Context, namespace string, last time.Time) (streams [2]*stream, done func()) {
	ordinary := &stream{clientset: s.clientset, pause: ordinaryPause, pod: func() *corev1.Pod { return newPod(namespace, "ordinary-", nil) }}
	tolerant := &stream{clientset: s.clientset, pause: tolerantPause, pod: func() *corev1.Pod {
		return newPod(namespace, "tolerant-", waits(time.Now().Add(8*time.Second)))
	}}
	ordinaryContext, stopOrdinary := context.WithCancel(ctx)
	tolerantContext, stopTolerant := context.WithDeadline(ctx, last.Add(-8*time.Second))
	ended := make(chan struct{}, 2)
	go func() { ordinary.run(ordinaryContext); ended <- struct{}{} }()
	go func() { tolerant.run(tolerantContext); ended <- struct{}{} }()
	stopped := false
	return [2]*stream{ordinary, tolerant}, func() {
		stopOrdinary()
		stopTolerant()
		if !stopped {
			stopped = true
			<-ended
			<-ended
		}
	}
}

// suffer has the fault happen, and returns when all is released, or would never be.
func (s *suite) suffer(ctx context.Context, f fault, r *result, namespace string, last time.Time) error {
	r.began = time.Now()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	lastBad := make(chan time.Time, 1)
	go func() { lastBad <- s.watchHealth(watching, namespace) }()
	if f.begin != nil {
		if err := f.begin(ctx, s); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
	}
	if err := sleepUntil(ctx, time.Now().Add(f.lasts)); err != nil {
		return err
	}
	r.ended = r.began
	if f.end != nil {
		if err := f.end(ctx, s); err != nil {
			return fmt.Errorf("end: %w", err)
		}
		r.ended = time.Now()
	}
	if f.stopsReleases {
		r.outage = r.ended.Sub(r.began)
	}
	if err := sleepUntil(ctx, last); err != nil {
		return err
	}
	if err := s.awaitReleased(ctx, namespace); err != nil {
		return err
	}
	stop()
	r.recovery = max(0, (<-lastBad).Sub(r.ended))
	return nil
}

// awaitReleased returns when nothing is held any more, or after a long time.
func (s *suite) awaitReleased(ctx context.Context, namespace string) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_ = env.Poll(bounded, func(context.Context) error { // what is still held then counts as lost
		if held := s.watcher.held(namespace); held > 0 {
			return fmt.Errorf("%d are held", held)
		}
		return nil
	})
	return ctx.Err()
}

// watchHealth returns the last moment at which not all was well: the webhook did not hold work, or
// work was held for longer past its latest start than it ever is without a fault.
func (s *suite) watchHealth(ctx context.Context, namespace string) (lastBad time.Time) {
	for ctx.Err() == nil {
		if s.watcher.overdue(namespace, 2*s.baseline.late) > 0 || s.probe(ctx) != nil {
			if ctx.Err() == nil {
				lastBad = time.Now()
			}
		}
		_ = sleepUntil(ctx, time.Now().Add(probePause)) // the loop ends then
	}
	return lastBad
}

func sleepUntil(ctx context.Context, at time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(at)):
		return nil
	}
}

// poll is env.Poll for so long as patience is.
func poll(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return env.Poll(ctx, check)
}
