package nodepool

import (
	"maps"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
)

// verdict is what is wanted of a pool at one moment.
type verdict struct {
	limits limitsVerdict
	weight weightVerdict
	// isPending says that it is too early for a verdict. The pool is left as it is.
	isPending bool
	override.Sentence
	// until is when the verdict may change by itself, zero if it does not.
	until time.Time
}

// limitsVerdict is the bucket whose limits are wanted. Without isOn, the owner's limits are.
type limitsVerdict struct {
	isOn bool
	rank int
	// cautious is the rank that a slightly higher intensity would give. The rank in force rises no
	// further.
	cautious int
}

// weightVerdict is the weight that is wanted, 0 for the owner's.
type weightVerdict struct {
	weight int32
	// cautious is the weight that a slightly higher intensity would give. The weight in force rises no
	// further.
	cautious int32
}

// change is what a verdict makes of a pool.
type change struct {
	*override.Change
	pool  *pool
	notes map[string]string
	// undone says what somebody else has done to a lent field since our last change.
	undone struct {
		is, isReverted bool
		field          override.Field
		original       override.Value
	}
	// limits and weight are in force after the change: the fields that are lent, with their values.
	limits map[string]override.Value
	weight override.Value
	// isDamped says that the verdict is not wholly followed for now. again is when to look again for
	// that reason, zero if that is not known.
	isDamped bool
	again    time.Time
}

func (p *pool) newChange() *change {
	return &change{Change: p.Change(), pool: p, notes: map[string]string{}}
}

// settle returns what has to change on a pool for a verdict to be in force. interval is the shortest time
// between two changes because of the intensity.
func (p *pool) settle(v verdict, interval time.Duration, now time.Time) *change {
	c := p.newChange()
	if v.isPending {
		return c
	}
	c.setLimits(v.limits, interval, now)
	c.setWeight(v.weight, interval, now)
	present := p.Annotations[v1alpha1.ReasonAnnotation]
	c.notes[v1alpha1.ReasonAnnotation] = v.Over(present)
	if !c.isDamped && plan.IsTold(present) && plan.NextTold(present, now).IsZero() {
		c.notes[v1alpha1.ReasonAnnotation] = v.Over("") // nothing has changed when it was expected to
	}
	if c.isDamped && !c.setsAny() && present != "" {
		c.notes[v1alpha1.ReasonAnnotation] = present // it is the reason of what stays in force
	}
	c.notes[v1alpha1.NodePoolByAnnotation] = p.by()
	c.write()
	return c
}

// restore returns what has to change for the pool to be as if it had never been lent.
func (p *pool) restore() *change {
	c := p.newChange()
	c.setLimits(limitsVerdict{}, 0, time.Time{})
	c.setWeight(weightVerdict{}, 0, time.Time{})
	c.undone.is = false
	c.write()
	return c
}

// write adds the notes to the change.
func (c *change) write() {
	for _, key := range noteKeys() {
		c.Annotate(key, c.notes[key])
	}
	c.Annotate(v1alpha1.NodePoolReleasedAnnotation, "") // its time is over
}

// standing returns what has become of a lent field, and notes whether somebody has undone our change.
func (c *change) standing(f override.Field, loan *override.Loan) override.Standing {
	s := c.pool.Standing(f, loan)
	if s.IsUndone && !c.undone.is {
		c.undone.is, c.undone.isReverted, c.undone.field, c.undone.original = true, s.IsReverted, f, s.Original
	}
	return s
}

// setLimits sets the limits of the wanted bucket, and gives back every limit that is not wanted.
func (c *change) setLimits(v limitsVerdict, interval time.Duration, now time.Time) {
	p, loans := c.pool, c.pool.limitLoans()
	allowed := amounts{}
	if v.isOn {
		rank := c.dampRank(v, interval, now)
		allowed = p.limits.values[rank]
		c.notes[v1alpha1.LimitsBucketAnnotation] = p.limits.names[rank]
	}
	original, wanted := map[string]override.Value{}, map[string]override.Value{}
	c.limits = map[string]override.Value{}
	for _, name := range union(slices.Collect(maps.Keys(loans)), slices.Collect(maps.Keys(allowed))) {
		s := c.standing(limitField(name), loans[name])
		wanted[name] = s.Original
		if most, ok := allowed[name]; ok && isLimit(s.Original) { // otherwise nobody could remember it
			wanted[name] = lower(s.Original, most)
			original[name], c.limits[name] = s.Original, wanted[name]
		}
	}
	if len(original) > 0 {
		c.notes[v1alpha1.OriginalLimitsAnnotation] = printLimits(original)
		c.notes[v1alpha1.AppliedLimitsAnnotation] = printLimits(c.limits)
	}
	c.writeLimits(wanted)
}

// dampRank keeps the rank of the limits from following an intensity that wobbles around a bound.
func (c *change) dampRank(v limitsVerdict, interval time.Duration, now time.Time) int {
	p := c.pool
	lowered := p.Annotations[v1alpha1.LimitsLoweredAnnotation]
	current, isKnown := p.limits.named(p.Annotations[v1alpha1.LimitsBucketAnnotation])
	if !isKnown || !p.isOwn() {
		return v.rank
	}
	rank, again := override.Damp(current, v.rank, v.cautious, override.MayChange(p.time(v1alpha1.LimitsLoweredAnnotation), interval, now), now)
	c.damp(rank != v.rank, again)
	if rank < current && interval > 0 {
		lowered = now.UTC().Format(time.RFC3339)
	}
	c.notes[v1alpha1.LimitsLoweredAnnotation] = lowered
	return rank
}

// damp notes that a verdict is not followed for now.
func (c *change) damp(isDamped bool, again time.Time) {
	c.isDamped = c.isDamped || isDamped
	c.again = override.Soonest(c.again, again)
}

// writeLimits gives limits their values. Limits that nobody needs any more do not stay behind empty.
func (c *change) writeLimits(wanted map[string]override.Value) {
	left, isAnyGone := len(c.pool.present), false
	for name, value := range wanted {
		before := c.pool.Value(limitField(name))
		switch {
		case before != override.Unset && value == override.Unset:
			left, isAnyGone = left-1, true
		case before == override.Unset && value != override.Unset:
			left++
		}
	}
	if isAnyGone && left <= 0 {
		c.Set(limitsField, override.Unset)
		return
	}
	for name, value := range wanted {
		c.Set(limitField(name), value)
	}
}

// setWeight sets the wanted weight, or gives the owner's back.
func (c *change) setWeight(v weightVerdict, interval time.Duration, now time.Time) {
	p, loan := c.pool, c.pool.weightLoan()
	s := c.standing(weightField, loan)
	if v.weight == 0 || !isWeight(s.Original) {
		if loan != nil {
			c.Set(weightField, s.Original)
		}
		return
	}
	before, changed := weightOf(s.Original), p.time(v1alpha1.WeightChangedAnnotation)
	if loan != nil {
		before = weightOf(loan.Applied)
	}
	weight := c.dampWeight(v, before, loan != nil && p.isOwn(), override.MayChange(changed, interval, now), now)
	if weight != before {
		changed = now
	}
	c.weight = override.ValueOf(weight)
	c.notes[v1alpha1.OriginalWeightAnnotation], c.notes[v1alpha1.AppliedWeightAnnotation] = printWeight(s.Original), printWeight(c.weight)
	if !changed.IsZero() && interval > 0 {
		c.notes[v1alpha1.WeightChangedAnnotation] = changed.UTC().Format(time.RFC3339)
	}
	c.Set(weightField, c.weight)
}

// dampWeight keeps a weight from changing more often than it may.
func (c *change) dampWeight(v weightVerdict, before int32, isOwn bool, mayChange, now time.Time) int32 {
	switch {
	case !isOwn || v.weight == before:
		return v.weight
	case now.Before(mayChange):
		c.damp(true, mayChange)
		return before
	}
	weight, _ := override.Damp(before, v.weight, v.cautious, time.Time{}, now)
	c.damp(weight != v.weight, time.Time{})
	return weight
}

// setsLimits reports whether the change gives the pool other limits.
func (c *change) setsLimits() bool {
	if c.Sets(limitsField) {
		return true
	}
	names := slices.Collect(maps.Keys(c.limits))
	return slices.ContainsFunc(union(names, slices.Collect(maps.Keys(c.pool.limitLoans()))), func(name string) bool {
		return c.Sets(limitField(name))
	})
}

// setsWeight reports whether the change gives the pool another weight.
func (c *change) setsWeight() bool { return c.Sets(weightField) }

func (c *change) setsAny() bool { return c.setsLimits() || c.setsWeight() }
