package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

// flat is the saving of the oracle, as a share, below which a grid is not worth waiting for.
const flat = 0.03

// simulationJSON is a back-test as `-o json` prints it. Intensities are in gCO2eq/kWh.
type simulationJSON struct {
	Actual   actualJSON   `json:"actual"`
	Forecast *issuesJSON  `json:"forecast,omitempty"`
	From     time.Time    `json:"from"`
	To       time.Time    `json:"to"`
	Terms    termsJSON    `json:"terms"`
	Jobs     jobsJSON     `json:"jobs"`
	Policies []policyJSON `json:"policies"`
	Oracle   scoreJSON    `json:"oracle"`
	Verdict  string       `json:"verdict"`
}

type actualJSON struct {
	File    string    `json:"file"`
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	Slot    string    `json:"slot"`
	Gaps    int       `json:"gaps"`
	Missing string    `json:"missing"`
	rowsJSON
}

// rowsJSON is what of a file does not count.
type rowsJSON struct {
	Bad         int    `json:"badRows"`
	Problem     string `json:"firstBadRow,omitempty"`
	Repeated    int    `json:"repeatedRows"`
	NotBelieved int    `json:"valuesNotBelieved"`
}

func newRows(rows backtest.SkippedRows, doubted int) rowsJSON {
	return rowsJSON{Bad: rows.Unreadable, Problem: rows.Problem, Repeated: rows.Repeated, NotBelieved: doubted}
}

type issuesJSON struct {
	File   string    `json:"file"`
	Issues int       `json:"issues"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	rowsJSON
}

type termsJSON struct {
	WaitPrice   float64 `json:"waitPricePercentPerHour"`
	MinGain     float64 `json:"minGainPercent"`
	HistoryDays float64 `json:"historyDays"`
	Ceiling     string  `json:"ceiling,omitempty"`
}

type jobsJSON struct {
	Count     int `json:"count"`
	Outside   int `json:"outside"`
	Uncovered int `json:"uncovered"`
}

type policyJSON struct {
	Policy string `json:"policy"`
	scoreJSON
	OraclePercent *float64   `json:"ofOraclePercent"`
	MostAtOnce    int        `json:"mostAtOnce"`
	MeanAtOnce    float64    `json:"meanAtOnce"`
	Forced        int        `json:"forcedOverCeiling"`
	Cells         []cellJSON `json:"cells,omitempty"`
}

type cellJSON struct {
	Duration string `json:"duration"`
	Slack    string `json:"slack"`
	scoreJSON
}

type scoreJSON struct {
	Jobs           int     `json:"jobs"`
	SavingPercent  float64 `json:"savingPercent"`
	MeanWaitHours  float64 `json:"meanWaitHours"`
	DirtierPercent float64 `json:"dirtierPercent"`
	Intensity      float64 `json:"intensity"`
	AtOnce         float64 `json:"intensityAtOnce"`
}

func newScore(s backtest.Score) scoreJSON {
	return scoreJSON{
		Jobs: s.Jobs, SavingPercent: 100 * s.Saving, MeanWaitHours: s.Wait.Hours(),
		DirtierPercent: 100 * s.DirtierShare, Intensity: s.Emitted, AtOnce: s.AtOnce,
	}
}

func (s *simulation) json() simulationJSON {
	series, oracle := s.setup.Actuals.Series, s.of(backtest.Oracle)
	out := simulationJSON{
		Actual: actualJSON{
			File: s.flags.actual, From: series.Start(), Until: series.End(), Slot: plan.FormatDuration(s.setup.Actuals.SlotWidth),
			Gaps: s.setup.Actuals.Gaps, Missing: plan.FormatDuration(s.setup.Actuals.MissingTime),
			rowsJSON: newRows(s.setup.Actuals.Skipped, s.setup.Actuals.Doubted),
		},
		From: s.setup.From, To: s.setup.To,
		Terms: termsJSON{
			WaitPrice: s.flags.waitPrice, MinGain: s.flags.minGain, HistoryDays: s.flags.history, Ceiling: s.ceiling,
		},
		Jobs:    jobsJSON{Count: len(s.result.Jobs), Outside: s.result.OutsideJobs, Uncovered: s.result.UncoveredJobs},
		Oracle:  newScore(oracle.Total),
		Verdict: s.verdict(),
	}
	if issues := s.forecasts.Documents; len(issues) > 0 {
		out.Forecast = &issuesJSON{
			File: s.flags.forecast, Issues: len(issues), First: issues[0].Issued, Last: issues[len(issues)-1].Issued,
			rowsJSON: newRows(s.forecasts.Skipped, s.result.DoubtedValues),
		}
	}
	for _, scores := range s.scores[:len(s.policies)] {
		p := policyJSON{
			Policy: scores.Policy.String(), scoreJSON: newScore(scores.Total), OraclePercent: ofOracle(scores, oracle),
			MostAtOnce: scores.MaxConcurrent, MeanAtOnce: scores.MeanConcurrent, Forced: scores.ForcedStarts,
		}
		for _, cell := range backtest.SortedCells(scores.Cells) {
			if s.flags.cells {
				p.Cells = append(p.Cells, cellJSON{plan.FormatDuration(cell.Duration), plan.FormatDuration(cell.Slack), newScore(scores.Cells[cell])})
			}
		}
		out.Policies = append(out.Policies, p)
	}
	return out
}

// of returns the scores of a kind of policy; empty if it was not asked for.
func (s *simulation) of(kind backtest.Kind) backtest.Scores {
	for _, scores := range s.scores {
		if scores.Policy.Kind == kind {
			return scores
		}
	}
	return backtest.Scores{}
}

// ofOracle is the percentage of what can be saved; nil if that is nothing.
func ofOracle(scores, oracle backtest.Scores) *float64 {
	if !(oracle.Total.Saving > 0) {
		return nil
	}
	return known(100 * scores.Total.Saving / oracle.Total.Saving)
}

// writeText says what was replayed, and what came of it.
func (s *simulation) writeText(out *screen.Screen) {
	s.writeHead(out)
	out.Printf("\n")
	s.writeScores(out)
	if s.flags.cells {
		out.Printf("\nSaving by duration and slack:\n")
		s.writeCells(out)
	}
	out.Printf("\n%s\n", s.verdict())
}

// writeHead says by what the numbers come about.
func (s *simulation) writeHead(out *screen.Screen) {
	table := out.Table(2)
	row := func(name, format string, values ...any) { table.Row(name, fmt.Sprintf(format, values...)) }
	actuals := s.setup.Actuals
	gaps := ""
	if actuals.Gaps > 0 {
		gaps = fmt.Sprintf("; %s missing in %s", plan.FormatDuration(actuals.MissingTime), count(actuals.Gaps, "gap"))
	}
	row("Actual", "%s: slots of %s from %s to %s%s", s.flags.actual, plan.FormatDuration(actuals.SlotWidth),
		plan.FormatTime(actuals.Series.Start()), plan.FormatTime(actuals.Series.End()), gaps)
	for _, line := range notCounted(actuals.Skipped) {
		row("", "%s", line)
	}
	if actuals.Doubt != "" {
		row("", "%s", actuals.Doubt)
	}
	row("Forecast", "%s", s.describeForecast())
	for _, line := range notCounted(s.forecasts.Skipped) {
		row("", "%s", line)
	}
	if s.result.DoubtedValues > 0 {
		row("", "%s not believed when it was received, and counted as not known", count(s.result.DoubtedValues, "value"))
	}
	from := ""
	if s.chosen != "" {
		from = ", " + s.chosen
	}
	row("Jobs", "%s from %s to %s%s%s", count(len(s.result.Jobs), "job"), plan.FormatTime(s.setup.From), plan.FormatTime(s.setup.To), from, s.leftOut())
	if !s.pooled {
		row("", "%s long, with %s of slack, every %s", strings.Join(s.flags.durations, ", "), strings.Join(s.flags.slacks, ", "), s.flags.every)
	}
	row("Terms", "wait price %g %%/h, min gain %g %%, history %g days", s.flags.waitPrice, s.flags.minGain, s.flags.history)
	if s.ceiling != "" {
		row("Ceiling", "%s at once; the mean at once is %.1f", s.ceiling, s.of(backtest.Immediate).MeanConcurrent)
	}
	table.Flush()
}

func (s *simulation) describeForecast() string {
	issues := s.forecasts.Documents
	if len(issues) == 0 {
		return "none: history only"
	}
	return fmt.Sprintf("%s: %s from %s to %s", s.flags.forecast, count(len(issues), "issue"),
		plan.FormatTime(issues[0].Issued), plan.FormatTime(issues[len(issues)-1].Issued))
}

// notCounted says which rows of a file do not count.
func notCounted(rows backtest.SkippedRows) []string {
	var lines []string
	if rows.Unreadable > 0 {
		lines = append(lines, fmt.Sprintf("%s cannot be read, the first: %s", count(rows.Unreadable, "row"), rows.Problem))
	}
	if rows.Repeated > 0 {
		lines = append(lines, fmt.Sprintf("%s repeated, the first of each counts", count(rows.Repeated, "row")))
	}
	return lines
}

// leftOut says how many jobs do not count, and why.
func (s *simulation) leftOut() string {
	var why []string
	if n := s.result.OutsideJobs; n > 0 {
		why = append(why, fmt.Sprintf("%d arrive at another time", n))
	}
	if n := s.result.UncoveredJobs; n > 0 {
		why = append(why, fmt.Sprintf("%d could run where no intensity is known", n))
	}
	if len(why) == 0 {
		return ""
	}
	return "; left out: " + strings.Join(why, ", ")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// writeScores prints a row per policy.
func (s *simulation) writeScores(out *screen.Screen) {
	table := out.Table(3)
	header := []any{"POLICY", "SAVING", "OF ORACLE", "gCO2eq/kWh", "MEAN WAIT", "DIRTIER"}
	if s.ceiling != "" {
		header = append(header, "MOST AT ONCE", "FORCED")
	}
	table.Row(header...)
	oracle := s.of(backtest.Oracle)
	for _, scores := range s.scores[:len(s.policies)] {
		share := "-"
		if percent := ofOracle(scores, oracle); percent != nil {
			share = fmt.Sprintf("%.1f %%", *percent)
		}
		t := scores.Total
		cells := []any{
			scores.Policy, fmt.Sprintf("%.2f %%", 100*t.Saving), share, fmt.Sprintf("%.1f", t.Emitted),
			fmt.Sprintf("%.1f h", t.Wait.Hours()), fmt.Sprintf("%.1f %%", 100*t.DirtierShare),
		}
		if s.ceiling != "" {
			cells = append(cells, scores.MaxConcurrent, scores.ForcedStarts)
		}
		table.Row(cells...)
	}
	table.Flush()
}

// writeCells prints a row per duration and slack, a column per policy.
func (s *simulation) writeCells(out *screen.Screen) {
	table := out.Table(3)
	asked := s.scores[:len(s.policies)]
	header := []any{"DURATION", "SLACK", "JOBS"}
	for _, scores := range asked {
		header = append(header, scores.Policy)
	}
	table.Row(header...)
	for _, cell := range backtest.SortedCells(asked[0].Cells) {
		cells := []any{plan.FormatDuration(cell.Duration), plan.FormatDuration(cell.Slack), asked[0].Cells[cell].Jobs}
		for _, scores := range asked {
			cells = append(cells, fmt.Sprintf("%.2f %%", 100*scores.Cells[cell].Saving))
		}
		table.Row(cells...)
	}
	table.Flush()
}

// verdict says in a sentence whether waiting is worth it.
func (s *simulation) verdict() string {
	oracle, ours := s.of(backtest.Oracle).Total, s.of(backtest.Gridlatch)
	did := ""
	if ours.Cells != nil {
		did = fmt.Sprintf("; Gridlatch saved %.1f %% for a mean wait of %.1f h", 100*ours.Total.Saving, ours.Total.Wait.Hours())
	}
	switch {
	case oracle.Saving < flat:
		return fmt.Sprintf("Waiting is not worth it here: the grid is so flat that even perfect foresight saves no more than %.1f %%%s.", 100*oracle.Saving, did)
	case ours.Cells == nil:
		return fmt.Sprintf("With perfect foresight, waiting saves %.1f %% here.", 100*oracle.Saving)
	case ours.Total.Saving < flat:
		return fmt.Sprintf("Waiting is hardly worth it here: of the %.1f %% that perfect foresight saves, Gridlatch saved %.1f %%, for a mean wait of %.1f h.",
			100*oracle.Saving, 100*ours.Total.Saving, ours.Total.Wait.Hours())
	default:
		return fmt.Sprintf("Gridlatch saved %.1f %% of the emissions, %.0f %% of what perfect foresight saves, for a mean wait of %.1f h.",
			100*ours.Total.Saving, 100*ours.Total.Saving/oracle.Saving, ours.Total.Wait.Hours())
	}
}
