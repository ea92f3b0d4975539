package backtest_test

import (
	"cmp"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

// TestRealGridsKeepThePromises replays real grids: those in the folder that GRIDLATCH_TRACES names,
// or else the forty days of one grid that the repository ships.
func TestRealGridsKeepThePromises(t *testing.T) {
	folder := cmp.Or(os.Getenv("GRIDLATCH_TRACES"), filepath.Join("..", "..", "forecast", "testdata", "traces"))
	files, err := filepath.Glob(filepath.Join(folder, "*.forecast.csv"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no REGION.forecast.csv: %v", folder, err)
	}
	for _, file := range files {
		region := strings.TrimSuffix(file, ".forecast.csv")
		t.Run(filepath.Base(region), func(t *testing.T) {
			t.Parallel()
			result, actuals := replayTrace(t, region)
			for _, run := range result.Runs {
				for i, job := range result.Jobs {
					if start := run.Starts[i]; start.Before(job.Arrival) || start.After(job.LatestStart()) {
						t.Fatalf("%s starts %+v at %v", run.Policy, job, start)
					}
				}
			}
			scores := result.Scores(actuals, false)
			ours, oracle := scores[0].Total.Saving, scores[1].Total.Saving
			if ours > oracle || ours < oracle/2 {
				t.Errorf("it saves %.1f %%, and %.1f %% can be saved", 100*ours, 100*oracle)
			}
			if scores[0].Total.DirtierShare > 0.2 {
				t.Errorf("%.0f %% of the jobs are dirtier than at once", 100*scores[0].Total.DirtierShare)
			}
		})
	}
}

// replayTrace replays four weeks of a grid under the default terms, from the tenth day of its
// forecasts on.
func replayTrace(t *testing.T, region string) (backtest.Result, backtest.Actuals) {
	t.Helper()
	actuals := readTrace(t, region+".actual.csv", backtest.ReadActuals)
	forecasts := readTrace(t, region+".forecast.csv", backtest.ReadForecasts)
	from := forecasts.Documents[0].Issued.Add(10 * 24 * time.Hour)
	to := from.Add(28 * 24 * time.Hour)
	jobs, err := backtest.RegularJobs(from, to, 5*time.Hour, []time.Duration{time.Hour, 4 * time.Hour}, []time.Duration{12 * time.Hour, 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	setup := backtest.Setup{
		Actuals: actuals, Documents: forecasts.Documents, Jobs: jobs, From: from, To: to,
		History: 10 * 24 * time.Hour, MaxAge: 24 * time.Hour, Terms: plan.Terms{WaitPrice: 0.001, MinGain: 0.01},
	}
	result, err := setup.Run(t.Context(), backtest.Policy{Kind: backtest.Gridlatch}, backtest.Policy{Kind: backtest.Oracle})
	if err != nil {
		t.Fatal(err)
	}
	return result, actuals
}

func readTrace[T any](t *testing.T, name string, parse func(string, io.Reader) (T, error)) T {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	trace, err := parse(name, file)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}
