package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/gridlatch/gridlatch/plan/backtest"
)

// elasticCell are the jobs that pausing and widening are compared by: work of half a day with a day of
// slack.
func elasticCell() backtest.Cell { return backtest.Cell{Duration: 12 * hour, Slack: 24 * hour} }

// An elasticResult has the scores of work that may run at one to four times its least width, and of
// the same work at its least width.
type elasticResult struct{ elastic, fixed, oracle, fixedOracle backtest.Score }

// measureWidening lets work run wider, and compares that with a fixed width at the same deadline.
func measureWidening(ctx context.Context, regions []region, out io.Writer) ([]figure, error) {
	results, err := forEach(ctx, regions, func(ctx context.Context, r region) (elasticResult, error) { return r.widening(ctx) })
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(out, "Work of 12 h at its least width with a day of slack, and one to four times as wide; plain minimum")
	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "REGION\tELASTIC %\tFIXED %\tTIMES\tORACLE %\tSHARE %\tFIXED ORACLE %\tWIDTH\tDIRTIER %\t")
	line := func(name string, r elasticResult) {
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.2f\t%.2f\t%.1f\t\n", name, 100*r.elastic.Saving, 100*r.fixed.Saving, r.elastic.Saving/r.fixed.Saving,
			100*r.oracle.Saving, 100*r.elastic.Saving/r.oracle.Saving, 100*r.fixedOracle.Saving, r.elastic.Width, 100*r.elastic.DirtierShare)
	}
	var mean elasticResult
	for i, r := range results {
		line(regions[i].name, r)
		for _, pair := range []struct{ sum, of *backtest.Score }{
			{&mean.elastic, &r.elastic}, {&mean.fixed, &r.fixed}, {&mean.oracle, &r.oracle}, {&mean.fixedOracle, &r.fixedOracle},
		} {
			n := float64(len(results))
			pair.sum.Saving += pair.of.Saving / n
			pair.sum.Width += pair.of.Width / n
			pair.sum.DirtierShare += pair.of.DirtierShare / n
		}
	}
	line("mean", mean)
	return []figure{
		above("elastic_saving", "%", 100*mean.elastic.Saving, 100*mean.fixed.Saving),
		atLeast("oracle_share_elastic", "%", 100*mean.elastic.Saving/mean.oracle.Saving, 87),
		atLeast("elastic_against_fixed", "times", mean.elastic.Saving/mean.fixed.Saving, 1.5),
	}, table.Flush()
}

// widening replays work that may run wider, and the same work at its least width.
func (r region) widening(ctx context.Context) (elasticResult, error) {
	s, err := r.setup(func(s *backtest.Setup) { s.Widening = &backtest.Widening{Least: 1, Most: 4} })
	if err != nil {
		return elasticResult{}, fmt.Errorf("%s: %w", r.name, err)
	}
	cell := elasticCell()
	s.Jobs, err = backtest.RegularJobs(s.From, s.To, arrivalSpacing, []time.Duration{cell.Duration}, []time.Duration{cell.Slack})
	if err != nil {
		return elasticResult{}, fmt.Errorf("%s: %w", r.name, err)
	}
	elastic, err := s.Run(ctx, gridlatch, backtest.Policy{Kind: backtest.Fixed}, oracle)
	if err != nil {
		return elasticResult{}, fmt.Errorf("%s: %w", r.name, err)
	}
	s.Widening = nil
	fixed, err := s.Run(ctx, oracle)
	if err != nil {
		return elasticResult{}, fmt.Errorf("%s: %w", r.name, err)
	}
	scores := elastic.Scores(r.actuals, false)
	return elasticResult{scores[0].Total, scores[1].Total, scores[2].Total, fixed.Scores(r.actuals, false)[0].Total}, nil
}
