package forecast

import (
	"math"
	"time"
)

// Predict returns what is expected from now on. A forecast older than maxAge is not trusted as it
// comes: it counts for as much as forecasts of its age have been worth, if that has been learned,
// and for nothing otherwise.
func (m *Model) Predict(now time.Time, maxAge time.Duration) Prediction {
	defer m.lock()()
	return m.answer(bounded(now), maxAge).prediction
}

// answer predicts once an hour, and again when there is news.
func (k *knowledge) answer(now time.Time, maxAge time.Duration) answer {
	k.followForecast(now)
	trusted := now.Before(k.course.End()) && now.Sub(k.received) <= maxAge
	if e := k.lastAnswer.evidence; e == nil || e.now != hourOf(now) || e.isTrusted != trusted {
		e = k.gatherEvidence(hourOf(now), k.newestKnownHour(hourOf(now)), trusted)
		k.lastAnswer = answer{e.predict(), e}
	}
	return k.lastAnswer
}

// Contribution is one term of the sum that makes up a prediction.
type Contribution struct {
	// Feature names the term in a few words, such as "change in the forecast".
	Feature string
	// Intensity is what the term adds, in gCO2eq/kWh.
	Intensity float64
}

// Contributions explains what is predicted at now for the hour of at. The terms add up to the
// prediction. There are no terms if nothing is predicted.
func (m *Model) Contributions(now, at time.Time, maxAge time.Duration) []Contribution {
	defer m.lock()()
	return m.answer(bounded(now), maxAge).evidence.contributions(hourOf(at))
}

// evidence is what a prediction can rest on at one moment.
type evidence struct {
	model        *knowledge
	now          hour
	origin       hour       // the newest hour whose intensity is known; 0 if there is none
	learners     []*learner // the best first
	isTrusted    bool       // the forecast counts as it comes
	usesForecast bool       // the first learner sees the forecast
	usesOutlook  bool       // the first learner that does not see the forecast sees the outlook
	usesHistory  bool       // the last learner sees the past
	isStale      bool
	// prefersForecast says that a fresh forecast has come since the origin and that there was none
	// before, as at a warm start: the forecast then counts as it comes.
	prefersForecast bool
}

// gatherEvidence chooses what a prediction at now rests on. origin is the newest hour whose
// intensity is known.
func (k *knowledge) gatherEvidence(now, origin hour, trusted bool) *evidence {
	e := &evidence{model: k, now: now, origin: origin, isTrusted: trusted}
	lag := 0
	if n := len(k.archive); n > 0 {
		lag = max(0, (now.since(k.archive[n-1].knownAt)-lateAfterHours)/day*day)
	}
	e.isStale = lag > 0 || !trusted
	if origin <= now-maxPastAgeHours || !e.isStale && origin < now-maxActualAgeHours {
		return e
	}
	if lag <= maxLatenessHours {
		e.addForecastLearner(k.forecastLearner(lag))
	}
	if n := len(k.archive); n > 0 && !e.usesForecast {
		e.prefersForecast = !e.isStale && k.archive[n-1].knownAt > origin
	}
	e.addOutlookLearner()
	if k.historyLearner != nil && k.historyLearner.learnedHours >= minHistoryHours {
		e.usesHistory = true
		e.learners = append(e.learners, k.historyLearner)
	}
	return e
}

// addForecastLearner adds a learner that sees the forecast. The forecast must reach the next hour,
// and it must be trusted or the learner must have learned what it is worth.
func (e *evidence) addForecastLearner(l *learner) {
	if _, reaches := l.features.at(e.origin, max(e.now, e.origin+1)); reaches && (e.isTrusted || l.learnedHours >= rampHours) {
		e.usesForecast = true
		e.learners = append(e.learners, l)
	}
}

// addOutlookLearner adds a learner that sees the outlook. The outlook must reach the next hour. If it is
// late, the learner must have learned what late outlooks are worth.
func (e *evidence) addOutlookLearner() {
	outlooks := e.model.sky.outlooks
	if len(outlooks) == 0 {
		return
	}
	lag := max(0, (e.origin.since(outlooks[len(outlooks)-1].knownAt)-lateAfterHours)/day*day)
	if lag > maxLatenessHours {
		return
	}
	l := e.model.outlookLearner(lag)
	if _, reaches := l.features.at(e.origin, max(e.now, e.origin+1)); reaches && (lag == 0 || l.learnedHours >= rampHours) {
		e.usesOutlook = true
		e.learners = append(e.learners, l)
	}
}

// newestKnownHour returns the newest hour whose intensity is known: the current hour, if some of it
// is known.
func (k *knowledge) newestKnownHour(now hour) hour {
	h := hourOf(k.gauge.measuredUntil)
	low, high := k.past.credible(h)
	if level := k.currentHourMean(h); h == now && level >= low && level <= high {
		k.past.actual.set(h, level)
		return h
	}
	for h = min(h, k.past.closedUntil()) - 1; h >= k.past.actual.first; h-- {
		if !math.IsNaN(k.past.actual.at(h)) {
			return h
		}
	}
	return 0
}

// currentHourMean returns the mean of the known part of the current hour, or NaN. If forecasts
// stand in for the actual intensity, the newest one decides: what earlier forecasts said does not
// matter, and the newest is taken to be right about now.
func (k *knowledge) currentHourMean(h hour) float64 {
	if n := len(k.archive); n > 0 && !k.hasActuals && startOf(h).Before(k.freshUntil()) {
		if forecastMean := k.archive[n-1].values.at(h); !math.IsNaN(forecastMean) {
			return forecastMean
		}
	}
	return k.gauge.area / k.gauge.width
}

func (e *evidence) predict() Prediction {
	var steps []step
	for u := e.now; u < e.end(); u++ {
		steps = e.appendHour(steps, u)
	}
	p := Prediction{Basis: BasisNothing, SavingShare: e.model.hindsight.share()}
	if len(steps) > 0 {
		errors := e.model.differences.Differences // as they are now
		p.Series, p.Basis, p.Differences = withTotals(joinEqual(steps)), e.basis(), &errors
	}
	p.LearnedTime = time.Duration(e.learnedHours()) * time.Hour
	return p
}

// learnedHours returns from how many hours the first learner has learned: what it takes to know the
// errors of a forecast. A prediction from weather rests on history, so the learner of the two that has
// learned from more counts.
func (e *evidence) learnedHours() int {
	if e.usesForecast {
		return e.learners[0].learnedHours
	}
	most := 0
	for _, l := range e.learners {
		most = max(most, l.learnedHours)
	}
	return most
}

// joinEqual makes one step of neighbours whose intensities differ by a rounding only: the end of an
// hour is no boundary by itself.
func joinEqual(steps []step) []step {
	joined := steps[:1]
	for _, next := range steps[1:] {
		last := &joined[len(joined)-1]
		if last.end == next.start && math.Abs(last.intensity-next.intensity) <= 1e-6*(1+math.Abs(last.intensity)) {
			last.end = next.end
			continue
		}
		joined = append(joined, next)
	}
	return joined
}

// end returns the hour after the last one that can be predicted.
func (e *evidence) end() hour {
	if !e.isTrusted && len(e.learners) == 0 {
		return e.now
	}
	return e.now + horizonHours
}

// appendHour adds what is expected of an hour. Within the hour, the course follows the newest
// forecast.
func (e *evidence) appendHour(steps []step, u hour) []step {
	intensity := e.at(u)
	if math.IsNaN(intensity) {
		return steps
	}
	course := e.model.course
	mean, covered := course.Mean(startOf(u), startOf(u+1))
	if covered == 0 {
		mean = intensity
	}
	gaps := intensity
	if covered > 0 && !e.usesHistory {
		gaps = math.NaN() // nothing says how it goes on
	}
	return course.appendWithin(steps, u, intensity-mean, gaps)
}

// at returns the intensity that is expected of an hour, or NaN.
func (e *evidence) at(u hour) float64 {
	intensity, _ := e.expect(u)
	return intensity
}

// expect returns the intensity that is expected of an hour, or NaN, and the learner that expects
// it. The learner is nil if the intensity is known or comes from the forecast as it is.
func (e *evidence) expect(u hour) (float64, *learner) {
	forecastMean, covered := e.model.course.Mean(startOf(u), startOf(u+1))
	if covered == 0 || !e.isTrusted {
		forecastMean = math.NaN()
	}
	known := e.model.past.actual.at(u)
	switch {
	case u > e.origin:
		return e.lookAhead(u, forecastMean)
	case math.IsNaN(known), u == e.now && !e.model.hasActuals && !math.IsNaN(forecastMean):
		return forecastMean, nil // nothing else is known of the current hour
	default:
		return known, nil
	}
}

// lookAhead is expect for an hour that is not known yet. forecastMean is what a trusted forecast says
// of the hour, or NaN.
func (e *evidence) lookAhead(u hour, forecastMean float64) (float64, *learner) {
	if e.prefersForecast && !math.IsNaN(forecastMean) {
		return forecastMean, nil
	}
	level := e.model.past.actual.at(e.origin)
	for _, l := range e.learners {
		if change, ok := l.change(e.origin, u); ok && math.Abs(level+change) <= MaxIntensity {
			return level + change, l
		}
	}
	return forecastMean, nil
}

func (e *evidence) basis() Basis {
	switch {
	case !e.usesForecast && !e.prefersForecast && e.usesOutlook:
		return BasisWeather
	case !e.usesForecast && !e.prefersForecast && len(e.learners) > 0:
		return BasisHistory
	case e.isStale:
		return BasisStaleForecast
	default:
		return BasisForecast
	}
}

func (e *evidence) contributions(u hour) []Contribution {
	if u < e.now || u >= e.end() {
		return nil
	}
	intensity, l := e.expect(u)
	switch {
	case l != nil:
		level := Contribution{"intensity now", e.model.past.actual.at(e.origin)}
		return append([]Contribution{level}, l.contributions(e.origin, u)...)
	case math.IsNaN(intensity):
		return nil
	case u <= e.origin:
		return []Contribution{{"intensity now", intensity}}
	default:
		return []Contribution{{"forecast", intensity}}
	}
}

// hourly averages the newest forecast by the hour, as far ahead as the model looks. An hour that is
// covered in part gets the mean of that part. Earlier forecasts fill the time before the forecast
// begins and after it ends. Values have the precision of [Model.Save], so that the same forecast
// says the same after a restart.
func (k *knowledge) hourly(series *Series) record {
	var r record
	now := hourOf(k.received)
	first := min(now, max(now-day, hourOf(series.Start())))
	low, high := k.past.credible(k.past.closedUntil())
	for h := first; startOf(h).Before(k.course.End()) && h < first+horizonHours; h++ {
		mean, covered := series.Mean(startOf(h), startOf(h+1))
		switch {
		case covered == 0:
			mean, covered = k.course.Mean(later(startOf(h), k.received), startOf(h+1))
		case startOf(h).After(series.Start()):
			mean, covered = k.course.Mean(startOf(h), startOf(h+1))
		}
		if covered == 0 || mean < low || mean > high {
			mean = math.NaN()
		}
		r.set(h, float64(float32(mean)))
	}
	return r
}

// appendWithin appends the steps of an hour, shifted by some intensity. It fills gaps with another
// intensity, or leaves them if that is NaN.
func (s *Series) appendWithin(steps []step, u hour, shift, gaps float64) []step {
	filled, to := nanos(startOf(u)), nanos(startOf(u+1))
	fill := func(until int64) {
		if filled < until && !math.IsNaN(gaps) {
			steps = append(steps, step{start: filled, end: until, intensity: gaps})
		}
	}
	for _, slot := range s.all()[s.firstEndingAfter(filled):] {
		if slot.start >= to {
			break
		}
		fill(slot.start)
		from, until := max(slot.start, filled), min(slot.end, to)
		steps = append(steps, step{start: from, end: until, intensity: slot.intensity + shift})
		filled = until
	}
	fill(to)
	return steps
}
