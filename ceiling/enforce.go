package ceiling

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
)

// conflictRetry is how long to wait before a change that lost a race is decided on again.
const conflictRetry = 100 * time.Millisecond

// outcome is what has come of a verdict.
type outcome struct {
	change    *change
	isWritten bool
	// isLost says that the target is not any more as it was known.
	isLost bool
	// again is when to look at the target again, whatever the verdict says, zero if never.
	again time.Time
	// waits says why the change has not been made, empty if it has.
	waits string
	// isReverted says that the change waits because somebody else undoes it.
	isReverted bool
}

// result returns when to look at the target next.
func (o *outcome) result(v verdict, now time.Time) reconcile.Result {
	return resultAt(override.Soonest(v.until, o.again, o.change.again), now)
}

// enforce puts the verdict of a claim in force on a target.
func (c *Controller) enforce(ctx context.Context, t *target, by string, v verdict, now time.Time) (*outcome, error) {
	m := c.memory(t.ref())
	wanted := t.settle(by, v, pace{c.Options.LowerInterval, m.followsIntensity, c.step(t)}, now)
	o, err := c.write(ctx, t, wanted, now)
	if err != nil {
		return o, err
	}
	if v.isPending && o.again.IsZero() {
		o.again = c.pendingUntil(now)
	}
	if o.again.IsZero() && !o.isLost { // what is wanted is in force
		m.followsIntensity = v.followsIntensity || wanted.isDamped && m.followsIntensity
		c.Metrics.show(t.ref(), wanted.ceiling)
	}
	if o.isWritten {
		c.announce(t, wanted, v)
	}
	return o, nil
}

// step returns the most that a target's ceiling may be lowered at a time.
func (c *Controller) step(t *target) step {
	text, ok := t.Annotations[v1alpha1.LowerByAnnotation]
	if !ok {
		text = c.Options.LowerBy
	}
	s, err := parseStep(text)
	if err != nil {
		c.warn(t, EventInvalid, v1alpha1.LowerByAnnotation+": "+err.Error()+"; the ceiling is lowered at once")
	}
	return s
}

// announce tells of a change that was made. Of many changes at the same time only some get an
// Event: the objects tell the rest, and the API server is busy with the patches.
func (c *Controller) announce(t *target, made *change, v verdict) {
	c.Metrics.changed(t.ref(), made)
	if (made.isLowered || made.isRaised || made.setsMax()) && c.changesPace.Allow() {
		c.Events.Announce(t.Reference(), corev1.EventTypeNormal, EventChanged, "SetCeiling", describe(made, v))
	}
}

// describe says what a change has done, and why.
func describe(c *change, v verdict) string {
	reason := v.sentence("")
	switch {
	case c.ceiling == nil:
		return "maxReplicaCount is " + printReplicas(replicas(c.max)) + ", as before; " + reason
	case *c.ceiling == 0:
		return "paused, because the ceiling is 0; " + reason
	default:
		return fmt.Sprintf("the ceiling is %d; %s", *c.ceiling, reason)
	}
}

// write makes a change, or says what the change waits for.
func (c *Controller) write(ctx context.Context, t *target, wanted *change, now time.Time) (*outcome, error) {
	o := &outcome{change: wanted}
	if wanted.IsEmpty() {
		return o, c.disown(ctx, t)
	}
	m := c.memory(t.ref())
	if again, isNew := m.contest.Wait(wanted.standing.IsUndone, now); now.Before(again) {
		o.again, o.isReverted, o.waits = again, true, undoneNote(wanted, again)
		if isNew {
			c.Metrics.reverted(t.kind)
		}
		c.warn(t, EventReverted, o.waits)
		return o, nil
	}
	if wanted.setsMax() && t.killsJobs {
		running, err := runningJobs(ctx, c.Live, t)
		if err != nil {
			return o, err
		}
		if running > 0 {
			return o, c.awaitJobs(ctx, t, o, now)
		}
	}
	written, err := c.writer().Write(ctx, wanted.Change)
	switch {
	case err != nil:
		c.Metrics.failed(t.kind)
		c.warn(t, EventFailed, "cannot set the ceiling: "+err.Error())
		return o, err
	case written == override.Outdated:
		o.isLost, o.again = true, now.Add(conflictRetry)
		return o, nil
	case written == override.Gone:
		o.isLost = true
		return o, nil
	}
	m.contest.Resume()
	m.warned, o.isWritten = "", true
	return o, nil
}

// disown gives up the ownership of what a target does not lend.
func (c *Controller) disown(ctx context.Context, t *target) error {
	if t == nil {
		return nil
	}
	return c.writer().Disown(ctx, &t.Object, t.lent(), t.hasNotes() || t.hasTriggerNote())
}

// undoneNote says what somebody else has done, and what to do about it.
func undoneNote(c *change, again time.Time) string {
	if !c.standing.IsReverted {
		return fmt.Sprintf("somebody has changed maxReplicaCount to %s, which comes back when the ceiling goes; the ceiling is set again at %s. "+
			"To have no ceiling, take the annotation %s away",
			printReplicas(replicas(c.standing.Original)), plan.FormatTime(again), v1alpha1.PolicyAnnotation)
	}
	return fmt.Sprintf("somebody changes maxReplicaCount, or the pause, back to what it was; the ceiling is set again at %s, and less often each time. %s",
		plan.FormatTime(again), override.GitOpsAdvice(maxReplicaCount))
}
