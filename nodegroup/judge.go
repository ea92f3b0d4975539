package nodegroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// maxBoundaries bounds how many changes of intensities are looked at for the next order.
	maxBoundaries = 500
	// maxTime bounds the bytes of what tells a change.
	maxTime = 100
)

// Policies know what CarbonPolicies say.
type Policies interface {
	// Level returns what a policy says at a location, and the source of the policy's forecast. An empty
	// location is the first one of the policy.
	Level(ctx context.Context, policy, location string, now time.Time) (plan.Level, forecast.Source, error)
	// NodeGroups returns what each policy says of node groups, one policy for each namespace.
	NodeGroups(ctx context.Context) ([]policy.NodeGroups, error)
}

// judge returns the verdict on node groups. there is their ConfigMap, nil if there is none. A mistake says
// what the owner has to mend.
func (c *Controller) judge(ctx context.Context, groups policy.NodeGroups, there *expander, now time.Time) (v verdict, mistake error, err error) {
	v.by = "CarbonPolicy/" + groups.Policy
	if groups.Mistake != nil {
		v.Reason = "no order: " + groups.Mistake.Error()
		return v, groups.Mistake, nil
	}
	var places []place
	var levels []plan.Level // of the places
	for _, g := range groups.Groups {
		level, source, err := c.levels.Level(ctx, groups.Policy, g.Location, now)
		if err != nil {
			return v, nil, err
		}
		v.until = override.Soonest(v.until, level.ValidUntil)
		if level.HasNoLocation {
			mistake = errors.New(level.UnknownReason)
			v.Reason = "no order: " + level.UnknownReason
			return v, mistake, nil
		}
		v.isPending = v.isPending || !level.IsKnown && !level.IsExempt && c.isTooEarly(source, there, now)
		if why, detail, _ := level.WhyNot(now); why != "" {
			v.Reason, v.Detail = "no order: "+why, detail
			return v, nil, nil
		}
		same := slices.IndexFunc(places, func(p place) bool { return p.location == level.Location && p.power == g.Power })
		if same < 0 {
			same = len(places)
			places = append(places, place{location: level.Location, power: g.Power, emissions: level.Intensity * g.Power})
			levels = append(levels, level)
		}
		places[same].patterns = append(places[same].patterns, g.Pattern)
	}
	if len(places) < 2 {
		v.Reason = "no order: all node groups of the policy have the same location and power factor"
		return v, nil, nil
	}
	return v, c.rank(&v, places, levels, there, now), nil
}

// rank fills in the order of places, and says why. A mistake says why the ConfigMap cannot have the order.
func (c *Controller) rank(v *verdict, places []place, levels []plan.Level, there *expander, now time.Time) (mistake error) {
	before := order{}
	if there != nil {
		if loan := there.loan(); loan != nil {
			before = orderOf(loan.Applied)
		}
	}
	var ranked []place
	ranked, v.order = rankPlaces(places, before, c.Options.Hysteresis)
	if mistake := there.whyNotLent(v.order); mistake != nil {
		v.order, v.Reason = nil, "no order: "+mistake.Error()
		return mistake
	}
	var names, details []string
	for _, p := range ranked {
		names = append(names, p.String())
	}
	for i, level := range levels {
		if i == 0 || level.Location != levels[i-1].Location {
			details = append(details, fmt.Sprintf("%s has %.0f gCO2eq/kWh", place{location: level.Location, power: 1}, level.Intensity))
		}
	}
	v.Reason = "the cleanest first: " + strings.Join(names, ", ")
	v.Detail = fmt.Sprintf("at %s, %s", plan.FormatTime(now), strings.Join(details, ", "))
	if at := c.nextOrder(places, levels, v.order, now); !at.IsZero() {
		// A long list must not hide the time.
		v.Detail = override.Shorten(v.Detail, override.MaxSentence-maxTime) + plan.TellChange(at)
	}
	return nil
}

// nextOrder returns when the forecast expects another order, zero if it does not.
func (c *Controller) nextOrder(places []place, levels []plan.Level, present order, now time.Time) time.Time {
	var times []time.Time
	for _, level := range levels {
		times = slices.AppendSeq(times, level.Expected.Boundaries(now, level.Expected.End()))
	}
	slices.SortFunc(times, time.Time.Compare)
	times = slices.CompactFunc(times, time.Time.Equal)
	for _, at := range times[:min(len(times), maxBoundaries)] {
		later := slices.Clone(places)
		for i := range later {
			intensity, isKnown := levels[i].Expected.At(at)
			if !isKnown {
				return time.Time{}
			}
			later[i].emissions = intensity * later[i].power
		}
		if _, expected := rankPlaces(later, present, c.Options.Hysteresis); expected.String() != present.String() {
			return at
		}
	}
	return time.Time{}
}

// isTooEarly reports whether it is too early to say that there is no forecast: nobody has looked for the
// forecast yet, or what is in force may outlive a start for a while.
func (c *Controller) isTooEarly(source forecast.Source, there *expander, now time.Time) bool {
	snapshot := c.Store.Snapshot(source)
	hasNotes := there != nil && there.hasNotes()
	return !snapshot.IsKnown() || !snapshot.HasForecast() && hasNotes && now.Before(c.started.Add(startGrace))
}
