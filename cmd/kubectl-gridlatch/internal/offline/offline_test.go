package offline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/answer"
	"github.com/gridlatch/gridlatch/plan"
)

var now = time.Date(2026, 11, 21, 21, 14, 0, 0, time.UTC)

const testdata = "../../testdata/"

func TestPlanUsesTheDurationsOfThePolicyThatShips(t *testing.T) {
	answered, err := Plan(File{Name: testdata + "forecast.json"}, answer.Question{Now: now}, plan.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	if d := answered.Decision; d.Duration != time.Hour || !d.LatestStart.Equal(now.Add(24*time.Hour)) || !d.Holds() || answered.Source != testdata+"forecast.json" {
		t.Errorf("%+v", d)
	}
}

func TestPlanKeepsTheDeadline(t *testing.T) {
	deadline := now.Add(4 * time.Hour)
	answered, err := Plan(File{Name: testdata + "forecast.json"}, answer.Question{Now: now, Duration: 2 * time.Hour, Deadline: deadline}, plan.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	if d := answered.Decision; !d.LatestStart.Equal(plan.LatestStart(deadline, 2*time.Hour)) || d.Start.After(d.LatestStart) {
		t.Errorf("%+v", d)
	}
}

func TestWhatTheForecastCannotAnswerIsTold(t *testing.T) {
	two := File{Name: testdata + "two-locations.json"}
	_, err := Plan(two, answer.Question{Now: now}, plan.Terms{})
	if e, ok := errors.AsType[LocationError](err); !ok || e.Asked != "" || strings.Join(e.Known, " ") != "CAISO_NORTH PJM" {
		t.Errorf("without a location: %v", err)
	}
	_, err = Plan(two, answer.Question{Now: now, Location: "X"}, plan.Terms{})
	if e, ok := errors.AsType[LocationError](err); !ok || e.Asked != "X" {
		t.Errorf("with an unknown location: %v", err)
	}
	for name, off := range map[string]time.Duration{"before the forecast": -24 * time.Hour, "after the forecast": 72 * time.Hour} {
		_, err = Plan(File{Name: testdata + "forecast.json"}, answer.Question{Now: now.Add(off)}, plan.Terms{})
		if e, ok := errors.AsType[PeriodError](err); !ok || !e.From.Before(e.Until) || !strings.Contains(err.Error(), "forecast.json: the forecast ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAForecastMayBeginWithTheNextSlot(t *testing.T) {
	file := File{Name: testdata + "forecast.json"}
	starts := time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC)
	if _, err := Plan(file, answer.Question{Now: starts.Add(-time.Hour)}, plan.Terms{}); err != nil {
		t.Error(err)
	}
	_, err := Plan(file, answer.Question{Now: starts.Add(-time.Hour - time.Second)}, plan.Terms{})
	if _, ok := errors.AsType[PeriodError](err); !ok {
		t.Errorf("more than an hour before: %v", err)
	}
}

func TestAnErrorNamesOnlySomeOfManyLocations(t *testing.T) {
	many := make([]string, 10_000)
	for i := range many {
		many[i] = "location"
	}
	if text := (LocationError{Known: many}).Error(); len(text) > 500 || !strings.HasSuffix(text, " and 9980 more") {
		t.Errorf("%d characters: %.100s", len(text), text)
	}
}

func TestFilesThatHaveNoForecastAreRefused(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"nothing":              {"", "the file is empty: want the JSON array of the exporter"},
		"a byte order mark":    {"\ufeff \n", "the file is empty"},
		"broken JSON":          {"[{\"location\": \"A\"},\n  {]", "line 2, column 4: "},
		"another manifest":     {"kind: Secret\n---\nkind: Job\n", "the file has no ConfigMap, but a Secret, but a Job: want"},
		"no manifest":          {"\tx", "want the JSON array"},
		"a ConfigMap of none":  {"kind: ConfigMap\n", `key "data" is missing`},
		"a file without a key": {"kind: ConfigMap\ndata: {other: x}\n", `key "data" is missing`},
		"more than fits":       {strings.Repeat(" ", maxFileSize+1), "is larger than 16 MiB"},
		"an alias without end": {"a: &a [*a]\n", "want the JSON array"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Plan(File{Name: path, Key: "data"}, answer.Question{Now: now}, plan.Terms{})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Count(err.Error(), path) != 1 {
				t.Errorf("%v, want %s", err, tt.want)
			}
			_, err = Plan(File{Name: "-", Stdin: strings.NewReader(tt.text), Key: "data"}, answer.Question{Now: now}, plan.Terms{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("from standard input: %v, want %s", err, tt.want)
			}
		})
	}
}
