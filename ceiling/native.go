package ceiling

import (
	"context"
	"fmt"
	"maps"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Policies know what a CarbonPolicy says.
type Policies interface {
	// Level tells what holds under a policy at a location, the policy's first
	// if it is empty, and the source of the policy's forecast in the store. The
	// error is a NotFound if there is no such policy.
	Level(ctx context.Context, policy, location string, now time.Time) (plan.Level, forecast.Source, error)
}

// asks reports whether the target asks for a policy's ceiling.
func (t *target) asks() bool {
	_, policy := t.Annotations[v1alpha1.PolicyAnnotation]
	_, own := t.Annotations[v1alpha1.CeilingsAnnotation]
	return policy || own
}

// policy is the name of the policy that is asked for.
func (t *target) policy() string {
	if name := t.Annotations[v1alpha1.PolicyAnnotation]; name != "" {
		return shortened(name, maxName) // a longer one does not exist
	}
	return v1alpha1.DefaultPolicy
}

// native is the verdict of a policy on a target, and the source of its forecast.
// wrong is what in the target's annotations, or in the names there, cannot be
// used; there is no ceiling then.
func (c *Controller) native(ctx context.Context, t *target, now time.Time) (v verdict, source forecast.Source, wrong string, err error) {
	v.capped = true
	own, err := ownBuckets(t)
	if err != nil {
		v.why = "no ceiling: " + err.Error()
		return v, source, err.Error(), nil
	}
	level, source, err := c.level(ctx, t.policy(), t.Annotations[v1alpha1.LocationAnnotation], now)
	if apierrors.IsNotFound(err) {
		wrong = fmt.Sprintf("CarbonPolicy %s does not exist", t.policy())
		v.why = "no ceiling: " + wrong
		return v, source, wrong, nil
	}
	if err != nil {
		return v, source, "", err
	}
	buckets, of := level.Buckets, "CarbonPolicy "+t.policy()
	if !own.IsEmpty() {
		buckets, of = own, v1alpha1.CeilingsAnnotation
	}
	v.judge(level, buckets, of, c.Options.Hysteresis, now)
	v.pending = !level.IsKnown && !level.IsExempt && c.early(source, t, now)
	return v, source, "", nil
}

func ownBuckets(t *target) (plan.Buckets, error) {
	written, ok := t.Annotations[v1alpha1.CeilingsAnnotation]
	if !ok {
		return plan.Buckets{}, nil
	}
	buckets, err := plan.ParseBuckets(written)
	if err != nil {
		return buckets, fmt.Errorf("%s: %.80q: %w", v1alpha1.CeilingsAnnotation, written, err)
	}
	return buckets, nil
}

// judge fills in the ceiling that buckets give at a level.
func (v *verdict) judge(level plan.Level, buckets plan.Buckets, of string, hysteresis float64, now time.Time) {
	v.until = level.ValidUntil
	switch {
	case buckets.IsEmpty():
		v.why = "no ceiling: " + of + " sets no buckets"
	case level.IsExempt:
		v.why, v.detail = "no ceiling: by an exemption of the policy, carbon does not count", "since "+plan.FormatTime(now)
	case !level.IsKnown:
		v.why, v.detail = "no ceiling: there is no usable forecast", level.UnknownReason
	default:
		v.damped = true
		v.limit = ptr.To(int32(buckets.Ceiling(level.Intensity)))
		v.cautious = ptr.To(int32(buckets.Ceiling(level.Intensity * (1 + hysteresis))))
		v.why = "the intensity " + at(level.Location) + "is in the bucket " + named(buckets, level.Intensity) + " of " + of
		v.detail = fmt.Sprintf("%.0f gCO2eq/kWh at %s%s", level.Intensity, plan.FormatTime(now), stays(level, buckets, now))
	}
}

func at(location string) string {
	if location == "" {
		return ""
	}
	return "at " + location + " "
}

func named(buckets plan.Buckets, intensity float64) string {
	if name := buckets.Name(intensity); name != "" {
		return name
	}
	return "for any intensity"
}

// stays says until when the bucket is expected to be the same.
func stays(level plan.Level, buckets plan.Buckets, now time.Time) string {
	ceiling := buckets.Ceiling(level.Intensity)
	for boundary := range level.Expected.Boundaries(now, level.Expected.End()) {
		next, known := level.Expected.At(boundary)
		if known && buckets.Ceiling(next) != ceiling {
			return ", expected to change at " + plan.FormatTime(boundary)
		}
	}
	return ""
}

// levels remembers what holds under a policy until it may have changed, so that
// a thousand objects of one policy are planned once.
type levels struct {
	changes uint64 // how often something has changed that a level is made of
	known   map[levelKey]knownLevel
}

// maxLevels bounds how many are remembered: anybody may write any location on a
// target.
const maxLevels = 1000

type levelKey struct{ policy, location string }

type knownLevel struct {
	level  plan.Level
	source forecast.Source
	from   time.Time
}

func (c *Controller) level(ctx context.Context, policy, location string, now time.Time) (plan.Level, forecast.Source, error) {
	key := levelKey{policy, location}
	c.mu.Lock()
	held, ok := c.levels.known[key]
	changes := c.levels.changes
	c.mu.Unlock()
	if ok && !now.Before(held.from) && (held.level.ValidUntil.IsZero() || now.Before(held.level.ValidUntil)) {
		return held.level, held.source, nil
	}
	level, source, err := c.Policies.Level(ctx, policy, location, now)
	if err != nil {
		return level, source, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.levels.changes == changes { // else this may be of before the change
		if c.levels.known == nil || len(c.levels.known) == maxLevels {
			c.levels.known = map[levelKey]knownLevel{}
		}
		c.levels.known[key] = knownLevel{level, source, now}
	}
	return level, source, nil
}

// forgetLevels forgets the levels that have changed, and no others.
func (c *Controller) forgetLevels(changed func(policy string, source forecast.Source) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.levels.changes++
	maps.DeleteFunc(c.levels.known, func(key levelKey, held knownLevel) bool { return changed(key.policy, held.source) })
}
