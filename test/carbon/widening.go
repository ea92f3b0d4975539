package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

// elasticCell are the jobs that pausing and widening are compared by: work of half a day with a day of
// slack.
func elasticCell() backtest.Cell { return backtest.Cell{Duration: 12 * hour, Slack: 24 * hour} }

// An elasticResult has the scores of work that may run at one to four times its least width, and of
// the same work at its least width: with pauses, without, and both in hindsight.
type elasticResult struct{ elastic, pausing, fixed, oracle, fixedOracle backtest.Score }

// measureWidening lets work run wider, and compares that with a fixed width, and with pauses, at the
// same deadline.
func measureWidening(ctx context.Context, regions []region, out io.Writer) ([]figure, error) {
	results, err := forEach(ctx, regions, func(ctx context.Context, r region) (elasticResult, error) { return r.widening(ctx) })
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "Work of 12 h at its least width with a day of slack, up to four times as wide, or in up to %d runs; plain minimum\n", plan.MaxRuns)
	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "REGION\tELASTIC %\tPAUSING %\tFIXED %\tORACLE %\tSHARE %\tFIXED ORACLE %\tTIMES AS WIDE\tDIRTIER %\t")
	line := func(name string, r elasticResult) {
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.2f\t%.2f\t%.1f\t\n", name, 100*r.elastic.Saving, 100*r.pausing.Saving, 100*r.fixed.Saving,
			100*r.oracle.Saving, 100*r.elastic.Saving/r.oracle.Saving, 100*r.fixedOracle.Saving, r.elastic.Width, 100*r.elastic.DirtierShare)
	}
	for i, r := range results {
		line(regions[i].name, r)
	}
	mean := elasticResult{
		elastic: meanScore(results, func(r elasticResult) backtest.Score { return r.elastic }), pausing: meanScore(results, func(r elasticResult) backtest.Score { return r.pausing }),
		fixed: meanScore(results, func(r elasticResult) backtest.Score { return r.fixed }), oracle: meanScore(results, func(r elasticResult) backtest.Score { return r.oracle }),
		fixedOracle: meanScore(results, func(r elasticResult) backtest.Score { return r.fixedOracle }),
	}
	line("mean", mean)
	return []figure{
		above("elastic_saving", "%", 100*mean.elastic.Saving, 100*mean.fixed.Saving),
		atLeast("elastic_against_fixed", "times", mean.elastic.Saving/mean.fixed.Saving, 1.5),
		atLeast("elastic_against_pausing", "times", mean.elastic.Saving/mean.pausing.Saving, 1.25),
		atLeast("oracle_share_elastic", "%", 100*mean.elastic.Saving/mean.oracle.Saving, 80),
	}, table.Flush()
}

// meanScore returns the mean of the scores of all regions.
func meanScore(results []elasticResult, of func(elasticResult) backtest.Score) (mean backtest.Score) {
	n := float64(len(results))
	for _, r := range results {
		score := of(r)
		mean.Saving += score.Saving / n
		mean.Width += score.Width / n
		mean.DirtierShare += score.DirtierShare / n
	}
	return mean
}

// widening replays work that may run wider, the same work with pauses, and at its least width.
func (r region) widening(ctx context.Context) (elasticResult, error) {
	total := func(change func(*backtest.Setup), policies ...backtest.Policy) ([]backtest.Score, error) {
		s, err := r.setup(change)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		cell := elasticCell()
		if s.Jobs, err = backtest.RegularJobs(s.From, s.To, arrivalSpacing, []time.Duration{cell.Duration}, []time.Duration{cell.Slack}); err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		result, err := s.Run(ctx, policies...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		var totals []backtest.Score
		for _, scores := range result.Scores(r.actuals, false) {
			totals = append(totals, scores.Total)
		}
		return totals, nil
	}
	wide, err := total(func(s *backtest.Setup) { s.Widening = &backtest.Widening{Least: 1, Most: 4} }, gridlatch, oracle)
	if err != nil {
		return elasticResult{}, err
	}
	paused, err := total(func(s *backtest.Setup) { s.Pausing = &backtest.Pausing{Runs: plan.MaxRuns} }, gridlatch)
	if err != nil {
		return elasticResult{}, err
	}
	fixed, err := total(func(*backtest.Setup) {}, gridlatch, oracle)
	if err != nil {
		return elasticResult{}, err
	}
	return elasticResult{elastic: wide[0], oracle: wide[1], pausing: paused[0], fixed: fixed[0], fixedOracle: fixed[1]}, nil
}
