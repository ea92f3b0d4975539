package forecast

import (
	"slices"
	"time"
)

const (
	// freshFor is how long after its issue a forecast can stand for what is.
	freshFor = (day + lateAfterHours) * time.Hour
	// tailFor is how long after its issue a forecast can go on after the end of a newer one: what is issued once a day is
	// replaced by then, as is whatever a newer one was to correct.
	tailFor = day * time.Hour
)

// A course is the newest issue of a location, with what is left of the ones before: until it begins, and after its end.
// Where the newest issue itself has a gap, so has the course: what was expected before is no better known there than beside
// it. The zero course is empty.
type course struct {
	*Series
	start, end time.Time // of the newest issue
	issued     time.Time // the newest issue
	since      time.Time // when the oldest of what the course says of the time from start on was issued
}

// newCourse is that of a single issue.
func newCourse(newest *Series, issued time.Time) course {
	return course{newest, newest.Start(), newest.End(), issued, issued}
}

// next is the course once an issue has come that is not empty. Of the time before, an hour is kept; of the time after its
// end, what is fresh, unless that may have had a wrong date.
func (c course) next(newest *Series, issued, now time.Time) course {
	next, to := newCourse(newest, issued), newest.End()
	switch {
	case c.start.After(now.Add(maxStartAhead)):
	case issued.Sub(c.since) <= tailFor && c.End().After(to):
		to, next.since = c.End(), c.since
	case issued.Sub(c.issued) <= tailFor && c.end.After(to):
		to, next.since = c.end, c.issued
	}
	next.Series = withTotals(slices.Concat(c.part(now.Add(-keptPast), next.start), newest.all(), c.part(next.end, to)))
	return next
}
