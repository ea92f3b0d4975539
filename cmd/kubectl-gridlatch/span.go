package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/gridlatch/gridlatch/plan"
)

// spanFlags say which part of the past is fetched from a provider.
type spanFlags struct{ since, until string }

func (f *spanFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.since, "since", "90d", "from when on the past is fetched: so long before --until, or 2026-08-01")
	flags.StringVar(&f.until, "until", "", "until when the past is fetched, in RFC 3339 or as a day (default: the last full hour)")
}

// names returns the names of the flags.
func (*spanFlags) names() []string { return []string{"since", "until"} }

// read returns the span, on full hours: a slot that is not over has no end in a file.
func (f *spanFlags) read(now time.Time) (from, to time.Time, err error) {
	to = now.UTC().Truncate(time.Hour)
	if f.until != "" {
		until, err := parseDay(f.until)
		if err != nil {
			return from, to, wrong("until", f.until, err)
		}
		if until.After(now) {
			return from, to, wrong("until", f.until, fmt.Errorf("is in the future: now is %s", plan.FormatTime(now)))
		}
		to = until.Truncate(time.Hour)
	}
	length, err := plan.ParseDuration(f.since)
	if err == nil {
		from = to.Add(-length)
	} else if from, err = parseDay(f.since); err != nil {
		return from, to, wrong("since", f.since, fmt.Errorf("want a duration of at most %s, an instant or a day, such as 90d, 2026-08-01T00:00:00Z or 2026-08-01", plan.FormatDuration(plan.MaxDuration)))
	}
	from = from.Truncate(time.Hour)
	if !from.Before(to) || to.Sub(from) > maxHistoryDays*24*time.Hour {
		return from, to, wrong("since", f.since, fmt.Errorf("want a time before %s, by an hour to %d days", plan.FormatTime(to), maxHistoryDays))
	}
	return from, to, nil
}
