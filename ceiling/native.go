package ceiling

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Policies know what a CarbonPolicy says.
type Policies interface {
	// Level returns what a policy says at a location, and the source of the policy's
	// forecast. An empty location is the first one of the policy. The error is a NotFound if the
	// policy does not exist.
	Level(ctx context.Context, policy, location string, now time.Time) (plan.Level, forecast.Source, error)
}

// asks reports whether the target asks for the ceiling of a policy.
func (t *target) asks() bool {
	_, hasPolicy := t.Annotations[v1alpha1.PolicyAnnotation]
	_, hasBuckets := t.Annotations[v1alpha1.CeilingsAnnotation]
	return hasPolicy || hasBuckets
}

// policy returns the name of the policy that the target asks for.
func (t *target) policy() string {
	if name := t.Annotations[v1alpha1.PolicyAnnotation]; name != "" {
		return shortened(name, maxNameBytes) // no policy has a longer name
	}
	return v1alpha1.DefaultPolicy
}

// native returns the verdict of a policy on a target, and the source of the policy's forecast.
// mistake says what in the target's annotations cannot be used. The target has no ceiling then.
func (c *Controller) native(ctx context.Context, t *target, now time.Time) (v verdict, source forecast.Source, mistake string, err error) {
	v.isCapped = true
	own, err := ownBuckets(t)
	if err != nil {
		v.reason = "no ceiling: " + err.Error()
		return v, source, err.Error(), nil
	}
	level, source, err := c.levels.Level(ctx, t.policy(), t.Annotations[v1alpha1.LocationAnnotation], now)
	if apierrors.IsNotFound(err) {
		mistake = fmt.Sprintf("CarbonPolicy %s does not exist", t.policy())
		v.reason = "no ceiling: " + mistake
		return v, source, mistake, nil
	}
	if err != nil {
		return v, source, "", err
	}
	buckets, owner := level.Buckets, "CarbonPolicy "+t.policy()
	if !own.IsEmpty() {
		buckets, owner = own, v1alpha1.CeilingsAnnotation
	}
	v.judge(level, buckets, owner, c.Options.Hysteresis, now)
	v.isPending = !level.IsKnown && !level.IsExempt && !level.IsAudited && c.isTooEarly(source, t, now)
	return v, source, "", nil
}

// ownBuckets returns the buckets of a target's own, empty if the target names none.
func ownBuckets(t *target) (plan.Buckets, error) {
	text, ok := t.Annotations[v1alpha1.CeilingsAnnotation]
	if !ok {
		return plan.Buckets{}, nil
	}
	buckets, err := plan.ParseBuckets(text)
	if err != nil {
		return buckets, fmt.Errorf("%s: %.80q: %w", v1alpha1.CeilingsAnnotation, text, err)
	}
	return buckets, nil
}

// judge fills in the ceiling that the buckets of an owner give at a level.
func (v *verdict) judge(level plan.Level, buckets plan.Buckets, owner string, hysteresis float64, now time.Time) {
	v.until = level.ValidUntil
	why, detail, isKnown := level.WhyNot(now)
	switch {
	case buckets.IsEmpty():
		v.reason = "no ceiling: " + owner + " has no buckets"
	case why != "":
		v.reason = "no ceiling: " + why
		if isKnown {
			detail = fmt.Sprintf("it would be %d: %s", buckets.Ceiling(level.Intensity), level.Tell(buckets, now))
		}
		v.detail = detail
	default:
		v.followsIntensity = true
		v.ceiling = ptr.To(int32(buckets.Ceiling(level.Intensity)))
		v.cautious = ptr.To(int32(buckets.Ceiling(level.Intensity * (1 + hysteresis))))
		v.reason = "the intensity " + level.InBucket(buckets) + " of " + owner
		v.detail = level.Tell(buckets, now)
	}
}
