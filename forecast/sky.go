package forecast

import (
	"math"
	"time"
)

// outlookSpacingHours is the time between two outlooks that are kept for a restart.
const outlookSpacingHours = day

const (
	// lookBackHour is the hour of the day, in UTC, of the outlooks that are made of the past: most forecasts
	// of the weather that are issued at midnight are out by then.
	lookBackHour = 6
	// lookBackHours is how far these outlooks reach, from the beginning of their day on. The weather of days
	// further ahead was not known as well as it is now.
	lookBackHours = 2 * day
)

// A sky is what a model has heard of the weather, and the outlooks that it has made of that.
type sky struct {
	weather  weather
	received time.Time // when weather was last received; zero if never
	outlooks []archivedForecast
}

// HearWeather takes what is known of the weather of the location, and learns how the intensity answers
// to it. Once it has seen two days of both, the model makes an outlook of each forecast of the
// weather: a forecast of the intensity, which counts as one of a provider would. Weather that was received
// before the newest is ignored.
//
// Of hours that are over, weather counts only where nothing was known. The model keeps eight weeks of
// it.
func (m *Model) HearWeather(issue Weather, received time.Time) {
	received = bounded(received)
	news := issue.hours(hourOf(received))
	m.learning.Lock()
	defer m.learning.Unlock()
	hadOutlooks := m.hasOutlooks()
	m.learn(time.Time{}, func(k *knowledge) { k.hearWeather(news, received) })
	if !hadOutlooks && m.hasOutlooks() {
		m.replace(m.heard().learned())
	}
}

func (m *Model) hasOutlooks() bool {
	defer m.lock()()
	return len(m.sky.outlooks) > 0
}

// allOutlooks returns the outlooks that are kept and, before them, those that the model would have made, had it
// known the weather of the past in time. So the errors of outlooks are known from the beginning.
func (k *knowledge) allOutlooks() []archivedForecast {
	if k.sky.received.IsZero() {
		return nil
	}
	until := min(k.past.actual.end(), hourOf(k.sky.received))
	if len(k.sky.outlooks) > 0 {
		until = min(until, k.sky.outlooks[0].knownAt)
	}
	return append(k.pastOutlooks(until), k.sky.outlooks...)
}

// pastOutlooks returns an outlook of each day before an hour, each from what was known then of the
// intensity. The weather of the past stands in for what was expected of it.
func (k *knowledge) pastOutlooks(until hour) []archivedForecast {
	var all []archivedForecast
	then := &knowledge{past: k.past, sky: k.sky, response: newResponse()}
	for h := k.past.actual.first; h < until; h++ {
		if h.ofDay() == lookBackHour && h >= until-retentionHours && then.response.weather.learnedHours >= minHistoryHours {
			outlook := then.response.outlook(h, &k.sky.weather)
			all = append(all, archivedForecast{h, outlook.part(outlook.first, outlook.first+lookBackHours)})
		}
		then.learnResponse(h)
	}
	return all
}

func (k *knowledge) hearWeather(news weather, received time.Time) {
	if received.Before(k.sky.received) {
		return
	}
	now := hourOf(received)
	revised, changed := k.sky.weather.revisedBy(news, now)
	if len(changed) == 0 {
		return
	}
	k.followForecast(received)
	explained := k.countExplained(&revised, changed)
	k.sky.weather, k.sky.received = revised, received
	if k.response == nil || explained >= learnedAnewHours {
		k.response = k.learnedResponse()
	}
	k.lookOut(now)
}

// countExplained returns how many of some hours have got a first value of the weather or a first share, and have
// a known intensity to learn from.
func (k *knowledge) countExplained(revised *weather, changed []hour) int {
	explained := map[hour]bool{}
	for _, h := range changed {
		if !math.IsNaN(k.past.actual.at(h)) && h < k.past.closedUntil() && k.sky.weather.isLessAt(h, revised) {
			explained[h] = true
		}
	}
	return len(explained)
}

// pastHours yields the hours that are over.
func (k *knowledge) pastHours() func(yield func(hour) bool) {
	return func(yield func(hour) bool) {
		for h := k.past.actual.first; h < k.past.closedUntil(); h++ {
			if !yield(h) {
				return
			}
		}
	}
}

// learnedResponse returns what can be learned from the hours that are kept.
func (k *knowledge) learnedResponse() *response {
	fresh := &knowledge{past: k.past, sky: k.sky, response: newResponse()}
	for h := range k.pastHours() {
		fresh.learnResponse(h)
	}
	return fresh.response
}

// learnResponse learns from an hour that is over, if anything is known of its weather.
func (k *knowledge) learnResponse(h hour) {
	if k.response == nil {
		return
	}
	if k.sky.weather.isKnownAt(h) {
		k.response.learn(h, k.sky.weather.at(h), k.past.actual.at(h))
	}
	if h.ofDay() == day-1 {
		k.response.endDay()
	}
}

// lookOut makes an outlook, if enough has been learned. The outlook counts from the newest hour whose
// intensity is known: weather is known as of now, however late the intensities are, and what is
// predicted begins with that hour.
func (k *knowledge) lookOut(now hour) {
	if k.response == nil || k.response.weather.learnedHours < minHistoryHours {
		return
	}
	at := now
	if origin := k.newestKnownHour(now); origin > 0 {
		at = min(now, origin)
	}
	if n := len(k.sky.outlooks); n > 0 {
		at = max(at, k.sky.outlooks[n-1].knownAt)
	}
	k.lastAnswer = answer{}
	k.archiveOutlook(archivedForecast{at, k.response.outlook(at, &k.sky.weather)})
}

// archiveOutlook archives an outlook and gives it to the learners.
func (k *knowledge) archiveOutlook(next archivedForecast) {
	k.sky.outlooks = archived(k.sky.outlooks, next, outlookSpacingHours)
	seesOutlook := k.outlookLearner(0)
	for _, learners := range []map[int]*learner{k.forecastLearners, k.outlookLearners} {
		for _, l := range learners {
			l.features.receiveOutlook(next.knownAt, &next.values)
			l.grow()
		}
	}
	for _, l := range k.forecastLearners {
		l.beside = seesOutlook
	}
}
