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
		"Saturday and Sunday as numbers":          {"* * * * 6-7", "2026-11-20T12:00:00Z", "2026-11-21T00:00:00Z"},
		"the weekend goes on through Sunday":      {"* * * * SAT-SUN", "2026-11-22T23:59:00Z", "2026-11-22T23:59:00Z"},
		"days around the weekend":                 {"* * * * FRI-MON", "2026-11-24T00:00:00Z", "2026-11-27T00:00:00Z"},
		"hours around midnight, late":             {"* 22-5 * * *", "2026-11-21T23:59:00Z", "2026-11-21T23:59:00Z"},
		"hours around midnight, early":            {"* 22-5 * * *", "2026-11-21T05:59:00Z", "2026-11-21T05:59:00Z"},
		"hours around midnight are over":          {"* 22-5 * * *", "2026-11-21T06:00:00Z", "2026-11-21T22:00:00Z"},
		"months around New Year":                  {"* * * NOV-FEB *", "2027-03-01T00:00:00Z", "2027-11-01T00:00:00Z"},
		"an alias":                                {"@daily", "2026-11-21T12:00:00Z", "2026-11-22T00:00:00Z"},
		"a zone other than UTC asks for the same": {"0 9 * * *", "2026-11-21T10:30:00+02:00", "2026-11-21T09:00:00Z"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, tt.now)
			if err != nil {
				t.Fatal(err)
			}
			e, err := ParseCronExemption(tt.expression, now)
			if err != nil {
				t.Fatal(err)
			}
			if got := e.next(now).UTC().Format(time.RFC3339Nano); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	for _, expression := range []string{
		"", "* *", "every day", "61 * * * *", "0 0 31 2 *", "0 0 1 1 * 2020", "* * * * * * * *",
		"TZ=UTC", strings.Repeat("1,", 500) + " * * * *",
	} {
		if _, err := ParseCronExemption(expression, t0); err == nil {
			t.Errorf("%.40q: want an error", expression)
		}
	}
}

func TestAPeriodMustNotBeEmpty(t *testing.T) {
	if _, err := NewExemption(at(1), at(1)); err == nil {
		t.Error("want an error")
	}
}

// TestCronExpressionsSayWhatTheyMean compares the expressions that the library gets.
func TestCronExpressionsSayWhatTheyMean(t *testing.T) {
	tests := map[string]struct{ expression, want, warning string }{
		"numbers of the weekend":              {"* * * * 6-7", "0 * * * * 0,6 *", ""},
		"names of the weekend":                {"* * * * SAT-SUN", "0 * * * * 0,6 *", ""},
		"names around the weekend":            {"* * * * fri-mon", "0 * * * * 0,1,5,6 *", ""},
		"names in full, and in part":          {"* * * * Friday-1", "0 * * * * 0,1,5,6 *", ""},
		"numbers around the weekend":          {"* * * * 5-1", "0 * * * * 0,1,5,6 *", ""},
		"Sunday is 7 at the start of a range": {"* * * * 7-2", "0 * * * * 0,1,2 *", ""},
		"Sunday is 7 alone":                   {"* * * * 7", "0 * * * * 0 *", ""},
		"a range of one Sunday":               {"* * * * 7-7", "0 * * * * 0 *", ""},
		"a week from Monday":                  {"* * * * 1-7", "0 * * * * 0,1,2,3,4,5,6 *", ""},
		"a week and a day":                    {"* * * * 0-7", "0 * * * * 0,1,2,3,4,5,6 *", ""},
		"steps from 7":                        {"* * * * 7/3", "0 * * * * 0,3,6 *", ""},
		"steps around the weekend":            {"* * * * FRI-TUE/2", "0 * * * * 0,2,5 *", ""},
		"hours around midnight":               {"* 22-5 * * *", "0 * 0,1,2,3,4,5,22,23 * * * *", ""},
		"every second hour around midnight":   {"* 21-5/2 * * *", "0 * 1,3,5,21,23 * * * *", ""},
		"minutes around the hour":             {"55-5/5 * * * *", "0 0,5,55 * * * * *", ""},
		"seconds around the minute":           {"58-1 * * * * * *", "0,1,58,59 * * * * * *", ""},
		"days around the end of the month":    {"* * 30-2 * *", "0 * * 1,2,30,31 * * *", ""},
		"months around New Year":              {"* * * NOV-FEB *", "0 * * * 1,2,11,12 * *", ""},
		"every second one of them":            {"* * * November-February/2 *", "0 * * * 1,11 * *", ""},
		"two ranges and a value":              {"* 22-1,12,5-6 * * *", "0 * 0,1,5,6,12,22,23 * * * *", ""},
		"steps of all":                        {"*/20 * * * *", "0 0,20,40 * * * * *", ""},
		"zeros in front":                      {"00 09 01 02 03", "0 0 9 1 2 3 *", ""},
		"days that move":                      {"0 0 L,LW,15w * MON#1,5L,7#2", "0 0 0 l,lw,15w * 1#1,5l,0#2 *", ""},
		"a question mark":                     {"0 0 ? * 1", "0 0 0 * * 1 *", ""},
		"an alias":                            {"@Midnight", "0 0 0 * * * *", ""},
		"a year is a year":                    {"* * * * * 2026-2028", "0 * * * * * 2026,2027,2028", ""},
		"a sixth field that may be seconds": {"0 0 9 * * *", "0 0 0 9 * * *",
			`the sixth field is the year, and the first the minute; if the first is meant as seconds, want seven fields: "0 0 9 * * * *"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := readCron(tt.expression)
			if err != nil {
				t.Fatal(err)
			}
			if line := strings.TrimSpace(got.line); line != tt.want {
				t.Errorf("got %s, want %s", line, tt.want)
			}
			e, err := ParseCronExemption(tt.expression, t0)
			if err != nil || e.Warning() != tt.warning {
				t.Errorf("got the warning %q, %v; want %q", e.Warning(), err, tt.warning)
			}
		})
	}
}

func TestBadCronExpressionsSayWhatIsWanted(t *testing.T) {
	for expression, want := range map[string]string{
		"* *":                   `want a cron expression of five to seven fields, such as "* 23 * * 1-5"`,
		"* 24 * * *":            `hour field: "24": want 0 to 23`,
		"* 20-24 * * *":         `hour field: "20-24": want 0 to 23`,
		"* * * * 8":             `day-of-week field: "8": want 0 to 7, SUN to SAT, or such as 5L and 5#3`,
		"* * * * weekend":       `day-of-week field: "weekend": want 0 to 7, SUN to SAT, or such as 5L and 5#3`,
		"* * 0 * *":             `day-of-month field: "0": want 1 to 31, L, LW, or such as 15W`,
		"* * * 13 *":            `month field: "13": want 1 to 12, or JAN to DEC`,
		"*/60 * * * *":          `minute field: "*/60": want a step of 1 to 59`,
		"1-5/0 * * * *":         `minute field: "1-5/0": want a step of 1 to 59`,
		"+5 * * * *":            `minute field: "+5": want 0 to 59`,
		"-5 * * * *":            `minute field: "-5": want 0 to 59`,
		", * * * *":             `minute field: ",": want 0 to 59`,
		"* * * * * 2030-2026":   `year field: "2030-2026": want a range whose first year is not after its last: the sixth field is the year; want seven fields: "* * * * * 2030-2026 *"`,
		"* * * * * * 2030-2026": `year field: "2030-2026": want a range whose first year is not after its last`,
		"0 0 9 * * 1-5":         `year field: "1-5": want 1970 to 2099: the sixth field is the year; want seven fields: "0 0 9 * * 1-5 *"`,
		"* * 31 2 *":            "this expression matches no future time",
	} {
		if _, err := ParseCronExemption(expression, t0); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", expression, err, want)
		}
	}
}

// FuzzCron checks that no expression panics and that an exempt moment is never in the past.
func FuzzCron(f *testing.F) {
	for _, s := range []string{"* 23 * * 1-5", "0 0 31 2 *", "*/7 1-5/2 L * 5#3", "0 0 15W * *", "@hourly", "0 0 0 1 1 * 2099", "55-5 22-5/3 30-2 NOV-FEB FRI-MON", "* * * * * * *"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseCronExemption(s, t0)
		if err != nil {
			return
		}
		if at := e.next(t0); at.Before(t0) {
			t.Fatalf("%q: %s is before now", s, at)
		}
		if at := e.WholeMinutes().NextChange(t0); !at.IsZero() && !at.After(t0) {
			t.Fatalf("%q: turns at %s, which is not after now", s, at)
		}
	})
}
