package forecast

import "math"

const (
	day  = 24
	week = 7 * day
	// month is four weeks, which have each weekday equally often.
	month = 4 * week
)

// past is what the intensity was, and what the days have in common. The records of means and of the
// spread have, at each hour h, what was known once h was over.
type past struct {
	actual record
	days7  record // mean of the same hour of the last 7 days
	days28 record // mean of the same hour of the last 28 days
	work28 record // mean of the same hour of the Mondays to Fridays of the last 28 days
	free28 record // mean of the same hour of the Saturdays and Sundays of the last 28 days
	mean28 record // mean of all hours of the last 28 days
	spread record // standard deviation of the last 7 days; never zero
}

// closeHour notes the actual intensity of an hour, which may be unknown, and computes what follows
// from it.
func (p *past) closeHour(h hour, actual float64) {
	if low, high := p.credible(h); actual < low || actual > high {
		actual = math.NaN()
	}
	p.actual.set(h, actual)
	p.days7.set(h, p.actual.mean(h, 7, day))
	p.days28.set(h, p.actual.mean(h, 28, day))
	p.work28.set(h, p.actual.meanWhere(h, 28, day, workday))
	p.free28.set(h, p.actual.meanWhere(h, 28, day, func(h hour) bool { return !workday(h) }))
	p.mean28.set(h, p.dayMeans(h))
	p.spread.set(h, p.deviation(h))
	for _, r := range p.records() {
		r.forget(h - retentionHours - month)
	}
}

// typicalIntensity is an intensity that many grids have.
const typicalIntensity = 100

// credible returns the bounds of what the intensity can be at the hour h and soon after. An
// intensity that is far away from the whole last week is an error of its writer, unless it lasts
// for a day.
func (p *past) credible(h hour) (low, high float64) {
	if math.IsNaN(p.actual.mean(h-1, day, 1)) {
		return -MaxIntensity, MaxIntensity
	}
	mean := p.actual.mean(h-1, week, 1)
	size := outlierSpreads * max(p.spreadAt(h), math.Abs(mean), typicalIntensity)
	return mean - size, mean + size
}

// spreadAt returns the spread that is known at h, which may be the current hour.
func (p *past) spreadAt(h hour) float64 { return p.spread.at(min(h, p.closedUntil()-1)) }

// closedUntil returns the hour after the last one that is over.
func (p *past) closedUntil() hour { return p.spread.end() }

func (p *past) records() []*record {
	return []*record{&p.actual, &p.days7, &p.days28, &p.work28, &p.free28, &p.mean28, &p.spread}
}

// sameHour returns the mean of the same hour of the workdays, or of the other days, of the last 28
// days. It was known once h was over.
func (p *past) sameHour(h hour, work bool) float64 {
	if work {
		return p.work28.at(h)
	}
	return p.free28.at(h)
}

// sameWeekday returns the mean of the same hour of the same weekday of the last four weeks before
// u.
func (p *past) sameWeekday(u hour) float64 { return p.actual.mean(u-week, 4, week) }

// dayMeans returns the mean of all hours of the last 28 days: the mean of the means of each hour of
// the day.
func (p *past) dayMeans(h hour) float64 { return p.days28.mean(h, day, 1) }

// deviation returns the standard deviation of the last week, or a thousandth of the mean if that is
// more.
func (p *past) deviation(h hour) float64 {
	mean := p.actual.mean(h, week, 1)
	squares, known := 0.0, 0.0
	for i := range week {
		if v := p.actual.at(h.plus(-i)); !math.IsNaN(v) {
			squares += (v - mean) * (v - mean)
			known++
		}
	}
	return max(math.Sqrt(squares/known), math.Abs(mean)/1000, 1e-6)
}

// workday reports whether an hour is, in UTC, in a day from Monday to Friday. The epoch was a
// Thursday.
func workday(h hour) bool { return (h/day+3)%7 < 5 }
