package render

import (
	"fmt"
	"strings"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/replay"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

// Replay says what was replayed, and what each policy saved; with cells, for each duration and
// slack, too.
func (p Page) Replay(r *replay.Replay, withCells bool) {
	p.conditions(r)
	p.Out.Printf("\n")
	p.scores(r)
	if withCells {
		p.Out.Printf("\nSaving by duration and slack:\n")
		p.cells(r)
	}
	p.Out.Printf("\n%s\n", r.Verdict())
	for _, limit := range r.Limits() {
		p.Out.Printf("%s\n", limit)
	}
	if r.Provided != nil {
		p.Out.Printf("%s\n", capital(credit(r.Provided.Name(), r.Provided.Description.Attribution)))
	}
}

// conditions says what the scores rest on.
func (p Page) conditions(r *replay.Replay) {
	table := p.Out.Table(2)
	row := func(name, format string, values ...any) { table.Row(name, fmt.Sprintf(format, values...)) }
	actuals := r.Setup.Actuals
	gaps := ""
	if actuals.Gaps > 0 {
		gaps = fmt.Sprintf("; %s missing in %s", plan.FormatDuration(actuals.MissingTime), Count(actuals.Gaps, "gap"))
	}
	row("Actual", "%s: slots of %s from %s to %s%s", r.Actual(), plan.FormatDuration(actuals.SlotWidth),
		plan.FormatTime(actuals.Series.Start()), plan.FormatTime(actuals.Series.End()), gaps)
	for _, line := range notCounted(actuals.Skipped) {
		row("", "%s", line)
	}
	if actuals.Doubt != "" {
		row("", "%s", actuals.Doubt)
	}
	row("Forecast", "%s", forecasts(r))
	for _, line := range notCounted(r.Forecasts.Skipped) {
		row("", "%s", line)
	}
	if r.Result.DoubtedValues > 0 {
		row("", "%s that could not be true when received; treated as unknown", Count(r.Result.DoubtedValues, "value"))
	}
	weather(r, row)
	from := ""
	if r.BeginsWhy != "" {
		from = ", " + r.BeginsWhy
	}
	row("Jobs", "%s from %s to %s%s%s", Count(len(r.Result.Jobs), "job"), plan.FormatTime(r.Setup.From), plan.FormatTime(r.Setup.To), from, leftOut(r))
	if !r.Pooled {
		row("", "run %s; can wait %s; arrive every %s", strings.Join(r.Invented.Durations, ", "), strings.Join(r.Invented.Slacks, ", "), r.Invented.Every)
	}
	terms(r, row)
	table.Flush()
}

// A conditionRow is a row of the table of conditions: its name, a format and the values.
type conditionRow func(name, format string, values ...any)

// weather says what is known of the weather.
func weather(r *replay.Replay, row conditionRow) {
	issues := r.Weather.Issues
	if len(issues) == 0 {
		return
	}
	row("Weather", "%s: %s from %s to %s", r.Files.Weather, Count(len(issues), "forecast"), plan.FormatTime(issues[0].Issued), plan.FormatTime(issues[len(issues)-1].Issued))
	for _, line := range notCounted(r.Weather.Skipped) {
		row("", "%s", line)
	}
	if n := r.Weather.UnknownValues; n > 0 {
		row("", "%s empty or not a number; treated as unknown", Count(n, "value"))
	}
}

// terms says what the jobs were promised, and what limits them.
func terms(r *replay.Replay, row conditionRow) {
	row("Terms", "wait price %g %%/h, min gain %g %%, caution %g, history %g days", r.Terms.WaitPrice, r.Terms.MinGain, r.Terms.Caution, r.Terms.HistoryDays)
	if pausing := r.Terms.Pausing; pausing != nil {
		row("Pauses", "done in %d runs at most, of %s or more; a restart costs %s", pausing.Segments, pausing.MinRun, pausing.RestartCost)
	}
	if widening := r.Terms.Widening; widening != nil {
		row("Widths", "%s pods at once%s", widening.Parallelism, speedup(widening.Speedup))
	}
	if r.Terms.Ceiling != "" {
		row("Ceiling", "at most %s at once; if no job waits, %.1f run at once on average", r.Terms.Ceiling, r.Of(backtest.Immediate).MeanConcurrent)
	}
}

// speedup says how much faster more pods are.
func speedup(given string) string {
	if given == "" {
		return ", each of which does as much as the first"
	}
	return ", with the speedup " + given
}

// forecasts says which forecasts there were.
func forecasts(r *replay.Replay) string {
	issues := r.Forecasts.Documents
	switch {
	case len(issues) == 0 && len(r.Weather.Issues) > 0:
		return "none, so that the model has the history and the weather"
	case len(issues) == 0:
		return "none, so that the model has the history only"
	}
	return fmt.Sprintf("%s: %s from %s to %s", r.Files.Forecast, Count(len(issues), "forecast"),
		plan.FormatTime(issues[0].Issued), plan.FormatTime(issues[len(issues)-1].Issued))
}

// notCounted says which rows of a file do not count.
func notCounted(rows backtest.SkippedRows) []string {
	var lines []string
	if rows.Unreadable > 0 {
		lines = append(lines, fmt.Sprintf("%s cannot be read; the first: %s", Count(rows.Unreadable, "row"), rows.Problem))
	}
	if rows.Repeated > 0 {
		lines = append(lines, fmt.Sprintf("%s repeated; the first of each counts", Count(rows.Repeated, "row")))
	}
	return lines
}

// leftOut says how many jobs do not count, and why.
func leftOut(r *replay.Replay) string {
	var why []string
	if n := r.Result.OutsideJobs; n > 0 {
		why = append(why, fmt.Sprintf("%d arrive at another time", n))
	}
	if n := r.Result.UncoveredJobs; n > 0 {
		why = append(why, fmt.Sprintf("%d could run where no intensity is known", n))
	}
	if len(why) == 0 {
		return ""
	}
	return "; left out: " + strings.Join(why, ", ")
}

// scores prints a row for each policy.
func (p Page) scores(r *replay.Replay) {
	table := p.Out.Table(3)
	header := []any{"POLICY", "SAVING", "OF ORACLE", "gCO2eq/kWh", "MEAN WAIT", "DIRTIER"}
	if r.Terms.Pausing != nil {
		header = append(header, "MEAN PAUSE", "RUNS")
	}
	if r.Terms.Widening != nil {
		header = append(header, "MEAN PODS")
	}
	if r.Terms.Ceiling != "" {
		header = append(header, "MOST AT ONCE", "FORCED")
	}
	table.Row(header...)
	for _, scores := range r.Asked() {
		share := "-"
		if percent := r.OfOracle(scores); percent != nil {
			share = fmt.Sprintf("%.1f %%", *percent)
		}
		t := scores.Total
		cells := []any{
			scores.Policy, fmt.Sprintf("%.2f %%", 100*t.Saving), share, fmt.Sprintf("%.1f", t.Emitted),
			fmt.Sprintf("%.1f h", t.Wait.Hours()), fmt.Sprintf("%.1f %%", 100*t.DirtierShare),
		}
		if r.Terms.Pausing != nil {
			cells = append(cells, fmt.Sprintf("%.1f h", t.Pause.Hours()), fmt.Sprintf("%.2f", t.Runs))
		}
		if r.Terms.Widening != nil {
			cells = append(cells, fmt.Sprintf("%.1f", r.MeanPods(t)))
		}
		if r.Terms.Ceiling != "" {
			cells = append(cells, scores.MaxConcurrent, scores.ForcedStarts)
		}
		table.Row(cells...)
	}
	table.Flush()
}

// cells prints a row for each duration and slack, with a column for each policy.
func (p Page) cells(r *replay.Replay) {
	table := p.Out.Table(3)
	asked := r.Asked()
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
