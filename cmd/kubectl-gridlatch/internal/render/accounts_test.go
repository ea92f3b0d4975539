package render

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/accounts"
	"github.com/gridlatch/gridlatch/ledger"
)

func TestMarkdownShowsATextAsItIs(t *testing.T) {
	for text, want := range map[string]string{
		"plain 06:00 UTC, 5 %":   "plain 06:00 UTC, 5 %",
		"a|b\n# c":               `a\|b\\n\# c`,
		"<b>&amp;":               `&lt;b\>&amp;amp;`,
		"[x](https://e.com) @me": `\[x\](https&#58;//e.com) &#64;me`,
		"`a` *b* _c_":            "\\`a\\` \\*b\\* \\_c\\_",
	} {
		if got := escapeMarkdown(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// TestAReportOfAnyFiguresIsDrawn draws figures that no scale can have.
func TestAReportOfAnyFiguresIsDrawn(t *testing.T) {
	for _, v := range []float64{0, 1e-300, 1, -1, math.MaxFloat64, -math.MaxFloat64} {
		f := accounts.Figures{EmittedGrams: v, SavedGrams: v, AvoidedGrams: v, AddedGrams: v, OracleSavedGrams: v, EnergyKWh: v, MeanIntensity: &v, SavedPercent: &v, SCI: &v, OracleSharePercent: &v, CoreHours: v, HeldCoreHours: v / 2, UnheldOracleSavedGrams: v}
		census := accounts.Census{Samples: 1, CoreHours: v, ElasticCoreHours: v, HeldCoreHours: v, ElasticPercent: &v}
		for _, mode := range []ledger.Mode{ledger.Enforce, ledger.Audit} {
			rows := []accounts.Row{{Figures: f, Values: []string{"2026-11-01"}}, {Figures: f, Values: []string{"2026-11-02"}}}
			r := accounts.Report{Census: &census, By: []accounts.Dimension{accounts.Day}, Sections: []accounts.Section{{Mode: mode, Rows: rows, Course: rows, Total: f}}}
			var page, text, table bytes.Buffer
			if err := AccountsHTML(&page, r); err != nil || strings.Contains(page.String(), "ZgotmplZ") {
				t.Errorf("%v: %v", v, err)
			}
			Page{Out: screen.New(&text, false)}.Accounts(r)
			if err := AccountsCSV(&table, r); err != nil || text.Len() == 0 || table.Len() == 0 {
				t.Errorf("%v: %v", v, err)
			}
		}
	}
}

func TestRowsBeyondTheTableAreCounted(t *testing.T) {
	section := accounts.Section{Mode: ledger.Enforce}
	for range maxReportRows + 3 {
		section.Rows = append(section.Rows, accounts.Row{Values: []string{"x"}})
	}
	for by, want := range map[accounts.Dimension]int{accounts.Owner: 3, accounts.Day: 0} {
		if table := took(section, []accounts.Dimension{by}); table.more != want || len(table.rows) != maxReportRows+3-want {
			t.Errorf("by %s: %d rows, and %d more", by, len(table.rows), table.more)
		}
	}
}
