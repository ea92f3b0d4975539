package ledger_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

// dailyGrid is a grid over days with noise that is the same every time, and a forecast of each day.
func dailyGrid(from time.Time, days int) (backtest.Actuals, []backtest.Document) {
	at := func(h int, share float64) float64 {
		return 300 + 120*math.Cos(float64(h%24)*math.Pi/12) + share*40*math.Sin(float64(h)*1.7)
	}
	slots := func(first, hours int, share float64) (slots []forecast.Slot) {
		for h := first; h < first+hours; h++ {
			start := from.Add(time.Duration(h) * time.Hour)
			slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: at(h, share)})
		}
		return slots
	}
	var documents []backtest.Document
	for day := range days {
		documents = append(documents, backtest.Document{Issued: from.AddDate(0, 0, day), Series: forecast.NewSeries(slots(24*day, 48, 0.3))})
	}
	return backtest.Actuals{Series: forecast.NewSeries(slots(0, 24*(days+2), 1))}, documents
}

// TestSimulateAndTheLedgerAgree books what simulate replays: the same jobs, with the starts of the planner. It
// compares with the scores of the simulation, and with perfect foresight of the simulation.
func TestSimulateAndTheLedgerAgree(t *testing.T) {
	from := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	actuals, documents := dailyGrid(from, 10)
	jobs, err := backtest.RegularJobs(from.AddDate(0, 0, 4), from.AddDate(0, 0, 8), 3*time.Hour, []time.Duration{time.Hour, 4 * time.Hour}, []time.Duration{8 * time.Hour, 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for i := range jobs {
		jobs[i].Weight = float64(50 + 10*(i%7)) // watts
	}
	setup := backtest.Setup{
		Actuals: actuals, Documents: documents, Jobs: jobs, From: from.AddDate(0, 0, 4), To: from.AddDate(0, 0, 8), History: 4 * 24 * time.Hour,
		ActualDelay: time.Hour, MaxAge: 24 * time.Hour, Terms: plan.Terms{MinGain: 0.01},
	}
	carbon, err := backtest.ParsePolicy("gridlatch")
	if err != nil {
		t.Fatal(err)
	}
	oracle, err := backtest.ParsePolicy("oracle")
	if err != nil {
		t.Fatal(err)
	}
	result, err := setup.Run(t.Context(), carbon, oracle)
	if err != nil {
		t.Fatal(err)
	}
	scores := result.Scores(actuals, true)
	var sum ledger.Sum
	for i, job := range result.Jobs {
		g := booked(fmt.Sprint(i), job, result.Runs[0].Starts[i])
		sum.Add(g, g.Account(func(string, string) *forecast.Series { return actuals.Series }))
	}
	simulated := scores[0].Total
	if simulated.Saving < 0.05 {
		t.Fatalf("simulate saved %.3f: the test shows nothing", simulated.Saving)
	}
	near(t, "saving", (sum.AvoidedGrams-sum.AddedGrams)/sum.OtherGrams, simulated.Saving)
	mean, ok := sum.MeanIntensity()
	near(t, "mean intensity", mean, simulated.Emitted)
	share, known := sum.OracleShare()
	if !ok || !known {
		t.Fatalf("the mean intensity or the share of the oracle is not known: %+v", sum)
	}
	near(t, "share of the oracle", share/100, simulated.Saving/scores[1].Total.Saving)
}

func booked(uid string, job backtest.Job, start time.Time) ledger.Group {
	return ledger.Group{
		UID: uid, Kind: "Job", Namespace: "shop", Name: uid, Mode: ledger.Enforce, Energy: energy.Stated,
		Arrived: job.Arrival, LatestStart: job.LatestStart(), Released: start, Wait: start.Sub(job.Arrival), Ended: start.Add(job.Duration), SeenEnd: true, Units: 1,
		Steps: []ledger.Step{{Start: start, End: start.Add(job.Duration), Watts: job.Weight}},
	}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-3*math.Abs(want) {
		t.Errorf("%s: the ledger has %v, simulate %v", what, got, want)
	}
}
