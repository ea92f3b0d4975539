package backtest

import (
	"slices"
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

// Span is a time in which a job runs at one width.
type Span struct {
	Start, End time.Time
	// Times is how many times as wide as at the least the job runs; zero counts as once.
	Times float64
}

// Load returns how many times as wide as at the least the job runs: what its weight is multiplied by.
func (s Span) Load() float64 {
	if s.Times == 0 {
		return 1
	}
	return s.Times
}

func (s Span) length() time.Duration { return s.End.Sub(s.Start) }

// SpansOf returns when a job runs, ascending. index is its place in Result.Jobs.
func (r Run) SpansOf(index int, job Job) []Span {
	if r.Spans != nil {
		return r.Spans[index]
	}
	return []Span{{Start: r.Starts[index], End: r.Starts[index].Add(job.Duration)}}
}

// emission returns what is emitted in some spans: gCO2eq for each kW at the least width.
func emission(actual *forecast.Series, spans []Span) (sum float64) {
	for _, s := range spans {
		mean, _ := actual.Mean(s.Start, s.End)
		sum += mean * s.length().Hours() * s.Load()
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

// meanTimes returns how many times as wide as at the least a job ran on average.
func meanTimes(spans []Span) (mean float64) {
	for _, s := range spans {
		mean += s.Load() * float64(s.length()) / float64(duration(spans))
	}
	return mean
}

// runs returns in how many runs a job was done.
func runs(spans []Span) int {
	n := 1
	for i := range spans[1:] {
		if !spans[i+1].Start.Equal(spans[i].End) {
			n++
		}
	}
	return n
}

// setsWidths reports whether the policy sets how wide jobs run.
func (r Run) setsWidths() bool {
	return slices.ContainsFunc(r.Spans, func(spans []Span) bool { return spans[0].Times != 0 })
}
