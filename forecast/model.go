package forecast

import (
	"math"
	"sync"
	"time"
)

// The model works by the hour. Finer slots are averaged, and what an issue says within an hour is laid over what is
// predicted for it.

const (
	// retention is how much of the past, in hours, is kept: what a restart can learn from.
	retentionHours = 56 * day
	// sparse is how far apart, in hours, the kept issues are.
	archiveSpacingHours = 6
	// reach is how far ahead, in hours, the model predicts.
	horizonHours = 8 * day
	// enough is the least that must have been seen of the past, in hours, to hold work by it alone.
	minHistoryHours = 2 * day
	// late is by how many hours an issue may be late before it counts as stale.
	lateAfterHours = 6
	// latest is the most, in hours, that an issue may be late to be of use at all.
	maxLatenessHours = 2 * day
	// behind is the age in hours of the newest actual intensity beyond which a fresh issue, as it comes, tells more than
	// what can be predicted from there.
	maxActualAgeHours = 12
	// outdated is the age in hours of the newest actual intensity beyond which the past tells nothing of today.
	maxPastAgeHours = 3 * day
)

// Basis is what a prediction rests on.
type Basis string

// The bases of a prediction, from the best to nothing at all.
const (
	// Fresh is an issue that is used as it comes, corrected by what has been learned.
	BasisForecast Basis = "forecast"
	// Stale is an issue that is older than it should be, used for what such old ones have been worth.
	BasisStaleForecast Basis = "stale-forecast"
	// Past is history alone.
	BasisHistory Basis = "history"
	// Nothing is known: too little history, and no issue that can be trusted.
	BasisNothing Basis = "nothing"
)

// Prediction is what a model expects of a location.
type Prediction struct {
	// Series begins with the hour that runs; it is empty if, and only if, Basis is Nothing.
	Series *Series
	Basis  Basis
	// Learned is the time whose outcomes the prediction has learned from.
	LearnedTime time.Duration
	// Share is how much of the saving that was possible in the last 28 days the predictions of these days would have had
	// for work of four hours that can wait a day: 1 is all of it, below 0 is more harm than good. It is not a number
	// before a week can tell, or if there was nothing to save.
	SavingShare float64
}

// Model predicts the intensity of one location from the issues and the actual intensities it was told of. The zero
// Model knows nothing and is ready to use. It is safe for concurrent use.
type Model struct {
	mu sync.Mutex

	past       past
	gauge      gauge
	hasActuals bool               // actual intensities are observed
	archive    []archivedForecast // issues, some hours apart
	course     course             // as the issues tell it
	received   time.Time          // when it was last received, were it the same as before

	historyLearner   *learner         // from the past alone
	forecastLearners map[int]*learner // from issues that are so many hours late
	hindsight        hindsight

	lastAnswer answer
}

// archived is an issue by the hour, and when it was known.
type archivedForecast struct {
	known  hour
	values record
}

// gauge sums the actual intensity of the running hour up.
type gauge struct {
	seen  time.Time // up to where; zero at first
	area  float64   // intensity × nanoseconds
	width float64   // nanoseconds whose intensity is known
}

// answer is the last prediction that was asked for, and what it rests on.
type answer struct {
	prediction Prediction
	evidence   *evidence
}

// Hear takes what it believes of an issue, as it was received, and says what that is; one that was received before the
// newest is not learned from. Until a first call of [Model.Observe], the value of the running slot of the newest issue
// stands for the actual intensity.
//
// An issue is judged as by [Believe], and by what the model knows of the grid: if that was never near zero at this time of
// the day, zeros are not believed, and nothing is learned of them.
func (m *Model) Receive(series *Series, received time.Time) Verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.past.judge(series, m.course.Series)
	m.receive(v.Believed, bounded(received))
	return v
}

// judge says what is believed, by the past alone, of a series that was heard before the past was known.
func (m *Model) judge(heard *Series) Verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.past.judge(heard, nil)
}

func (m *Model) receive(series *Series, received time.Time) {
	if series.IsEmpty() || received.Before(m.received) {
		return
	}
	m.followForecast(received)
	m.course, m.received, m.lastAnswer = m.course.next(series, received, received), received, answer{}
	next := archivedForecast{hourOf(received), m.hourly(series)}
	if n := len(m.archive); n > 0 && m.archive[n-1].values.contains(&next.values) {
		return
	}
	m.archiveForecast(next)
}

// heard returns when the newest issue was received; the zero time, or the epoch, if there is none.
func (m *Model) lastReceived() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.received
}

// tell archives an issue, in place of the newest one if that is too close to the one before, and passes it on.
func (m *Model) archiveForecast(next archivedForecast) {
	m.forecastLearner(0)
	for _, l := range m.forecastLearners {
		l.features.receive(next.known, &next.values)
	}
	if n := len(m.archive); n > 1 && m.archive[n-1].known.since(m.archive[n-2].known) < archiveSpacingHours {
		m.archive = m.archive[:n-1]
	}
	m.archive = append(m.archive, next)
	for m.archive[0].known < next.known-retentionHours {
		m.archive = m.archive[1:]
	}
}

// Observe takes an actual intensity, in order of time: what was observed before does not count again, and what
// [NewSeries] drops does not count at all. From the first call on, nothing else counts as actual, and what did is forgotten.
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

// follow takes the value of the running slot of the newest issue for the actual intensity, as long as it is fresh.
func (m *Model) followForecast(now time.Time) {
	if m.hasActuals || m.course.IsEmpty() {
		return
	}
	m.measure(m.course.Series, m.received, earlier(now, m.freshUntil()))
	m.measure(nil, m.freshUntil(), now)
}

// fresh is until when the newest issue can stand for the actual intensity.
func (m *Model) freshUntil() time.Time { return m.received.Add(freshFor) }

// restart forgets the past, and goes on at an instant.
func (m *Model) restartAt(at time.Time) {
	m.past, m.gauge, m.historyLearner, m.forecastLearners, m.hindsight = past{}, gauge{seen: at}, nil, nil, hindsight{}
}

// measure adds what a series says of [from, to) to the gauge, and closes the hours that are over. What was seen before
// does not count again; what was left out in between is not known.
func (m *Model) measure(s *Series, from, to time.Time) {
	if m.gauge.seen.IsZero() {
		m.gauge.seen = from
	}
	if oldest := to.Add(-retentionHours * time.Hour); m.gauge.seen.Before(oldest) { // what was before is of no use now
		m.restartAt(later(from, oldest))
	}
	for m.gauge.seen.Before(to) {
		h := hourOf(m.gauge.seen)
		until := earlier(startOf(h+1), to)
		if m.gauge.seen.Before(from) {
			until = earlier(until, from)
		} else {
			mean, covered := s.Mean(m.gauge.seen, until)
			m.gauge.area += mean * float64(covered)
			m.gauge.width += float64(covered)
		}
		m.gauge.seen = until
		if until.Equal(startOf(h + 1)) {
			m.closeHour(h, m.gauge.mean())
			m.gauge = gauge{seen: until}
		}
	}
}

// mean is that of the hour, if at least half of it is known.
func (g *gauge) mean() float64 {
	if g.width < float64(time.Hour)/2 {
		return math.NaN()
	}
	return g.area / g.width
}

// close notes the intensity of an hour that is over, and learns from it.
func (m *Model) closeHour(h hour, actual float64) {
	m.past.closeHour(h, actual)
	if m.historyLearner == nil {
		m.historyLearner = newLearner(&pastFeatures{&m.past})
	}
	m.historyLearner.closeHour(&m.past, h)
	for _, l := range m.forecastLearners {
		l.closeHour(&m.past, h)
	}
	m.hindsight.step(h, &m.past.actual, m.gatherEvidence(h, h, true).at)
}

// learner returns the one for issues that are so many hours late. A new one learns from the archive first.
func (m *Model) forecastLearner(lag int) *learner {
	if l := m.forecastLearners[lag]; l != nil {
		return l
	}
	l := newLearner(&forecastFeatures{past: &m.past, lag: lag})
	rest := m.archive
	for h := m.past.actual.first; h < m.past.closedUntil(); h++ {
		for ; len(rest) > 0 && rest[0].known.plus(lag) <= h; rest = rest[1:] {
			l.features.receive(rest[0].known, &rest[0].values)
		}
		l.closeHour(&m.past, h)
	}
	for _, a := range rest {
		l.features.receive(a.known, &a.values)
	}
	if m.forecastLearners == nil {
		m.forecastLearners = map[int]*learner{}
	}
	m.forecastLearners[lag] = l
	return l
}
