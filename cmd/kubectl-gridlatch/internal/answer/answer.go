// Package answer has the question when work would start, and the plan that answers the question.
// The forecast may come from a file, from a cluster or from a provider.
package answer

import (
	"time"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/fetch"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Question asks when work would start. Fields that are not given are zero.
type Question struct {
	Now       time.Time
	Duration  time.Duration
	Deadline  time.Time
	Threshold *float64
	Location  string
}

// Plan answers a Question: a decision, and the forecast behind the decision.
type Plan struct {
	Question Question
	Decision plan.Decision
	// Source names the file, the ConfigMap or the zone that the forecast is from.
	Source string
	// Provided is what a provider has said of the zone; nil if no provider was asked.
	Provided *fetch.Data
	// Forecast is the forecast as it was published.
	Forecast forecast.Forecast
	// Expected has the intensities behind the decision: the published ones, or those as corrected
	// by what Gridlatch has learned.
	Expected *forecast.Series
	// Elsewhere has the cheapest start in each other location that the policy chooses from.
	Elsewhere []Window
	Warnings  []string
}

// Windows compares starting at once with the planned start, with the latest start and with the
// other locations, in this order.
func (p Plan) Windows() []Window {
	d := p.Decision
	atOnce := AtOnce
	if d.LocationAtOnce != d.Location {
		atOnce += " in " + d.LocationAtOnce
	}
	windows := []Window{NewWindow(atOnce, d.Decided, d.Duration, d.ExpectedAtOnce, d.PowerFactorAtOnce)}
	if d.Holds() {
		windows = append(windows, NewWindow(Planned, d.Start, d.Duration, d.Expected, d.PowerFactor))
	}
	if latest := d.LatestStart; latest.After(d.Start) {
		windows = append(windows, Expect(LatestStart, p.Expected, latest, d.Duration, d.PowerFactor))
	}
	for _, w := range p.Elsewhere {
		if w.Intensity != nil {
			windows = append(windows, w)
		}
	}
	Compare(windows)
	return windows
}
