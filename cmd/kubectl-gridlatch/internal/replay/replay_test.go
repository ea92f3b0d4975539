package replay

import (
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

func TestAFlatGridIsSaidToBeFlat(t *testing.T) {
	for name, tt := range map[string]struct {
		oracle, ours float64
		want         string
	}{
		"nothing to save": {0.01, 0.005, "Waiting is not worthwhile here: the grid is so flat that even perfect foresight saves no more than 1.0 %; Gridlatch saved 0.5 % for a mean wait of 3.0 h."},
		"little saved":    {0.05, 0.02, "Waiting is hardly worthwhile here: perfect foresight saves 5.0 %, and Gridlatch saved 2.0 % for a mean wait of 3.0 h."},
		"much saved":      {0.2, 0.18, "Gridlatch saved 18.0 % of the emissions, 90 % of what perfect foresight saves, for a mean wait of 3.0 h."},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Replay{Scores: []backtest.Scores{
				{Policy: backtest.Policy{Kind: backtest.Gridlatch}, Total: backtest.Score{Saving: tt.ours, Wait: 3 * time.Hour}, Cells: map[backtest.Cell]backtest.Score{}},
				{Policy: backtest.Policy{Kind: backtest.Oracle}, Total: backtest.Score{Saving: tt.oracle}},
			}}
			if got := r.Verdict(); got != tt.want {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestABackTestBeginsWhenTheModelHasSeenEnough(t *testing.T) {
	const day = 24 * time.Hour
	start := time.Date(2021, 7, 1, 0, 0, 0, 0, time.UTC)
	days := func(n int) time.Time { return start.Add(time.Duration(n) * day) }
	forecasts := func(first time.Time) []backtest.Document { return []backtest.Document{{Issued: first}} }
	for name, tt := range map[string]struct {
		length  int // days of actuals
		history time.Duration
		issued  []backtest.Document
		jobs    []backtest.Job
		want    time.Time
		why     string
	}{
		"after the history":              {100, 28 * day, nil, nil, days(28), "after the history"},
		"in the later half of few days":  {40, 28 * day, nil, nil, days(20), "in the later half, because there is little data"},
		"after two weeks of forecasts":   {100, 28 * day, forecasts(days(30)), nil, days(44), "after 14 days of forecasts"},
		"forecasts from before":          {100, 28 * day, forecasts(days(-60)), nil, days(28), "after the history"},
		"from a cold start":              {100, 0, nil, nil, start, "from a cold start"},
		"from a cold start of forecasts": {100, 0, forecasts(days(30)), nil, days(30), "from a cold start"},
		"with the first job of a file":   {100, 28 * day, nil, []backtest.Job{{Arrival: days(9)}, {Arrival: days(7)}}, days(7), "when the first job arrives"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Replay{Pooled: tt.jobs != nil}
			r.Setup.Actuals.Series = forecast.NewSeries([]forecast.Slot{{Start: start, End: days(tt.length), Intensity: 1}})
			r.Setup.To, r.Setup.History, r.Setup.Documents, r.Setup.Jobs = days(tt.length), tt.history, tt.issued, tt.jobs
			if r.Begin(); !r.Setup.From.Equal(tt.want) || r.BeginsWhy != tt.why {
				t.Errorf("%s, %s; want %s, %s", r.Setup.From, r.BeginsWhy, tt.want, tt.why)
			}
		})
	}
}
