package forecast

import (
	"math"
	"time"
)

// Predict returns what is expected from now on. An issue older than maxAge is not trusted as it comes: it counts for
// what such old ones have been worth, if that has been learned, and for nothing otherwise.
func (m *Model) Predict(now time.Time, maxAge time.Duration) Prediction {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.follow(now)
	if m.last.prediction.Basis == "" || m.last.hour != hourOf(now) || m.last.maxAge != maxAge {
		m.last = answer{m.look(now, maxAge).predict(), hourOf(now), maxAge}
	}
	return m.last.prediction
}

// Contribution is one term of the sum that a prediction is.
type Contribution struct {
	// Signal names the term in a few words, such as "change in the forecast".
	Signal string
	// Intensity is what it adds, in gCO2eq/kWh.
	Intensity float64
}

// Contributions explains what is predicted at now for the hour of at: the terms add up to it. There are none if nothing
// is predicted.
func (m *Model) Contributions(now, at time.Time, maxAge time.Duration) []Contribution {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.follow(now)
	return m.look(now, maxAge).contributions(hourOf(at))
}

// outlook is what there is to rely on at one moment.
type outlook struct {
	model     *Model
	now       hour
	origin    hour       // the newest hour whose intensity is known; 0 if there is none
	learners  []*learner // the best first
	trusted   bool       // the issue counts as it comes
	fromIssue bool       // the first learner sees it
	stale     bool
}

// look chooses what to rely on.
func (m *Model) look(now time.Time, maxAge time.Duration) *outlook {
	o := &outlook{model: m, now: hourOf(now), origin: m.origin(now)}
	o.trusted = !m.running.Empty() && now.Sub(m.received) <= maxAge
	if o.origin <= o.now-outdated {
		return o
	}
	if n := len(m.archive); n > 0 {
		lag := max(0, (o.now-m.archive[n-1].known-late)/day*day)
		o.stale = lag > 0 || !o.trusted
		if lag <= latest {
			o.rely(m.learner(lag))
		}
	}
	if m.history != nil && m.history.hours >= enough {
		o.learners = append(o.learners, m.history)
	}
	return o
}

// rely takes up what sees the issue, if it is trusted or has shown what it is worth.
func (o *outlook) rely(l *learner) {
	if o.trusted || l.hours >= ramp {
		o.fromIssue = true
		o.learners = append(o.learners, l)
	}
}

// origin returns the newest hour whose intensity is known: the running one, if something is known of it.
func (m *Model) origin(now time.Time) hour {
	h := hourOf(m.gauge.seen)
	if h == hourOf(now) && m.gauge.width > 0 {
		m.past.actual.set(h, m.soFar(h))
		return h
	}
	for h = min(h, m.past.closed()) - 1; h >= m.past.actual.first; h-- {
		if !math.IsNaN(m.past.actual.at(h)) {
			return h
		}
	}
	return 0
}

// soFar is the mean of the running hour, as far as it is known or, if the issues stand for what is known, forecast.
func (m *Model) soFar(h hour) float64 {
	area, width := m.gauge.area, m.gauge.width
	if !m.measured {
		mean, covered := m.running.Mean(m.gauge.seen, startOf(h+1))
		area += mean * float64(covered)
		width += float64(covered)
	}
	return area / width
}

func (o *outlook) predict() Prediction {
	var steps []step
	for u := o.now; u < o.now+reach; u++ {
		if intensity, ok := o.at(u); ok {
			steps = o.model.running.within(steps, u, intensity)
		}
	}
	if len(steps) == 0 {
		return Prediction{Basis: Nothing}
	}
	p := Prediction{Series: total(steps), Basis: o.basis()}
	if len(o.learners) > 0 {
		p.Learned = time.Duration(o.learners[0].hours) * time.Hour
	}
	return p
}

// at returns the intensity expected of an hour; false if none is.
func (o *outlook) at(u hour) (float64, bool) {
	level := o.model.past.actual.at(o.origin)
	if u <= o.origin {
		level = o.model.past.actual.at(u)
		return level, !math.IsNaN(level)
	}
	for _, l := range o.learners {
		if change, ok := l.change(o.origin, u); ok && math.Abs(level+change) <= MaxIntensity {
			return level + change, true
		}
	}
	mean, covered := o.model.running.Mean(startOf(u), startOf(u+1))
	return mean, o.trusted && covered > 0
}

func (o *outlook) basis() Basis {
	switch {
	case !o.fromIssue && len(o.learners) > 0:
		return Past
	case o.stale:
		return Stale
	default:
		return Fresh
	}
}

func (o *outlook) contributions(u hour) []Contribution {
	intensity, ok := o.at(u)
	if !ok {
		return nil
	}
	for _, l := range o.learners {
		if change, ok := l.change(o.origin, u); ok && u > o.origin {
			level := Contribution{"intensity now", intensity - change}
			return append([]Contribution{level}, l.terms(o.origin, u)...)
		}
	}
	return []Contribution{{"forecast", intensity}}
}

// hourly averages a series by the hour, as far ahead as the model looks. An hour has to be covered by half.
func hourly(s *Series) record {
	var r record
	first := hourOf(s.Start())
	for h := first; startOf(h).Before(s.End()) && h < first+reach; h++ {
		mean, covered := s.Mean(startOf(h), startOf(h+1))
		if covered < time.Hour/2 {
			mean = math.NaN()
		}
		r.set(h, mean)
	}
	return r
}

// within appends the steps of an hour whose mean is given: the course is that of the series, as far as it goes.
func (s *Series) within(steps []step, u hour, mean float64) []step {
	from, to := nanos(startOf(u)), nanos(startOf(u+1))
	was, _ := s.Mean(startOf(u), startOf(u+1))
	for _, course := range s.all()[s.after(from):] {
		if course.start >= to {
			break
		}
		if course.start > from {
			steps = append(steps, step{start: from, end: course.start, intensity: mean})
		}
		end := min(course.end, to)
		steps = append(steps, step{start: max(course.start, from), end: end, intensity: course.intensity - was + mean})
		from = end
	}
	if from < to {
		steps = append(steps, step{start: from, end: to, intensity: mean})
	}
	return steps
}
