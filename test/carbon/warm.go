package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

// providerPast is how much of the past `gridlatch export` asks a provider for at its first start.
const providerPast = 56 * day

// A preparation is how a model came to know the weeks before a start.
type preparation struct {
	name   string
	change func(region, *backtest.Setup)
}

// preparations come in pairs. The first model of a pair lived through the weeks before the start. The
// second model is new, and was told the actual intensities of these weeks, but not their forecasts.
// The second pair has no forecasts at all.
func preparations() []preparation {
	lived := func(_ region, s *backtest.Setup) { s.History = providerPast }
	told := func(r region, s *backtest.Setup) { s.History, s.Model = 0, r.toldModel(s.From) }
	withoutForecast := func(prepare func(region, *backtest.Setup)) func(region, *backtest.Setup) {
		return func(r region, s *backtest.Setup) {
			prepare(r, s)
			s.Documents = nil
		}
	}
	return []preparation{
		{"LIVED %", lived}, {"WARM START %", told},
		{"LIVED, NO FORECAST %", withoutForecast(lived)}, {"WARM START, NO FORECAST %", withoutForecast(told)},
	}
}

// toldModel returns a new model that knows the actual intensities of the weeks before an instant, as
// after the first document of the exporter.
func (r region) toldModel(at time.Time) *forecast.Model {
	m := &forecast.Model{}
	m.ObserveAll(r.actuals.Series, at)
	return m
}

// measureWarm starts with the past that a provider gives, several times, and compares that with
// having lived through the past.
func measureWarm(ctx context.Context, regions []region, out io.Writer) ([]figure, error) {
	fmt.Fprintf(out, "The first 10 days with the last %d days of actual intensities from the provider, and with having lived through them;\n"+
		"%d starts of each region, plain minimum: share of the oracle\n", providerPast/day, coldStarts)
	table := tabwriter.NewWriter(out, 0, 8, 3, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "REGION\t")
	var columns [][][]savings // by preparation, region and phase
	for _, p := range preparations() {
		fmt.Fprintf(table, "%s\t", p.name)
		results, err := forEach(ctx, regions, func(ctx context.Context, r region) ([]savings, error) {
			return startRows(ctx, r, r.livedFrom(), func(s *backtest.Setup) { p.change(r, s) })
		})
		if err != nil {
			return nil, err
		}
		columns = append(columns, results)
	}
	fmt.Fprintln(table)
	for i, r := range regions {
		fmt.Fprintf(table, "%s, %d days of forecasts\t", r.name, r.livedFrom().Sub(r.documents[0].Issued)/day)
		for _, results := range columns {
			fmt.Fprintf(table, "%.1f\t", results[i][0].share())
		}
		fmt.Fprintln(table)
	}
	var shares []float64
	for k, phase := range phases {
		fmt.Fprintf(table, "mean of days %d-%d\t", phase[0], phase[1])
		for _, results := range columns {
			var rows []savings
			for _, result := range results {
				rows = append(rows, result[k])
			}
			shares = append(shares, meanOf(rows).share())
			fmt.Fprintf(table, "%.1f\t", shares[len(shares)-1])
		}
		fmt.Fprintln(table)
	}
	return warmFigures(shares), table.Flush()
}

// warmFigures returns the figures of the shares of all preparations.
func warmFigures(shares []float64) []figure {
	const most = 0.5 // points that a warm start may lose
	asLived := func(name string, share, lived float64) figure {
		return figure{name, "%", share, fmt.Sprintf(">= %.2f", lived-most), share >= lived-most}
	}
	return []figure{
		atLeast("oracle_share_lived", "%", shares[0], 84),
		asLived("oracle_share_warm_start", shares[1], shares[0]),
		below("warm_start_loss", "points", shares[0]-shares[1], most),
		atLeast("oracle_share_lived_no_forecast", "%", shares[2], 77),
		asLived("oracle_share_warm_start_no_forecast", shares[3], shares[2]),
		below("warm_start_loss_no_forecast", "points", shares[2]-shares[3], most),
	}
}

// livedFrom returns the first start for which a model can have lived through all these weeks with
// their forecasts. If the forecasts of the region are too few, that is the first day of the other
// figures: the model has then lived through two weeks or more.
func (r region) livedFrom() time.Time {
	if from := r.documents[0].Issued.Add(providerPast); !from.After(r.lastStart()) {
		return from
	}
	return r.from()
}
