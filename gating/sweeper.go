package gating

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	sweepCheckInterval = 10 * time.Second
	checksPerSweep     = 60 // between two sweeps that nobody has requested
)

// Sweeper finds pods that have our gate, and owners that we hold themselves, but whose label does not
// say that they are held. Somebody has changed the label, or note them so while the webhook was away.
// Sweeper writes the label, and the loop does the rest: no pod may wait unseen.
type Sweeper struct {
	// Reader reads from the API server, not from a cache.
	Reader client.Reader
	Writer client.Writer
	// Records know which kinds Gridlatch may hold whole.
	Records *Records
	Clock   policy.Clock

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
				log.FromContext(ctx).Error(err, "cannot look for held work whose label is missing, will try again")
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
	var owners, pods tally
	defer func() {
		log := log.FromContext(ctx)
		if owners.succeeded+pods.succeeded > 0 { // one line, because anybody can make many
			log.Info("adopted held work whose label was missing", "owners", owners.succeeded, "pods", pods.succeeded)
		}
		if owners.count+pods.count > 0 {
			log.Error(cmp.Or(owners.first, pods.first), "cannot adopt held work whose label is missing", "owners", owners.count, "pods", pods.count)
		}
	}()
	note := hold.ReleaseNote{Reason: reasonNotAdopted, At: s.Clock.Now()}
	errOwners := hold.EachUnlabelledHeldOwner(ctx, s.Reader, "", s.Records.mayHold, func(owner hold.Owner) {
		owners.observe(s.adopt(ctx, owner.Kind, owner, note.OwnerPatches(owner, owner.Kind.GroupKind())))
	})
	errPods := hold.EachGatedPod(ctx, s.Reader, "", selection.NotEquals, func(pod *corev1.Pod) {
		pods.observe(s.adopt(ctx, hold.PodKind(), pod, note.PodPatches(pod)))
	})
	if owners.retryable()+pods.retryable() > 0 {
		s.Request()
	}
	return errors.Join(errOwners, errPods)
}

// reasonNotAdopted is the reason on what is released because it could not be adopted.
const reasonNotAdopted = "released: its label did not say that it is held, and the API server refuses the label"

// adopt labels an object as held, so that the loop knows it. Where that is refused, it releases the
// object.
func (s *Sweeper) adopt(ctx context.Context, kind schema.GroupVersionKind, o client.Object, patches hold.ReleasePatches) error {
	err := s.Writer.Patch(ctx, hold.PatchTarget(kind, o), hold.AdoptPatch(o))
	if hold.IsRefusal(err) {
		_, err = patches.Apply(true, func(patch client.Patch) error { return s.Writer.Patch(ctx, hold.PatchTarget(kind, o), patch) })
	}
	return client.IgnoreNotFound(err)
}
