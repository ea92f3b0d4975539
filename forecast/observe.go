package forecast

import (
	"math"
	"time"
)

// Observe takes an actual intensity, in order of time. It ignores time that was observed before,
// and slots that [NewSeries] drops. From the first call on only observed intensities count as
// actual, and the model forgets what it took for actual before.
func (m *Model) Observe(slot Slot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	observed := NewSeries([]Slot{{bounded(slot.Start), bounded(slot.End), slot.Intensity}})
	if observed.IsEmpty() {
		return
	}
	if !m.hasActuals {
		m.restartAt(observed.Start())
	}
	m.hasActuals, m.lastAnswer = true, answer{}
	m.measure(observed, observed.Start(), observed.End())
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
	m.mu.Lock()
	defer m.mu.Unlock()
	actuals = actuals.untilNow(bounded(now))
	if actuals.IsEmpty() {
		return Verdict{}
	}
	if !m.hasActuals || m.countMissed(actuals) >= learnedAnewHours {
		v := Believe(actuals)
		m.offered = actuals.hours(hourOf(actuals.End()))
		m.learnAnew(v.Believed)
		return v
	}
	// The values of a day before tell what the new ones follow.
	v := m.past.judge(withTotals(actuals.part(m.gauge.measuredUntil.Add(-day*time.Hour), actuals.End())), nil)
	if until := v.Believed.End(); until.After(m.gauge.measuredUntil) {
		m.lastAnswer = answer{}
		m.measure(v.Believed, m.gauge.measuredUntil, until)
	}
	return v
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
func (m *Model) countMissed(actuals *Series) int {
	missed, sweep := 0, actuals.Sweep()
	for h := hourOf(actuals.Start()); h < hourOf(m.gauge.measuredUntil); h++ {
		_, covered := sweep.Mean(nanos(startOf(h)), nanos(startOf(h+1)))
		if covered >= minKnownPart && math.IsNaN(m.past.actual.at(h)) && math.IsNaN(m.offered.at(h)) {
			missed++
		}
	}
	return missed
}

// learnAnew learns from the actual intensities of a series, and from those that were observed before.
func (m *Model) learnAnew(actuals *Series) {
	if actuals.IsEmpty() {
		return
	}
	learned := &Model{hasActuals: true, archive: m.archive, course: m.course, received: m.received}
	learned.gauge.measuredUntil = actuals.Start()
	if m.hasActuals {
		learned.past.actual, learned.gauge = m.closedActuals(), m.gauge
	}
	// The series gives the hours that are over. The running hour is measured below.
	learned.past.actual = united(learned.past.actual, actuals.hours(hourOf(actuals.End())))
	if end := startOf(learned.past.actual.end()); end.After(learned.gauge.measuredUntil) {
		learned.gauge = gauge{measuredUntil: end}
	}
	m.adopt(learned)
	m.measure(actuals, m.gauge.measuredUntil, actuals.End())
}

// closedActuals returns the actual intensities of the hours that are over.
func (m *Model) closedActuals() record {
	return m.past.actual.part(m.past.actual.first, m.past.closedUntil())
}

// actualUntil returns the end of the newest actual intensity that was observed, or the zero time.
func (m *Model) actualUntil() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.hasActuals {
		return time.Time{}
	}
	return m.gauge.measuredUntil
}
