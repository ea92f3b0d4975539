package render

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/accounts"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
)

const (
	// maxReportRows is how many rows a table of a report has, unless they are days or months.
	maxReportRows = 50
	// unknownFigure stands for a figure that nobody knows.
	unknownFigure = "-"
	// energyHeading heads the column that says how energy is known.
	energyHeading = "ENERGY IS"
)

// sheet is a table of a report, as people read it.
type sheet struct {
	title  string
	header []string
	// texts is how many columns at the left have texts; the others have figures.
	texts int
	rows  [][]string
	total []string
	// more counts the rows that are left out.
	more int
}

// Accounts prints a report of the ledger.
func (p Page) Accounts(r accounts.Report) {
	p.Out.Printf("%s%s%s\n", screen.Bold, reportTitle(r), screen.Plain)
	if len(r.Sections) == 0 {
		p.Out.Printf("\nNo work that Gridlatch decided on has ended in this time.\n")
	}
	for _, table := range sheets(r) {
		p.Out.Printf("\n%s\n", table.title)
		p.sheet(table)
	}
	if len(r.Claims) > 0 {
		p.Out.Printf("\nWhat these figures can and cannot claim:\n")
	}
	for _, claim := range r.Claims {
		p.Out.Printf("* %s\n", claim)
	}
}

// reportTitle says what a report is about.
func reportTitle(r accounts.Report) string {
	where := ""
	if r.Namespace != "" {
		where = " in namespace " + r.Namespace
	}
	return fmt.Sprintf("Work%s that ended from %s to %s (UTC)", where, r.From, r.To)
}

func (p Page) sheet(s sheet) {
	table := p.Out.Table(2)
	for _, row := range s.all() {
		cells := make([]any, len(row))
		for i, cell := range row {
			cells[i] = cell
		}
		table.Row(cells...)
	}
	table.Flush()
	if s.more > 0 {
		p.Out.Printf("and %d more, which are part of the total: -o csv has them\n", s.more)
	}
}

// all returns the header, the rows and the total.
func (s sheet) all() [][]string {
	all := append([][]string{s.header}, s.rows...)
	if s.total != nil {
		all = append(all, s.total)
	}
	return all
}

// sheets returns the tables of a report: two for each mode, those of the shares, and one of the groups.
func sheets(r accounts.Report) []sheet {
	var all []sheet
	for _, section := range r.Sections {
		all = append(all, took(section, r.By), changed(section, r.By))
	}
	all = append(all, shares(r)...)
	if r.Groups != nil {
		all = append(all, groupSheet(r.Groups))
	}
	return all
}

// column is a column of figures.
type column struct {
	name string
	cell func(accounts.Figures) string
}

// took returns the table of what work took and emitted. Columns without a figure are left out.
func took(s accounts.Section, by []accounts.Dimension) sheet {
	grams, kWh := accounts.GramUnit(s.Total.EmittedGrams), accounts.EnergyUnit(s.Total.EnergyKWh)
	title := "Work by Gridlatch's decisions: what it took and emitted"
	if s.Mode == ledger.Audit {
		title = "Audited work, which was not held: what it took and emitted"
	}
	columns := []column{
		{"GROUPS", func(f accounts.Figures) string { return fmt.Sprint(f.Groups) }},
		{"FAILED", func(f accounts.Figures) string { return fmt.Sprint(f.FailedGroups) }},
		{"ENERGY " + kWh.Name, func(f accounts.Figures) string { return accounts.Number(f.EnergyKWh / kWh.Size) }},
		{energyHeading, energyWords},
		{"g/kWh", func(f accounts.Figures) string { return numberOf(f.MeanIntensity) }},
		{"EMITTED " + grams.Name, func(f accounts.Figures) string { return accounts.Number(f.EmittedGrams / grams.Size) }},
	}
	if s.Total.FailedGrams != 0 {
		columns = append(columns, column{"BY FAILURES " + grams.Name, func(f accounts.Figures) string { return accounts.Number(f.FailedGrams / grams.Size) }})
	}
	if s.Total.UnknownIntensityKWh > 0 {
		columns = append(columns, column{"UNKNOWN " + kWh.Name, func(f accounts.Figures) string { return accounts.Number(f.UnknownIntensityKWh / kWh.Size) }})
	}
	if s.Total.SCI != nil {
		columns = append(columns, column{"g PER UNIT", func(f accounts.Figures) string { return numberOf(f.SCI) }})
	}
	return newSheet(title, s, by, columns)
}

// changed returns the table of what waiting has changed.
func changed(s accounts.Section, by []accounts.Dimension) sheet {
	f := s.Total
	unit := accounts.GramUnit(max(f.AvoidedGrams, f.AddedGrams, math.Abs(f.OracleSavedGrams)))
	grams := func(of func(accounts.Figures) float64) func(accounts.Figures) string {
		return func(f accounts.Figures) string { return accounts.Number(of(f) / unit.Size) }
	}
	title, net := "What waiting avoided and added", "NET "
	if s.Mode == ledger.Audit {
		title, net = "What would have been saved, had the audited work been held", "WOULD SAVE "
	}
	return newSheet(title, s, by, []column{
		{"HELD", func(f accounts.Figures) string { return fmt.Sprint(f.HeldGroups) }},
		{"MEAN WAIT", func(f accounts.Figures) string { return accounts.Number(f.MeanWaitHours) + "h" }},
		{"AVOIDED " + unit.Name, grams(func(f accounts.Figures) float64 { return f.AvoidedGrams })},
		{"ADDED " + unit.Name, grams(func(f accounts.Figures) float64 { return f.AddedGrams })},
		{net + unit.Name, func(f accounts.Figures) string { return signed(f.SavedGrams / unit.Size) }},
		{"PERCENT", func(f accounts.Figures) string { return percentOf(f.SavedPercent, true) }},
		{"BEST POSSIBLE " + unit.Name, grams(func(f accounts.Figures) float64 { return f.OracleSavedGrams })},
		{"SHARE OF IT", func(f accounts.Figures) string { return percentOf(f.OracleSharePercent, false) }},
	})
}

func newSheet(title string, s accounts.Section, by []accounts.Dimension, columns []column) sheet {
	table := sheet{title: title, texts: len(by)}
	for _, d := range by {
		table.header = append(table.header, strings.ToUpper(string(d)))
	}
	for _, c := range columns {
		table.header = append(table.header, c.name)
	}
	shown := s.Rows
	if len(shown) > maxReportRows && !by[0].IsTime() {
		shown, table.more = shown[:maxReportRows], len(shown)-maxReportRows
	}
	for _, row := range shown {
		table.rows = append(table.rows, cellsOf(slices.Clone(row.Values), columns, row.Figures))
	}
	total := make([]string, len(by))
	total[0] = "TOTAL"
	table.total = cellsOf(total, columns, s.Total)
	return table
}

func cellsOf(cells []string, columns []column, f accounts.Figures) []string {
	for i, cell := range cells {
		if cell == "" && cells[0] != "TOTAL" {
			cells[i] = unknownFigure
		}
	}
	for _, c := range columns {
		cells = append(cells, c.cell(f))
	}
	return cells
}

// energyWords says how energy is known, such as "measured 80 %, modelled 20 %".
func energyWords(f accounts.Figures) string {
	if len(f.EnergyFrom) == 1 {
		return strings.ToLower(string(f.EnergyFrom[0].Source))
	}
	var parts []string
	for _, from := range f.EnergyFrom {
		if from.Source != energy.Unknown {
			parts = append(parts, fmt.Sprintf("%s %.0f %%", strings.ToLower(string(from.Source)), from.Percent))
		}
	}
	return strings.Join(parts, ", ")
}

func numberOf(v *float64) string {
	if v == nil {
		return unknownFigure
	}
	return accounts.Number(*v)
}

func percentOf(v *float64, withSign bool) string {
	switch {
	case v == nil:
		return unknownFigure
	case withSign && math.Abs(*v) >= 0.05:
		return fmt.Sprintf("%+.1f %%", *v)
	default:
		return fmt.Sprintf("%.1f %%", *v)
	}
}

// signed returns a number with its sign.
func signed(v float64) string {
	if v > 0 {
		return "+" + accounts.Number(v)
	}
	return accounts.Number(v)
}

// groupSheet returns the table of groups.
func groupSheet(groups []accounts.GroupRow) sheet {
	const texts = 4
	table := sheet{
		title: "Each group that is still open to revision (the last three days; older ones are in PostgreSQL, if --ledger-database names one)",
		texts: texts,
		header: []string{
			"NAMESPACE", "WORK", "MODE", energyHeading, "ARRIVED (UTC)", "STARTED", "ENDED", "kWh", "EMITTED g", "OTHERWISE g", "SAVED g", "BEST g",
		},
	}
	for _, g := range groups {
		work := g.Kind + "/" + g.Name
		if g.Failed {
			work += " (failed)"
		}
		table.rows = append(table.rows, []string{
			g.Namespace, work, strings.ToLower(string(g.Mode)), strings.ToLower(string(g.Energy)),
			minuteOf(g.Arrived), minuteOf(g.Released), minuteOf(g.Ended),
			accounts.Number(g.KWh()), numberOf(g.Grams), numberOf(g.OtherGrams), signedOf(g.SavedGrams), numberOf(g.OracleGrams),
		})
	}
	return table
}

// minuteOf returns a minute in UTC.
func minuteOf(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

func signedOf(v *float64) string {
	if v == nil {
		return unknownFigure
	}
	return signed(*v)
}
