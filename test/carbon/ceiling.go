package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"

	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

// ceilingFactor times the mean concurrency is the ceiling.
const ceilingFactor = 3

// A ceilingResult has the scores of a region below its ceiling.
type ceilingResult struct {
	ceiling                 int
	ours, greedy, foresight backtest.Scores
}

// measureCeiling lets the jobs of all cells run below one ceiling.
func measureCeiling(ctx context.Context, regions []region, out io.Writer) ([]figure, error) {
	results, err := forEach(ctx, regions, belowCeiling)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "A ceiling of %dx the mean concurrency for the jobs of all cells together; plain minimum\n", ceilingFactor)
	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "REGION\tCEILING\tGRIDLATCH %\tGREEDY %\tFORESIGHT %\tSHARE OF FORESIGHT %\tMOST AT ONCE\tOVER\t")
	var ours, greed, best float64
	over := math.Inf(-1)
	for i, r := range results {
		a, b, c := 100*r.ours.Total.Saving, 100*r.greedy.Total.Saving, 100*r.foresight.Total.Saving
		ours, greed, best = ours+a, greed+b, best+c
		over = max(over, float64(r.ours.MaxConcurrent-r.ceiling), float64(r.ours.ForcedStarts))
		fmt.Fprintf(table, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.1f\t%d\t%d\t\n", regions[i].name, r.ceiling, a, b, c, 100*a/c, r.ours.MaxConcurrent, r.ours.ForcedStarts)
	}
	n := float64(len(results))
	fmt.Fprintf(table, "mean\t\t%.2f\t%.2f\t%.2f\t%.1f\t\t\t\n", ours/n, greed/n, best/n, 100*ours/best)
	return []figure{
		atLeast("foresight_share_ceiling", "%", 100*ours/best, 85),
		{"starts_over_ceiling", "jobs", max(over, 0), "0", over <= 0},
	}, table.Flush()
}

func belowCeiling(ctx context.Context, r region) (ceilingResult, error) {
	unbounded, err := r.setup(func(*backtest.Setup) {})
	if err != nil {
		return ceilingResult{}, fmt.Errorf("%s: %w", r.name, err)
	}
	c := ceilingResult{ceiling: int(math.Round(ceilingFactor * backtest.MeanConcurrency(unbounded.Jobs)))}
	buckets, err := plan.ParseBuckets(strconv.Itoa(c.ceiling))
	if err != nil {
		return c, fmt.Errorf("%s: ceiling: %w", r.name, err)
	}
	scores, err := r.replay(ctx, func(s *backtest.Setup) { s.Ceiling = buckets }, gridlatch, greedy, foresight)
	if err != nil {
		return c, err
	}
	c.ours, c.greedy, c.foresight = scores[0], scores[1], scores[2]
	return c, nil
}
