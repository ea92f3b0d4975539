package forecast

import (
	"math"
	"sync"
	"time"
)

const (
	// retentionHours is how much of the past is kept for a restart to learn from.
	retentionHours = 56 * day
	// archiveSpacingHours is the time between two archived forecasts.
	archiveSpacingHours = 6
	// horizonHours is how far ahead the model predicts.
	horizonHours = 8 * day
	// minHistoryHours is how much of the past the model must have seen for history alone to hold
	// work.
	minHistoryHours = 2 * day
	// lateAfterHours is how late a forecast may be before it counts as stale.
	lateAfterHours = 6
	// maxLatenessHours is how late a forecast may be and still be of any use.
	maxLatenessHours = 2 * day
	// maxActualAgeHours is the age of the newest actual intensity beyond which a fresh forecast, as
	// it comes, tells more than a prediction from that intensity.
	maxActualAgeHours = 12
	// maxPastAgeHours is the age of the newest actual intensity beyond which the past tells nothing
	// of today.
	maxPastAgeHours = 3 * day
)

// MinHistory is how much of the past must be known for history alone to hold work.
const MinHistory = minHistoryHours * time.Hour

// Basis says what a prediction rests on.
type Basis string

// The bases of a prediction, from the best to none.
const (
	// BasisForecast is a forecast that is used as it comes, corrected by what has been learned.
	BasisForecast Basis = "forecast"
	// BasisStaleForecast is a forecast that is older than it should be. It counts for as much as
	// forecasts of its age have been worth.
	BasisStaleForecast Basis = "stale-forecast"
	// BasisWeather is history, and what the weather is expected to do to the intensity.
	BasisWeather Basis = "weather"
	// BasisHistory is history alone.
	BasisHistory Basis = "history"
	// BasisNothing means that nothing is known: there is too little history, and no forecast that
	// can be trusted.
	BasisNothing Basis = "nothing"
)

// Prediction is what a model expects of a location.
type Prediction struct {
	// Series begins with the current hour. Series is empty if, and only if, Basis is
	// BasisNothing.
	Series *Series
	Basis  Basis
	// LearnedTime is the length of the time that the prediction has learned from: with a forecast, the
	// time whose forecasts are known.
	LearnedTime time.Duration
	// SavingShare is the share of the possible saving of the last 28 days that the predictions of
	// these days would have achieved, for work of four hours that can wait for a day. 1 is all of
	// the saving, and below 0 the predictions did harm. SavingShare is NaN in the first week, and
	// if there was nothing to save.
	SavingShare float64
	// Differences tells how wrong the predictions of the last weeks were. It is nil if nothing is
	// predicted.
	Differences *Differences
}

// Model predicts the intensity of one location from its forecasts and its actual intensities. The
// zero Model knows nothing and is ready to use. A model is safe for concurrent use.
//
// Nobody who asks a model waits until the model has learned from days. What is learned from days is
// learned beside what the model knows, and then replaces it.
type Model struct {
	learning sync.Mutex // those who teach the model take turns, and lock this before mu
	mu       sync.Mutex // is locked for no longer than it takes to learn from a day

	*knowledge // nil at first
}

// knowledge is what a model has heard, and what it has learned from that.
type knowledge struct {
	past       past
	gauge      gauge
	hasActuals bool               // actual intensities were observed
	offered    record             // the actual intensities of the series that the model last learned anew from
	archive    []archivedForecast // some hours apart
	course     course             // of the forecasts received
	received   time.Time          // when a forecast was last received, even an unchanged one
	sky        sky

	historyLearner   *learner         // sees the past alone
	forecastLearners map[int]*learner // by how many hours late their forecasts are
	outlookLearners  map[int]*learner // by how many hours late their outlooks are
	response         *response        // nil until weather is received
	hindsight        hindsight
	differences      differenceErrors

	lastAnswer answer
}

// An archivedForecast is a forecast in hourly values, and the hour at which it became known.
type archivedForecast struct {
	knownAt hour
	values  record
}

// A gauge sums up the actual intensity of the current hour.
type gauge struct {
	measuredUntil time.Time // zero at first
	area          float64   // intensity × nanoseconds
	width         float64   // nanoseconds whose intensity is known
}

// An answer is the last prediction that was asked for, and its evidence.
type answer struct {
	prediction Prediction
	evidence   *evidence
}

// lock locks the model for reading and for short changes, and returns what unlocks it.
func (m *Model) lock() (unlock func()) {
	m.mu.Lock()
	if m.knowledge == nil {
		m.knowledge = &knowledge{}
	}
	return m.mu.Unlock
}

// heard returns a copy of what the model has heard, without what it has learned. The caller has
// locked m.learning.
func (m *Model) heard() *knowledge {
	defer m.lock()()
	return &knowledge{
		past: past{actual: m.closedActuals()}, gauge: m.gauge, hasActuals: m.hasActuals, offered: m.offered,
		archive: m.archive, course: m.course, received: m.received, sky: m.sky,
	}
}

// replace makes the model know something else. The caller has locked m.learning.
func (m *Model) replace(fresh *knowledge) {
	defer m.lock()()
	m.knowledge = fresh
}

// learn changes what the model knows and has learned until an instant. The caller has locked
// m.learning.
func (m *Model) learn(until time.Time, change func(*knowledge)) {
	heard := m.heard()
	from := heard.gauge.measuredUntil
	if from.IsZero() {
		from = heard.received
	}
	if !from.IsZero() && until.Sub(from) >= learnedAnewHours*time.Hour {
		fresh := heard.learned()
		change(fresh)
		m.replace(fresh)
		return
	}
	defer m.lock()()
	change(m.knowledge)
}

// Receive judges a forecast, learns from the part of it that is believed, and returns the verdict.
// It does not learn from a forecast that was received before the newest one. Until the first call
// of [Model.Observe] or [Model.ObserveAll], the value that the newest forecast has for now stands in for the actual
// intensity.
//
// Receive judges as [Believe] does, and by what the model knows of the grid: zeros are not believed
// if the grid was never near zero at that hour of the day.
func (m *Model) Receive(series *Series, received time.Time) Verdict {
	m.learning.Lock()
	defer m.learning.Unlock()
	var v Verdict
	until := bounded(received)
	if !m.actualUntil().IsZero() {
		until = time.Time{} // a forecast teaches nothing of the past
	}
	m.learn(until, func(k *knowledge) {
		v = k.past.judge(series, k.course.Series)
		k.receive(v.Believed, bounded(received))
	})
	return v
}

// judge returns the verdict, by the past alone, on a series that was received before the past was
// known.
func (m *Model) judge(received *Series) Verdict {
	defer m.lock()()
	return m.past.judge(received, nil)
}

func (k *knowledge) receive(series *Series, received time.Time) {
	if series.IsEmpty() || received.Before(k.received) {
		return
	}
	k.followForecast(received)
	k.course, k.received, k.lastAnswer = k.course.next(series, received, received), received, answer{}
	next := archivedForecast{hourOf(received), k.hourly(series)}
	if n := len(k.archive); n > 0 && k.archive[n-1].values.contains(&next.values) {
		return
	}
	k.archiveForecast(next)
}

// lastHeard returns when the newest forecast or weather was received or until when the intensity was
// measured, whichever is the latest. If there is none, it returns the zero time or the epoch.
func (m *Model) lastHeard() time.Time {
	defer m.lock()()
	return later(later(m.received, m.sky.received), m.gauge.measuredUntil)
}

// archiveForecast archives a forecast and gives it to the learners.
func (k *knowledge) archiveForecast(next archivedForecast) {
	k.forecastLearner(0)
	for _, l := range k.forecastLearners {
		l.features.receive(next.knownAt, &next.values)
	}
	k.archive = archived(k.archive, next, archiveSpacingHours)
}

// archived adds a forecast to an archive. It replaces the newest archived forecast if that is too close
// to the one before.
func archived(archive []archivedForecast, next archivedForecast, spacing int) []archivedForecast {
	if n := len(archive); n > 1 && archive[n-1].knownAt.since(archive[n-2].knownAt) < spacing {
		archive = archive[:n-1]
	}
	archive = append(archive, next)
	for archive[0].knownAt < next.knownAt-retentionHours {
		archive = archive[1:]
	}
	return archive
}

// followForecast takes the value that the newest forecast has for now as the actual intensity,
// while that forecast is fresh.
func (k *knowledge) followForecast(now time.Time) {
	if k.hasActuals || k.course.IsEmpty() {
		return
	}
	k.measure(k.course.Series, k.received, earlier(now, k.freshUntil()))
	k.measure(nil, k.freshUntil(), now)
}

// freshUntil returns until when the newest forecast can stand in for the actual intensity.
func (k *knowledge) freshUntil() time.Time { return k.received.Add(freshFor) }

// restartAt forgets the past and goes on from an instant.
func (k *knowledge) restartAt(at time.Time) {
	k.past, k.gauge = past{}, gauge{measuredUntil: at}
	k.historyLearner, k.forecastLearners, k.outlookLearners = nil, nil, nil
	k.hindsight, k.differences = hindsight{}, differenceErrors{}
	if k.response != nil {
		k.response = newResponse()
	}
}

// measure adds what a series says of [from, to) to the gauge, and closes the hours that are over.
// It ignores time that was measured before. Time between the last measurement and from stays
// unknown.
func (k *knowledge) measure(s *Series, from, to time.Time) {
	if k.gauge.measuredUntil.IsZero() {
		k.gauge.measuredUntil = from
	}
	if oldest := to.Add(-retentionHours * time.Hour); k.gauge.measuredUntil.Before(oldest) { // what is older is of no use now
		k.restartAt(later(from, oldest))
	}
	for k.gauge.measuredUntil.Before(to) {
		h := hourOf(k.gauge.measuredUntil)
		until := earlier(startOf(h+1), to)
		if k.gauge.measuredUntil.Before(from) {
			until = earlier(until, from)
		} else {
			mean, covered := s.Mean(k.gauge.measuredUntil, until)
			k.gauge.area += mean * float64(covered)
			k.gauge.width += float64(covered)
		}
		k.gauge.measuredUntil = until
		if until.Equal(startOf(h + 1)) {
			k.closeHour(h, k.gauge.mean())
			k.gauge = gauge{measuredUntil: until}
		}
	}
}

// minKnownPart is how much of an hour must be known for the mean of the hour to be known.
const minKnownPart = time.Hour / 2

// mean returns the mean of the hour, or NaN if less than half of the hour is known.
func (g *gauge) mean() float64 {
	if g.width < float64(minKnownPart) {
		return math.NaN()
	}
	return g.area / g.width
}

// closeHour notes the intensity of an hour that is over, and learns from it.
func (k *knowledge) closeHour(h hour, actual float64) {
	k.past.closeHour(h, actual)
	k.learnerOfPast().closeHour(&k.past, h)
	for _, l := range k.forecastLearners {
		l.closeHour(&k.past, h)
	}
	for _, l := range k.outlookLearners {
		l.closeHour(&k.past, h)
	}
	k.learnResponse(h)
	expected := k.gatherEvidence(h, h, true).at
	k.hindsight.step(h, &k.past.actual, expected)
	k.differences.step(h, &k.past.actual, expected)
}

// learnerOfPast returns the learner that sees the past alone.
func (k *knowledge) learnerOfPast() *learner {
	if k.historyLearner == nil {
		k.historyLearner = newLearner(&pastFeatures{&k.past})
	}
	return k.historyLearner
}

// forecastLearner returns the learner for forecasts that are lag hours late. A new learner first
// learns from the archive.
func (k *knowledge) forecastLearner(lag int) *learner {
	if l := k.forecastLearners[lag]; l != nil {
		return l
	}
	l := newLearner(&forecastFeatures{past: &k.past, lag: lag})
	l.beginner = newBeginner()
	k.teach(l, lag, 0)
	if len(k.sky.outlooks) > 0 {
		l.beside = k.outlookLearner(0)
	}
	if k.forecastLearners == nil {
		k.forecastLearners = map[int]*learner{}
	}
	k.forecastLearners[lag] = l
	return l
}

// outlookBesideShare is how much the past alone counts beside an outlook.
const outlookBesideShare = 0.2

// outlookLearner returns the learner for outlooks that are lag hours late. A new learner first learns
// from the archive.
func (k *knowledge) outlookLearner(lag int) *learner {
	if l := k.outlookLearners[lag]; l != nil {
		return l
	}
	l := newLearner(newOutlookFeatures(&k.past, lag))
	k.teach(l, 0, lag)
	l.besideShare = outlookBesideShare
	if k.outlookLearners == nil {
		k.outlookLearners = map[int]*learner{}
	}
	k.outlookLearners[lag] = l
	return l
}

// teach teaches a new learner from the archives. Forecasts and outlooks are late by some hours each.
func (k *knowledge) teach(l *learner, forecastLag, outlookLag int) {
	s := l.features
	l.beside = k.learnerOfPast()
	forecasts, outlooks := k.archive, k.sky.outlooks
	hear := func(until hour) {
		for ; len(forecasts) > 0 && forecasts[0].knownAt.plus(forecastLag) <= until; forecasts = forecasts[1:] {
			s.receive(forecasts[0].knownAt, &forecasts[0].values)
		}
		for ; len(outlooks) > 0 && outlooks[0].knownAt.plus(outlookLag) <= until; outlooks = outlooks[1:] {
			s.receiveOutlook(outlooks[0].knownAt, &outlooks[0].values)
			l.grow()
		}
	}
	for h := range k.pastHours() {
		hear(h)
		l.closeHour(&k.past, h)
	}
	hear(math.MaxInt64)
}
