package ceiling

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// verdict is what a claim wants of its target at one moment.
type verdict struct {
	// limit is the ceiling; nil for none, the target's own maxReplicaCount.
	limit *int32
	// cautious is the ceiling that a small rise of the intensity would give: no
	// more than that is given back. Without it, limit is.
	cautious *int32
	// damped says that the ceiling follows the intensity: to lower it again has
	// to wait for a while after it was lowered. Schedules are kept to the second.
	damped bool
	// capped says that the target's own maxReplicaCount is never exceeded.
	capped bool
	// pending says that it is too early to tell: all is left as it is.
	pending bool
	// why is the reason as far as it stays the same while the ceiling does;
	// detail is true of the moment at which the ceiling was set.
	why, detail string
	// until is when to ask again; zero if nothing changes by itself.
	until time.Time
}

// change is what a verdict makes of a target. The zero change leaves it alone.
type change struct {
	// ceiling is what is in force after it, 0 if the target is paused; nil is
	// none.
	ceiling *int32
	// original is the target's own maxReplicaCount; nil if it has none.
	original *int32
	// max is the maxReplicaCount after it, which differs from the one before if
	// spec is set.
	max  *int32
	spec bool
	// annotations are those that change; nil takes one away.
	annotations map[string]*string
	// undone says that somebody else has changed what we had set, and reverted
	// that they have put back what was there before us.
	undone, reverted bool
	// lowered says that there is less room than before, raised that there is
	// more.
	lowered, raised bool
	// damped says that the verdict is not followed, or not wholly, for now; held
	// is until when, if that is known.
	damped bool
	held   time.Time
}

func (c *change) empty() bool { return !c.spec && len(c.annotations) == 0 }

// pace is how fast a ceiling may fall.
type pace struct {
	// interval is between two changes that lower it because of the intensity.
	interval time.Duration
	// followed says that the one in force followed the intensity, too.
	followed bool
	// step is by how much it may fall in an interval, whatever the reason.
	step step
}

// settle says what has to change on a target for a claim's verdict to hold. A
// ceiling that was lowered because of the intensity is not lowered again for
// that reason before an interval is over.
func (t *target) settle(by string, v verdict, p pace, now time.Time) *change {
	r := t.record()
	c := t.asItIs(r)
	if v.pending {
		return c
	}
	if v.limit == nil {
		c.max, c.ceiling = c.original, nil
		t.note(c, r, by, v)
		return c
	}
	limit := t.fit(*v.limit, c.original, v.capped)
	if key := t.held(halves); key != "" && limit < t.room(r) {
		v.why += ": it is not lowered while its owner has set " + key
		t.rest(c, r)
		t.note(c, r, by, v)
		return c
	}
	ours := r != nil && r.by == by
	if ours {
		limit = t.damp(limit, c, r, v, p, now)
	}
	if least := t.soften(limit, c, r, p, now); least > limit {
		v.why += fmt.Sprintf(": in steps of %s, to %d", p.step, limit)
		limit = least
	}
	v.why += t.limitTo(limit, c, r)
	t.compare(c, r)
	t.note(c, r, by, v)
	if c.lowered && p.times(ours && v.damped) {
		t.set(c, v1alpha1.CeilingLoweredAnnotation, now.UTC().Format(time.RFC3339))
	}
	return c
}

// limitTo gives the target a ceiling, and says what is left of its owner's word.
func (t *target) limitTo(limit int32, c *change, r *record) (left string) {
	c.ceiling = &limit
	if limit > 0 {
		c.max = &limit
		return ""
	}
	if key := t.ownersPause(r); key != "" {
		return ": its owner has set " + key + ", which stays"
	}
	return ""
}

// times reports whether the next lowering has to wait for one that is made now.
func (p pace) times(damped bool) bool {
	return p.interval > 0 && (p.step.limits() || p.followed && damped)
}

// room is how far the target may be scaled as it is.
func (t *target) room(r *record) int32 {
	if r != nil && len(r.loans) > 0 && !t.taken(r) && !t.undone(r) {
		return 0
	}
	return effective(t.max)
}

// rest leaves the target with what it has: the ceiling in force, or none.
func (t *target) rest(c *change, r *record) {
	c.max = t.max
	if r == nil || c.undone {
		c.ceiling, c.original = nil, t.max
	}
}

// ownersPause is the annotation by which the owner decides on a pause; empty if
// they leave that to us.
func (t *target) ownersPause(r *record) string {
	if t.mayPause(r) {
		return ""
	}
	for _, b := range pauses(t.kind) {
		if _, ok := t.Annotations[b.key]; !ok {
			continue
		}
		ours := r.loan(b.key)
		if ours == nil {
			return b.key
		}
		if stands, _ := t.stands(*ours); !stands {
			return b.key
		}
	}
	return ""
}

// asItIs is the change that changes nothing. It tells what others have done.
func (t *target) asItIs(r *record) *change {
	c := &change{max: t.max, original: t.max}
	if r == nil {
		return c
	}
	c.ceiling, c.original = &r.ceiling, r.original
	c.undone = t.undone(r)
	c.reverted = c.undone && (ptr.Equal(t.max, r.applied) || ptr.Equal(t.max, r.original))
	if c.undone && !c.reverted || t.hands.theirs[maxReplicaCount] {
		c.original = t.max // this is what its owner wants from now on
	}
	return c
}

// fit bounds a ceiling by what the target allows.
func (t *target) fit(limit int32, original *int32, capped bool) int32 {
	if capped && original != nil {
		limit = min(limit, *original)
	}
	return max(limit, t.min, 0)
}

// damp keeps a ceiling from following an intensity that wobbles around a bound.
func (t *target) damp(limit int32, c *change, r *record, v verdict, p pace, now time.Time) int32 {
	if limit > r.ceiling && v.cautious != nil {
		cautious := max(r.ceiling, min(limit, t.fit(*v.cautious, c.original, v.capped)))
		c.damped = cautious != limit
		return cautious
	}
	if again := r.lowered.Add(p.interval); limit < r.ceiling && v.damped && now.Before(again) {
		c.damped, c.held = true, again
		return r.ceiling
	}
	return limit
}

// compare tells whether there is more room than before, or less.
func (t *target) compare(c *change, r *record) {
	before := effective(t.max)
	if r != nil {
		before = r.ceiling
	}
	c.lowered, c.raised = *c.ceiling < before, *c.ceiling > before
}

// note brings the target's annotations and spec to what the change says.
func (t *target) note(c *change, r *record, by string, v verdict) {
	wanted := t.notes(c, r, v)
	wanted[v1alpha1.CeilingByAnnotation] = by
	wanted[v1alpha1.CeilingPausedWithAnnotation] = strings.Join(t.pause(c, r), ",")
	t.drop(c, v1alpha1.CeilingReleasedAnnotation) // it is over
	for _, name := range written() {
		if wanted[name] == "" {
			t.drop(c, name)
		} else {
			t.set(c, name, wanted[name])
		}
	}
	c.spec = !ptr.Equal(c.max, t.max)
}

// notes are what is written on the target of the ceiling.
func (t *target) notes(c *change, r *record, v verdict) map[string]string {
	wanted := map[string]string{v1alpha1.ReasonAnnotation: v.sentence(t.Annotations[v1alpha1.ReasonAnnotation])}
	if c.ceiling == nil {
		return wanted
	}
	wanted[v1alpha1.CeilingAnnotation] = strconv.Itoa(int(*c.ceiling))
	wanted[v1alpha1.OriginalMaxReplicaCountAnnotation], wanted[v1alpha1.CeilingLoweredAnnotation] = printReplicas(c.original), t.Annotations[v1alpha1.CeilingLoweredAnnotation]
	if *c.ceiling == 0 {
		wanted[v1alpha1.AppliedMaxReplicaCountAnnotation] = printReplicas(c.max)
	}
	if c.damped && r != nil && *c.ceiling == r.ceiling {
		wanted[v1alpha1.ReasonAnnotation] = t.Annotations[v1alpha1.ReasonAnnotation] // of what is still in force
	}
	return wanted
}

// restore says what has to change for the target to be as if there had never
// been a ceiling.
func (t *target) restore() *change {
	c := &change{max: t.max, original: t.max}
	if r := t.record(); r != nil {
		if ptr.Equal(t.max, r.applied) && !t.hands.theirs[maxReplicaCount] {
			c.max, c.original = r.original, r.original
		}
		t.resume(c, r)
		c.raised = true
	}
	for _, name := range written() {
		t.drop(c, name)
	}
	c.spec = !ptr.Equal(c.max, t.max)
	return c
}

func (t *target) set(c *change, name, value string) {
	if held, ok := t.Annotations[name]; !ok || held != value {
		c.annotate(name, &value)
	}
}

func (t *target) drop(c *change, name string) {
	if _, ok := t.Annotations[name]; ok {
		c.annotate(name, nil)
	}
}

func (c *change) annotate(name string, value *string) {
	if c.annotations == nil {
		c.annotations = map[string]*string{}
	}
	c.annotations[name] = value
}

// sentence returns the reason in full; the one that is there, if it is still
// true.
func (v verdict) sentence(held string) string {
	why := shortened(v.why, maxReason)
	if held == why || strings.HasPrefix(held, why+"; ") {
		return held
	}
	if v.detail == "" {
		return why
	}
	return why + "; " + shortened(v.detail, maxReason)
}

const (
	maxName   = 253 // bytes of the name of an object
	maxReason = 500 // bytes of a sentence on an object
)

// shortened cuts what others have written to a length that an object can bear.
func shortened(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// patch writes the change, and nothing else. It fails as a conflict if the
// target is not as it was when the change was decided on: the maxReplicaCount
// that is remembered is the one that was replaced.
func (t *target) patch(c *change) client.Patch {
	type metadata struct {
		UID             types.UID          `json:"uid"`
		ResourceVersion string             `json:"resourceVersion"`
		Annotations     map[string]*string `json:"annotations,omitempty"`
	}
	patch := map[string]any{"metadata": metadata{t.UID, t.ResourceVersion, c.annotations}}
	if c.spec {
		patch["spec"] = map[string]*int32{maxReplicaCount: c.max}
	}
	data, _ := json.Marshal(patch) // of strings and numbers alone: no error is possible
	return client.RawPatch(types.MergePatchType, data)
}
