package policy

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Decide plans work by itself: at one location, or at the locations of the task if the policy
// chooses. The empty location is the first location of the policy.
func (p *Policy) Decide(snapshot *forecast.Snapshot, location string, now time.Time, task plan.Task) plan.Decision {
	if len(task.Locations) == 0 {
		return p.Planner(snapshot, location, now, task.LatestStart).Decide(task)
	}
	fleets := make([]*plan.Fleet, len(task.Locations))
	for i, site := range task.Locations {
		fleets[i] = p.Planner(snapshot, site.Name, now, task.LatestStart).Fleet(plan.Buckets{}, nil)
	}
	return plan.Assign([]plan.Group{{Task: task}}, fleets[0], fleets[1:]...)[0]
}

// Planner prepares decisions at a moment for work at a location. The work must start before until.
// The empty location is the first location of the policy.
func (p *Policy) Planner(snapshot *forecast.Snapshot, location string, now, until time.Time) *plan.Planner {
	location = p.ResolveLocation(location)
	e, f, missing := p.prediction(snapshot, location, now)
	if location == "" {
		location = f.Location
	}
	return plan.NewPlanner(location, e.Series, missing, p.terms, now, until).WithBasis(e.Basis).WithOrigin(f.Details.Origin).WithErrors(e.Differences)
}

// Predict returns what is expected of a location, and the forecast behind the expectation. The
// empty location is the first location of the policy.
func (p *Policy) Predict(snapshot *forecast.Snapshot, location string, now time.Time) (forecast.Prediction, forecast.Forecast) {
	e, f, _ := p.prediction(snapshot, p.ResolveLocation(location), now)
	return e, f
}

// Contributions explains what [Policy.Predict] expects of the hour of at.
func (p *Policy) Contributions(snapshot *forecast.Snapshot, location string, now, at time.Time) []forecast.Contribution {
	f, ok := snapshot.Forecast(p.ResolveLocation(location))
	if !ok {
		return nil
	}
	return f.Model.Contributions(now, at, p.maxAge)
}

// prediction returns what is expected of a location, and the forecast behind the expectation. If
// the forecast is not usable, missing says why.
func (p *Policy) prediction(snapshot *forecast.Snapshot, location string, now time.Time) (e forecast.Prediction, f forecast.Forecast, missing string) {
	f, ok := snapshot.Forecast(location)
	if !ok || p.isAbandoned {
		return forecast.Prediction{Basis: forecast.BasisNothing}, f, p.whyMissing(snapshot, location, now)
	}
	return f.Model.Predict(now, p.maxAge), f, p.whyMissing(snapshot, location, now)
}

// whyMissing says why the forecast for a location is not usable now, or does not cover all of the
// time to come.
func (p *Policy) whyMissing(snapshot *forecast.Snapshot, location string, now time.Time) string {
	switch f, _ := snapshot.Forecast(location); {
	case p.isAbandoned:
		return "its policy does not exist"
	case f.Series.IsEmpty():
		return p.whyAbsent(snapshot, location)
	case now.Sub(f.Issued) > p.maxAge:
		return fmt.Sprintf("the forecast of %s is older than %s", plan.FormatTime(f.Issued), plan.FormatDuration(p.maxAge))
	case !f.Series.End().After(now):
		return fmt.Sprintf("the forecast of %s ended at %s", plan.FormatTime(f.Issued), plan.FormatTime(f.Series.End()))
	default:
		return fmt.Sprintf("the forecast of %s does not cover the time from %s on", plan.FormatTime(f.Issued), plan.FormatTime(now))
	}
}

// noForecastInPlan says that the provider has no forecast.
const noForecastInPlan = "the provider has no forecast for this zone in this plan"

// whyAbsent says why there is no forecast for a location.
func (p *Policy) whyAbsent(snapshot *forecast.Snapshot, location string) string {
	f, isKnown := snapshot.Forecast(location)
	switch {
	case f.Details.LacksForecast:
		return noForecastInPlan
	case f.Details.Problem != "":
		return f.Details.Problem
	case !snapshot.HasForecast() && snapshot.Problem() != "":
		return snapshot.Problem()
	case !snapshot.HasForecast():
		return "ConfigMap " + p.Source.String() + " has not been read yet"
	case isKnown:
		return "the newest document has no forecast for " + cmp.Or(location, "its location")
	case location == "":
		return "the forecast has several locations, and the policy names none: " + strings.Join(snapshot.Locations(), ", ")
	default:
		return fmt.Sprintf("the forecast has no location %s, but %s", location, strings.Join(snapshot.Locations(), ", "))
	}
}
