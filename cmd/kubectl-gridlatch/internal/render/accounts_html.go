package render

import (
	_ "embed" // for the page
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/accounts"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/plan"
)

//go:embed accounts.html.tmpl
var accountsPage string

// htmlPage is what the page shows.
type htmlPage struct {
	Title, Made, Written string
	Sections             []htmlSection
	Groups               *htmlSheet
	Claims               []string
	IsEmpty              bool
}

type htmlSection struct {
	Title  string
	Tiles  []htmlTile
	Plots  []htmlPlot
	Sheets []htmlSheet
}

// htmlTile is a figure in large letters.
type htmlTile struct {
	Name, Value, Note string
	IsLoss            bool
}

type htmlPlot struct {
	Image template.URL
	Alt   string
}

// htmlSheet is a table. Cells of texts are on the left of their column.
type htmlSheet struct {
	Title  string
	Header []htmlCell
	Rows   [][]htmlCell
	Total  []htmlCell
	More   int
}

type htmlCell struct {
	Text   string
	IsText bool
	// IsWords says that the cell has few words, which stay in one line.
	IsWords bool
	IsLoss  bool
	IsGain  bool
}

// AccountsHTML writes a report as one page that needs nothing else: no script, no font and no
// picture of another place. A browser refuses whatever the page does not have: its policy allows no
// source but the pictures in the page, and styles.
func AccountsHTML(w io.Writer, r accounts.Report) error {
	page, err := template.New("report").Parse(accountsPage)
	if err != nil {
		return fmt.Errorf("parse the page: %w", err)
	}
	content := htmlPage{
		Title: screen.Clean(reportTitle(r)), Made: plan.FormatTime(r.Made), IsEmpty: len(r.Sections) == 0,
	}
	if r.Written != nil {
		content.Written = plan.FormatTime(*r.Written)
	}
	for _, claim := range r.Claims {
		content.Claims = append(content.Claims, screen.Clean(claim))
	}
	for _, section := range r.Sections {
		shown, err := newHTMLSection(section, r.By)
		if err != nil {
			return err
		}
		content.Sections = append(content.Sections, shown)
	}
	if r.Groups != nil {
		groups := newHTMLSheet(groupSheet(r.Groups))
		content.Groups = &groups
	}
	if err := page.Execute(w, content); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

func newHTMLSection(s accounts.Section, by []accounts.Dimension) (htmlSection, error) {
	shown := htmlSection{Title: "Work by Gridlatch's decisions", Tiles: tiles(s)}
	if s.Mode == ledger.Audit {
		shown.Title = "Audited work: what would have been saved"
	}
	for _, table := range []sheet{took(s, by), changed(s, by)} {
		shown.Sheets = append(shown.Sheets, newHTMLSheet(table))
	}
	for _, draw := range []func(accounts.Section) (drawing, error){emissionsPlot, savingsPlot} {
		drawn, err := draw(s)
		if err != nil {
			return shown, err
		}
		encoded := base64.StdEncoding.EncodeToString(drawn.svg)
		shown.Plots = append(shown.Plots, htmlPlot{
			Image: template.URL("data:image/svg+xml;base64," + encoded), // base64 has no character that ends the attribute
			Alt:   drawn.alt,
		})
	}
	return shown, nil
}

// tiles returns the totals of a section.
func tiles(s accounts.Section) []htmlTile {
	f := s.Total
	from := "energy: " + energyWords(f)
	net, avoided, added := "Net saved", "Avoided", "Added by waiting"
	if s.Mode == ledger.Audit {
		net, avoided, added = "Would have been saved, net", "Would have been avoided", "Would have been added"
	}
	sign := ""
	if f.SavedGrams > 0 {
		sign = "+"
	}
	all := []htmlTile{
		{Name: "Emitted", Value: accounts.Grams(f.EmittedGrams), Note: from},
		{Name: net, Value: sign + accounts.Grams(f.SavedGrams), Note: percentOf(f.SavedPercent, true) + " of the same work without waiting", IsLoss: f.SavedGrams < 0},
		{Name: avoided, Value: accounts.Grams(f.AvoidedGrams), Note: "by groups that emitted less"},
		{Name: added, Value: accounts.Grams(f.AddedGrams), Note: "by groups that emitted more", IsLoss: f.AddedGrams > 0},
		{Name: "Best possible", Value: accounts.Grams(f.OracleSavedGrams), Note: "by perfect foresight; " + percentOf(f.OracleSharePercent, false) + " of it was saved"},
	}
	if s.Mode == ledger.Audit {
		all[1].Note = percentOf(f.SavedPercent, true) + " of what was emitted"
		all[4].Note = "by perfect foresight"
	}
	return all
}

func newHTMLSheet(s sheet) htmlSheet {
	cells := func(row []string) []htmlCell {
		all := make([]htmlCell, len(row))
		for i, text := range row {
			hasSign := i >= s.texts && len(text) > 1
			all[i] = htmlCell{
				Text: screen.Clean(text), IsText: i < s.texts, IsWords: s.header[i] == energyHeading,
				IsLoss: hasSign && text[0] == '-', IsGain: hasSign && text[0] == '+',
			}
		}
		return all
	}
	shown := htmlSheet{Title: s.title, Header: cells(s.header), More: s.more}
	for _, row := range s.rows {
		shown.Rows = append(shown.Rows, cells(row))
	}
	if s.total != nil {
		shown.Total = cells(s.total)
	}
	for i := range shown.Header {
		shown.Header[i].Text = heading(shown.Header[i].Text)
	}
	return shown
}

// heading returns the heading of a column in the letters of a sentence. Units stay.
func heading(text string) string {
	words := strings.Fields(text)
	for i, word := range words {
		if word == strings.ToUpper(word) && len(word) > 1 {
			words[i] = strings.ToLower(word)
		}
	}
	if len(words) == 0 || words[0] == "g/kWh" {
		return text
	}
	joined := strings.Join(words, " ")
	if words[0] == "g" || words[0] == "kWh" {
		return joined
	}
	return capital(joined)
}
