// Package backtest tells what a policy would have saved. It replays the past of a grid to the
// planner and the model of production, hour by hour, and sums up what the jobs would really have
// emitted.
//
// At each moment a policy knows what it would have known then, and no more: the actual intensities
// of the slots that have begun, and the forecasts that have been received. A change of anything
// later changes no start at or before that moment. Only [Oracle] and [Foresight] look ahead. They
// show what there is to reach.
//
// A job runs through at one width, unless the setup lets jobs be interrupted (Pausing) or run wider
// (Widening). Its emission is its weight, times the sum over its runs of the length of the run, the
// mean of the actual intensities over the run, and how many times as wide as at the least the run is.
// A resume makes a run longer, so its cost is in the sum.
//
// The package reads no clock and no file: all its input is passed in.
package backtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Model predicts the intensity of a grid. In production [forecast.Model] does.
type Model interface {
	Receive(series *forecast.Series, received time.Time) forecast.Verdict
	Observe(slot forecast.Slot)
	HearWeather(issue forecast.Weather, received time.Time)
	Predict(now time.Time, maxAge time.Duration) forecast.Prediction
}

// Setup says what is replayed.
type Setup struct {
	Actuals Actuals
	// Documents are ascending. A grid without a forecast has none.
	Documents []Document
	// Weather is ascending. A grid whose weather nobody forecasts has none.
	Weather []WeatherIssue
	Jobs    []Job
	// Jobs that arrive in [From, To) count. The model learns before that time, too, and during it.
	From, To time.Time
	// History is how much of the past the model has seen at From; 0 is a cold start.
	History time.Duration
	// ActualDelay is how long after the start of a slot its intensity becomes known. ForecastDelay
	// and WeatherDelay are how long after its time of issue a forecast, of the intensity or of the
	// weather, is received.
	ActualDelay, ForecastDelay, WeatherDelay time.Duration
	// MaxAge is how old a forecast may be to be trusted.
	MaxAge time.Duration
	Terms  plan.Terms
	// Ceiling bounds how many jobs run at once.
	Ceiling plan.Buckets
	// Pausing lets all jobs be interrupted; nil means that they run through. The policies gridlatch,
	// greedy, foresight and oracle then pause jobs, the other policies do not.
	Pausing *Pausing
	// Widening lets all jobs run wider; nil means that they have one width. The policies gridlatch,
	// foresight and oracle then set widths, and ignore ceilings. The other policies do not.
	Widening *Widening
	// Model predicts; nil is the model of production. A run gives the model all that happened, so
	// the model must be new.
	Model Model
	// Progress, if set, is called now and then with the share of the run that is done, in 0..1.
	Progress func(done float64)
}

// Run says what a policy did.
type Run struct {
	Policy Policy
	// Starts are the starts of Result.Jobs.
	Starts []time.Time
	// Spans are all runs of each of these jobs, if the policy pauses jobs or sets their width; else nil.
	// See SpansOf.
	Spans [][]Span
	// ForcedStarts counts the jobs that started above the ceiling because they could not wait any
	// longer.
	ForcedStarts int
}

// Result says what all policies did with the same jobs.
type Result struct {
	// Jobs are the jobs of the setup that can be judged, in their order.
	Jobs []Job
	// OutsideJobs counts the jobs that do not arrive in [From, To). UncoveredJobs counts the jobs
	// with a gap in the actual intensities between their arrival and the end of a run from their
	// latest start. Jobs has neither.
	OutsideJobs, UncoveredJobs int
	// LearnedTime and Basis are copied from the last prediction.
	LearnedTime time.Duration
	Basis       forecast.Basis
	// DoubtedValues counts the forecast values that the model did not believe.
	DoubtedValues int
	Runs          []Run
}

// Run replays the setup to every policy. All policies see the same, and no policy sees another:
// each does what it would do alone.
func (s Setup) Run(ctx context.Context, policies ...Policy) (Result, error) {
	var r Result
	for _, job := range s.Jobs {
		end := job.LatestStart().Add(job.Duration)
		switch _, covered := s.Actuals.Series.Mean(job.Arrival, end); {
		case job.Arrival.Before(s.From) || !job.Arrival.Before(s.To):
			r.OutsideJobs++
		case covered < end.Sub(job.Arrival):
			r.UncoveredJobs++
		default:
			r.Jobs = append(r.Jobs, job)
		}
	}
	if len(r.Jobs) == 0 {
		return r, s.errorWithoutJobs(r)
	}
	replay := newReplay(s, r.Jobs, policies)
	if err := replay.run(ctx); err != nil {
		return r, fmt.Errorf("replay: %w", err)
	}
	r.LearnedTime, r.Basis, r.DoubtedValues = replay.lastPrediction.LearnedTime, replay.lastPrediction.Basis, replay.news.doubted
	for _, p := range replay.players {
		r.Runs = append(r.Runs, p.result())
	}
	return r, nil
}

// errorWithoutJobs says why there is no job to judge.
func (s Setup) errorWithoutJobs(r Result) error {
	if len(s.Jobs) == 0 {
		return errors.New("there are no jobs")
	}
	return fmt.Errorf("none of %d jobs can be judged: %d arrive outside %s to %s, and %d lack actual intensities, which are known from %s to %s",
		len(s.Jobs), r.OutsideJobs, plan.FormatTime(s.From), plan.FormatTime(s.To), r.UncoveredJobs, plan.FormatTime(s.Actuals.Series.Start()), plan.FormatTime(s.Actuals.Series.End()))
}

// arrivals returns the indexes of jobs in the order of their arrival.
func arrivals(jobs []Job) []int {
	order := make([]int, len(jobs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return jobs[a].Arrival.Compare(jobs[b].Arrival) })
	return order
}
