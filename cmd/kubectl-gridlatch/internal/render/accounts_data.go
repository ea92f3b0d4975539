package render

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/accounts"
	"github.com/gridlatch/gridlatch/ledger"
)

// AccountsCSV writes a report for spreadsheets and programs: a row for each mode and combination of
// keys, without totals. If the report has groups, it writes a row for each group in place of that.
func AccountsCSV(w io.Writer, r accounts.Report) error {
	records := figureRecords(r)
	if r.Groups != nil {
		records = groupRecords(r.Groups)
	}
	out := csv.NewWriter(w)
	for _, record := range records {
		for i, cell := range record {
			record[i] = plainCell(cell)
		}
	}
	if err := out.WriteAll(records); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

// plainCell returns a cell that a spreadsheet takes for a text or a number, never for a formula.
func plainCell(cell string) string {
	cell = screen.Clean(cell)
	if _, err := strconv.ParseFloat(cell, 64); err != nil && cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

func figureRecords(r accounts.Report) [][]string {
	header := []string{"mode"}
	for _, d := range r.By {
		if d != accounts.Mode {
			header = append(header, string(d))
		}
	}
	header = append(header,
		"groups", "failed_groups", "held_groups", "unseen_ends", "mean_wait_hours",
		"energy_kwh", "failed_energy_kwh", "measured_kwh", "modelled_kwh", "stated_kwh", "unknown_intensity_kwh",
		"mean_intensity_g_per_kwh", "emitted_g", "failed_g",
		"compared_kwh", "avoided_g", "added_g", "saved_g", "saved_percent",
		"oracle_kwh", "oracle_saved_g", "oracle_compared_saved_g", "oracle_share_percent",
		"units", "embodied_g", "sci_g_per_unit", "core_hours", "held_core_hours", "unheld_oracle_saved_g")
	records := [][]string{header}
	for _, section := range r.Sections {
		for _, row := range section.Rows {
			records = append(records, figureRecord(r.By, section.Mode, row))
		}
	}
	return records
}

func figureRecord(by []accounts.Dimension, mode ledger.Mode, row accounts.Row) []string {
	record := []string{string(mode)}
	for i, d := range by {
		if d != accounts.Mode {
			record = append(record, row.Values[i])
		}
	}
	f := row.Figures
	record = append(record, strconv.Itoa(f.Groups), strconv.Itoa(f.FailedGroups), strconv.Itoa(f.HeldGroups), strconv.Itoa(f.UnseenEnds), exact(f.MeanWaitHours),
		exact(f.EnergyKWh), exact(f.FailedEnergyKWh))
	for _, source := range []string{"Measured", "Modelled", "Stated"} {
		i := slices.IndexFunc(f.EnergyFrom, func(s accounts.EnergyShare) bool { return string(s.Source) == source })
		if i < 0 {
			record = append(record, "0")
			continue
		}
		record = append(record, exact(f.EnergyFrom[i].KWh))
	}
	return append(record, exact(f.UnknownIntensityKWh), exactOf(f.MeanIntensity), exact(f.EmittedGrams), exact(f.FailedGrams),
		exact(f.ComparedKWh), exact(f.AvoidedGrams), exact(f.AddedGrams), exact(f.SavedGrams), exactOf(f.SavedPercent),
		exact(f.OracleKWh), exact(f.OracleSavedGrams), exact(f.OracleComparedGrams), exactOf(f.OracleSharePercent),
		exact(f.Units), exact(f.EmbodiedGrams), exactOf(f.SCI), exact(f.CoreHours), exact(f.HeldCoreHours), exact(f.UnheldOracleSavedGrams))
}

func groupRecords(groups []accounts.GroupRow) [][]string {
	records := [][]string{{
		"uid", "kind", "namespace", "name", "owner", "policy", "mode", "forecast", "location", "other_location",
		"arrived", "latest_start", "released", "ended", "seen_end", "wait_seconds", "failed",
		"energy_source", "joules", "failed_joules", "steps", "grams", "failed_grams", "other_grams", "saved_grams", "oracle_grams",
		"units", "embodied_grams", "core_hours",
	}}
	for _, g := range groups {
		records = append(records, []string{
			g.UID, g.Kind, g.Namespace, g.Name, g.Owner, g.Policy, string(g.Mode), g.Source, g.Location, g.OtherLocation,
			instantOf(g.Arrived), instantOf(g.LatestStart), instantOf(g.Released), instantOf(g.Ended),
			strconv.FormatBool(g.SeenEnd), exact(g.Wait.Seconds()), strconv.FormatBool(g.Failed),
			string(g.Energy), exact(g.Joules), exact(g.FailedJoules), stepsOf(g.Steps),
			exactOf(g.Grams), exactOf(g.FailedGrams), exactOf(g.OtherGrams), exactOf(g.SavedGrams), exactOf(g.OracleGrams),
			exact(g.Units), exact(g.EmbodiedGrams), exact(g.CoreHours),
		})
	}
	return records
}

// stepsOf writes the power over time as start/end/watts/watts of what failed, with semicolons
// between the steps.
func stepsOf(steps []ledger.Step) string {
	parts := make([]string, len(steps))
	for i, s := range steps {
		parts[i] = instantOf(s.Start) + "/" + instantOf(s.End) + "/" + exact(s.Watts) + "/" + exact(s.FailedWatts)
	}
	return strings.Join(parts, ";")
}

func instantOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func exact(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func exactOf(v *float64) string {
	if v == nil {
		return ""
	}
	return exact(*v)
}

// AccountsMarkdown writes a report for a page in Markdown, such as an issue.
func AccountsMarkdown(w io.Writer, r accounts.Report) error {
	var out strings.Builder
	fmt.Fprintf(&out, "## %s\n", escapeMarkdown(reportTitle(r)))
	if len(r.Sections) == 0 {
		out.WriteString("\nNo work that Gridlatch decided on has ended in this time.\n")
	}
	for _, table := range sheets(r) {
		fmt.Fprintf(&out, "\n### %s\n\n", escapeMarkdown(table.title))
		markdownSheet(&out, table)
	}
	if len(r.Claims) > 0 {
		out.WriteString("\n### What these figures can and cannot claim\n\n")
	}
	for _, claim := range r.Claims {
		fmt.Fprintf(&out, "* %s\n", escapeMarkdown(claim))
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func markdownSheet(out *strings.Builder, s sheet) {
	for i, row := range s.all() {
		for _, cell := range row {
			fmt.Fprintf(out, "| %s ", escapeMarkdown(cell))
		}
		out.WriteString("|\n")
		if i > 0 {
			continue
		}
		for column := range row {
			out.WriteString(map[bool]string{true: "|---", false: "|---:"}[column < s.texts])
		}
		out.WriteString("|\n")
	}
	if s.more > 0 {
		fmt.Fprintf(out, "\nand %d more, which are part of the total\n", s.more)
	}
}

// escapeMarkdown returns a text that Markdown shows as it is.
func escapeMarkdown(text string) string {
	text = screen.Clean(text)
	var out strings.Builder
	for i, r := range text {
		switch {
		case r == '<':
			out.WriteString("&lt;")
		case r == '&':
			out.WriteString("&amp;")
		case r == '@', r == ':' && strings.HasPrefix(text[i:], "://"): // else it names a user, or becomes a link
			fmt.Fprintf(&out, "&#%d;", r)
		case strings.ContainsRune("\\`*_[]{}|~$#>", r):
			out.WriteRune('\\')
			out.WriteRune(r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}
