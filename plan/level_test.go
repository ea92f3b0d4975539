package plan

import (
	"errors"
	"testing"
	"time"
)

func TestExemptionsTurn(t *testing.T) {
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
		e, err := Cron(expression, at("2026-11-20T00:00:00Z"))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	window, err := Window(at("2026-11-20T09:00:00Z"), at("2026-11-20T18:00:00Z"))
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
		{"moved, before", cron("* 9-17 * * *").Earlier(time.Minute), "2026-11-20T08:58:30Z", false, "2026-11-20T08:59:00Z"},
		{"moved, in", cron("* 9-17 * * *").Earlier(time.Minute), "2026-11-20T08:59:00Z", true, "2026-11-20T17:59:00Z"},
		{"moved, after", cron("* 9-17 * * *").Earlier(time.Minute), "2026-11-20T17:59:00Z", false, "2026-11-21T08:59:00Z"},
		{"one that does not end soon", cron("* * * * *"), "2026-11-20T12:00:30Z", true, "2026-11-21T00:00:30Z"},
		{"a second", cron("30 0 12 * * * *"), "2026-11-20T12:00:30Z", true, "2026-11-20T12:00:31Z"},
		{"the rest of its minute", cron("30 0 12 * * * *").ByMinute(), "2026-11-20T12:00:40Z", true, "2026-11-20T12:01:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := at(tt.now)
			if got := tt.exemption.Applies(now); got != tt.applies {
				t.Errorf("applies: got %v, want %v", got, tt.applies)
			}
			got := tt.exemption.Turn(now)
			if late := tt.name == "one that does not end soon"; late && got.Sub(at(tt.turn)).Abs() < time.Minute {
				return // about then
			}
			if !got.Equal(at(tt.turn)) {
				t.Errorf("turns at %v, want %s", got, tt.turn)
			}
			next, exempt := NextTurn([]Exemption{{}, tt.exemption}, now)
			if !next.Equal(got) || exempt != tt.applies {
				t.Errorf("among others: turns at %v, exempt %v", next, exempt)
			}
		})
	}
}

func TestExpressionOfThePastIsKnownAsThat(t *testing.T) {
	if _, err := Cron("* * * * * 2020", time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)); !errors.Is(err, ErrOver) {
		t.Errorf("got %v", err)
	}
}
