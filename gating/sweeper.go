package gating

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	sweepCheckInterval = 10 * time.Second
	checksPerSweep     = 60 // between two sweeps that nobody asked for
)

// Sweeper finds pods that have our gate, and Jobs that we hold, but whose label does not say that
// they are held. Somebody has changed the label, or made them so while the webhook was away.
// Sweeper writes the label, and the loop does the rest: no pod may wait unseen.
type Sweeper struct {
	// Reader reads from the API server, not from a cache.
	Reader client.Reader
	Writer client.Writer
	Clock  policy.Clock

	isRequested atomic.Bool
}

// Request requests a sweep, within ten seconds.
func (s *Sweeper) Request() { s.isRequested.Store(true) }

// Start sweeps at once, every ten minutes and when a sweep is requested, until the context ends;
// for a manager.
func (s *Sweeper) Start(ctx context.Context) error {
	ticker := time.NewTicker(sweepCheckInterval)
	defer ticker.Stop()
	for n := 0; ; n++ {
		if s.isRequested.Swap(false) || n%checksPerSweep == 0 {
			if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
				log.FromContext(ctx).Error(err, "cannot look for gated pods that nobody holds, trying again")
				s.Request()
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// NeedLeaderElection makes a manager run the sweeper on the leader.
func (s *Sweeper) NeedLeaderElection() bool { return true }

// sweep adopts all that it finds. What the API server refuses to have adopted is released, because
// nobody would know when to release it.
func (s *Sweeper) sweep(ctx context.Context) error {
	var jobs, pods tally
	defer func() {
		log := log.FromContext(ctx)
		if jobs.succeeded+pods.succeeded > 0 { // one line: anybody may make as many as there may be
			log.Info("took over what is held and nobody knew of", "jobs", jobs.succeeded, "pods", pods.succeeded)
		}
		if jobs.count+pods.count > 0 {
			log.Error(cmp.Or(jobs.first, pods.first), "cannot take over what is held and nobody knew of", "jobs", jobs.count, "pods", pods.count)
		}
	}()
	made := hold.ReleaseNote{Reason: reasonNotTakenOver, At: s.Clock.Now()}
	errJobs := hold.EachUnlabelledHeldJob(ctx, s.Reader, "", func(job *batchv1.Job) {
		jobs.observe(s.adopt(ctx, job, made.JobPatches(job)))
	})
	errPods := hold.EachGatedPod(ctx, s.Reader, "", selection.NotEquals, func(pod *corev1.Pod) {
		pods.observe(s.adopt(ctx, pod, made.PodPatches(pod)))
	})
	if jobs.retryable()+pods.retryable() > 0 {
		s.Request()
	}
	return errors.Join(errJobs, errPods)
}

// reasonNotTakenOver is the reason on what is released because it could not be adopted.
const reasonNotTakenOver = "let go: it was held and nobody knew of it, and it could not be taken over"

// adopt labels an object as held, so that the loop knows it. Where that is refused, it releases the
// object.
func (s *Sweeper) adopt(ctx context.Context, o client.Object, w hold.ReleasePatches) error {
	err := s.Writer.Patch(ctx, hold.PatchTarget(o), hold.AdoptPatch(o))
	if hold.IsRefusal(err) {
		_, err = w.Apply(true, func(patch client.Patch) error { return s.Writer.Patch(ctx, hold.PatchTarget(o), patch) })
	}
	return client.IgnoreNotFound(err)
}
