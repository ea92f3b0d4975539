package forecast

import (
	"math"
	"time"
)

// Observe takes an actual intensity, in order of time. It ignores time that was observed before,
// and slots that [NewSeries] drops. From the first call on only observed intensities count as
// actual, and the model forgets what it took for actual before.
func (m *Model) Observe(slot Slot) {
	observed := NewSeries([]Slot{{bounded(slot.Start), bounded(slot.End), slot.Intensity}})
	if observed.IsEmpty() {
		return
	}
	m.learning.Lock()
	defer m.learning.Unlock()
	m.learn(observed.End(), func(k *knowledge) {
		if !k.hasActuals {
			k.restartAt(observed.Start())
		}
		k.hasActuals, k.lastAnswer = true, answer{}
		k.measure(observed, observed.Start(), observed.End())
	})
}

// learnedAnewHours is how many hours of the past the model must have missed to learn anew with them.
// Fewer hours stay unknown.
const learnedAnewHours = day

// ObserveAll takes the actual intensities that a source publishes again and again: what is known of
// the last weeks, up to now. It judges them, observes what is new, and returns the verdict. It does
// not look at time that is more than eight weeks ago or that has not begun.
//
// Providers revise their intensities, many for a day. ObserveAll ignores a revision, as [Model.Observe]
// does: the model learns from what was known when work was planned. If the series knows at least a day
// of the past that was not offered before, as at the first time, the model learns anew from its own
// past and that of the series. It then is as if it had lived through both.
func (m *Model) ObserveAll(actuals *Series, now time.Time) Verdict {
	actuals = actuals.untilNow(bounded(now))
	if actuals.IsEmpty() {
		return Verdict{}
	}
	m.learning.Lock()
	defer m.learning.Unlock()
	if heard := m.heard(); !heard.hasActuals || heard.countMissed(actuals) >= learnedAnewHours {
		v := Believe(actuals)
		heard.offered = actuals.hours(hourOf(actuals.End()))
		m.replace(heard.learnedWith(v.Believed))
		return v
	}
	var v Verdict
	m.learn(actuals.End(), func(k *knowledge) {
		// The values of a day before tell what the new ones follow.
		v = k.past.judge(withTotals(actuals.part(k.gauge.measuredUntil.Add(-day*time.Hour), actuals.End())), nil)
		if until := v.Believed.End(); until.After(k.gauge.measuredUntil) {
			k.lastAnswer = answer{}
			k.measure(v.Believed, k.gauge.measuredUntil, until)
		}
	})
	return v
}

// correct replaces, in the hours that are over, what was observed of a second source by what is known
// now. A prediction that was learned before stays as it was learned.
func (m *Model) correct(levelled, known *Series) {
	if levelled.IsEmpty() || known.IsEmpty() || !known.End().After(levelled.Start()) {
		return
	}
	m.learning.Lock()
	defer m.learning.Unlock()
	defer m.lock()()
	estimated, now := levelled.Sweep(), known.Sweep()
	first := max(m.past.actual.first, hourOf(levelled.Start()), hourOf(known.Start()))
	for h := first; h < min(m.past.closedUntil(), hourOf(earlier(levelled.End(), known.End()))); h++ {
		_, ofSecond := estimated.Mean(nanos(startOf(h)), nanos(startOf(h+1)))
		mean, covered := now.Mean(nanos(startOf(h)), nanos(startOf(h+1)))
		if ofSecond >= minKnownPart && covered >= minKnownPart && !math.IsNaN(m.past.actual.at(h)) {
			m.past.actual.set(h, mean)
			m.lastAnswer = answer{}
		}
	}
}

// untilNow returns the part of the last weeks. The slot that has begun last counts to its end, if
// that is near.
func (s *Series) untilNow(now time.Time) *Series {
	until := now
	if _, hasBegun := s.At(now); hasBegun {
		end, _ := s.NextBoundary(now)
		until = earlier(end, now.Add(maxClockSkew))
	}
	return withTotals(s.part(now.Add(-retentionHours*time.Hour), until))
}

// hours returns the mean of each hour before the end. Hours of which less than half is known are
// unknown.
func (s *Series) hours(end hour) record {
	var r record
	sweep := s.Sweep()
	for h := hourOf(s.Start()); h < end; h++ {
		mean, covered := sweep.Mean(nanos(startOf(h)), nanos(startOf(h+1)))
		if covered < minKnownPart {
			mean = math.NaN()
		}
		r.set(h, mean)
	}
	return r
}

// countMissed returns how many hours before the newest observation are known to a series, but
// neither known to the model nor offered to it before.
func (k *knowledge) countMissed(actuals *Series) int {
	missed, sweep := 0, actuals.Sweep()
	for h := hourOf(actuals.Start()); h < hourOf(k.gauge.measuredUntil); h++ {
		_, covered := sweep.Mean(nanos(startOf(h)), nanos(startOf(h+1)))
		if covered >= minKnownPart && math.IsNaN(k.past.actual.at(h)) && math.IsNaN(k.offered.at(h)) {
			missed++
		}
	}
	return missed
}

// learnedWith returns the knowledge of a model that has heard the same and the actual intensities of
// a series, and has learned from both.
func (k *knowledge) learnedWith(actuals *Series) *knowledge {
	if actuals.IsEmpty() {
		return k.learned()
	}
	both := &knowledge{hasActuals: true, offered: k.offered, archive: k.archive, course: k.course, received: k.received, sky: k.sky}
	both.gauge.measuredUntil = actuals.Start()
	if k.hasActuals {
		both.past.actual, both.gauge = k.past.actual, k.gauge
	}
	// The series gives the hours that are over. The running hour is measured below.
	both.past.actual = united(both.past.actual, actuals.hours(hourOf(actuals.End())))
	if end := startOf(both.past.actual.end()); end.After(both.gauge.measuredUntil) {
		both.gauge = gauge{measuredUntil: end}
	}
	fresh := both.learned()
	fresh.measure(actuals, fresh.gauge.measuredUntil, actuals.End())
	return fresh
}

// closedActuals returns the actual intensities of the hours that are over.
func (k *knowledge) closedActuals() record {
	return k.past.actual.part(k.past.actual.first, k.past.closedUntil())
}

// actualUntil returns the end of the newest actual intensity that was observed, or the zero time.
func (m *Model) actualUntil() time.Time {
	defer m.lock()()
	if !m.hasActuals {
		return time.Time{}
	}
	return m.gauge.measuredUntil
}
