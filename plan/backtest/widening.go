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

// emission returns the mean intensity that a job of one width would have had with the emissions of
// these widths.
func (w *Widening) emission(actual *forecast.Series, job Job, widths []plan.WidthStep) (sum float64) {
	for _, step := range widths {
		mean, _ := actual.Mean(step.Start, step.End)
		sum += mean * step.End.Sub(step.Start).Hours() * float64(step.Width)
	}
	return sum / job.Duration.Hours() / float64(w.Least)
}

// meanWidth returns how wide a job runs on average.
func meanWidth(widths []plan.WidthStep) float64 {
	var podTime float64
	for _, step := range widths {
		podTime += float64(step.Width) * float64(step.End.Sub(step.Start))
	}
	return podTime / float64(widths[len(widths)-1].End.Sub(widths[0].Start))
}

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
