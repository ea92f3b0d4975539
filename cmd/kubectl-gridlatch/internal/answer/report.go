package answer

import (
	"time"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/fetch"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Report is a plan as JSON has it. Intensities are in gCO2eq/kWh, and null where nothing is known.
type Report struct {
	Location    string     `json:"location"`
	Now         time.Time  `json:"now"`
	Start       time.Time  `json:"start"`
	End         time.Time  `json:"end"`
	LatestStart time.Time  `json:"latestStart"`
	Deadline    *time.Time `json:"deadline,omitempty"`
	Duration    string     `json:"duration"`
	Waits       bool       `json:"waits"`
	Cause       plan.Cause `json:"cause"`
	Reason      string     `json:"reason"`
	Intensity   *float64   `json:"intensity"`
	AtOnce      *float64   `json:"intensityAtOnce"`
	// The power factors are left out where they are 1.
	PowerFactor       float64  `json:"powerFactor,omitempty"`
	PowerFactorAtOnce float64  `json:"powerFactorAtOnce,omitempty"`
	SavedPercent      float64  `json:"savedPercent"`
	Elsewhere         []Window `json:"elsewhere,omitempty"`
	Forecast          Forecast `json:"forecast"`
}

// Forecast says which forecast a plan rests on.
type Forecast struct {
	Source string     `json:"source"`
	Issued *time.Time `json:"issued,omitempty"`
	From   time.Time  `json:"from,omitzero"`
	Until  time.Time  `json:"until,omitzero"`
	*Provided
}

// Provided says which provider the values are from. It is left out if nobody states the provider.
type Provided struct {
	Origin      forecast.Origin `json:"origin"`
	Attribution string          `json:"attribution,omitempty"`
	// Basis says what the plan rests on; empty for a back-test.
	Basis forecast.Basis `json:"basis,omitempty"`
}

// NewProvided returns nil if no provider was asked.
func NewProvided(d *fetch.Data, basis forecast.Basis) *Provided {
	if d == nil {
		return nil
	}
	return &Provided{d.Origin(), d.Description.Attribution, basis}
}

// Provider says which provider the values of the plan are from: the one that was asked, or the one
// that the forecast of the cluster names; nil if nobody states the provider.
func (p Plan) Provider() *Provided {
	details := p.Forecast.Details
	if details.Origin == (forecast.Origin{}) {
		return nil
	}
	return &Provided{details.Origin, details.Attribution, p.Decision.Basis}
}

// Report returns the plan as JSON has it.
func (p Plan) Report() Report {
	d := p.Decision
	report := Report{
		Location: d.Location, Now: d.Decided, Start: d.Start, End: d.Start.Add(d.Duration), LatestStart: d.LatestStart,
		Duration: plan.FormatDuration(d.Duration), Waits: d.Holds(), Cause: d.Cause, Reason: d.Reason(),
		Intensity: Known(d.Expected), AtOnce: Known(d.ExpectedAtOnce),
		PowerFactor: UnlessOne(d.PowerFactor), PowerFactorAtOnce: UnlessOne(d.PowerFactorAtOnce),
		SavedPercent: 100 * d.Gain(), Elsewhere: p.Elsewhere,
		Forecast: Forecast{
			Source: p.Source, From: p.Forecast.Series.Start(), Until: p.Forecast.Series.End(), Provided: p.Provider(),
		},
	}
	if !p.Question.Deadline.IsZero() {
		report.Deadline = &p.Question.Deadline
	}
	if !p.Forecast.Issued.IsZero() {
		report.Forecast.Issued = &p.Forecast.Issued
	}
	return report
}
