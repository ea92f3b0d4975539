package backtest

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/plan"
)

// MaxJobs bounds the jobs of a run: more would take hours rather than minutes.
const MaxJobs = 5_000_000

const maxWeight = 1e9

// Job is work that starts once and runs to its end.
type Job struct {
	Arrival  time.Time
	Duration time.Duration
	// Slack is the time from the job's arrival to its latest start.
	Slack time.Duration
	// Weight is the power of the job, in any unit that all jobs share; above zero.
	Weight float64
}

// LatestStart returns when the job starts whatever the grid does.
func (j Job) LatestStart() time.Time { return j.Arrival.Add(j.Slack) }

// RegularJobs returns jobs that arrive at from and then once every period, before to: at each
// arrival one job of every duration with every slack. Every weight is 1. More than [MaxJobs] are an
// error.
func RegularJobs(from, to time.Time, every time.Duration, durations, slacks []time.Duration) ([]Job, error) {
	if every <= 0 {
		return nil, fmt.Errorf("a job every %s: want a period above zero", every)
	}
	count := float64(to.Sub(from)) / float64(every) * float64(len(durations)*len(slacks))
	if count > MaxJobs {
		return nil, fmt.Errorf("%.0f jobs: want %d at most, so let jobs arrive less often or shorten the time", count, MaxJobs)
	}
	var jobs []Job
	for arrival := from; arrival.Before(to); arrival = arrival.Add(every) {
		for _, duration := range durations {
			for _, slack := range slacks {
				jobs = append(jobs, Job{Arrival: arrival.UTC(), Duration: duration, Slack: slack, Weight: 1})
			}
		}
	}
	return jobs, nil
}

// ReadJobs reads CSV with the columns arrival (RFC 3339), duration and slack (both as
// [plan.ParseDuration] reads them, and a slack may be 0), in any order. An optional column is
// weight, which is 1 if left out. Errors are like those of [ReadActuals].
func ReadJobs(name string, r io.Reader) ([]Job, error) {
	t, err := openTable(name, r, true, column{name: "arrival"}, column{name: "duration"}, column{name: "slack"}, column{name: "weight", optional: true})
	if err != nil {
		return nil, err
	}
	var jobs []Job
	for {
		ok, err := t.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		job, err := t.job()
		if err != nil {
			return nil, err
		}
		if jobs = append(jobs, job); len(jobs) > MaxJobs {
			return nil, fmt.Errorf("%s, line %d: want at most %d jobs", name, t.line, MaxJobs)
		}
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("%s has no jobs: want at least one row", name)
	}
	return jobs, nil
}

func (t *table) job() (Job, error) {
	if err := t.checkFieldCount(); err != nil {
		return Job{}, err
	}
	arrival, err := t.time("arrival")
	if err != nil {
		return Job{}, err
	}
	duration, err := plan.ParseDuration(t.text("duration"))
	if err != nil {
		return Job{}, t.errorIn("duration", err.Error())
	}
	slack, err := ParseSlack(t.text("slack"))
	if err != nil {
		return Job{}, t.errorIn("slack", err.Error())
	}
	job := Job{Arrival: arrival, Duration: duration, Slack: slack, Weight: 1}
	if t.has("weight") {
		job.Weight, err = strconv.ParseFloat(t.text("weight"), 64)
		if err != nil || !(job.Weight > 0 && job.Weight <= maxWeight) || math.IsInf(job.Weight, 0) {
			return Job{}, t.errorIn("weight", "want a number above 0 and up to 1000000000")
		}
	}
	return job, nil
}

// ParseSlack reads a duration, or a zero: 0, 0s, 0h.
func ParseSlack(s string) (time.Duration, error) {
	text := strings.TrimSpace(s)
	if zero, err := time.ParseDuration(text); err == nil && zero == 0 {
		return 0, nil
	}
	return plan.ParseDuration(text)
}
