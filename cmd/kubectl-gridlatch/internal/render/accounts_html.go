package render

import (
	_ "embed" // for the style of the page
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/accounts"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/plan"
)

//go:embed accounts.css
var reportStyle string

// pageHead is the beginning of the page. Its policy has a browser refuse all that the page does not have.
const pageHead = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Gridlatch: %s</title>
`

// literal is a part of the page that a program has, not a text that a program has read.
type literal string

// markup is a page in HTML. Package html/template would make the command a quarter larger.
type markup struct{ strings.Builder }

// add adds a part of the page. Texts in the part are shown as they are, also within the quotes of an attribute.
func (m *markup) add(format literal, texts ...string) {
	shown := make([]any, len(texts))
	for i, text := range texts {
		shown[i] = html.EscapeString(text)
	}
	fmt.Fprintf(m, string(format), shown...)
}

type htmlSection struct {
	Title  string
	Tiles  []htmlTile
	Plots  []drawing
	Sheets []htmlSheet
}

// htmlTile is a figure in large letters.
type htmlTile struct {
	Name, Value, Note string
	IsLoss            bool
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

// AccountsHTML writes a report as one page that needs nothing else: no script, no font and no picture of
// another place.
func AccountsHTML(w io.Writer, r accounts.Report) error {
	var m markup
	title := screen.Clean(reportTitle(r))
	m.add(pageHead, title)
	m.WriteString("<style>\n" + reportStyle + "</style>\n</head>\n<body>\n")
	m.add("<p class=\"made\">Gridlatch report</p>\n<h1>%s</h1>\n", title)
	m.add("<p class=\"made\">Made by <code>kubectl gridlatch report</code> at %s.", plan.FormatTime(r.Made))
	if r.Written != nil {
		m.add(" The ledger was written at %s.", plan.FormatTime(*r.Written))
	}
	m.add("</p>\n")
	if len(r.Sections) == 0 {
		m.add("<p>No work that Gridlatch decided on has ended in this time.</p>\n")
	}
	for _, section := range r.Sections {
		shown, err := newHTMLSection(section, r.By)
		if err != nil {
			return err
		}
		m.section(shown)
	}
	m.shares(shares(r))
	if r.Groups != nil {
		m.add("<h2>Groups</h2>\n")
		m.sheet(newHTMLSheet(groupSheet(r.Groups)))
	}
	m.claims(r.Claims)
	m.add("</body>\n</html>\n")
	_, err := io.WriteString(w, m.String())
	return err
}

func (m *markup) claims(claims []string) {
	if len(claims) == 0 {
		return
	}
	m.add("<h2>What these figures can and cannot claim</h2>\n<ul>\n")
	for _, claim := range claims {
		m.add("<li>%s</li>\n", screen.Clean(claim))
	}
	m.add("</ul>\n")
}

func (m *markup) shares(tables []sheet) {
	if len(tables) > 0 {
		m.add("<h2>Shares that matter</h2>\n")
	}
	for _, table := range tables {
		m.sheet(newHTMLSheet(table))
	}
}

func (m *markup) section(s htmlSection) {
	m.add("<h2>%s</h2>\n<div class=\"tiles\">\n", s.Title)
	for _, tile := range s.Tiles {
		m.add("<div class=\"tile\"><span>%s</span><b class=\"%s\">%s</b><span>%s</span></div>\n", tile.Name, classOf(map[string]bool{"loss": tile.IsLoss}), tile.Value, tile.Note)
	}
	m.add("</div>\n<div class=\"plots\">\n")
	for _, plot := range s.Plots {
		m.add("<img src=\"data:image/svg+xml;base64,%s\" alt=\"%s\">\n", base64.StdEncoding.EncodeToString(plot.svg), plot.alt)
	}
	m.add("</div>\n")
	for _, table := range s.Sheets {
		m.sheet(table)
	}
}

func (m *markup) sheet(s htmlSheet) {
	m.add("<h3>%s</h3>\n<div class=\"scroll\"><table>\n<thead>", s.Title)
	m.row("<th class=\"%s\">%s</th>", s.Header)
	m.add("</thead>\n<tbody>\n")
	for _, row := range s.Rows {
		m.row("<td class=\"%s\">%s</td>", row)
	}
	m.add("</tbody>\n")
	if s.Total != nil {
		m.add("<tfoot>")
		m.row("<td class=\"%s\">%s</td>", s.Total)
		m.add("</tfoot>\n")
	}
	m.add("</table></div>\n")
	if s.More > 0 {
		m.add("<p>and %s more, which are part of the total</p>\n", fmt.Sprint(s.More))
	}
}

// row adds a row, whose cells have a class and a text.
func (m *markup) row(cell literal, cells []htmlCell) {
	m.add("<tr>")
	for _, c := range cells {
		m.add(cell, classOf(map[string]bool{"text": c.IsText, "words": c.IsWords, "loss": c.IsLoss, "gain": c.IsGain}), c.Text)
	}
	m.add("</tr>\n")
}

// classOf returns the class that is true; at most one is.
func classOf(classes map[string]bool) string {
	for class, is := range classes {
		if is {
			return class
		}
	}
	return ""
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
		shown.Plots = append(shown.Plots, drawn)
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
