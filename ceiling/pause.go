package ceiling

import (
	"slices"
	"strings"

	"github.com/gridlatch/gridlatch/override"
)

// pause is an annotation of KEDA that we have set for a ceiling of 0.
type pause struct {
	bound
	// before is the value that comes back, which did not pause, nil if there was none.
	before *string
}

// String returns the pause as it is noted.
func (p pause) String() string {
	if p.before == nil {
		return p.key
	}
	return p.key + "=" + *p.before
}

// readPauses reads what was noted. A pause that cannot be read is not ours.
func readPauses(k kind, note string) (pauses []pause) {
	for text := range strings.SplitSeq(note, ",") {
		key, before, hasBefore := strings.Cut(text, "=")
		for _, b := range pausingBounds(k) {
			if b.key != key || hasBefore && b.isInForce(map[string]string{key: before}) {
				continue
			}
			p := pause{bound: b}
			if hasBefore {
				p.before = &before
			}
			pauses = append(pauses, p)
		}
	}
	return pauses
}

// isStanding reports whether a pause is as we have set it, and nobody else has written the same
// since.
func (t *target) isStanding(p pause) bool {
	value, ok := t.Annotations[p.key]
	return ok && value == p.pauseValue && !t.IsRewritten(p.field())
}

// isGone reports whether somebody has taken a pause of ours away.
func (t *target) isGone(p pause) bool {
	_, ok := t.Annotations[p.key]
	return !ok
}

// isPauseReplaced reports whether the owner has written an annotation that we had set. What the
// owner has written counts from then on.
func (t *target) isPauseReplaced(r *record) bool {
	return slices.ContainsFunc(r.pauses, func(p pause) bool { return !t.isStanding(p) && !t.isGone(p) })
}

// isResumedByOwner reports whether the owner has said, while the ceiling is 0, that the object is
// not to be paused.
func (t *target) isResumedByOwner(r *record) bool {
	if r == nil || r.ceiling != 0 || len(r.pauses) > 0 {
		return false
	}
	return slices.ContainsFunc(pausingBounds(t.kind), func(b bound) bool {
		_, ok := t.Annotations[b.key]
		return ok && !b.isInForce(t.Annotations)
	})
}

// mayPause reports whether the owner leaves it to us to pause the target.
func (t *target) mayPause(r *record) bool {
	if r != nil && len(r.pauses) > 0 {
		return !t.isPauseReplaced(r)
	}
	return t.boundInForce(stopsScaling) == "" && t.boundInForce(stopsScalingHalfway) == "" && !t.isResumedByOwner(r)
}

// ownersPause returns the annotation by which the owner decides on a pause, empty if the owner
// leaves that to us.
func (t *target) ownersPause(r *record) string {
	if t.mayPause(r) {
		return ""
	}
	for _, b := range pausingBounds(t.kind) {
		if _, ok := t.Annotations[b.key]; !ok {
			continue
		}
		if ours := r.pause(b.key); ours == nil || !t.isStanding(*ours) {
			return b.key
		}
	}
	return ""
}

// setPause pauses the target for a ceiling of 0, and returns the pauses that are ours then.
func (t *target) setPause(c *change, r *record) (ours []string) {
	for i, b := range pausingBounds(t.kind) {
		p := pause{bound: b}
		value, ok := t.Annotations[b.key]
		switch known := r.pause(b.key); {
		case known != nil:
			p = *known
		case ok && i > 0:
			continue // the first is enough, mostly
		case ok:
			p.before = &value
		}
		c.Set(b.field(), override.ValueOf(b.pauseValue))
		ours = append(ours, p.String())
	}
	return ours
}

// endPause gives back what we have set for a pause, if that is still there.
func (t *target) endPause(c *change, r *record) {
	if r == nil {
		return
	}
	for _, p := range r.pauses {
		if t.isStanding(p) {
			c.Set(p.field(), override.ValueOf(p.before))
		}
	}
}
