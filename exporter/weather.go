package exporter

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/exporter/region"
	"github.com/gridlatch/gridlatch/forecast"
)

// zoneWeather is what is known of the weather of a zone, and when to ask for more.
type zoneWeather struct {
	question question
	points   string // that the weather is of; "" if an earlier run has asked
	hours    forecast.Weather
	received time.Time // when the source gave the hours
	credit   string    // the sentence that the licence demands
}

// weatherAsker asks the source of weather of an asker. Only [asker.step] uses it.
type weatherAsker struct {
	source  provider.WeatherSource // nil while nobody can be asked
	usedKey digest
	keyDue  time.Time
	problem string // why nobody can be asked
	logged  string // the last problem of an answer, so that it is logged once
	silence int    // how often in a row several zones had no answer
}

// weatherTimeout bounds how long one zone may take, and then a round: forecasts wait meanwhile.
const weatherTimeout = 2 * time.Minute

// askWeather asks for the weather of the zones for which it is due, and reports whether there may be
// news. The forecasts of the provider are written before, so that weather never keeps them back.
func (a *asker) askWeather(ctx context.Context) bool {
	if a.source.weather.kind == "" {
		return false
	}
	a.findWeatherSource(ctx)
	if a.weather.source == nil {
		return a.weather.problem != ""
	}
	description := a.weather.source.DescribeWeather()
	// a random time more each time: not all clusters ask at once, and none always at the full hour
	description.Rhythm += time.Duration(a.exporter.jitter() * jitterShare * float64(description.Rhythm))
	failures, due, began := 0, a.zonesWithoutWeather(), a.exporter.Clock.Now()
	for i, z := range due {
		if a.hasOtherTargets() || ctx.Err() != nil || a.exporter.Clock.Since(began) >= weatherTimeout {
			return true
		}
		if failures == maxFailuresInARow {
			a.postponeWeather(due[i:], due[i-1].weather.question.problem)
			return true
		}
		points := a.pointsOfZone(z)
		r, err := a.weatherAt(ctx, z, points)
		a.note(func(now time.Time) { z.receiveWeather(r, err, points, description, now) })
		a.logWeatherProblem(ctx, r.Problem)
		if failures = failuresWith(failures, err); failures == 0 {
			a.weather.silence = 0
		} else {
			log.FromContext(ctx).V(1).Info("a source of weather has no answer", "source", a.source.weather.kind, "zone", z.name, "why", err.Error())
		}
	}
	return len(due) > 0
}

// failuresWith returns how many zones in a row have no answer, after another one. A source that asks for
// patience, or refuses everybody, is left alone at once.
func failuresWith(before int, err error) int {
	switch {
	case errors.Is(err, provider.ErrRateLimited), errors.Is(err, provider.ErrNotInPlan):
		return maxFailuresInARow
	case err == nil, isOfTheZone(err):
		return 0
	}
	return before + 1
}

// weatherAt asks for the weather of a zone.
func (a *asker) weatherAt(ctx context.Context, z *zone, points string) (provider.WeatherReading, error) {
	ctx, cancel := context.WithTimeout(ctx, weatherTimeout)
	defer cancel()
	parsed, err := provider.ParsePoints(points)
	if err != nil {
		return provider.WeatherReading{}, err
	}
	return a.weather.source.Weather(ctx, z.name, parsed)
}

// postponeWeather leaves a source alone that has not answered for several zones in a row: longer each
// time. The zones that were not asked for come first then.
func (a *asker) postponeWeather(unasked []*zone, p problem) {
	a.mu.Lock()
	defer a.mu.Unlock()
	due := a.exporter.Clock.Now().Add(pauseAfter(a.weather.silence, firstPause, maxPause))
	a.weather.silence++
	for _, z := range a.zones {
		z.weather.question.due = later(z.weather.question.due, due.Add(time.Second))
	}
	for _, z := range unasked {
		z.weather.question.due = due
		z.weather.question.note(p)
	}
}

// logWeatherProblem logs what is wrong with an answer, once.
func (a *asker) logWeatherProblem(ctx context.Context, text string) {
	if text != "" && text != a.weather.logged {
		log.FromContext(ctx).Info("weather: "+text, "source", a.source.weather.kind)
		a.weather.logged = text
	}
}

// findWeatherSource makes the source, with the key of the Secret if there is one.
func (a *asker) findWeatherSource(ctx context.Context) {
	now, of := a.exporter.Clock.Now(), a.source.weather
	if now.Before(a.weather.keyDue) || of.secret == "" && a.weather.source != nil {
		return
	}
	var k key
	if of.secret != "" {
		var err error
		a.weather.keyDue = now.Add(secretInterval)
		if k, err = readKey(ctx, a.exporter.APIReader, a.exporter.Namespace, of.secret, provider.TypeHTTP); err != nil {
			log.FromContext(ctx).Error(err, "cannot read a Secret", "secret", of.secret)
			return
		}
		if a.weather.source != nil && k.problem == "" && k.digest == a.weather.usedKey {
			return
		}
	}
	a.makeWeatherSource(k)
}

// makeWeatherSource makes the source anew. All weather is due at once with another key.
func (a *asker) makeWeatherSource(k key) {
	made, err := provider.WeatherSource(nil), error(nil)
	if k.problem == "" {
		if made, err = provider.NewWeather(a.source.weather.config(k.credentials.Key, a.exporter.optionsOf(provider.Type(a.source.weather.kind)))); err != nil {
			k.problem = "the source of weather cannot be used: " + err.Error()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, z := range a.zones {
		if a.weather.usedKey != k.digest {
			z.weather.question.due = a.exporter.Clock.Now()
		}
		if made != nil && len(z.weather.hours) > 0 { // of an earlier run
			z.weather.credit = made.DescribeWeather().Attribution
		}
	}
	a.hasNews = a.hasNews || a.weather.problem != k.problem
	a.weather.source, a.weather.usedKey, a.weather.problem = made, k.digest, k.problem
}

// zonesWithoutWeather returns the zones for which weather is due, the one that waits longest first.
func (a *asker) zonesWithoutWeather() []*zone {
	now := a.exporter.Clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	var due []*zone
	for _, z := range a.zones {
		if z.weather.question.isDue(now) || z.weather.points != "" && z.weather.points != a.pointsOfZoneLocked(z) {
			due = append(due, z)
		}
	}
	slices.SortFunc(due, func(x, y *zone) int {
		return cmp.Or(x.weather.question.due.Compare(y.weather.question.due), strings.Compare(x.name, y.name))
	})
	return due
}

func (a *asker) pointsOfZone(z *zone) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pointsOfZoneLocked(z)
}

// pointsOfZoneLocked returns the points of a zone: those of the first policy that names any, or else
// those of the table. The caller holds a.mu.
func (a *asker) pointsOfZoneLocked(z *zone) string {
	policies := make([]string, 0, len(a.books))
	for policy := range a.books {
		policies = append(policies, policy)
	}
	slices.Sort(policies)
	for _, policy := range policies {
		for _, p := range a.books[policy].places {
			if p.zone == z.name && p.points != "" {
				return p.points
			}
		}
	}
	return region.WeatherPoints(string(a.source.kind), z.name)
}

// nextWeather returns when weather is due next; zero if never.
func (a *asker) nextWeather(now time.Time) (next time.Time) {
	if a.source.weather.kind == "" {
		return next
	}
	if a.weather.source == nil {
		return a.weather.keyDue
	}
	for _, z := range a.zones {
		if due := later(z.weather.question.due, now); next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return next
}

// receiveWeather takes over the weather of a zone, or notes why there is none.
func (z *zone) receiveWeather(r provider.WeatherReading, err error, points string, d provider.WeatherDescription, now time.Time) {
	z.weather.points = points
	if err != nil {
		p := problemOf(err)
		p.text = "weather: " + p.text
		z.weather.question.fail(now, firstPause, maxPause, p)
		return
	}
	var p problem
	if r.Problem != "" {
		p = problem{"weather: " + r.Problem, "weather: " + r.Problem}
	}
	z.weather.question.succeed(now.Add(d.Rhythm), p)
	z.weather.credit = d.Attribution
	z.weather.hours, z.weather.received = recentWeather(r.Weather, now), now.UTC()
}

// restoreWeather takes over the weather of an earlier run. The source is not asked again at once, however
// often the program starts.
func (z *zone) restoreWeather(hours forecast.Weather, received, now time.Time) {
	z.weather.hours, z.weather.received = hours, received
	if !received.IsZero() && !received.After(now) {
		z.weather.question.due = received.Add(minWeatherAge)
	}
}

// minWeatherAge is how old the weather of an earlier run is at least when its source is asked again.
const minWeatherAge = 10 * time.Minute

// recentWeather leaves out what no model keeps.
func recentWeather(w forecast.Weather, now time.Time) forecast.Weather {
	return slices.DeleteFunc(w, func(hour forecast.WeatherHour) bool { return hour.Start.Before(now.Add(-retention)) })
}

// pointsOf returns the points of a location of a policy in one text.
func pointsOf(points []v1alpha1.WeatherPoint) string {
	texts := make([]string, len(points))
	for i, p := range points {
		texts[i] = p.Latitude + "," + p.Longitude
	}
	return strings.Join(texts, ";")
}
