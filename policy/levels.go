package policy

import (
	"context"
	"fmt"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Levels returns the level of a location by the name of a policy. Both fields are required.
type Levels struct {
	Policies Policies
	Store    *forecast.Store
}

// pastSpan is how far back a level tells the intensity.
const pastSpan = 48 * time.Hour

// Level returns the level at a location of a policy, and the source of the policy's forecast. The
// location may be the name of a cloud region, see [Policy.FindLocation]. The empty location is the
// first location of the policy. The level of a location that the policy does not have is not known,
// and UnknownReason says why. The error is the error of [Policies.Get].
func (l Levels) Level(ctx context.Context, name, location string, now time.Time) (plan.Level, forecast.Source, error) {
	policy, err := l.Policies.Get(ctx, name)
	if err != nil {
		return plan.Level{}, forecast.Source{}, err
	}
	snapshot := l.Store.Snapshot(policy.Source)
	found, err := policy.FindLocation(snapshot, location)
	level := policy.Level(snapshot, found, now)
	level.IsUnread = !snapshot.IsKnown()
	if err != nil {
		level.IsKnown, level.HasNoLocation, level.UnknownReason = false, true, fmt.Sprintf("location %.80q: %v", location, err)
	}
	return level, policy.Source, nil
}

// NodeGroups returns what [Policies.NodeGroups] returns.
func (l Levels) NodeGroups(ctx context.Context) ([]NodeGroups, error) {
	return l.Policies.NodeGroups(ctx)
}

// Level returns the intensity at a location, the limits there, and until when both stay the same.
// The empty location is the first location of the policy. An intensity is known only from a
// forecast that is not too old. Where such a forecast has a gap, or values that are not believed,
// the neighbours of the gap count.
func (p *Policy) Level(snapshot *forecast.Snapshot, location string, now time.Time) plan.Level {
	v := p.locationState(snapshot, p.ResolveLocation(location), now)
	level := plan.Level{Location: v.Name, Buckets: p.buckets, UnknownReason: v.Missing, Expected: v.Prediction.Series, IsAudited: p.IsAudit()}
	switch v.Prediction.Basis {
	case forecast.BasisNothing:
	case forecast.BasisForecast:
		level.Intensity, level.IsKnown = v.Intensity, v.IsKnown
	default:
		level.Intensity, level.IsKnown = v.Prediction.Series.At(now)
	}
	f, _ := snapshot.Forecast(p.ResolveLocation(location))
	if !level.IsKnown && !p.isAbandoned && now.Sub(f.Issued) <= p.maxAge {
		level.Intensity, level.IsKnown = f.Near(now)
	}
	level.Past = f.Before(now.Add(-pastSpan), now)
	level.ValidUntil, level.IsExempt = plan.NextExemptionChange(p.terms.Exemptions, now)
	for _, at := range p.ChangeTimes(snapshot, now) {
		if at.After(now) && (level.ValidUntil.IsZero() || at.Before(level.ValidUntil)) {
			level.ValidUntil = at
		}
	}
	return level
}
