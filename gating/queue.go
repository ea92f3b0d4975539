package gating

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// Work with a queue label is created with our gate at its queue in Kueue. Whether Kueue manages the
// work is known once the work is there: Kueue's webhook suspends what Kueue manages.

// isAtQueue reports whether an object is to wait at its queue in Kueue.
func (r *record) isAtQueue() bool { return hold.HeldBy(r.Annotations) == v1alpha1.HoldByKueue }

// hasNoQueue reports whether a Job that is to wait at its queue is not suspended, and so is not
// managed by Kueue. The pods of the Job have gates.
func (r *record) hasNoQueue() bool {
	return r.Kind == hold.JobKind().Kind && r.isAtQueue() && !r.isSuspended && !r.hasQuota
}

// runsDespiteGate reports whether an object of another kind than Job runs although our gate is to keep
// it at its queue. Without our gate, somebody else has released the object.
func (r *record) runsDespiteGate() bool {
	const suspended = true
	return r.Kind != hold.JobKind().Kind && r.isAtQueue() && !r.isSuspended && hold.HoldsItself(r.Annotations, suspended)
}

// isPartOfWhole reports whether the controller of an object is of a kind that is held whole. Kueue may
// make the Workload for the controller then, and none for the object.
func (r *record) isPartOfWhole() bool {
	return door.OfController(r) != nil
}

// isStartedByKueue reports whether Kueue has given quota to a held Job, and has resumed it.
func (g *group) isStartedByKueue() bool {
	return g.owner != nil && !g.wasReleased && g.owner.hasQuota && !g.owner.isSuspended
}

// makeUnqueuedDue makes due, as not held, what its queue does not hold: an object of another kind than
// Job whose door is open, and pods to which Kueue has given quota. Others need that quota.
func (p *pass) makeUnqueuedDue() {
	for _, g := range p.groups {
		switch {
		case g.isDue():
		case g.owner != nil && g.owner.runsDespiteGate():
			g.decision.Start, g.whyNotHeld = p.now, whyNotSuspended
		case g.owner == nil && slices.ContainsFunc(g.pods, func(pod *record) bool { return pod.hasQuota }):
			g.decision.Start, g.whyNotHeld = p.now, hold.ReasonStartedByKueue
		}
	}
}

const (
	// whyNotSuspended is the reason of work that runs although its queue was to hold it.
	whyNotSuspended = "not held: it runs, because Kueue does not manage it here, or is older than 0.19 and does not wait for Gridlatch"
	// whyNotManaged is the reason of work that waits at its queue for nothing.
	whyNotManaged = "not held: it is suspended, and Kueue has no Workload for it: does Kueue manage this namespace (managedJobsNamespaceSelector)?"
)

// workloadGrace is how long Kueue may take to make a Workload for suspended work. Kueue takes a second,
// or as long as another replica of Kueue needs to take over.
const workloadGrace = 30 * time.Second

// makeUnmanagedDue makes due, as not held, the work that is suspended and for which Kueue makes no
// Workload. Kueue suspends what has a queue label in any namespace, and starts it only in those that it
// manages. The user of the work may have suspended it, too.
func (l *Loop) makeUnmanagedDue(p *pass) {
	known, _ := l.withoutWorkload.Load(p.policy.Name)
	before, _ := known.(map[types.UID]time.Time) // nil at first
	found, next := map[types.UID]time.Time{}, time.Time{}
	for _, g := range p.groups {
		if g.owner == nil || !l.waitsForNothing(g.owner) {
			continue
		}
		since, isKnown := before[g.owner.UID]
		if !isKnown {
			since = p.now
		}
		found[g.owner.UID] = since
		switch until := since.Add(workloadGrace); {
		case !p.now.Before(until) && !g.isDue():
			g.decision.Start, g.whyNotHeld = p.now, whyNotManaged
		case p.now.Before(until) && (next.IsZero() || until.Before(next)):
			next = until
		}
	}
	p.changesAt = append(p.changesAt, next)
	l.withoutWorkload.Store(p.policy.Name, found)
}

// waitsForNothing reports whether an object is suspended and at its queue, and has no Workload there.
func (l *Loop) waitsForNothing(owner *record) bool {
	return owner.isAtQueue() && owner.isSuspended && !owner.isPartOfWhole() && l.Workloads.lacks(owner)
}

// leaveQueues holds the Jobs that Kueue does not manage without their queue: by the gates of their
// pods, or by their suspend where gates would hurt. It returns how many writes failed that are to be
// tried again soon.
func (l *Loop) leaveQueues(ctx context.Context, p *pass) int {
	var failed failures
	var writes errgroup.Group
	writes.SetLimit(l.Workers)
	for _, g := range p.groups {
		if g.owner == nil || g.isDue() || !g.owner.hasNoQueue() || !l.mayExplain(g.owner) {
			continue
		}
		suspend := g.owner.hasTimeLimit || g.owner.Annotations[v1alpha1.HoldAnnotation] == v1alpha1.HoldBySuspend
		writes.Go(func() error {
			err := l.writeExplanation(ctx, p, g.owner, hold.LeaveQueuePatch(g.owner, g.notes(g.owner), suspend))
			if !apierrors.IsInvalid(err) { // else the Job has changed, and another pass follows
				failed.add(err)
			}
			return nil
		})
	}
	_ = writes.Wait() // failed has the errors
	return failed.report(ctx, "cannot hold Jobs that Kueue does not manage without their queues, will try again", p.policy.Name)
}
