package backtest

import (
	"sort"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// news is what becomes known as time passes. What has been given to the model is no longer in it.
type news struct {
	setup     Setup
	slots     []forecast.Slot
	documents []Document
	weather   []WeatherIssue
	newest    forecast.Slot // the last slot that was given to the model
	doubted   int           // forecast values that the model did not believe
}

// newNews begins with what a program that was started at From - History would have seen. The
// forecasts in force then count as received.
func newNews(s Setup) news {
	begin := s.From.Add(-s.History)
	n := news{setup: s, slots: s.Actuals.Series.Slots(), documents: s.Documents, weather: s.Weather}
	n.slots = n.slots[sort.Search(len(n.slots), func(i int) bool { return n.slots[i].End.After(begin) }):]
	n.documents = n.documents[max(countUntil(len(n.documents), n.forecastKnownAt, begin)-1, 0):]
	n.weather = n.weather[max(countUntil(len(n.weather), n.weatherKnownAt, begin)-1, 0):]
	return n
}

// countUntil returns how many of n items are known at an instant.
func countUntil(n int, knownAt func(i int) time.Time, at time.Time) int {
	return sort.Search(n, func(i int) bool { return knownAt(i).After(at) })
}

// tell gives the model everything that is known at now, in the order in which it became known. At
// one moment forecasts come first, then actual intensities, then weather.
func (n *news) tell(m Model, now time.Time) {
	for {
		next := []struct {
			isLeft  bool
			knownAt func(i int) time.Time
			tell    func(m Model, known time.Time)
		}{
			{len(n.documents) > 0, n.forecastKnownAt, n.tellForecast},
			{len(n.slots) > 0, n.actualKnownAt, n.tellActual},
			{len(n.weather) > 0, n.weatherKnownAt, n.tellWeather},
		}
		first, known := -1, now
		for i, kind := range next {
			if !kind.isLeft {
				continue
			}
			if at := kind.knownAt(0); at.Before(known) || first < 0 && at.Equal(known) {
				first, known = i, at
			}
		}
		if first < 0 {
			return
		}
		next[first].tell(m, known)
	}
}

func (n *news) tellWeather(m Model, known time.Time) {
	m.HearWeather(n.weather[0].Weather, known)
	n.weather = n.weather[1:]
}

func (n *news) tellForecast(m Model, known time.Time) {
	n.doubted += m.Receive(n.documents[0].Series, known).Doubted
	n.documents = n.documents[1:]
}

func (n *news) tellActual(m Model, _ time.Time) {
	m.Observe(n.slots[0])
	n.newest, n.slots = n.slots[0], n.slots[1:]
}

func (n *news) weatherKnownAt(i int) time.Time {
	return n.weather[i].Issued.Add(n.setup.WeatherDelay)
}

func (n *news) forecastKnownAt(i int) time.Time {
	return n.documents[i].Issued.Add(n.setup.ForecastDelay)
}

func (n *news) actualKnownAt(i int) time.Time { return n.slots[i].Start.Add(n.setup.ActualDelay) }
