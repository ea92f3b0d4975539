package plan

import (
	"errors"
	"testing"
	"time"
)

func TestExemptionsBeginAndEnd(t *testing.T) {
	at := func(s string) time.Time {
		t.Helper()
		if s == "" {
			return time.Time{}
		}
		parsed, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	cron := func(expression string) Exemption {
		e, err := ParseCronExemption(expression, at("2026-11-20T00:00:00Z"))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	window, err := NewExemption(at("2026-11-20T09:00:00Z"), at("2026-11-20T18:00:00Z"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		exemption Exemption
		now       string
		applies   bool
		turn      string
	}{
		{"before a window", window, "2026-11-20T08:00:00Z", false, "2026-11-20T09:00:00Z"},
		{"at the start of a window", window, "2026-11-20T09:00:00Z", true, "2026-11-20T18:00:00Z"},
		{"at the end of a window", window, "2026-11-20T18:00:00Z", false, ""},
		{"none", Exemption{}, "2026-11-20T18:00:00Z", false, ""},
		{"before the hours of a cron expression", cron("* 9-17 * * *"), "2026-11-20T08:59:30Z", false, "2026-11-20T09:00:00Z"},
		{"in them", cron("* 9-17 * * *"), "2026-11-20T09:00:30Z", true, "2026-11-20T18:00:00Z"},
		{"in their last minute", cron("* 9-17 * * *"), "2026-11-20T17:59:59Z", true, "2026-11-20T18:00:00Z"},
		{"after them", cron("* 9-17 * * *"), "2026-11-20T18:00:00Z", false, "2026-11-21T09:00:00Z"},
		{"moved, before", cron("* 9-17 * * *").MovedEarlier(time.Minute), "2026-11-20T08:58:30Z", false, "2026-11-20T08:59:00Z"},
		{"moved, in", cron("* 9-17 * * *").MovedEarlier(time.Minute), "2026-11-20T08:59:00Z", true, "2026-11-20T17:59:00Z"},
		{"moved, after", cron("* 9-17 * * *").MovedEarlier(time.Minute), "2026-11-20T17:59:00Z", false, "2026-11-21T08:59:00Z"},
		{"one that does not end soon", cron("* * * * *"), "2026-11-20T12:00:30Z", true, "2026-11-21T00:00:30Z"},
		{"nor does one that counts seconds", cron("* * * * * * *"), "2026-11-20T12:00:30Z", true, "2026-11-21T00:00:30Z"},
		{"seconds to the end of the hour", cron("* * 9 * * * *"), "2026-11-20T09:00:30Z", true, "2026-11-20T10:00:00Z"},
		{"seconds to the end of the minute", cron("* 10-20 9 * * * *"), "2026-11-20T09:19:30Z", true, "2026-11-20T09:21:00Z"},
		{"the first second of each minute, by the minute", cron("0 * 9 * * * *").WholeMinutes(), "2026-11-20T09:19:30Z", true, "2026-11-20T10:00:00Z"},
		{"the last second of each minute, by the minute", cron("59 * 9 * * * *").WholeMinutes(), "2026-11-20T09:19:59Z", true, "2026-11-20T09:20:00Z"},
		{"hours around midnight", cron("* 22-5 * * *"), "2026-11-20T22:30:00Z", true, "2026-11-21T06:00:00Z"},
		{"all hours of a day", cron("* * * * 5"), "2026-11-20T18:30:00Z", true, "2026-11-21T00:00:00Z"},
		{"a second", cron("30 0 12 * * * *"), "2026-11-20T12:00:30Z", true, "2026-11-20T12:00:31Z"},
		{"the rest of its minute", cron("30 0 12 * * * *").WholeMinutes(), "2026-11-20T12:00:40Z", true, "2026-11-20T12:01:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := at(tt.now)
			if got := tt.exemption.Applies(now); got != tt.applies {
				t.Errorf("applies: got %v, want %v", got, tt.applies)
			}
			got := tt.exemption.NextChange(now)
			if !got.Equal(at(tt.turn)) {
				t.Errorf("turns at %v, want %s", got, tt.turn)
			}
			next, exempt := NextExemptionChange([]Exemption{{}, tt.exemption}, now)
			if !next.Equal(got) || exempt != tt.applies {
				t.Errorf("among others: turns at %v, exempt %v", next, exempt)
			}
		})
	}
}

func TestAnExpressionOfThePastIsRefused(t *testing.T) {
	if _, err := ParseCronExemption("* * * * * 2020", time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)); !errors.Is(err, ErrNeverMatches) {
		t.Errorf("got %v", err)
	}
}

// TestTheEndOfALongExemptionIsFoundCheaply bounds the work by its allocations: each look at a match
// allocates a little.
func TestTheEndOfALongExemptionIsFoundCheaply(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 30, 0, time.UTC)
	for _, expression := range []string{"* * * * * * *", "* * * * *", "0-58 * * * *", "0-58 * * * * * *", "* 1-23 * * 0-6", "1-0 1-0 1-0 2-1 * 0-6 *"} {
		e, err := ParseCronExemption(expression, now)
		if err != nil {
			t.Fatal(err)
		}
		if looks := testing.AllocsPerRun(1, func() { e.NextChange(now) }); looks > 2000 {
			t.Errorf("%q: %.0f allocations", expression, looks)
		}
	}
}

func BenchmarkNextChange(b *testing.B) {
	now := time.Date(2026, 11, 22, 12, 0, 30, 0, time.UTC)
	for _, expression := range []string{"* * * * * * *", "0-58 * * * * * *", "1-0 1-0 1-0 2-1 * 0-6 *"} {
		b.Run(expression, func(b *testing.B) {
			e, err := ParseCronExemption(expression, now)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				e.NextChange(now)
			}
		})
	}
}
