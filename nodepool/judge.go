package nodepool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/nodepool/rank"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// Policies know what a CarbonPolicy says.
type Policies interface {
	// Level returns what a policy says at a location, and the source of the policy's forecast. An
	// empty location is the first one of the policy. The error is a NotFound if the policy does not
	// exist.
	Level(ctx context.Context, policy, location string, now time.Time) (plan.Level, forecast.Source, error)
	// Place returns the location at which all nodes with such labels are, empty if the labels do not
	// tell. The error is a NotFound, or policy.ErrScattered.
	Place(ctx context.Context, policy string, labels map[string][]string) (string, error)
}

// seat is what is known of the intensity where a pool is.
type seat struct {
	level  plan.Level
	source forecast.Source
	// mistake says why the pool cannot be placed. Nothing is known of the intensity then.
	mistake error
	// isPending says that it is too early to say that there is no forecast.
	isPending bool
}

// seatOf returns what is known of the intensity where a pool is.
func (c *Controller) seatOf(ctx context.Context, p *pool, now time.Time) (seat, error) {
	location, err := p.Annotations[v1alpha1.LocationAnnotation], error(nil)
	if location == "" {
		location, err = c.Policies.Place(ctx, p.policy(), p.labels)
	}
	if errors.Is(err, policy.ErrScattered) {
		return seat{mistake: fmt.Errorf("%w: want the annotation %s", err, v1alpha1.LocationAnnotation)}, nil
	}
	var s seat
	if err == nil {
		s.level, s.source, err = c.levels.Level(ctx, p.policy(), location, now)
	}
	switch {
	case apierrors.IsNotFound(err):
		s.mistake = fmt.Errorf("CarbonPolicy %s does not exist", p.policy())
	case err != nil:
		return s, err
	case s.level.HasNoLocation:
		s.mistake = errors.New(s.level.UnknownReason)
	default:
		s.isPending = !s.level.IsKnown && !s.level.IsExempt && c.isTooEarly(s.source, p, now)
	}
	return s, nil
}

// isTooEarly reports whether it is too early to say that there is no forecast: nobody has looked for the
// forecast yet, or what is in force may outlive a start for a while.
func (c *Controller) isTooEarly(source forecast.Source, p *pool, now time.Time) bool {
	snapshot := c.Store.Snapshot(source)
	return !snapshot.IsKnown() || !snapshot.HasForecast() && (p.hasNotes() || c.overlay(p.Name) != nil) && now.Before(c.started.Add(startGrace))
}

// judge returns the verdict on a pool, and what in its annotations cannot be used.
func (c *Controller) judge(ctx context.Context, p *pool, now time.Time) (v verdict, mistakes []string, err error) {
	s, err := c.seatOf(ctx, p, now)
	if err != nil {
		return v, nil, err
	}
	c.sources.Store(p.Name, s.source)
	v.isPending, v.until = s.isPending, s.level.ValidUntil
	limits := c.judgeLimits(p, s, &v, now)
	weight, err := c.judgeWeight(ctx, p, s, &v, now)
	if err != nil {
		return v, nil, err
	}
	var reasons, details []string
	for _, part := range []override.Sentence{limits, weight} {
		if part.Reason != "" {
			reasons = append(reasons, part.Reason)
		}
		if part.Detail != "" && !slices.Contains(details, part.Detail) {
			details = append(details, part.Detail)
		}
	}
	v.Reason, v.Detail = strings.Join(reasons, ", and "), strings.Join(details, "; ")
	for _, mistake := range []error{p.limitsMistake, p.weightsMistake, p.powerMistake, s.mistake} {
		if mistake != nil {
			mistakes = append(mistakes, mistake.Error())
		}
	}
	return v, mistakes, nil
}

// whyNot says why nothing can be set: because of a mistake, or because the intensity does not count.
func whyNot(mistake error, s seat, now time.Time) (why override.Sentence, isKnown bool) {
	for _, err := range []error{mistake, s.mistake} {
		if err != nil {
			return override.Sentence{Reason: err.Error()}, false
		}
	}
	why.Reason, why.Detail, isKnown = s.level.WhyNot(now)
	return why, isKnown
}

// judgeLimits fills in the limits that a pool's buckets give, and says why.
func (c *Controller) judgeLimits(p *pool, s seat, v *verdict, now time.Time) override.Sentence {
	if !p.has(v1alpha1.LimitsAnnotation) {
		return override.Sentence{}
	}
	buckets := p.limits.ranks
	why, isKnown := whyNot(p.limitsMistake, s, now)
	if why.Reason != "" {
		why.Reason = "no limits: " + why.Reason
		if isKnown {
			why.Detail = "they would be " + describeAmounts(p.limits.values[p.limits.rank(s.level.Intensity)]) + ": " + s.level.Tell(buckets, now)
		}
		return why
	}
	v.limits = limitsVerdict{isOn: true, rank: p.limits.rank(s.level.Intensity), cautious: p.limits.rank(s.level.Intensity * (1 + c.Options.Hysteresis))}
	return override.Sentence{
		Reason: "the intensity " + s.level.InBucket(buckets) + " of " + v1alpha1.LimitsAnnotation,
		Detail: s.level.Tell(buckets, now),
	}
}

// judgeWeight fills in the weight of a pool, and says why.
func (c *Controller) judgeWeight(ctx context.Context, p *pool, s seat, v *verdict, now time.Time) (override.Sentence, error) {
	if !p.has(v1alpha1.WeightsAnnotation) {
		return override.Sentence{}, nil
	}
	why, isKnown := whyNot(p.weightsMistake, s, now)
	if why.Reason == "" && p.isAuto {
		return c.judgeRank(ctx, p, s, v, now)
	}
	buckets := p.weights.ranks
	if why.Reason != "" {
		why.Reason = "no weight: " + why.Reason
		if isKnown && !p.isAuto {
			why.Detail = fmt.Sprintf("it would be %d: %s", p.weights.values[p.weights.rank(s.level.Intensity)], s.level.Tell(buckets, now))
		}
		return why, nil
	}
	v.weight = weightVerdict{
		weight:   p.weights.values[p.weights.rank(s.level.Intensity)],
		cautious: p.weights.values[p.weights.rank(s.level.Intensity*(1+c.Options.Hysteresis))],
	}
	return override.Sentence{
		Reason: "the intensity " + s.level.InBucket(buckets) + " of " + v1alpha1.WeightsAnnotation,
		Detail: s.level.Tell(buckets, now),
	}, nil
}

// judgeRank fills in the weight that a pool has by its rank among all pools that ask for one, and says
// why. Without another pool there is no rank.
func (c *Controller) judgeRank(ctx context.Context, p *pool, s seat, v *verdict, now time.Time) (override.Sentence, error) {
	ranked, err := c.orders.get(now, func() (*order, error) { return c.rank(ctx, now) })
	if err != nil {
		return override.Sentence{}, err
	}
	v.isPending, v.until = v.isPending || ranked.isPending, override.Soonest(v.until, ranked.until)
	of := len(ranked.places)
	if of < 2 {
		return override.Sentence{Reason: "no weight: there is no other pool to rank this pool with"}, nil
	}
	place, ok := ranked.places[p.Name]
	if !ok {
		return override.Sentence{Reason: "no weight: the pool has just changed"}, nil
	}
	weight := rank.Weight(place, of)
	v.weight = weightVerdict{weight: weight, cautious: weight}
	return override.Sentence{
		Reason: fmt.Sprintf("it is number %d of %d pools, the cleanest first", place+1, of),
		Detail: fmt.Sprintf("%s, with a power factor of %g", s.level.Tell(plan.Buckets{}, now), p.power),
	}, nil
}

// describeAmounts names resources and quantities, for people.
func describeAmounts(a amounts) string {
	values := map[string]override.Value{}
	for name, amount := range a {
		values[name] = override.ValueOf(amount)
	}
	return describeLimits(values)
}

// describeLimits names limits, for people.
func describeLimits(limits map[string]override.Value) string {
	var parts []string
	for name, value := range limits {
		text := strings.Trim(string(value), `"`)
		if value == override.Unset {
			text = "unlimited"
		}
		parts = append(parts, name+" "+text)
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
