package ceiling

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/trigger"
)

// ownersWord is the note that the owner has written over the pause of a trigger. The trigger sets no
// pause until the grid has been clean.
const ownersWord = "owner"

// wantsPause reports whether a judgement asks for a pause.
func (c *carbonTrigger) wantsPause(j *judgement) bool {
	return c.isUsable() && c.wish.Handler == trigger.HandlerPause && j != nil && !j.IsMistake && !j.IsClean()
}

// hasTriggerNote reports whether a note on a pause by a trigger is on the target.
func (t *target) hasTriggerNote() bool {
	_, ok := t.Annotations[v1alpha1.TriggerPausedAnnotation]
	return ok
}

// triggerPause returns the pause that a trigger has set, nil if there is none.
func (t *target) triggerPause() *pause {
	for _, p := range readPauses(t.kind, t.Annotations[v1alpha1.TriggerPausedAnnotation]) {
		if p.key == paused {
			return &p
		}
	}
	return nil
}

// isPausedByTrigger reports whether a pause that a trigger has set is in force.
func (t *target) isPausedByTrigger() bool {
	p := t.triggerPause()
	return p != nil && t.isStanding(*p)
}

// settleTriggerPause adds to a change what a pause, or no pause, by a trigger takes. It reports
// whether somebody has taken such a pause away.
//
// A pause that is there already, be it the owner's or that of a ceiling, is left alone. So is a
// target that its owner keeps awake. What the owner writes over the pause counts until the grid has
// been clean.
func (t *target) settleTriggerPause(c *override.Change, isWanted bool) (isUndone bool) {
	p, note := t.triggerPause(), t.Annotations[v1alpha1.TriggerPausedAnnotation]
	switch {
	case !isWanted:
		t.endTriggerPause(c)
		return false
	case p != nil && t.isGone(*p):
		c.Set(p.field(), override.ValueOf(p.pauseValue))
		isUndone = true
	case p != nil && !t.isStanding(*p):
		note = ownersWord
	case p != nil || note == ownersWord:
	case t.boundInForce(stopsScaling) != "" || t.boundInForce(keepsAwake) != "":
		note = ""
	default:
		note = t.setTriggerPause(c)
	}
	c.Annotate(v1alpha1.TriggerPausedAnnotation, note)
	return isUndone
}

// setTriggerPause pauses the target for its trigger, and returns the note of that.
func (t *target) setTriggerPause(c *override.Change) (note string) {
	p := pause{bound: bound{key: paused, pauseValue: "true"}}
	if before, ok := t.Annotations[paused]; ok {
		p.before = &before
	}
	c.Set(p.field(), override.ValueOf(p.pauseValue))
	return p.String()
}

// endTriggerPause gives back what a trigger has set, if that is still there, and takes the note away.
func (t *target) endTriggerPause(c *override.Change) {
	if p := t.triggerPause(); p != nil && t.isStanding(*p) {
		c.Set(p.field(), override.ValueOf(p.before))
	}
	c.Annotate(v1alpha1.TriggerPausedAnnotation, "")
}

// keepPause pauses a target for its trigger, or ends the pause that a trigger has set.
func (c *Controller) keepPause(ctx context.Context, t *target, isWanted bool, why string, now time.Time) (look, error) {
	change, m := t.Change(), c.triggerMemory(t.ref())
	isUndone := t.settleTriggerPause(change, isWanted)
	again, isNew := m.pauses.Wait(isUndone, now)
	if change.IsEmpty() {
		return look{}, nil
	}
	if now.Before(again) {
		if isNew {
			c.Metrics.reverted(t.kind)
		}
		c.warnOfTrigger(t, EventTriggerReverted, "somebody has taken the annotation "+paused+" away; it is set again at "+plan.FormatTime(again)+
			", and less often each time. To have no pause, write "+paused+`: "false"`)
		return look{again: again}, nil
	}
	l, isWritten, err := c.writeForTrigger(ctx, t, change, now)
	if !isWritten {
		return l, err
	}
	m.pauses.Resume()
	m.isNew = true
	switch {
	case !change.Sets(override.Annotation(paused)):
	case isWanted:
		c.announceTrigger(t, corev1.EventTypeNormal, EventTriggerPaused, "KEDA scales the object no more, and the replicas stay as they are: "+why)
	default:
		c.announceTrigger(t, corev1.EventTypeNormal, EventTriggerResumed, "KEDA scales the object again: "+why)
	}
	return l, nil
}
