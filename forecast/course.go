package forecast

import "time"

// freshFor is how long after its issue a forecast can stand for what is.
const freshFor = (day + late) * time.Hour

// A course is the newest issue of a location, with what is left of the ones before wherever the newest says nothing: until
// it begins, in its gaps, and after its end. The zero course is empty.
type course struct {
	*Series
	start time.Time // where the newest issue starts; the course may start before
	since time.Time // when the oldest of what it says of the time from there on was issued
}

// next is the course once an issue has come that is not empty. Of the time before, an hour is kept; of the time from its
// start on, what is still fresh, unless that may have had a wrong date.
func (c course) next(issue *Series, issued, now time.Time) course {
	to := later(c.End(), issue.Start())
	if issued.Sub(c.since) > freshFor || c.start.After(now.Add(ahead)) || issue.whole() && !issue.End().Before(to) {
		to = issue.Start()
	}
	next := course{c.around(issue, now.Add(-keep), to), issue.Start(), issued}
	_, said := issue.Mean(issue.Start(), issue.End())
	if _, known := next.Mean(issue.Start(), next.End()); known > said {
		next.since = c.since
	}
	return next
}
