package forecast

import (
	"math"
	"slices"
	"time"
)

// An hour is an hour of the calendar: the number of hours since the Unix epoch. Counts of hours are
// plain ints. The model works with hours: it averages finer slots, and lays their course within the
// hour over the hourly prediction.
type hour int64

// plus returns the hour that comes a number of hours later, or earlier if the number is negative.
func (h hour) plus(hours int) hour { return h + hour(hours) }

// since returns the number of hours from an earlier hour to h.
func (h hour) since(earlier hour) int { return int(h - earlier) }

// ofDay returns the hour of the day in UTC, 0 to 23.
func (h hour) ofDay() int { return int(h % day) }

func hourOf(t time.Time) hour { return hour(nanos(bounded(t)) / int64(time.Hour)) }

func startOf(h hour) time.Time { return timeOf(int64(h) * int64(time.Hour)) }

// bounded returns the nearest instant in the years 1970 to 2200, the instants that have an hour.
func bounded(t time.Time) time.Time {
	if first := time.Unix(0, 0).UTC(); t.Before(first) {
		return first
	}
	return earlier(t, time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC))
}

// A record has a value for each hour of a stretch of time. An unknown value is NaN. The zero record
// is empty.
type record struct {
	first  hour
	values []float64
}

// at returns the value of an hour, or NaN if there is none.
func (r *record) at(h hour) float64 {
	if i := h.since(r.first); i >= 0 && i < len(r.values) {
		return r.values[i]
	}
	return math.NaN()
}

// end returns the hour after the last one.
func (r *record) end() hour { return r.first.plus(len(r.values)) }

// set notes the value of an hour that is in the record or after its end. The hours in between are
// unknown.
func (r *record) set(h hour, value float64) {
	if len(r.values) == 0 {
		r.first = h
	}
	for r.end() <= h {
		r.values = append(r.values, math.NaN())
	}
	if h >= r.first {
		r.values[h-r.first] = value
	}
}

// forget drops the hours before h once they are as many as the hours that stay. The cost is
// constant on average.
func (r *record) forget(h hour) {
	if n := h.since(r.first); n > 0 && n < len(r.values) && 2*n >= len(r.values) {
		r.values = append([]float64(nil), r.values[n:]...)
		r.first = h
	}
}

// mean averages the known values among the n values at h, h-step, h-2·step, … It returns NaN if
// none is known.
func (r *record) mean(h hour, n, step int) float64 {
	return r.meanWhere(h, n, step, func(hour) bool { return true })
}

// meanWhere is mean over the hours that are wanted.
func (r *record) meanWhere(h hour, n, step int, wanted func(hour) bool) float64 {
	sum, known := 0.0, 0.0
	for i := range n {
		at := h.plus(-i * step)
		if v := r.at(at); !math.IsNaN(v) && wanted(at) {
			sum += v
			known++
		}
	}
	return sum / known
}

// contains reports whether the record has all values of another record.
func (r *record) contains(o *record) bool {
	for i, v := range o.values {
		if w := r.at(o.first.plus(i)); v != w && !(math.IsNaN(v) && math.IsNaN(w)) {
			return false
		}
	}
	return o.end() <= r.end()
}

// unknown returns a record of the hours of [first, end), of which nothing is known.
func unknown(first, end hour) record {
	r := record{first, make([]float64, end.since(first))}
	for i := range r.values {
		r.values[i] = math.NaN()
	}
	return r
}

// fillGaps interpolates between known values that are at most some hours apart.
func (r *record) fillGaps(most int) {
	last := -1 // the index of the last known value
	for i, v := range r.values {
		if math.IsNaN(v) {
			continue
		}
		if last >= 0 && i-last <= most {
			for k := last + 1; k < i; k++ {
				share := float64(k-last) / float64(i-last)
				r.values[k] = float64(float32((1-share)*r.values[last] + share*v))
			}
		}
		last = i
	}
}

// united returns the values of two records. Where both have a value, that of the first counts.
func united(first, second record) record {
	if len(first.values) == 0 || len(second.values) == 0 {
		return record{max(first.first, second.first), slices.Concat(first.values, second.values)}
	}
	var r record
	for h := min(first.first, second.first); h < max(first.end(), second.end()); h++ {
		value := first.at(h)
		if math.IsNaN(value) {
			value = second.at(h)
		}
		r.set(h, value)
	}
	return r
}

// part returns a copy of the hours of [from, to).
func (r *record) part(from, to hour) record {
	p := r.span(from, to)
	p.values = append([]float64(nil), p.values...)
	return p
}

// span returns the hours of [from, to). It shares their values with r, so the caller reads them at
// once.
func (r *record) span(from, to hour) record {
	from, to = max(from, r.first), min(to, r.end())
	if from >= to {
		return record{}
	}
	return record{from, r.values[from-r.first : to-r.first]}
}
