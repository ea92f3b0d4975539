package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// planJSON is a plan as `-o json` prints it; intensities are in gCO2eq/kWh, and null where nothing is known.
type planJSON struct {
	Location          string       `json:"location"`
	Now               time.Time    `json:"now"`
	Start             time.Time    `json:"start"`
	End               time.Time    `json:"end"`
	LatestStart       time.Time    `json:"latestStart"`
	Deadline          *time.Time   `json:"deadline,omitempty"`
	Duration          string       `json:"duration"`
	Waits             bool         `json:"waits"`
	Cause             plan.Cause   `json:"cause"`
	Reason            string       `json:"reason"`
	Intensity         *float64     `json:"intensity"`
	AtOnce            *float64     `json:"intensityAtOnce"`
	PowerFactor       float64      `json:"powerFactor,omitempty"`       // where it is not 1
	PowerFactorAtOnce float64      `json:"powerFactorAtOnce,omitempty"` // the same
	SavedPercent      float64      `json:"savedPercent"`
	Elsewhere         []window     `json:"elsewhere,omitempty"`
	Forecast          forecastJSON `json:"forecast"`
}

type forecastJSON struct {
	Source string     `json:"source"`
	Issued *time.Time `json:"issued,omitempty"`
	From   time.Time  `json:"from"`
	Until  time.Time  `json:"until"`
}

func (a answer) json() planJSON {
	d := a.decision
	out := planJSON{
		Location: d.Location, Now: d.Decided, Start: d.Start, End: d.Start.Add(d.Duration), LatestStart: d.LatestStart,
		Duration: plan.FormatDuration(d.Duration), Waits: d.Holds(), Cause: d.Cause, Reason: d.Reason(),
		Intensity: known(d.Expected), AtOnce: known(d.ExpectedAtOnce), PowerFactor: unlessOne(d.PowerFactor), PowerFactorAtOnce: unlessOne(d.PowerFactorAtOnce),
		SavedPercent: 100 * d.Gain(), Elsewhere: a.elsewhere,
		Forecast: forecastJSON{Source: a.source, From: a.forecast.Series.Start(), Until: a.forecast.Series.End()},
	}
	if !a.ask.deadline.IsZero() {
		out.Deadline = &a.ask.deadline
	}
	if !a.forecast.Issued.IsZero() {
		out.Forecast.Issued = &a.forecast.Issued
	}
	return out
}

// known is nil for NaN, which JSON does not know.
func known(value float64) *float64 {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return nil
	}
	return &value
}

// writeText says what is planned, why and what it saves, and draws the forecast.
func (a answer) writeText(e env) {
	d := a.decision
	headline := "start at once"
	if d.Holds() {
		headline = fmt.Sprintf("start at %s, in %s", plan.FormatTime(d.Start), roughly(d.Start.Sub(d.Decided)))
	}
	_, why, _ := strings.Cut(d.Reason(), ": ") // the time before it is in the headline
	e.stdout.Printf("%s%s%s\n  %s\n\n", screen.Bold, strings.ToUpper(headline[:1])+headline[1:], screen.Plain, why)
	writeWindows(e.stdout, a.windows())
	if a.series().IsEmpty() {
		return
	}
	e.stdout.Printf("\n")
	newChart(e, a.series(), d.Decided, d.Start, d.Duration, d.LatestStart).draw(e.stdout)
}

// series is what the decision rests on.
func (a answer) series() *forecast.Series {
	if a.expected != nil {
		return a.expected
	}
	return a.forecast.Series
}

// windows are the alternatives to what is planned, compared with starting at once.
func (a answer) windows() []window {
	d := a.decision
	atOnce := "at once"
	if d.LocationAtOnce != d.Location {
		atOnce += " in " + d.LocationAtOnce
	}
	all := []window{newWindow(atOnce, d.Decided, d.Duration, known(d.ExpectedAtOnce), d.PowerFactorAtOnce)}
	if d.Holds() {
		all = append(all, newWindow("planned", d.Start, d.Duration, known(d.Expected), d.PowerFactor))
	}
	if latest := d.LatestStart; latest.After(d.Start) {
		all = append(all, newWindow("at the latest", latest, d.Duration, mean(a.series(), latest, d.Duration), d.PowerFactor))
	}
	for _, w := range a.elsewhere {
		if w.Intensity != nil {
			all = append(all, w)
		}
	}
	compare(all)
	return all
}

// roughly prints a duration for people: 5h20m, 3d4h.
func roughly(d time.Duration) string {
	if d < time.Minute {
		return plan.FormatDuration(d.Round(time.Second))
	}
	return plan.FormatDuration(d.Round(time.Minute))
}
