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
	fromPast  bool       // the last learner sees the past
	stale     bool
}

// look chooses what to rely on at now.
func (m *Model) look(now time.Time, maxAge time.Duration) *outlook {
	trusted := !m.running.Empty() && now.Sub(m.received) <= maxAge
	return m.lookFrom(hourOf(now), m.origin(now), trusted)
}

// lookFrom is look with what is known at the hour origin.
func (m *Model) lookFrom(now, origin hour, trusted bool) *outlook {
	o := &outlook{model: m, now: now, origin: origin, trusted: trusted}
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
		o.fromPast = true
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

// soFar is the mean of the running hour, as far as it is known. Where the issues stand for what is known, it is what the
// newest says of the rest: what older ones said of it does not matter.
func (m *Model) soFar(h hour) float64 {
	if !m.measured {
		from := startOf(h)
		if m.received.After(from) {
			from = m.received
		}
		if mean, covered := m.running.Mean(from, startOf(h+1)); covered > 0 {
			return mean
		}
	}
	return m.gauge.area / m.gauge.width
}

func (o *outlook) predict() Prediction {
	var steps []step
	for u := o.now; u < o.now+reach; u++ {
		steps = o.append(steps, u)
	}
	p := Prediction{Basis: Nothing, Share: o.model.trials.share()}
	if len(steps) > 0 {
		p.Series, p.Basis = total(steps), o.basis()
	}
	if len(o.learners) > 0 {
		p.Learned = time.Duration(o.learners[0].hours) * time.Hour
	}
	return p
}

// append adds what is expected of an hour. The course within it is that of the newest issue.
func (o *outlook) append(steps []step, u hour) []step {
	intensity, ok := o.at(u)
	if !ok {
		return steps
	}
	course := o.model.running
	mean, covered := course.Mean(startOf(u), startOf(u+1))
	if covered == 0 {
		mean = intensity
	}
	gaps := intensity
	if covered > 0 && !o.fromPast {
		gaps = math.NaN() // nothing says how it goes on
	}
	if u == o.now && o.trusted && !o.model.measured {
		intensity = mean // what the newest issue says of this hour is what is known of it
	}
	return course.within(steps, u, intensity-mean, gaps)
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

// hourly averages a series by the hour, as far ahead as the model looks. Of an hour that is covered in part, the part
// counts.
func hourly(s *Series) record {
	var r record
	first := hourOf(s.Start())
	for h := first; startOf(h).Before(s.End()) && h < first+reach; h++ {
		mean, covered := s.Mean(startOf(h), startOf(h+1))
		if covered == 0 {
			mean = math.NaN()
		}
		r.set(h, mean)
	}
	return r
}

// within appends the steps of an hour, shifted, and fills their gaps with an intensity, or leaves them if that is not a
// number.
func (s *Series) within(steps []step, u hour, shift, gaps float64) []step {
	at, to := nanos(startOf(u)), nanos(startOf(u+1))
	fill := func(until int64) {
		if at < until && !math.IsNaN(gaps) {
			steps = append(steps, step{start: at, end: until, intensity: gaps})
		}
	}
	for _, course := range s.all()[s.after(at):] {
		if course.start >= to {
			break
		}
		fill(course.start)
		from, until := max(course.start, at), min(course.end, to)
		steps = append(steps, step{start: from, end: until, intensity: course.intensity + shift})
		at = until
	}
	fill(to)
	return steps
}
