package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nightForecast returns a forecast of the hours from the evening on. Each value is what follows the
// duration in the JSON of its hour.
func nightForecast(values ...string) string {
	var elements []string
	for i, value := range values {
		start := time.Date(2026, 11, 21, 21+i, 0, 0, 0, time.UTC).Format(time.RFC3339)
		elements = append(elements, fmt.Sprintf(`{"location":"DE","timestamp":%q,"duration":60%s}`, start, value))
	}
	return "[" + strings.Join(elements, ",") + "]"
}

func TestPlanSaysWhatItDidNotBelieve(t *testing.T) {
	value := func(v string) string { return `,"value":` + v }
	for name, tt := range map[string]struct {
		values []string
		warns  string
	}{
		"null":       {[]string{value("420"), value("418"), value("null"), value("300"), value("180"), value("240")}, `1 of 6 elements is bad: element 2: value: "null"`},
		"left out":   {[]string{value("420"), value("418"), "", value("300"), value("180"), value("240")}, `location "DE": 1 of 6 values are not believed, and count as not known: 0 from 2026-11-21T23:00:00Z to 2026-11-22T00:00:00Z, where 180 to 420 is usual`},
		"a sentinel": {[]string{value("420"), value("418"), value("-99"), value("300"), value("180"), value("240")}, "1 of 6 values are not believed, and count as not known: -99 from 2026-11-21T23:00:00Z"},
		"an outage":  {[]string{value("420"), value("418"), value("300"), value("240"), value("180"), value("0"), value("0"), ""}, "3 of 8 values are not believed, and count as not known: 0 from 2026-11-22T02:00:00Z to 2026-11-22T05:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, func(e *env) { e.stdin = strings.NewReader(nightForecast(tt.values...)) }, "plan", "-", "--deadline", "7h")
			if code != 0 || !strings.Contains(stdout, "180 gCO2eq/kWh in DE, 57 % less than the 420") {
				t.Errorf("exit code %d:\n%s", code, stdout)
			}
			if !strings.HasPrefix(stderr, "warning: ") || !strings.Contains(stderr, tt.warns) {
				t.Errorf("stderr %q, want %q", stderr, tt.warns)
			}
		})
	}
	for name, tt := range map[string]struct {
		values []string
		want   string
	}{
		"no value":           {[]string{"", "", ""}, "forecast has no value in any of its 3 elements: want value"},
		"another name":       {[]string{`,"intensity":269`, `,"intensity":270`}, `the field "intensity" is unknown: want value, in gCO2eq/kWh`},
		"nothing but zeros":  {[]string{value("0"), value("0"), ""}, `location "DE": 3 of 3 values are not believed`},
		"nothing but -1":     {[]string{value("-1"), value("-1")}, `location "DE": 2 of 2 values are not believed`},
		"text for a number":  {[]string{value(`"n/a"`)}, `value: "n/a": want gCO2eq/kWh`},
		"no number for text": {[]string{value(`"NaN"`)}, `value: "NaN": want gCO2eq/kWh`},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := call(t, func(e *env) { e.stdin = strings.NewReader(nightForecast(tt.values...)) }, "plan", "-")
			if code != 1 || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, stderr %q, want %q", code, stderr, tt.want)
			}
		})
	}
}

func TestSimulateSaysWhatItDidNotCount(t *testing.T) {
	var text strings.Builder
	text.WriteString("Datetime (UTC),Zone,Carbon intensity gCO₂eq/kWh (direct),Carbon intensity gCO₂eq/kWh (Life cycle)\n")
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for h := range 40 * 24 {
		value := fmt.Sprintf("%.1f", intensity(h))
		switch {
		case h == 100:
			value = ""
		case h == 200:
			value = "NaN"
		case h >= 300 && h < 310:
			value = "0.0"
		}
		row := fmt.Sprintf("%s,DE,1,%s\n", start.Add(time.Duration(h)*time.Hour).Format(time.DateTime), value)
		text.WriteString(row)
		if h == 400 {
			text.WriteString(row)
		}
	}
	path := filepath.Join(t.TempDir(), "grid.csv")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call(t, nil, "simulate", "--actual", path, "--durations", "1h", "--slacks", "12h")
	if code != 0 {
		t.Fatal(stderr)
	}
	for _, want := range []string{
		"12h missing in 3 gaps", "2 rows cannot be read; the first: " + path + `, line 102, column 26: intensity "": want gCO2eq/kWh`,
		"1 row repeated; the first of each counts", "10 of 958 values are not believed, and count as not known: 0 from 2026-01-13T12:00:00Z to 2026-01-13T22:00:00Z",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("it does not say %q:\n%s", want, stdout)
		}
	}
	code, stdout, stderr = call(t, nil, "simulate", "--actual", path, "--durations", "1h", "--slacks", "12h", "-o", "json")
	if want := `"repeatedRows": 1,`; code != 0 || !strings.Contains(stdout, want) || !strings.Contains(stdout, `"badRows": 2`) || !strings.Contains(stdout, `"valuesNotBelieved": 10`) {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}
