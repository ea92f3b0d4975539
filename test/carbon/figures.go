package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/gridlatch/gridlatch/plan/backtest"
)

// A figure is one number that is worth comparing over time.
type figure struct {
	name, unit string
	value      float64
	target     string // as it is printed
	met        bool
}

func atLeast(name, unit string, value, target float64) figure {
	return figure{name, unit, value, fmt.Sprintf(">= %g", target), value >= target}
}

func above(name, unit string, value, target float64) figure {
	return figure{name, unit, value, fmt.Sprintf("> %.3g", target), value > target}
}

func below(name, unit string, value, target float64) figure {
	return figure{name, unit, value, fmt.Sprintf("< %g", target), value < target}
}

// measure prints all figures.
func measure(ctx context.Context, regions []region, out io.Writer) error {
	var all []figure
	without := withoutWeather(regions)
	for _, m := range []struct {
		regions []region
		measure func(context.Context, []region, io.Writer) ([]figure, error)
	}{
		{without, measureCost}, {without, measurePlain}, {without, measureProduction}, {without, measurePast}, {without, measureCaution}, {regions, measureWeather},
		{without, measureStale}, {without, measureCold}, {without, measureWarm}, {without, measureCeiling}, {without, measurePausing}, {without, measureWidening},
	} {
		figures, err := m.measure(ctx, m.regions, out)
		if err != nil {
			return err
		}
		for _, f := range figures {
			verdict := "met"
			if !f.met {
				verdict = "MISSED"
			}
			fmt.Fprintf(out, "  %s: %.2f %s, target %s: %s\n", f.name, f.value, f.unit, f.target, verdict)
		}
		fmt.Fprintln(out)
		all = append(all, figures...)
	}
	for _, f := range all {
		fmt.Fprintf(out, "figure %s %.3f %s\n", f.name, f.value, f.unit)
	}
	return nil
}

// withoutWeather returns the regions as if nobody forecast their weather.
func withoutWeather(regions []region) []region {
	without := slices.Clone(regions)
	for i := range without {
		without[i].weather = nil
	}
	return without
}

// measureCost measures how long a user waits for a simulation, alone on the machine.
func measureCost(ctx context.Context, regions []region, out io.Writer) ([]figure, error) {
	start := time.Now()
	scores, err := regions[0].replay(ctx, func(s *backtest.Setup) { s.Terms = production }, gridlatch, oracle,
		backtest.Policy{Kind: backtest.AtPercentile, Value: 20}, backtest.Policy{Kind: backtest.LowestSlot}, immediate)
	if err != nil {
		return nil, err
	}
	took := time.Since(start).Seconds()
	fmt.Fprintf(out, "Cost: %s, %d jobs in %d cells under %d policies\n", regions[0].name, scores[0].Total.Jobs, len(scores[0].Cells), len(scores))
	return []figure{below("simulate_s", "s", took, 10)}, nil
}

// savings are the scores of a region, of Gridlatch and of the oracle.
type savings struct{ ours, oracle backtest.Score }

// share returns the share of the oracle's saving, in percent.
func (r savings) share() float64 { return 100 * r.ours.Saving / r.oracle.Saving }

// compare replays gridlatch and the oracle on all regions, prints their scores, and returns the
// mean.
func compare(ctx context.Context, regions []region, out io.Writer, title string, change func(*backtest.Setup)) (savings, error) {
	rows, err := forEach(ctx, regions, func(ctx context.Context, r region) (savings, error) {
		scores, err := r.replay(ctx, change, gridlatch, oracle)
		if err != nil {
			return savings{}, err
		}
		return savings{scores[0].Total, scores[1].Total}, nil
	})
	if err != nil {
		return savings{}, err
	}
	mean := meanOf(rows)
	fmt.Fprintln(out, title)
	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "REGION\tSAVING %\tORACLE %\tSHARE %\tWAIT h\tDIRTIER %\t")
	line := func(name string, r savings) {
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.1f\t%.1f\t%.1f\t\n", name,
			100*r.ours.Saving, 100*r.oracle.Saving, r.share(), r.ours.Wait.Hours(), 100*r.ours.DirtierShare)
	}
	for i, r := range rows {
		line(regions[i].name, r)
	}
	line("mean", mean)
	return mean, table.Flush()
}

func meanOf(rows []savings) (mean savings) {
	n := float64(len(rows))
	for _, r := range rows {
		mean.ours.Saving += r.ours.Saving / n
		mean.oracle.Saving += r.oracle.Saving / n
		mean.ours.DirtierShare += r.ours.DirtierShare / n
		mean.ours.Wait += r.ours.Wait / time.Duration(len(rows))
	}
	return mean
}

func measurePlain(ctx context.Context, regions []region, out io.Writer) ([]figure, error) {
	mean, err := compare(ctx, regions, out, "Plain minimum: wait price 0, min gain 0", func(*backtest.Setup) {})
	return []figure{atLeast("oracle_share_plain", "%", mean.share(), 87)}, err
}

func measureProduction(ctx context.Context, regions []region, out io.Writer) ([]figure, error) {
	mean, err := compare(ctx, regions, out, "As by default: wait price 0.1 %/h, min gain 1 %", func(s *backtest.Setup) { s.Terms = production })
	return []figure{
		atLeast("oracle_share_default", "%", mean.share(), 85.5),
		below("mean_wait_default", "h", mean.ours.Wait.Hours(), 9),
		below("dirtier_default", "%", 100*mean.ours.DirtierShare, 6),
	}, err
}

func measurePast(ctx context.Context, regions []region, out io.Writer) ([]figure, error) {
	mean, err := compare(ctx, regions, out, "No forecast, 28 days of history; plain minimum", func(s *backtest.Setup) { s.Documents = nil })
	return []figure{atLeast("oracle_share_no_forecast", "%", mean.share(), 77)}, err
}

// weatherDelay is how long after its time of issue a forecast of the weather is published.
const weatherDelay = 6 * hour

// measureWeather measures what free forecasts of the weather are worth, with a provider and without,
// in the regions that have any.
func measureWeather(ctx context.Context, regions []region, out io.Writer) ([]figure, error) {
	var windy []region
	for _, r := range regions {
		if len(r.weather) > 0 {
			windy = append(windy, r)
		}
	}
	if len(windy) == 0 {
		return nil, nil
	}
	alone, err := compare(ctx, windy, out, "No forecast, 28 days of history, and weather; plain minimum", func(s *backtest.Setup) { s.Documents = nil })
	if err != nil {
		return nil, err
	}
	both, err := compare(ctx, windy, out, "Forecasts and weather; plain minimum", func(*backtest.Setup) {})
	return []figure{
		atLeast("oracle_share_weather", "%", alone.share(), 83),
		below("dirtier_weather", "%", 100*alone.ours.DirtierShare, 12),
		atLeast("oracle_share_provider_weather", "%", both.share(), 87.8),
	}, err
}

// caution is the one of a policy that sets none.
const caution = 0.25

// measureCaution compares holding for every gain with holding for a gain that is worth the error of
// the forecast, on what is hardest to predict: with no forecast at all.
func measureCaution(ctx context.Context, regions []region, out io.Writer) ([]figure, error) {
	bold, err := compare(ctx, regions, out, "No forecast, 28 days of history; plain minimum, without caution", func(s *backtest.Setup) { s.Documents = nil })
	if err != nil {
		return nil, err
	}
	cautious, err := compare(ctx, regions, out, fmt.Sprintf("The same with caution %g", caution), func(s *backtest.Setup) {
		s.Documents, s.Terms.Caution = nil, caution
	})
	most := 0.75 * 100 * bold.ours.DirtierShare
	return []figure{
		{"dirtier_cautious", "%", 100 * cautious.ours.DirtierShare, fmt.Sprintf("<= %.2f", most), 100*cautious.ours.DirtierShare <= most},
		{"oracle_share_cautious", "%", cautious.share(), fmt.Sprintf(">= %.2f", bold.share()-1.5), cautious.share() >= bold.share()-1.5},
	}, err
}

func measureStale(ctx context.Context, regions []region, out io.Writer) ([]figure, error) {
	mean, err := compare(ctx, regions, out, "Forecasts always one day stale; plain minimum", func(s *backtest.Setup) {
		s.ForecastDelay, s.MaxAge = day, 3*day
	})
	return []figure{atLeast("oracle_share_stale", "%", mean.share(), 84)}, err
}
