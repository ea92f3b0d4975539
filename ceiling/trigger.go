package ceiling

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/trigger"
)

// byTrigger names the claim of a target's trigger.
const byTrigger = "Trigger/" + trigger.Type

// carbonTrigger is what is kept of a target's trigger of the type carbon-intensity.
type carbonTrigger struct {
	// wish is what the trigger asks for. It means nothing if there is a mistake.
	wish trigger.Wish
	// mistake says what in the trigger cannot be used, empty if all can.
	mistake string
	// rewritten is the list of triggers as KEDA needs it, Unset if the list is so already.
	rewritten override.Value
	// isGivenBack says that there is no scaler any more, and that rewritten is the list as people
	// wrote it.
	isGivenBack bool
}

// isUsable reports whether there is a trigger that can be carried out.
func (c *carbonTrigger) isUsable() bool { return c != nil && c.mistake == "" && !c.isGivenBack }

// isTold reports whether there is a trigger whose state is told, be it that of a mistake.
func (c *carbonTrigger) isTold() bool { return c != nil && !c.isGivenBack }

// wantsCeiling reports whether the trigger asks for a ceiling. A pause needs none.
func (c *carbonTrigger) wantsCeiling() bool {
	return c.isUsable() && c.wish.Handler != trigger.HandlerPause && (c.wish.IsCeiling || c.wish.GradualUpTo > 0)
}

// isOfPolicy reports whether the trigger asks for a policy.
func (c *carbonTrigger) isOfPolicy(name string) bool { return c.isUsable() && c.wish.Policy == name }

// triggerReader reads the triggers of objects. A thousand wishes share their time zones.
type triggerReader struct {
	form  trigger.Form
	zones sync.Map // *time.Location by name
}

// read returns what is kept of the trigger of an object, nil if there is none.
func (r *triggerReader) read(k kind, o *unstructured.Unstructured) *carbonTrigger {
	scaling, path := trigger.ScalingOf(o.Object), field.NewPath("spec", "triggers")
	rewritten, isChanged, errs := r.form.For(string(k)).Rewrite(scaling, path)
	if len(errs) > 0 {
		return &carbonTrigger{mistake: shortened(errs.ToAggregate().Error(), maxReasonBytes)}
	}
	wish, isFound, errs := r.form.Find(scaling, path)
	switch {
	case len(errs) > 0:
		return &carbonTrigger{mistake: shortened(errs.ToAggregate().Error(), maxReasonBytes)}
	case !isFound && !isChanged:
		return nil
	}
	if wish.Zone != nil {
		zone, _ := r.zones.LoadOrStore(wish.Zone.String(), wish.Zone)
		wish.Zone = zone.(*time.Location)
	}
	found := &carbonTrigger{wish: wish, isGivenBack: !isFound}
	if isChanged {
		found.rewritten = override.ValueOf(rewritten)
	}
	return found
}

// triggersOf returns the triggers of an object, nil if they are no list.
func triggersOf(o *unstructured.Unstructured) []any {
	list, _, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "triggers")
	triggers, _ := list.([]any)
	return triggers
}

// triggerMemory is what is remembered of a target's trigger between two looks at the target. Only
// one worker at a time looks at a target. The source alone is read by others.
type triggerMemory struct {
	source atomic.Pointer[forecast.Source] // of the forecast, nil if none is known
	state  triggerState                    // that was seen last, empty if none was
	// isNew says that this process has begun to carry out the trigger.
	isNew bool
	// rewrites counts how often somebody has undone the rewriting, and pauses how often somebody has
	// taken the pause away.
	rewrites, pauses override.Contest
	// rewrittenFrom is the version of the target that was rewritten last, empty if none was.
	rewrittenFrom string
	// rewrittenUntil is when the rewriting has to be known.
	rewrittenUntil time.Time
	warned         map[string]string // the last warning by reason
}

// triggerMemory returns what is remembered of a target's trigger.
func (c *Controller) triggerMemory(r ref) *triggerMemory {
	m, _ := c.triggers.LoadOrStore(r, &triggerMemory{})
	return m.(*triggerMemory)
}

// follow remembers the source of the forecast.
func (m *triggerMemory) follow(source forecast.Source) {
	if known := m.source.Load(); known == nil || *known != source {
		kept := source // only what is new is put on the heap
		m.source.Store(&kept)
	}
}

// forgetTrigger forgets the trigger of a target that has none.
func (c *Controller) forgetTrigger(r ref) {
	c.triggers.Delete(r)
	c.Metrics.countTrigger(r, "")
}

// warnOfTrigger announces what is wrong with a target's trigger, once.
func (c *Controller) warnOfTrigger(t *target, reason, note string) {
	m := c.triggerMemory(t.ref())
	if m.warned[reason] == note {
		return
	}
	if m.warned == nil {
		m.warned = map[string]string{}
	}
	m.warned[reason] = note
	c.Events.Announce(t.Reference(), corev1.EventTypeWarning, reason, "CarryOutTrigger", note)
}

// announceTrigger announces what has become of a target's trigger. Of many changes at the same time
// only some get an Event.
func (c *Controller) announceTrigger(t *target, kind, reason, note string) {
	if c.changesPace.Allow() {
		c.Events.Announce(t.Reference(), kind, reason, "CarryOutTrigger", shortened(note, maxReasonBytes))
	}
}

// look is what has come of a look at a target's trigger.
type look struct {
	// judgement is nil if no trigger can be used now.
	judgement *judgement
	// again is when to look again, zero if never.
	again time.Time
	// isOver says that the target is not any more as it was known. What comes next is decided on
	// when the target is known again.
	isOver bool
}

// lookAtTrigger rewrites the trigger of a target, judges the trigger, and pauses the target if the
// trigger asks for that.
func (c *Controller) lookAtTrigger(ctx context.Context, r ref, t *target, now time.Time) (look, error) {
	if t == nil || t.carbon == nil && !t.hasTriggerNote() {
		c.forgetTrigger(r)
		return look{}, nil
	}
	if off := t.offUntil(now); !off.IsZero() {
		c.triggerMemory(r).rewrittenFrom = "" // whoever has released everything undoes nothing
		l, err := c.keepPause(ctx, t, false, "everything was released by hand, until "+plan.FormatTime(off), now)
		l.again = soonest(l.again, off)
		return l, err
	}
	rewritten, err := c.rewrite(ctx, t, now)
	if err != nil || rewritten.isOver {
		return rewritten, err
	}
	j, err := c.judge(ctx, t, now)
	if err != nil {
		return look{}, err
	}
	c.announceTurn(t, j, now)
	if j != nil && j.isPending {
		return look{judgement: j, again: soonest(rewritten.again, c.pendingUntil(now))}, nil
	}
	l, err := c.keepPause(ctx, t, t.carbon.wantsPause(j), j.why(), now)
	l.judgement, l.again = j, soonest(l.again, rewritten.again)
	if j != nil {
		l.again = soonest(l.again, j.Until)
	}
	return l, err
}

// trustInterval is how often a rewriting that waits for KEDA's trust looks again.
const trustInterval = time.Second

// knownTime is how long the controller waits to be told of its own rewriting. If another webhook undoes the
// rewriting, the object does not change at all, and nobody tells.
const knownTime = 10 * time.Second

// rewrite writes the trigger of a target as KEDA needs it.
//
// KEDA deletes the Jobs of a ScaledJob when the spec changes, unless the rollout is gradual. The
// rewriting waits for these Jobs as a ceiling does. Beside a trigger that KEDA does not know, KEDA
// starts no more Jobs, so the wait ends with the last one.
func (c *Controller) rewrite(ctx context.Context, t *target, now time.Time) (look, error) {
	m := c.triggerMemory(t.ref())
	if t.carbon == nil || t.carbon.rewritten == override.Unset {
		m.rewrites.Wait(false, now)
		return look{}, nil
	}
	if m.rewrittenFrom == t.ResourceVersion && now.Before(m.rewrittenUntil) {
		return look{isOver: true, again: m.rewrittenUntil}, nil // the rewriting is not known yet
	}
	if again, err := c.delayRewriting(ctx, t, m, now); err != nil || !again.IsZero() {
		return look{again: again}, err
	}
	change := t.Change()
	change.Set(triggersField, t.carbon.rewritten)
	change.Annotate(v1alpha1.CeilingReleasedAnnotation, "") // its time is over
	l, isWritten, err := c.writeForTrigger(ctx, t, change, now)
	if isWritten {
		m.rewrites.Resume()
		m.rewrittenFrom, m.rewrittenUntil, m.isNew = t.ResourceVersion, now.Add(knownTime), true
		l.again = m.rewrittenUntil
		c.announceTrigger(t, corev1.EventTypeNormal, EventTriggerRewritten, t.carbon.noteOfRewriting())
	}
	return l, err
}

// delayRewriting returns when to try to rewrite the trigger of a target, zero for now. A trigger that is given
// back needs no trust of KEDA's.
func (c *Controller) delayRewriting(ctx context.Context, t *target, m *triggerMemory, now time.Time) (time.Time, error) {
	if trusts := c.Options.IsTrusted; trusts != nil && !t.carbon.isGivenBack && !trusts() {
		return now.Add(trustInterval), nil
	}
	if again, isNew := m.rewrites.Wait(m.rewrittenFrom != "", now); now.Before(again) {
		if isNew {
			c.Metrics.reverted(t.kind)
		}
		c.warnOfTrigger(t, EventTriggerReverted, fmt.Sprintf(
			"somebody has written the triggers anew; the trigger %s is rewritten again at %s, and less often each time. "+
				"If a GitOps tool does this, write the trigger in git as external-push with the address of Gridlatch's scaler", trigger.Type, plan.FormatTime(again)))
		return again, nil
	}
	if !t.killsJobs {
		return time.Time{}, nil
	}
	running, err := runningJobs(ctx, c.Live, t)
	if err != nil || running == 0 {
		return time.Time{}, err
	}
	c.warnOfTrigger(t, EventTriggerWaits, "the trigger "+trigger.Type+" is not rewritten yet: "+killsJobsNote)
	return now.Add(jobsInterval), nil
}

// noteOfRewriting says what the rewriting has made of the trigger.
func (c *carbonTrigger) noteOfRewriting() string {
	if c.isGivenBack {
		return "the trigger " + trigger.Type + " is again as it was written, because Gridlatch has no scaler any more"
	}
	return "the trigger " + trigger.Type + ", which KEDA does not know, is a trigger of Gridlatch's scaler now"
}

// writeForTrigger makes a change that a trigger asks for.
func (c *Controller) writeForTrigger(ctx context.Context, t *target, change *override.Change, now time.Time) (l look, isWritten bool, err error) {
	written, err := c.writer().Write(ctx, change)
	switch {
	case err != nil:
		c.Metrics.failed(t.kind)
		c.warnOfTrigger(t, EventTriggerFailed, "cannot carry out the trigger "+trigger.Type+": "+shortened(err.Error(), maxReasonBytes))
		return look{}, false, err
	case written == override.Outdated:
		return look{isOver: true, again: now.Add(conflictRetry)}, false, nil
	}
	for _, reason := range []string{EventTriggerFailed, EventTriggerReverted, EventTriggerWaits} {
		delete(c.triggerMemory(t.ref()).warned, reason) // it is over
	}
	return look{isOver: true}, written == override.Written, nil
}

// soonest returns the earliest time, zero if all are zero.
func soonest(times ...time.Time) (first time.Time) {
	for _, at := range times {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}
