package plan

import (
	"strings"
	"testing"
	"time"
)

func TestCronExempts(t *testing.T) {
	tests := map[string]struct{ expression, now, want string }{
		"the minute itself":                       {"* 23 * * 1-5", "2026-11-20T23:00:00Z", "2026-11-20T23:00:00Z"},
		"the last minute, to its end":             {"* 23 * * 1-5", "2026-11-20T23:59:59.9Z", "2026-11-20T23:59:59.9Z"},
		"the minute before is not yet":            {"* 23 * * 1-5", "2026-11-20T22:59:59Z", "2026-11-20T23:00:00Z"},
		"a weekend has to wait for Monday":        {"* 23 * * 1-5", "2026-11-21T12:00:00Z", "2026-11-23T23:00:00Z"},
		"seven fields count seconds":              {"30 0 9 * * * *", "2026-11-21T09:00:30.5Z", "2026-11-21T09:00:30.5Z"},
		"seven fields, a second later":            {"30 0 9 * * * *", "2026-11-21T09:00:31Z", "2026-11-22T09:00:30Z"},
		"23:59, at which the original panics":     {"* * * * *", "2026-11-21T23:59:30Z", "2026-11-21T23:59:30Z"},
		"an alias":                                {"@daily", "2026-11-21T12:00:00Z", "2026-11-22T00:00:00Z"},
		"a zone other than UTC asks for the same": {"0 9 * * *", "2026-11-21T10:30:00+02:00", "2026-11-21T09:00:00Z"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, tt.now)
			if err != nil {
				t.Fatal(err)
			}
			e, err := Cron(tt.expression, now)
			if err != nil {
				t.Fatal(err)
			}
			if got := e.next(now).UTC().Format(time.RFC3339Nano); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	for _, expression := range []string{
		"", "* *", "every day", "61 * * * *", "* 22-2 * * *", "0 0 31 2 *", "0 0 1 1 * 2020", "* * * * * * * *",
		"TZ=UTC", strings.Repeat("1,", 500) + " * * * *",
	} {
		if _, err := Cron(expression, t0); err == nil {
			t.Errorf("%.40q: want an error", expression)
		}
	}
}

func TestWindowMustNotBeEmpty(t *testing.T) {
	if _, err := Window(at(1), at(1)); err == nil {
		t.Error("want an error")
	}
}

// FuzzCron checks that no expression panics and that an exempt moment is never
// in the past.
func FuzzCron(f *testing.F) {
	for _, s := range []string{"* 23 * * 1-5", "0 0 31 2 *", "*/7 1-5/2 L * 5#3", "0 0 15W * *", "@hourly", "0 0 0 1 1 * 2099"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Cron(s, t0)
		if err != nil {
			return
		}
		if at := e.next(t0); at.Before(t0) {
			t.Fatalf("%q: %s is before now", s, at)
		}
	})
}
