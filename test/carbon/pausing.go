package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/gridlatch/gridlatch/plan/backtest"
)

// uninterrupted starts jobs that can be interrupted as if they could not.
var uninterrupted = backtest.Policy{Kind: backtest.Uninterrupted}

// longDurations are those of jobs that are worth to be interrupted.
func longDurations() []time.Duration { return []time.Duration{4 * hour, 12 * hour} }

// pausingTwice lets jobs run in two parts.
func pausingTwice(restartCost time.Duration) *backtest.Pausing {
	return &backtest.Pausing{Runs: 2, RestartCost: restartCost}
}

// A pausingResult has the scores of jobs that can be interrupted.
type pausingResult struct{ pausing, waiting, oracle backtest.Scores }

// measurePausing lets jobs be interrupted: without a cost, and with ten minutes of run time for each
// resume.
func measurePausing(ctx context.Context, regions []region, out io.Writer) ([]figure, error) {
	free, err := comparePausing(ctx, regions, out, 0)
	if err != nil {
		return nil, err
	}
	costly, err := comparePausing(ctx, regions, out, 10*time.Minute)
	if err != nil {
		return nil, err
	}
	long := []backtest.Cell{{Duration: 12 * hour, Slack: 24 * hour}, {Duration: 12 * hour, Slack: 48 * hour}}
	return []figure{
		atLeast("oracle_share_interruptible", "%", share(free), 88),
		atLeast("oracle_share_interruptible_restart", "%", share(costly), 87),
		atLeast("pausing_against_waiting", "times", meanSaving(free, pausingOf, long...)/meanSaving(free, waitingOf, long...), 1.3),
		above("pausing_saving", "%", 100*meanSaving(free, pausingOf, long[0]), 100*meanSaving(free, waitingOf, long[0])),
	}, nil
}

func pausingOf(r pausingResult) backtest.Scores { return r.pausing }
func waitingOf(r pausingResult) backtest.Scores { return r.waiting }
func oracleOf(r pausingResult) backtest.Scores  { return r.oracle }

// comparePausing replays jobs that can be interrupted on all regions, and prints what they save.
func comparePausing(ctx context.Context, regions []region, out io.Writer, restartCost time.Duration) ([]pausingResult, error) {
	results, err := forEach(ctx, regions, func(ctx context.Context, r region) (pausingResult, error) {
		return r.pausing(ctx, restartCost)
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "Jobs of 4 and 12 hours that can be interrupted once, a restart costs %s; plain minimum\n", restartCost)
	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "REGION\tPAUSING %\tORACLE %\tSHARE %\tWAITING %\tRUNS\tPAUSED h\tDIRTIER %\t")
	for i, r := range results {
		t := r.pausing.Total
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.1f\t%.2f\t%.2f\t%.1f\t%.1f\t\n", regions[i].name, 100*t.Saving, 100*r.oracle.Total.Saving,
			100*t.Saving/r.oracle.Total.Saving, 100*r.waiting.Total.Saving, t.Runs, t.Pause.Hours(), 100*t.DirtierShare)
	}
	for _, cell := range backtest.SortedCells(results[0].pausing.Cells) {
		ours, best := meanSaving(results, pausingOf, cell), meanSaving(results, oracleOf, cell)
		fmt.Fprintf(table, "mean of %.0f h, slack %.0f h\t%.2f\t%.2f\t%.1f\t%.2f\t\t\t\t\n", cell.Duration.Hours(), cell.Slack.Hours(),
			100*ours, 100*best, 100*ours/best, 100*meanSaving(results, waitingOf, cell))
	}
	fmt.Fprintf(table, "mean\t%.2f\t%.2f\t%.1f\t%.2f\t\t\t\t\n",
		100*meanSaving(results, pausingOf), 100*meanSaving(results, oracleOf), share(results), 100*meanSaving(results, waitingOf))
	return results, table.Flush()
}

// pausing replays jobs that can be interrupted.
func (r region) pausing(ctx context.Context, restartCost time.Duration) (pausingResult, error) {
	s, err := r.setup(func(s *backtest.Setup) { s.Pausing = pausingTwice(restartCost) })
	if err != nil {
		return pausingResult{}, fmt.Errorf("%s: %w", r.name, err)
	}
	if s.Jobs, err = backtest.RegularJobs(s.From, s.To, arrivalSpacing, longDurations(), slacks); err != nil {
		return pausingResult{}, fmt.Errorf("%s: %w", r.name, err)
	}
	result, err := s.Run(ctx, gridlatch, uninterrupted, oracle)
	if err != nil {
		return pausingResult{}, fmt.Errorf("%s: %w", r.name, err)
	}
	scores := result.Scores(r.actuals, false)
	return pausingResult{scores[0], scores[1], scores[2]}, nil
}

// share returns the share of the oracle's saving, in percent.
func share(results []pausingResult) float64 {
	return 100 * meanSaving(results, pausingOf) / meanSaving(results, oracleOf)
}

// meanSaving returns the mean saving of all regions: in some cells, or in all.
func meanSaving(results []pausingResult, of func(pausingResult) backtest.Scores, cells ...backtest.Cell) (mean float64) {
	for _, r := range results {
		scores := of(r)
		saving := scores.Total.Saving
		if len(cells) > 0 {
			saving = 0
			for _, cell := range cells {
				saving += scores.Cells[cell].Saving / float64(len(cells))
			}
		}
		mean += saving / float64(len(results))
	}
	return mean
}
