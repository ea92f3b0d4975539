package forecast

import (
	"math"
	"sort"
)

// smooth is half of the width, in hours, of the mean that is the slow part of a forecast.
const smooth = 12

// An issue is what a forecast said, by the hour, and when it was known.
type issue struct {
	known  hour
	values record
	// running totals, from smooth hours before the first value on, of what is known
	sum, count []float64
	before     *issue // the one in force most of a day earlier
}

// newIssue takes values, and what issues before had said of the hours before them.
func newIssue(known hour, values, said *record) *issue {
	s := &issue{known: known, values: *values, sum: []float64{0}, count: []float64{0}}
	for h := values.first - smooth; h < values.end(); h++ {
		v := values.at(h)
		if h < values.first {
			v = said.at(h)
		}
		last := len(s.sum) - 1
		s.sum, s.count = append(s.sum, s.sum[last]), append(s.count, s.count[last])
		if !math.IsNaN(v) {
			s.sum[last+1] += v
			s.count[last+1]++
		}
	}
	return s
}

func (s *issue) at(h hour) float64 { return s.values.at(h) }

// slow is the mean of what is known of a day around h.
func (s *issue) slow(h hour) float64 {
	first := s.values.first - smooth
	from := min(max(h-smooth-first, 0), len(s.sum)-1)
	to := min(max(h+smooth+1-first, 0), len(s.sum)-1)
	return (s.sum[to] - s.sum[from]) / (s.count[to] - s.count[from])
}

// apart is by how many hours the earlier issue, whose error is a signal, precedes the one in force: yesterday's, though
// it may have come a little late.
const apart = 18

// hear takes the next issue in order of time.
func (s *issueView) hear(known hour, values *record) {
	known += s.lag
	i := newIssue(known, values, &s.said)
	i.before = s.newest(known - apart)
	if n := len(s.issues); n > 0 && s.issues[n-1].known == known {
		s.issues = s.issues[:n-1]
	}
	s.issues = append(s.issues, i)
	s.forget(known - outdated)
	for h := known; h < s.said.end(); h++ {
		s.note(h)
	}
}

// newest returns the newest issue known at h, nil if there is none.
func (s *issueView) newest(h hour) *issue {
	after := sort.Search(len(s.issues), func(i int) bool { return s.issues[i].known > h })
	if after == 0 {
		return nil
	}
	return s.issues[after-1]
}

// note compares what the issue in force said of an hour with what came.
func (s *issueView) note(h hour) {
	said := math.NaN()
	if i := s.newest(h); i != nil {
		said = i.at(h)
	}
	s.said.set(h, said)
	s.missed.set(h, s.past.actual.at(h)-said)
	s.said.forget(h - week)
	s.missed.forget(h - week)
	s.forget(h)
}

// forget drops the issues that are needed neither at h nor to learn from the hours before.
func (s *issueView) forget(h hour) {
	for len(s.issues) > 1 && s.issues[1].known < h-leads-day {
		s.issues[0].before = nil
		s.issues = s.issues[1:]
	}
}
