package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"github.com/gridlatch/gridlatch/plan/backtest"
)

// coldStarts is the number of cold starts of every region, spread over the time of its forecasts.
const coldStarts = 6

// phases are parts of the time after a cold start, in days; the first is all of it.
var phases = [][2]int{{0, 10}, {0, 2}, {2, 5}, {5, 10}}

// measureCold starts without any past, with the forecasts as they come, several times. It adds up
// the jobs of all starts.
func measureCold(ctx context.Context, regions []region, out io.Writer) ([]figure, error) {
	results, err := forEach(ctx, regions, coldRows)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "The first days after a cold start, without any history; %d starts of each region, plain minimum: share of the oracle\n", coldStarts)
	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "REGION\t")
	for _, phase := range phases {
		fmt.Fprintf(table, "DAYS %d-%d %%\t", phase[0], phase[1])
	}
	fmt.Fprintln(table)
	for i, rows := range results {
		fmt.Fprintf(table, "%s\t", regions[i].name)
		for _, r := range rows {
			fmt.Fprintf(table, "%.1f\t", r.share())
		}
		fmt.Fprintln(table)
	}
	fmt.Fprint(table, "mean\t")
	shares := make([]float64, len(phases))
	worst := math.Inf(1)
	for k := range phases {
		var rows []savings
		for _, result := range results {
			rows = append(rows, result[k])
		}
		shares[k] = meanOf(rows).share()
		worst = min(worst, shares[k])
		fmt.Fprintf(table, "%.1f\t", shares[k])
	}
	fmt.Fprintln(table)
	return []figure{
		atLeast("oracle_share_cold_10_days", "%", shares[0], 78),
		atLeast("oracle_share_cold_worst_part", "%", worst, 78),
	}, table.Flush()
}

// coldRows returns the savings in every phase.
func coldRows(ctx context.Context, r region) ([]savings, error) {
	return startRows(ctx, r, r.from(), func(s *backtest.Setup) { s.History = 0 })
}

// startRows returns the savings in every phase after several starts, the first at an instant.
func startRows(ctx context.Context, r region, first time.Time, change func(*backtest.Setup)) ([]savings, error) {
	rows := make([]savings, len(phases))
	span := r.lastStart().Sub(first)
	for k := range coldStarts {
		from := first.Add(time.Duration(k) * span / (coldStarts - 1)).Truncate(day)
		setup, err := r.setup(func(s *backtest.Setup) {
			s.From, s.To = from, from.Add(10*day)
			change(s)
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		result, err := setup.Run(ctx, gridlatch, oracle)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		for i, phase := range phases {
			scores := jobsOfPhase(result, from, phase).Scores(r.actuals, false)
			rows[i].ours.Saving += scores[0].Total.Saving / coldStarts
			rows[i].oracle.Saving += scores[1].Total.Saving / coldStarts
		}
	}
	return rows, nil
}

// lastStart returns the last start after which there are 10 days, and the last jobs after them.
func (r region) lastStart() time.Time { return r.actuals.Series.End().Add(-13 * day) }

// jobsOfPhase returns the result for the jobs that arrive in a phase.
func jobsOfPhase(all backtest.Result, from time.Time, phase [2]int) backtest.Result {
	part := backtest.Result{Runs: make([]backtest.Run, len(all.Runs))}
	begin, end := from.Add(time.Duration(phase[0])*day), from.Add(time.Duration(phase[1])*day)
	for i, job := range all.Jobs {
		if job.Arrival.Before(begin) || !job.Arrival.Before(end) {
			continue
		}
		part.Jobs = append(part.Jobs, job)
		for k, run := range all.Runs {
			part.Runs[k].Policy = run.Policy
			part.Runs[k].Starts = append(part.Runs[k].Starts, run.Starts[i])
		}
	}
	return part
}
