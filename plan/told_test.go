package plan

import (
	"strings"
	"testing"
	"time"
)

func TestWhatALevelTellsIsReadAgain(t *testing.T) {
	buckets, err := NewBuckets([]Bucket{{UpTo: 200, Ceiling: 10}, {UpTo: 400, Ceiling: 1}})
	if err != nil {
		t.Fatal(err)
	}
	told := Level{Intensity: 100, IsKnown: true, Expected: hourly(100, 100, 100, 300)}.Tell(buckets, at(0))
	if got := NextTold(told, at(0)); !got.Equal(at(3)) {
		t.Errorf("read %v of %q, want %v", got, told, at(3))
	}
}

func TestTheFirstChangeThatIsStillToComeCounts(t *testing.T) {
	expected := func(hours float64) string { return expectedChange + FormatTime(at(hours)) }
	for name, tt := range map[string]struct {
		text string
		want time.Time
	}{
		"nothing":          {"100 gCO2eq/kWh", time.Time{}},
		"empty":            {"", time.Time{}},
		"over":             {"a" + expected(-1), time.Time{}},
		"now":              {"a" + expected(0), time.Time{}},
		"two":              {"a" + expected(5) + "; b" + expected(2) + ".", at(2)},
		"one is over":      {"a" + expected(-2) + "; b" + expected(4), at(4)},
		"no time":          {expectedChange + "sometime" + expected(3), at(3)},
		"cut":              {strings.TrimSuffix("a"+expected(3), "UTC"), time.Time{}},
		"not UTF-8":        {expectedChange + strings.Repeat("\xff", 30), time.Time{}},
		"cut in a letter":  {expectedChange + strings.Repeat("é", 30), time.Time{}},
		"again and again":  {strings.Repeat(expectedChange, 1000), time.Time{}},
		"no month of ours": {expectedChange + "2026-13-21 21:00 UTC", time.Time{}},
	} {
		if got := NextTold(tt.text, at(0)); !got.Equal(tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
