package backtest

import (
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Widening says how wide the jobs of a setup may run. The duration and the weight of a job are those
// at the width Least.
type Widening struct {
	Least, Most int
	Speedup     plan.Speedup
}

// work returns what the planner knows of a job. The job is done by its latest start plus its duration.
func (w *Widening) work(job Job) plan.Elastic {
	return plan.Elastic{
		Least: w.Least, Most: w.Most, Speedup: w.Speedup, Remaining: job.Duration,
		Finish: job.LatestStart().Add(job.Duration),
	}
}

// spans returns the widths of a plan.
func (w *Widening) spans(planned plan.WidthPlan) []Span {
	spans := make([]Span, len(planned.Steps))
	for i, step := range planned.Steps {
		spans[i] = Span{Start: step.Start, End: step.End, Times: w.times(step.Width)}
	}
	return spans
}

// times returns how many times as wide as at the least a width is.
func (w *Widening) times(width int) float64 { return float64(width) / float64(max(w.Least, 1)) }

// window returns what a series knows of a time.
func window(series *forecast.Series, from, to time.Time) *forecast.Series {
	var slots []forecast.Slot
	add := func(t time.Time) {
		end, _ := series.NextBoundary(t)
		if intensity, ok := series.At(t); ok {
			slots = append(slots, forecast.Slot{Start: t, End: end, Intensity: intensity})
		}
	}
	add(from)
	for b := range series.Boundaries(from, to) {
		add(b)
	}
	return forecast.NewSeries(slots)
}
