package backtest

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// dirtierMargin is the share by which a job must emit more than at once to count as dirtier.
const dirtierMargin = 0.001

// Cell names jobs of the same duration and slack.
type Cell struct {
	Duration, Slack time.Duration
}

// Score sums up some jobs under a policy. All shares are in 0..1.
type Score struct {
	// Jobs is the number of jobs.
	Jobs int
	// AtOnce is the mean intensity that the jobs would have had if started when they arrived.
	// Emitted is the mean intensity that they had. Both are in gCO2eq/kWh, weighted by power and
	// duration. What a restart emits counts as if the work itself had emitted it.
	AtOnce, Emitted float64
	// Saving is the share of the emissions that was saved against starting at once; negative if
	// more was emitted.
	Saving float64
	// Wait is the mean time from arrival to start, Pause the mean time of all pauses.
	Wait, Pause time.Duration
	// Runs is in how many runs a job was done, on average. Width is how many times its least width a job
	// ran at, on average.
	Runs, Width float64
	// DirtierShare is the share of the jobs that emitted over 0.1 % more than they would have at
	// once.
	DirtierShare float64
}

// Scores sum up a policy: every cell, and all cells.
type Scores struct {
	Policy Policy
	// Total is the mean of the cells. Every cell counts the same, however many jobs it has.
	Total Score
	Cells map[Cell]Score
	// MaxConcurrent is the largest number of jobs that ran at the same time. MeanConcurrent is the
	// mean number from the first arrival to the last end.
	MaxConcurrent  int
	MeanConcurrent float64
	// ForcedStarts is copied from the run.
	ForcedStarts int
}

// Scores sums up every run. Jobs of equal duration and slack are a cell, and all cells count the
// same. With pooled, all jobs are in one cell, whose Duration and Slack are 0, and every job counts
// by its emissions.
func (r Result) Scores(actuals Actuals, pooled bool) []Scores {
	cells := map[Cell][]int{}
	for i, job := range r.Jobs {
		cell := Cell{Duration: job.Duration, Slack: job.Slack}
		if pooled {
			cell = Cell{}
		}
		cells[cell] = append(cells[cell], i)
	}
	var all []Scores
	for _, run := range r.Runs {
		s := Scores{Policy: run.Policy, Cells: map[Cell]Score{}, ForcedStarts: run.ForcedStarts}
		s.MaxConcurrent, s.MeanConcurrent = concurrency(r.Jobs, run)
		for cell, members := range cells {
			s.Cells[cell] = r.score(actuals, run, members)
		}
		s.Total = mean(s.Cells)
		all = append(all, s)
	}
	return all
}

// score sums up some jobs of a run.
func (r Result) score(actuals Actuals, run Run, members []int) Score {
	s := Score{Jobs: len(members)}
	var energy, wait, pause float64
	for _, i := range members {
		job := r.Jobs[i]
		work := job.Weight * job.Duration.Hours()
		atOnce, _ := actuals.Series.Mean(job.Arrival, job.Arrival.Add(job.Duration))
		spans := run.SpansOf(i, job)
		emitted := emission(actuals.Series, spans) / job.Duration.Hours()
		s.AtOnce += work * atOnce
		s.Emitted += work * emitted
		energy += work
		wait += run.Starts[i].Sub(job.Arrival).Seconds()
		pause += (spans[len(spans)-1].End.Sub(spans[0].Start) - duration(spans)).Seconds()
		s.Runs += float64(runs(spans))
		s.Width += meanTimes(spans)
		if emitted > atOnce+dirtierMargin*math.Abs(atOnce) {
			s.DirtierShare++
		}
	}
	if s.AtOnce > 0 {
		s.Saving = 1 - s.Emitted/s.AtOnce
	}
	s.AtOnce /= energy
	s.Emitted /= energy
	s.DirtierShare /= float64(s.Jobs)
	s.Wait = time.Duration(wait / float64(s.Jobs) * float64(time.Second))
	s.Pause = time.Duration(pause / float64(s.Jobs) * float64(time.Second))
	s.Runs /= float64(s.Jobs)
	s.Width /= float64(s.Jobs)
	return s
}

// mean returns the mean of all cells, with Jobs as their sum. It adds the cells in a fixed order,
// so that the same run gives the same digits.
func mean(cells map[Cell]Score) Score {
	var m Score
	n := float64(len(cells))
	var wait, pause float64
	for _, cell := range SortedCells(cells) {
		s := cells[cell]
		m.Jobs += s.Jobs
		m.AtOnce += s.AtOnce / n
		m.Emitted += s.Emitted / n
		m.Saving += s.Saving / n
		m.DirtierShare += s.DirtierShare / n
		m.Runs += s.Runs / n
		m.Width += s.Width / n
		wait += float64(s.Wait) / n
		pause += float64(s.Pause) / n
	}
	m.Wait, m.Pause = time.Duration(wait), time.Duration(pause)
	return m
}

// SortedCells returns the cells by duration and slack.
func SortedCells(cells map[Cell]Score) []Cell {
	var sorted []Cell
	for cell := range cells {
		sorted = append(sorted, cell)
	}
	slices.SortFunc(sorted, func(a, b Cell) int {
		if a.Duration != b.Duration {
			return cmp.Compare(a.Duration, b.Duration)
		}
		return cmp.Compare(a.Slack, b.Slack)
	})
	return sorted
}

// MeanConcurrency returns how many jobs would run at the same time on average, if each started when
// it arrives.
func MeanConcurrency(jobs []Job) float64 {
	if len(jobs) == 0 {
		return 0
	}
	atOnce := Run{Starts: make([]time.Time, len(jobs))}
	for i, job := range jobs {
		atOnce.Starts[i] = job.Arrival
	}
	_, average := concurrency(jobs, atOnce)
	return average
}

// concurrency returns how many jobs ran at once: at most, and on average.
func concurrency(jobs []Job, run Run) (most int, average float64) {
	type change struct {
		at time.Time
		by int
	}
	var changes []change
	var hours float64
	first, last := jobs[0].Arrival, run.Starts[0]
	for i, job := range jobs {
		spans := run.SpansOf(i, job)
		for _, s := range spans {
			changes = append(changes, change{s.Start, 1}, change{s.End, -1})
		}
		hours += duration(spans).Hours()
		if job.Arrival.Before(first) {
			first = job.Arrival
		}
		if end := spans[len(spans)-1].End; end.After(last) {
			last = end
		}
	}
	slices.SortFunc(changes, func(a, b change) int {
		if order := a.at.Compare(b.at); order != 0 {
			return order
		}
		return a.by - b.by // a job that ends makes room for one that starts
	})
	running := 0
	for _, c := range changes {
		running += c.by
		most = max(most, running)
	}
	return most, hours / last.Sub(first).Hours()
}
