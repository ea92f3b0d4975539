package ceiling

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/trigger"
)

// verdict is what a claim wants of its target at one moment.
type verdict struct {
	// ceiling is the most replicas that may run, nil for the target's own maxReplicaCount.
	ceiling *int32
	// cautious is the ceiling that a slightly higher intensity would give. The ceiling in force
	// rises no further. Without it, nothing bounds the rise.
	cautious *int32
	// followsIntensity says that the ceiling is that of the intensity. A ceiling that was lowered
	// is then not lowered again for a while. Schedules are kept to the second.
	followsIntensity bool
	// isCapped says that the ceiling never exceeds the target's own maxReplicaCount.
	isCapped bool
	// isPending says that it is too early for a verdict. The target is left as it is.
	isPending bool
	// reason is the part of the sentence that stays true for as long as the ceiling does. detail is
	// true at the moment at which the ceiling is set.
	reason, detail string
	// until is when the verdict may change by itself, zero if it does not.
	until time.Time
}

// change is what a verdict makes of a target.
type change struct {
	*override.Change
	standing override.Standing
	// ceiling is in force after the change, 0 if the target is paused, nil if there is none.
	ceiling *int32
	// max is the maxReplicaCount after the change.
	max override.Value
	// isLowered says that the ceiling is lower than before, isRaised that it is higher.
	isLowered, isRaised bool
	// isDamped says that the verdict is not, or not wholly, followed for now. again is when to look
	// again for that reason, zero if that is not known.
	isDamped bool
	again    time.Time
}

// pace is how fast a ceiling may fall.
type pace struct {
	// interval is between two changes that lower the ceiling because of the intensity.
	interval time.Duration
	// followsIntensity says that the ceiling in force is that of the intensity.
	followsIntensity bool
	// step is the most that the ceiling falls in an interval, whatever the reason.
	step step
}

// settle returns what has to change on a target for the verdict of a claim to be in force.
func (t *target) settle(by string, v verdict, p pace, now time.Time) *change {
	r := t.record()
	c := t.noChange(r)
	switch {
	case v.isPending:
		return c
	case v.ceiling == nil:
		c.max, c.ceiling = c.standing.Original, nil
		t.write(c, r, by, v)
		return c
	}
	ceiling := t.fit(*v.ceiling, c, v)
	if key := t.boundInForce(stopsScalingHalfway); key != "" && ceiling < t.reach(r) {
		v.reason += ": the ceiling is not lowered while its owner has set " + key
		t.keep(c, r)
		t.write(c, r, by, v)
		return c
	}
	isOwn := r != nil && r.by == by
	if isOwn {
		ceiling = t.damp(ceiling, c, r, v, p, now)
	}
	if softened := t.soften(ceiling, c, r, p, now); softened > ceiling {
		v.reason += fmt.Sprintf(": in steps of %s, to %d", p.step, ceiling)
		ceiling = softened
	}
	v.reason += t.apply(ceiling, c, r)
	t.compare(c, r)
	t.write(c, r, by, v)
	if c.isLowered && p.isTimed(isOwn && v.followsIntensity) {
		c.Annotate(v1alpha1.CeilingLoweredAnnotation, now.UTC().Format(time.RFC3339))
	}
	return c
}

// noChange returns the change that changes nothing.
func (t *target) noChange(r *record) *change {
	c := &change{Change: t.Change(), standing: t.standing(r), max: t.Value(maxReplicaCount)}
	if r != nil {
		c.ceiling = &r.ceiling
	}
	return c
}

// fit bounds a ceiling by what the target allows.
func (t *target) fit(ceiling int32, c *change, v verdict) int32 {
	if original := replicas(c.standing.Original); v.isCapped && original != nil {
		ceiling = min(ceiling, *original)
	}
	return max(ceiling, t.minCeiling, 0)
}

// reach returns how far the target is scaled as it is.
func (t *target) reach(r *record) int32 {
	if r != nil && len(r.pauses) > 0 && !t.isPauseReplaced(r) && !t.standing(r).IsUndone {
		return 0
	}
	return t.maxReplicas()
}

// keep leaves the target with the ceiling that it has.
func (t *target) keep(c *change, r *record) {
	if r == nil || c.standing.IsUndone {
		c.ceiling, c.standing.Original = nil, c.max
	}
}

// damp keeps a ceiling from following an intensity that wobbles around a bound.
func (t *target) damp(ceiling int32, c *change, r *record, v verdict, p pace, now time.Time) int32 {
	cautious, mayFall := ceiling, time.Time{}
	if v.cautious != nil {
		cautious = t.fit(*v.cautious, c, v)
	}
	if v.followsIntensity {
		mayFall = override.MayChange(r.lowered, p.interval, now)
	}
	damped, again := override.Damp(r.ceiling, ceiling, cautious, mayFall, now)
	c.isDamped, c.again = damped != ceiling, again
	return damped
}

// apply gives the target a ceiling, and returns what of the owner's word stands against it.
func (t *target) apply(ceiling int32, c *change, r *record) (objection string) {
	c.ceiling = &ceiling
	if ceiling > 0 {
		c.max = valueOf(&ceiling)
		return ""
	}
	if t.isPausedByTrigger() {
		return ": the trigger " + trigger.Type + " has paused the object already"
	}
	if key := t.ownersPause(r); key != "" {
		return ": its owner has set " + key + ", which stays"
	}
	return ""
}

// compare notes whether the ceiling is higher or lower than before.
func (t *target) compare(c *change, r *record) {
	before := t.maxReplicas()
	if r != nil {
		before = r.ceiling
	}
	c.isLowered, c.isRaised = *c.ceiling < before, *c.ceiling > before
}

// isTimed reports whether the next lowering has to wait after one that is made now.
func (p pace) isTimed(followsIntensity bool) bool {
	return p.interval > 0 && (p.step.isLimit() || p.followsIntensity && followsIntensity)
}

// write adds the field, the notes and the pauses to the change.
func (t *target) write(c *change, r *record, by string, v verdict) {
	notes := t.notes(c, r, v)
	notes[v1alpha1.CeilingByAnnotation] = by
	if c.ceiling == nil || *c.ceiling > 0 || !t.mayPause(r) {
		t.endPause(c, r)
	} else {
		notes[v1alpha1.CeilingPausedWithAnnotation] = strings.Join(t.setPause(c, r), ",")
	}
	for _, key := range noteKeys() {
		c.Annotate(key, notes[key])
	}
	c.Annotate(v1alpha1.CeilingReleasedAnnotation, "") // its time is over
	c.Set(maxReplicaCount, c.max)
}

// notes returns what is written on the target about the ceiling.
func (t *target) notes(c *change, r *record, v verdict) map[string]string {
	present := t.Annotations[v1alpha1.ReasonAnnotation]
	notes := map[string]string{v1alpha1.ReasonAnnotation: v.sentence(present)}
	if c.ceiling == nil {
		return notes
	}
	notes[v1alpha1.CeilingAnnotation] = strconv.Itoa(int(*c.ceiling))
	notes[v1alpha1.OriginalMaxReplicaCountAnnotation] = printReplicas(replicas(c.standing.Original))
	notes[v1alpha1.CeilingLoweredAnnotation] = t.Annotations[v1alpha1.CeilingLoweredAnnotation]
	if *c.ceiling == 0 {
		notes[v1alpha1.AppliedMaxReplicaCountAnnotation] = printReplicas(replicas(c.max))
	}
	if c.isDamped && r != nil && *c.ceiling == r.ceiling {
		notes[v1alpha1.ReasonAnnotation] = present // it is the reason of the ceiling that stays in force
	}
	return notes
}

// restore returns what has to change for the target to be as if there had never been a ceiling.
func (t *target) restore() *change {
	r := t.record()
	c := t.noChange(r)
	c.ceiling, c.max, c.isRaised = nil, c.standing.Original, r != nil
	c.standing.IsUndone, c.standing.IsReverted = false, false
	t.endPause(c, r)
	for _, key := range noteKeys() {
		c.Annotate(key, "")
	}
	c.Set(maxReplicaCount, c.max)
	return c
}

// setsMax reports whether the change gives the target another maxReplicaCount.
func (c *change) setsMax() bool { return c.Sets(maxReplicaCount) }

// sentence returns the reason in full. It returns the sentence that is present if that is still
// true.
func (v verdict) sentence(present string) string {
	return override.Sentence{Reason: v.reason, Detail: v.detail}.Over(present)
}
