package forecast

import (
	"slices"
	"time"
)

const (
	// freshFor is how long after its publication a forecast can stand in for the actual intensity.
	freshFor = (day + lateAfterHours) * time.Hour
	// tailFor is how long after its publication a forecast can go on after the end of a newer one.
	// By then a forecast that is published once a day has been replaced, and so has any forecast
	// that a newer one was meant to correct.
	tailFor = day * time.Hour
)

// A course is the newest forecast of a location, with what is left of the earlier ones before its
// beginning and after its end. A gap within the newest forecast stays a gap: earlier forecasts know
// no more about the gap than about the time beside it. The zero course is empty.
type course struct {
	*Series
	start, end time.Time // of the newest forecast
	issued     time.Time // when the newest forecast was issued
	since      time.Time // when the oldest forecast that is used from start on was issued
}

// newCourse returns the course of a single forecast.
func newCourse(newest *Series, issued time.Time) course {
	return course{newest, newest.Start(), newest.End(), issued, issued}
}

// next returns the course after a newer forecast, which is not empty. The course keeps an hour of
// the time before that forecast. It also keeps the time after the end of that forecast if it is
// from a fresh forecast, unless the earlier forecast may have had a wrong date.
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
