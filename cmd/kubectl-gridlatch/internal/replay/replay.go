// Package replay back-tests the planner on the past of a grid: what waiting would have saved.
package replay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/answer"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/fetch"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

// forecastsToSee is for how long the model sees forecasts before jobs count, if the beginning is
// not given.
const forecastsToSee = 14 * 24 * time.Hour

// Files are the paths of the CSV files of a back-test; "-" is the standard input, and empty is
// none.
type Files struct {
	Actual, Forecast, Weather, Jobs string
}

// Terms are what a back-test plans by, as the user gave them.
type Terms struct {
	WaitPrice   float64 `json:"waitPricePercentPerHour"`
	MinGain     float64 `json:"minGainPercent"`
	Caution     float64 `json:"caution"`
	HistoryDays float64 `json:"historyDays"`
	// Ceiling is how many jobs may run at once; empty is any number.
	Ceiling string `json:"ceiling,omitempty"`
	// Pausing says how jobs can be paused; nil means that they run through.
	Pausing *Pausing `json:"interruptible,omitempty"`
	// Widening says how wide jobs may run; nil means that they have one width.
	Widening *Widening `json:"widening,omitempty"`
}

// Widening says how wide jobs may run.
type Widening struct {
	Parallelism string `json:"parallelism"`
	// Speedup is empty if each pod does as much as the first.
	Speedup string `json:"speedup,omitempty"`
}

// Pausing says how jobs can be paused.
type Pausing struct {
	RestartCost string `json:"restartCost"`
	MinRun      string `json:"minRun"`
	Segments    int    `json:"segments"`
}

// Invented says which jobs are made up where no file has any, as the user gave them: one of each
// duration with each slack, again and again.
type Invented struct {
	Durations, Slacks []string
	Every             string
}

// Replay is a back-test. The scores are those of the policies that are asked for, and after them
// those of other policies that they are measured against.
type Replay struct {
	Files Files
	// Provided is the past that a provider gave, in place of the file of actual intensities; nil if
	// no provider was asked.
	Provided *fetch.Data
	Terms    Terms
	Invented Invented
	// Policies are those that are asked for.
	Policies  []backtest.Policy
	Setup     backtest.Setup
	Forecasts backtest.Forecasts
	Weather   backtest.WeatherIssues
	// Pooled says that the jobs are those of a file, and count together.
	Pooled bool
	// BeginsWhy says how the beginning was chosen, empty if the user gave it.
	BeginsWhy string
	Result    backtest.Result
	Scores    []backtest.Scores
}

// Read reads the files, and what a provider gave.
func (r *Replay) Read(stdin io.Reader) error {
	if err := r.readActuals(stdin); err != nil {
		return err
	}
	var err error
	if r.Files.Forecast != "" {
		if r.Forecasts, err = readCSV(stdin, r.Files.Forecast, backtest.ReadForecasts); err != nil {
			return err
		}
		r.Setup.Documents = r.Forecasts.Documents
	}
	if r.Files.Weather != "" {
		if r.Weather, err = readCSV(stdin, r.Files.Weather, backtest.ReadWeather); err != nil {
			return err
		}
		r.Setup.Weather = r.Weather.Issues
	}
	if r.Pooled = r.Files.Jobs != ""; r.Pooled {
		r.Setup.Jobs, err = readCSV(stdin, r.Files.Jobs, backtest.ReadJobs)
	}
	return err
}

// readActuals reads the actual intensities. The past of a provider is read as the file of fetch
// would be, so that both give the same figures.
func (r *Replay) readActuals(stdin io.Reader) error {
	var err error
	if r.Provided == nil {
		r.Setup.Actuals, err = readCSV(stdin, r.Files.Actual, backtest.ReadActuals)
		return err
	}
	var file bytes.Buffer
	if err := r.Provided.WriteCSV(&file); err != nil {
		return err
	}
	r.Setup.Actuals, err = backtest.ReadActuals(r.Actual(), &file)
	return err
}

// Actual names the file or the zone that the actual intensities are from.
func (r *Replay) Actual() string {
	if r.Provided != nil {
		return r.Provided.Name()
	}
	return r.Files.Actual
}

func readCSV[T any](stdin io.Reader, path string, read func(name string, r io.Reader) (T, error)) (T, error) {
	if path == "-" {
		return read("standard input", stdin)
	}
	file, err := os.Open(path)
	if err != nil {
		var none T
		return none, err
	}
	defer file.Close()
	return read(path, file)
}

// Begin chooses from when on jobs count: as soon as the model has seen enough, or with the first
// job of a file.
func (r *Replay) Begin() {
	setup := &r.Setup
	if r.Pooled {
		first := slices.MinFunc(setup.Jobs, func(a, b backtest.Job) int { return a.Arrival.Compare(b.Arrival) })
		setup.From, r.BeginsWhy = first.Arrival, "when the first job arrives"
		return
	}
	start, hasForecasts := setup.Actuals.Series.Start(), len(setup.Documents) > 0
	setup.From, r.BeginsWhy = start.Add(setup.History), "after the history"
	if hasForecasts {
		if seen := setup.Documents[0].Issued.Add(min(forecastsToSee, setup.History)); seen.After(start) {
			setup.From, r.BeginsWhy = seen, "after 14 days of forecasts"
		}
	}
	half := start.Add(setup.To.Sub(start) / 2).Truncate(24 * time.Hour)
	switch {
	case setup.History == 0:
		r.BeginsWhy = "from a cold start"
	case !hasForecasts && setup.From.After(half):
		setup.From, r.BeginsWhy = half, "in the later half, because there is little data"
	}
}

// Run runs the back-test.
func (r *Replay) Run(ctx context.Context, progress func(done float64)) error {
	policies := slices.Clone(r.Policies)
	measures := []backtest.Kind{backtest.Oracle, backtest.Immediate}
	if r.Setup.Pausing != nil {
		measures = append(measures, backtest.Uninterrupted)
	}
	if r.Setup.Widening != nil {
		measures = append(measures, backtest.Fixed)
	}
	for _, kind := range measures {
		if p := (backtest.Policy{Kind: kind}); !slices.Contains(policies, p) {
			policies = append(policies, p)
		}
	}
	r.Setup.Progress = progress
	var err error
	if r.Result, err = r.Setup.Run(ctx, policies...); err != nil {
		return err
	}
	r.Scores = r.Result.Scores(r.Setup.Actuals, r.Pooled)
	return nil
}

// WriteStarts writes each start of the policies that are asked for as CSV.
func (r *Replay) WriteStarts(w io.Writer) error {
	asked := r.Result
	asked.Runs = asked.Runs[:len(r.Policies)]
	return asked.WriteStarts(w)
}

// Asked returns the scores of the policies that are asked for.
func (r *Replay) Asked() []backtest.Scores { return r.Scores[:len(r.Policies)] }

// Of returns the scores of a kind of policy, empty if none of that kind has run.
func (r *Replay) Of(kind backtest.Kind) backtest.Scores {
	for _, scores := range r.Scores {
		if scores.Policy.Kind == kind {
			return scores
		}
	}
	return backtest.Scores{}
}

// OfOracle returns which percentage of the possible saving a policy had, nil if nothing could be
// saved.
func (r *Replay) OfOracle(scores backtest.Scores) *float64 {
	oracle := r.Of(backtest.Oracle)
	if !(oracle.Total.Saving > 0) {
		return nil
	}
	return answer.Known(100 * scores.Total.Saving / oracle.Total.Saving)
}

// Limits says in sentences what the figures of a provider's past cannot tell.
func (r *Replay) Limits() []string {
	if r.Provided == nil {
		return nil
	}
	d := r.Provided.Description
	var limits []string
	if d.IsMadeUp {
		limits = append(limits, "The values are made up: the figures say nothing about a real grid.")
	}
	if len(r.Setup.Documents) == 0 && len(r.Setup.Weather) == 0 {
		limits = append(limits, withoutForecasts(d))
	}
	if r.Setup.ActualDelay == 0 {
		limits = append(limits, "Each value counts as known from the beginning of its slot. Providers publish later: --actual-delay 2h tries that.")
	}
	return limits
}

// withoutForecasts says what it means that there were no forecasts.
func withoutForecasts(d provider.Description) string {
	const limit = "The plans rest on the past alone, because providers do not keep their past forecasts."
	switch d.Forecasts {
	case provider.Unavailable:
		return "The plans rest on the past alone: " + d.Source + " has no forecasts. A cluster with this provider plans in the same way."
	case provider.DependsOnPlan:
		return limit + " A cluster also has the forecasts of " + d.Source + ", if your plan includes forecasts, and can save more."
	default:
		return limit + " A cluster also has the forecasts of " + d.Source + ", and can save more."
	}
}

// flatSaving is the saving of the oracle, as a share, below which waiting is not worthwhile.
const flatSaving = 0.03

// Verdict says in a sentence whether waiting is worthwhile.
func (r *Replay) Verdict() string {
	oracle, ours := r.Of(backtest.Oracle).Total, r.Of(backtest.Gridlatch)
	did := ""
	if ours.Cells != nil {
		did = fmt.Sprintf("; Gridlatch saved %.1f %% for a mean wait of %.1f h", 100*ours.Total.Saving, ours.Total.Wait.Hours())
	}
	switch {
	case oracle.Saving < flatSaving:
		return fmt.Sprintf("Waiting is not worthwhile here: the grid is so flat that even perfect foresight saves no more than %.1f %%%s.",
			100*oracle.Saving, did)
	case ours.Cells == nil:
		return fmt.Sprintf("With perfect foresight, waiting saves %.1f %% here.", 100*oracle.Saving)
	case ours.Total.Saving < flatSaving:
		return fmt.Sprintf("Waiting is hardly worthwhile here: perfect foresight saves %.1f %%, and Gridlatch saved %.1f %% for a mean wait of %.1f h.",
			100*oracle.Saving, 100*ours.Total.Saving, ours.Total.Wait.Hours())
	default:
		return fmt.Sprintf("Gridlatch saved %.1f %% of the emissions, %.0f %% of what perfect foresight saves, for a mean wait of %.1f h%s.%s",
			100*ours.Total.Saving, 100*ours.Total.Saving/oracle.Saving, ours.Total.Wait.Hours(), r.pauses(ours.Total), r.withoutPauses()+r.withFixedWidth())
	}
}

// pauses says how long jobs were paused, if they can be.
func (r *Replay) pauses(ours backtest.Score) string {
	if r.Setup.Pausing == nil {
		return ""
	}
	return fmt.Sprintf(" and pauses of %.1f h", ours.Pause.Hours())
}

// withoutPauses says what would have been saved if jobs were not paused, though they can be.
func (r *Replay) withoutPauses() string {
	if r.Setup.Pausing == nil {
		return ""
	}
	return fmt.Sprintf(" Without pauses, it saved %.1f %%.", 100*r.Of(backtest.Uninterrupted).Total.Saving)
}

// withFixedWidth says what would have been saved if jobs were never wider, though they can be.
func (r *Replay) withFixedWidth() string {
	if r.Setup.Widening == nil {
		return ""
	}
	return fmt.Sprintf(" At the least width, it saved %.1f %%.", 100*r.Of(backtest.Fixed).Total.Saving)
}

// MeanPods returns how many pods of a job ran at once on average, if jobs may run wider.
func (r *Replay) MeanPods(s backtest.Score) float64 { return s.Width * float64(r.Setup.Widening.Least) }
