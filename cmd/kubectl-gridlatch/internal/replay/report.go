package replay

import (
	"time"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/answer"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

// Report is a back-test as JSON has it. Intensities are in gCO2eq/kWh.
type Report struct {
	Actual   Actual    `json:"actual"`
	Forecast *Forecast `json:"forecast,omitempty"`
	Weather  *Weather  `json:"weather,omitempty"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Terms    Terms     `json:"terms"`
	Jobs     Jobs      `json:"jobs"`
	Policies []Policy  `json:"policies"`
	Oracle   Score     `json:"oracle"`
	Verdict  string    `json:"verdict"`
	Limits   []string  `json:"limits,omitempty"`
}

// Actual says what is known of the intensities that were.
type Actual struct {
	File    string    `json:"file"`
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	Slot    string    `json:"slot"`
	Gaps    int       `json:"gaps"`
	Missing string    `json:"missing"`
	Uncounted
	*answer.Provided
}

// Uncounted says which rows and values of a file do not count.
type Uncounted struct {
	BadRows      int    `json:"badRows"`
	FirstBadRow  string `json:"firstBadRow,omitempty"`
	RepeatedRows int    `json:"repeatedRows"`
	NotBelieved  int    `json:"valuesNotBelieved"`
}

func newUncounted(rows backtest.SkippedRows, notBelieved int) Uncounted {
	return Uncounted{BadRows: rows.Unreadable, FirstBadRow: rows.Problem, RepeatedRows: rows.Repeated, NotBelieved: notBelieved}
}

// Forecast says which forecasts there were.
type Forecast struct {
	File   string    `json:"file"`
	Issues int       `json:"issues"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Uncounted
}

// Weather says which forecasts of the weather there were.
type Weather struct {
	File          string    `json:"file"`
	Issues        int       `json:"issues"`
	First         time.Time `json:"first"`
	Last          time.Time `json:"last"`
	Hours         int       `json:"hours"`
	UnknownValues int       `json:"unknownValues"`
	BadRows       int       `json:"badRows"`
	FirstBadRow   string    `json:"firstBadRow,omitempty"`
	RepeatedRows  int       `json:"repeatedRows"`
}

// newWeather returns nil if there were none.
func newWeather(file string, w backtest.WeatherIssues) *Weather {
	if len(w.Issues) == 0 {
		return nil
	}
	return &Weather{
		File: file, Issues: len(w.Issues), First: w.Issues[0].Issued, Last: w.Issues[len(w.Issues)-1].Issued, Hours: w.Hours, UnknownValues: w.UnknownValues,
		BadRows: w.Skipped.Unreadable, FirstBadRow: w.Skipped.Problem, RepeatedRows: w.Skipped.Repeated,
	}
}

// Jobs counts the jobs, and those that do not count: they arrive at another time, or could run
// where no intensity is known.
type Jobs struct {
	Count     int `json:"count"`
	Outside   int `json:"outside"`
	Uncovered int `json:"uncovered"`
}

// Policy says what a policy did.
type Policy struct {
	Policy string `json:"policy"`
	Score
	OraclePercent *float64 `json:"ofOraclePercent"`
	MostAtOnce    int      `json:"mostAtOnce"`
	MeanAtOnce    float64  `json:"meanAtOnce"`
	Forced        int      `json:"forcedOverCeiling"`
	Cells         []Cell   `json:"cells,omitempty"`
}

// Cell says what a policy did for the jobs of a duration and a slack.
type Cell struct {
	Duration string `json:"duration"`
	Slack    string `json:"slack"`
	Score
}

// Score has the figures of some jobs.
type Score struct {
	Jobs           int     `json:"jobs"`
	SavingPercent  float64 `json:"savingPercent"`
	MeanWaitHours  float64 `json:"meanWaitHours"`
	DirtierPercent float64 `json:"dirtierPercent"`
	Intensity      float64 `json:"intensity"`
	AtOnce         float64 `json:"intensityAtOnce"`
	// MeanPauseHours and MeanRuns are left out if jobs cannot be paused.
	MeanPauseHours *float64 `json:"meanPauseHours,omitempty"`
	MeanRuns       *float64 `json:"meanRuns,omitempty"`
	// MeanPods is left out if jobs have one width.
	MeanPods *float64 `json:"meanPods,omitempty"`
}

func (r *Replay) newScore(s backtest.Score) Score {
	score := Score{
		Jobs: s.Jobs, SavingPercent: 100 * s.Saving, MeanWaitHours: s.Wait.Hours(),
		DirtierPercent: 100 * s.DirtierShare, Intensity: s.Emitted, AtOnce: s.AtOnce,
	}
	if r.Setup.Pausing != nil {
		score.MeanPauseHours, score.MeanRuns = answer.Known(s.Pause.Hours()), answer.Known(s.Runs)
	}
	if r.Setup.Widening != nil {
		score.MeanPods = answer.Known(r.MeanPods(s))
	}
	return score
}

// Report returns the back-test as JSON has it, with or without each duration and slack.
func (r *Replay) Report(withCells bool) Report {
	actuals := r.Setup.Actuals
	report := Report{
		Actual: Actual{
			File: r.Actual(), From: actuals.Series.Start(), Until: actuals.Series.End(), Slot: plan.FormatDuration(actuals.SlotWidth),
			Gaps: actuals.Gaps, Missing: plan.FormatDuration(actuals.MissingTime), Uncounted: newUncounted(actuals.Skipped, actuals.Doubted),
			Provided: answer.NewProvided(r.Provided, ""),
		},
		From: r.Setup.From, To: r.Setup.To, Terms: r.Terms,
		Jobs:    Jobs{Count: len(r.Result.Jobs), Outside: r.Result.OutsideJobs, Uncovered: r.Result.UncoveredJobs},
		Weather: newWeather(r.Files.Weather, r.Weather),
		Oracle:  r.newScore(r.Of(backtest.Oracle).Total), Verdict: r.Verdict(), Limits: r.Limits(),
	}
	if issues := r.Forecasts.Documents; len(issues) > 0 {
		report.Forecast = &Forecast{
			File: r.Files.Forecast, Issues: len(issues), First: issues[0].Issued, Last: issues[len(issues)-1].Issued,
			Uncounted: newUncounted(r.Forecasts.Skipped, r.Result.DoubtedValues),
		}
	}
	for _, scores := range r.Asked() {
		policy := Policy{
			Policy: scores.Policy.String(), Score: r.newScore(scores.Total), OraclePercent: r.OfOracle(scores),
			MostAtOnce: scores.MaxConcurrent, MeanAtOnce: scores.MeanConcurrent, Forced: scores.ForcedStarts,
		}
		if withCells {
			policy.Cells = r.cells(scores)
		}
		report.Policies = append(report.Policies, policy)
	}
	return report
}

func (r *Replay) cells(scores backtest.Scores) []Cell {
	var cells []Cell
	for _, cell := range backtest.SortedCells(scores.Cells) {
		cells = append(cells, Cell{plan.FormatDuration(cell.Duration), plan.FormatDuration(cell.Slack), r.newScore(scores.Cells[cell])})
	}
	return cells
}
