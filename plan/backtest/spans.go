package backtest

import (
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// Pausing says how the jobs of a setup can be interrupted.
type Pausing struct {
	// RestartCost is what each resume costs, as run time. MinRun is how long each run lasts at least,
	// unless the job is done before.
	RestartCost, MinRun time.Duration
	// Runs is in how many runs a job is done at most. It counts as 1 at least, and as [plan.MaxRuns] at
	// most.
	Runs int
}

// Span is a time in which a job runs.
type Span struct{ Start, End time.Time }

func (s Span) length() time.Duration { return s.End.Sub(s.Start) }

// SpansOf returns when a job runs, ascending. index is its place in Result.Jobs.
func (r Run) SpansOf(index int, job Job) []Span {
	if r.Spans != nil {
		return r.Spans[index]
	}
	return []Span{{r.Starts[index], r.Starts[index].Add(job.Duration)}}
}

// emission returns what is emitted in some spans: gCO2eq for each kW.
func emission(actual *forecast.Series, spans []Span) (sum float64) {
	for _, s := range spans {
		mean, _ := actual.Mean(s.Start, s.End)
		sum += mean * s.length().Hours()
	}
	return sum
}

// duration returns how long some spans are together.
func duration(spans []Span) (sum time.Duration) {
	for _, s := range spans {
		sum += s.length()
	}
	return sum
}
