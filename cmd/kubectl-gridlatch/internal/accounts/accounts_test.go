package accounts

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
	"github.com/gridlatch/gridlatch/ledger/pages"
)

var now = time.Date(2026, 11, 21, 21, 14, 0, 0, time.UTC)

func between(since, until string) Question {
	from, _ := time.Parse(time.DateOnly, since)
	to, _ := time.Parse(time.DateOnly, until)
	return Question{Since: from, Until: to, By: []Dimension{Namespace}, Now: now}
}

func TestPagesOfTheTimeAreSelected(t *testing.T) {
	listed := []pages.Listed{
		{Name: "2026-11-02"}, {Name: "2026-11-01"}, {Name: "2026-10-31"}, {Name: "2026-10-30"}, {Name: "2025-10", Days: []string{"2025-10-01", "2026-11-01"}}, {Name: "2025-09"}, {Name: "x"}, {Name: ""}, {Name: "2026-11-02"},
	}
	for name, tt := range map[string]struct {
		question Question
		want     []string
	}{
		"days":                      {between("2026-10-31", "2026-11-03"), []string{"2026-10-31", "2026-11-02"}}, // a month has the first of November
		"the end does not count":    {between("2026-10-30", "2026-10-31"), []string{"2026-10-30"}},
		"a part of a month":         {between("2025-10-10", "2025-10-12"), []string{"2025-10"}},
		"a month up to its end":     {between("2025-09-01", "2025-10-01"), []string{"2025-09"}},
		"a time without the ledger": {between("2020-01-01", "2020-02-01"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Select(tt.question, listed)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFiguresAreNumbersWhateverTheSums(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e308, -1e308, -1, 0, 5e-324} {
		for _, mode := range []ledger.Mode{ledger.Enforce, ledger.Audit} {
			one := ledger.Sum{
				Key: ledger.Key{Mode: mode, Energy: energy.Measured}, Groups: 1, WaitSeconds: v, Joules: v, FailedJoules: v, KnownJoules: v, Grams: v, FailedGrams: v, ComparedJoules: v,
				ComparedGrams: v, OtherGrams: v, AvoidedGrams: v, AddedGrams: v, OracleJoules: v, OracleComparedSavedGrams: v, OracleSavedGrams: v, EmbodiedGrams: v, Units: v, CoreHours: v,
				UnheldOracleSavedGrams: v, HeldCoreHours: v,
			}
			t2 := tally{mode: mode, energy: map[energy.Source]share{}}
			t2.add(one)
			t2.add(one)
			section := Section{Mode: mode, Total: t2.figures()}
			if _, err := json.Marshal(section); err != nil {
				t.Errorf("%v: %v", v, err)
			}
			if percent := section.Total.AtOncePercent(); percent != nil && !(*percent >= 0 && *percent <= 100) {
				t.Errorf("%v: %v %% started at once", v, *percent)
			}
			for _, claim := range slices.Concat(comparison(section), energyClaims(section), gaps(section)) {
				if strings.Contains(claim, "NaN") || strings.Contains(claim, "Inf") {
					t.Errorf("%v: claim %q", v, claim)
				}
			}
		}
	}
}

func TestNumbersHaveThreeDigitsThatCount(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1234.4: "1234", 99.96: "100", 12.34: "12.3", 1.234: "1.23", 0.0123: "0.01", 0.000321: "0.0003", -12.34: "-12.3", 123456789: "1.23e+08", 9.996: "10.0",
	} {
		if got := Number(v); got != want {
			t.Errorf("%v is shown as %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0 g", 999: "999 g", 1234: "1.23 kg", -2.5e6: "-2.50 t", 0.25: "0.25 g"} {
		if got := Grams(v); got != want {
			t.Errorf("%v g is shown as %q, want %q", v, got, want)
		}
	}
}

func TestDimensionsAreRead(t *testing.T) {
	by, err := ParseDimensions([]string{"day", " owner", "day"})
	if diff := cmp.Diff([]Dimension{Day, Owner}, by); diff != "" || err != nil {
		t.Errorf("%v, %s", err, diff)
	}
	for _, wrong := range [][]string{nil, {""}, {"Day"}, {"day", "x\x1b"}} {
		if _, err := ParseDimensions(wrong); err == nil {
			t.Errorf("%q is read", wrong)
		}
	}
}

func TestAFullPageIsNamed(t *testing.T) {
	page := ledger.NewPage("2026-11-01")
	begin := time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)
	for i := range 1500 {
		page.Book(ledger.Group{
			UID: strconv.Itoa(i), Namespace: "batch", Owner: strconv.Itoa(i), Mode: ledger.Enforce, Energy: energy.Unknown, Arrived: begin, Released: begin, Ended: begin.Add(time.Hour), SeenEnd: true,
		})
	}
	l := NewLedger()
	page.Settle(l.Actuals, now)
	l.Pages = append(l.Pages, page)
	q := between("2026-11-01", "2026-11-02")
	for namespace, want := range map[string]int{"": 1500, "nobody": 0} {
		q.Namespace = namespace
		r, groups := New(q, l), 0
		for _, section := range r.Sections {
			groups += section.Total.Groups
		}
		if groups != want || !strings.Contains(strings.Join(r.Claims, "\n"), "Some pages of the ledger were full.") {
			t.Errorf("namespace %q: %d groups, claims %q", namespace, groups, r.Claims)
		}
	}
}

func TestAFileWithTheLedgersOfTwoNamespacesIsRefused(t *testing.T) {
	const pagesOf = "apiVersion: v1\nkind: List\nitems:\n" +
		"- {apiVersion: v1, kind: ConfigMap, metadata: {namespace: gridlatch-system, name: gridlatch-ledger-2026-11-21, labels: {gridlatch.dev/ledger: day}}}\n" +
		"- {apiVersion: v1, kind: ConfigMap, metadata: {namespace: stranger, name: gridlatch-ledger-2026-11-21, labels: {gridlatch.dev/ledger: day}}}\n"
	_, err := ReadFile("-", strings.NewReader(pagesOf), Question{})
	if err == nil || !strings.Contains(err.Error(), `namespaces "gridlatch-system" and "stranger" have pages`) {
		t.Errorf("the error is %v", err)
	}
}

// FuzzReadFile reads anything as a file with a ledger, and makes a report of it.
func FuzzReadFile(f *testing.F) {
	example, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "example", "ledger.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(example[:2000]))
	f.Add("kind: ConfigMap\nmetadata: {name: gridlatch-ledger-2026-11-01, labels: {gridlatch.dev/ledger: day}}\nbinaryData: {page: H4sI}\n")
	f.Add(`{"kind":"List","items":[null,{},{"kind":"Secret"},{"kind":"ConfigMap","metadata":{"labels":{"gridlatch.dev/ledger":"x"}}}]}`)
	f.Add("---\n---\n- a\n")
	f.Add("\ufeff\x00")
	f.Fuzz(func(t *testing.T, text string) {
		q := between("2000-01-01", "2030-01-01")
		q.WithGroups = true
		l, err := ReadFile("-", strings.NewReader(text), q)
		if err != nil {
			return
		}
		if _, err := json.Marshal(New(q, l)); err != nil {
			t.Error(err)
		}
	})
}
