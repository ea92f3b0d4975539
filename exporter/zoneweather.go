package exporter

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
)

// zoneWeather is what is known of the weather of a zone from the source of one role, and when to ask for
// more.
type zoneWeather struct {
	question question
	isAsked  bool   // by this run
	where    string // that this run has asked about: points, or an area
	hours    forecast.Weather
	received time.Time // when the source gave the hours
	credit   string    // the sentence that the licence demands
}

// maxWeatherSilence is how much older than what another source says a forecast may be. A reader takes all for as
// new as the newest.
const maxWeatherSilence = 48 * time.Hour

// weatherOf returns what all sources say of the weather of a zone. A source that has been silent for long adds
// nothing from before the others: a document has no room for longer than a model looks. The caller holds a.mu.
func (a *asker) weatherOf(z *zone, now time.Time) forecast.Weather {
	var all []forecast.Weather
	newest := z.weatherReceived()
	for role := range weatherRoles {
		if a.source.weather[role].kind == "" {
			continue
		}
		w := &z.weather[role]
		hours := w.hours
		if newest.Sub(w.received) > maxWeatherSilence {
			hours = slices.DeleteFunc(slices.Clone(hours), func(hour forecast.WeatherHour) bool { return hour.Start.After(w.received) })
		}
		all = append(all, hours)
	}
	return recentWeather(forecast.JoinWeather(all...), now)
}

// weatherReceived returns when a source has last told the weather; zero if none has.
func (z *zone) weatherReceived() (last time.Time) {
	for _, w := range z.weather {
		if len(w.hours) > 0 {
			last = later(last, w.received)
		}
	}
	return last
}

// minWeatherAge is how old the weather of an earlier run is at least when its source is asked again.
const minWeatherAge = 10 * time.Minute

// restoreWeather takes over the weather of an earlier run. What a source has told this run is newer: a policy
// may come later. No source is asked again at once, however often the program starts.
func (a *asker) restoreWeather(z *zone, all forecast.Weather, received, now time.Time) {
	for role, hours := range a.byRole(all) {
		w := &z.weather[role]
		if len(hours) == 0 || len(w.hours) > 0 {
			continue
		}
		w.hours, w.received = hours, received
		if !received.IsZero() && !received.After(now) {
			w.question.due = received.Add(minWeatherAge)
		}
	}
}

// byRole returns each value as one of the source that is asked for it now, so that what the source says later
// replaces it. Values for which nobody is asked any more are left out.
func (a *asker) byRole(all forecast.Weather) (parts [weatherRoles]forecast.Weather) {
	hasOperator := a.source.weather[ofShares].kind != ""
	for _, hour := range all {
		sky, shares := hour, forecast.UnknownWeather(hour.Start)
		shares.WindShare, shares.SolarShare = hour.WindShare, hour.SolarShare
		if hasOperator || a.source.weather[ofSky].kind != provider.WeatherHTTP { // the only weather with shares
			sky.WindShare, sky.SolarShare = math.NaN(), math.NaN()
		}
		if sky.IsKnown() {
			parts[ofSky] = append(parts[ofSky], sky)
		}
		if hasOperator && shares.IsKnown() {
			parts[ofShares] = append(parts[ofShares], shares)
		}
	}
	return parts
}

// receiveWeather takes over the weather of a zone, or notes why there is none. Nothing is wrong if a source
// that no policy names has never known the zone.
func (z *zone) receiveWeather(role weatherRole, answer weatherAnswer, now time.Time) {
	w, p := &z.weather[role], answer.problem(role)
	w.isAsked, w.where = true, answer.where
	switch {
	case answer.err == nil:
		w.question.succeed(now.Add(answer.source.Rhythm), p)
		w.credit = answer.source.Attribution
		w.hours, w.received = recentWeather(answer.reading.Weather, now), now.UTC()
	case answer.isGuess && isOfTheZone(answer.err) && w.credit == "":
		w.question.fail(now, firstPastPause, maxPastPause, problem{})
	default:
		w.question.fail(now, firstPause, maxPause, p)
	}
}

// recentWeather leaves out what no model keeps. Several zones may share the hours of an area.
func recentWeather(w forecast.Weather, now time.Time) forecast.Weather {
	return slices.DeleteFunc(slices.Clone(w), func(hour forecast.WeatherHour) bool { return hour.Start.Before(now.Add(-retention)) })
}

// pointsOf returns the points of a location of a policy in one text.
func pointsOf(points []v1alpha1.WeatherPoint) string {
	texts := make([]string, len(points))
	for i, p := range points {
		texts[i] = p.Latitude + "," + p.Longitude
	}
	return strings.Join(texts, ";")
}
