package exporter

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/exporter/region"
	"github.com/gridlatch/gridlatch/forecast"
)

// A weatherRole is what a source of weather is asked for.
type weatherRole int

const (
	// ofSky is wind, temperature and radiation. Other values that the source has count, too.
	ofSky weatherRole = iota
	// ofShares is how much of the load wind and sun supply, as the operator of the grid expects.
	ofShares
	// weatherRoles is how many roles there are.
	weatherRoles
)

// String returns the name of the field of a policy.
func (r weatherRole) String() string { return [...]string{"weather", "renewables"}[r] }

// maxWeatherRound ends a round. Some sources allow few requests, and the provider may have news meanwhile. The
// zones that were not asked for come first in the next round.
const maxWeatherRound = 5 * time.Minute

// anyOperator asks of each zone whoever speaks for the operator of its area.
const anyOperator provider.WeatherType = "Auto"

// zoneWeather is what is known of the weather of a zone from the source of one role, and when to ask for
// more.
type zoneWeather struct {
	question question
	where    string // that the weather is of: points, or an area
	hours    forecast.Weather
	credit   string // the sentence that the licence demands
}

// weatherAsker asks the sources of one role for an asker. Only [asker.step] uses it.
type weatherAsker struct {
	sources map[provider.WeatherType]provider.WeatherSource // none while nobody can be asked
	usedKey digest
	keyDue  time.Time
	problem string // why nobody can be asked
}

// askWeather asks for the weather of the zones for which it is due, and reports whether there may be
// news. The forecasts of the provider are written before, so that weather never keeps them back.
func (a *asker) askWeather(ctx context.Context) (mayHaveNews bool) {
	for role := range weatherRoles {
		if a.source.weather[role].kind != "" && a.askRole(ctx, role) {
			mayHaveNews = true
		}
	}
	return mayHaveNews
}

// askRole asks the sources of a role. One that does not answer is not asked for more zones, and keeps no
// other from being asked.
func (a *asker) askRole(ctx context.Context, role weatherRole) (mayHaveNews bool) {
	a.findWeatherSources(ctx, role)
	w := &a.weather[role]
	if len(w.sources) == 0 {
		return w.problem != ""
	}
	due, failures, areas := a.zonesWithoutWeather(role), map[provider.WeatherType]int{}, map[string]weatherAnswer{}
	last := map[provider.WeatherType]weatherAnswer{}
	for _, z := range due {
		if a.hasOtherTargets() || ctx.Err() != nil || a.exporter.Clock.Since(a.began) > maxWeatherRound {
			return true
		}
		kind, where := a.kindFor(role, z), a.whereOf(role, z)
		answer, isAsked := last[kind], failures[kind] < maxFailuresInARow
		if isAsked {
			answer = askSource(ctx, w.sources[kind], role, z.name, where, areas)
			last[kind] = answer
		}
		answer.where, answer.isGuess = where, a.source.weather[role].kind == anyOperator
		a.note(func(now time.Time) { z.receiveWeather(role, answer, isAsked, now) })
		if failures[kind]++; answer.err == nil || isOfTheZone(answer.err) {
			failures[kind] = 0
		} else {
			log.FromContext(ctx).V(1).Info("a source of weather has no answer", "source", kind, "zone", z.name, "why", answer.err.Error())
		}
	}
	return len(due) > 0
}

// weatherAnswer is what a source says of a zone.
type weatherAnswer struct {
	source  provider.WeatherDescription
	reading provider.WeatherReading
	err     error
	where   string // points, or an area
	isGuess bool   // no policy names the source: it may not know the zone
}

// askSource asks a source for the weather of points, or of an area. areas has the answers of the round, since
// several zones may be in an area.
func askSource(ctx context.Context, source provider.WeatherSource, role weatherRole, zone, where string, areas map[string]weatherAnswer) weatherAnswer {
	answer := weatherAnswer{source: source.DescribeWeather()}
	if role == ofSky {
		var points []provider.Point
		if points, answer.err = provider.ParsePoints(where); answer.err == nil {
			answer.reading, answer.err = source.Weather(ctx, zone, points)
		}
		return answer
	}
	if where == "" {
		answer.err = fmt.Errorf("nobody is known who forecasts wind and sun for the zone %.40q: %w", zone, provider.ErrUnknownZone)
		return answer
	}
	if known, ok := areas[where]; ok {
		return known
	}
	answer.reading, answer.err = source.Weather(ctx, where, nil)
	areas[where] = answer
	return answer
}

// findWeatherSources makes the sources of a role, with the key of the Secret if there is one.
func (a *asker) findWeatherSources(ctx context.Context, role weatherRole) {
	now, of, w := a.exporter.Clock.Now(), a.source.weather[role], &a.weather[role]
	if now.Before(w.keyDue) || of.secret == "" && len(w.sources) > 0 {
		return
	}
	var k key
	if of.secret != "" {
		var err error
		w.keyDue = now.Add(secretInterval)
		if k, err = readKey(ctx, a.exporter.APIReader, a.exporter.Namespace, of.secret, provider.TypeHTTP); err != nil {
			log.FromContext(ctx).Error(err, "cannot read a Secret", "secret", of.secret)
			return
		}
		if len(w.sources) > 0 && k.problem == "" && k.digest == w.usedKey {
			return
		}
	}
	var made map[provider.WeatherType]provider.WeatherSource
	if k.problem == "" {
		var err error
		if made, err = a.exporter.makeWeatherSources(of, k.credentials.Key); err != nil {
			k.problem = fmt.Sprintf("the source of %s cannot be used: %v", role, err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hasNews = a.hasNews || w.problem != k.problem
	w.sources, w.usedKey, w.problem = made, k.digest, k.problem
}

// makeWeatherSources makes a source, or all those of which [anyOperator] chooses.
func (e *Exporter) makeWeatherSources(of weatherSource, key provider.Secret) (map[provider.WeatherType]provider.WeatherSource, error) {
	kinds := []provider.WeatherType{of.kind}
	if of.kind == anyOperator {
		kinds = []provider.WeatherType{provider.WeatherEnergyCharts, provider.WeatherEnerginet, provider.WeatherElexon}
	}
	made := map[provider.WeatherType]provider.WeatherSource{}
	for _, kind := range kinds {
		config := of.config(key, e.optionsOf(provider.Type(kind)))
		config.Type = kind
		source, err := provider.NewWeather(config)
		if err != nil {
			return nil, err
		}
		made[kind] = source
	}
	return made, nil
}

// zonesWithoutWeather returns the zones for which weather is due. Those come first that were not asked for the
// longest time.
func (a *asker) zonesWithoutWeather(role weatherRole) []*zone {
	now := a.exporter.Clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	var due []*zone
	for _, z := range a.zones {
		w := &z.weather[role]
		if a.kindFor(role, z) != "" && (w.question.isDue(now) || w.where != a.whereOfLocked(role, z)) {
			due = append(due, z)
		}
	}
	slices.SortFunc(due, func(x, y *zone) int {
		return cmp.Or(x.weather[role].question.asked.Compare(y.weather[role].question.asked), strings.Compare(x.name, y.name))
	})
	return due
}

// kindFor returns whom to ask for the weather of a zone; "" is nobody.
func (a *asker) kindFor(role weatherRole, z *zone) provider.WeatherType {
	if kind := a.source.weather[role].kind; kind != anyOperator {
		return kind
	}
	return provider.WeatherType(region.Operator(region.Area(string(a.source.kind), z.name)))
}

func (a *asker) whereOf(role weatherRole, z *zone) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.whereOfLocked(role, z)
}

// whereOfLocked returns where the weather of a zone counts: its area, or its points. Points are those of
// the first policy that names any, or else those of the table. The caller holds a.mu.
func (a *asker) whereOfLocked(role weatherRole, z *zone) string {
	if role == ofShares {
		return region.Area(string(a.source.kind), z.name)
	}
	for _, policy := range slices.Sorted(maps.Keys(a.books)) {
		for _, p := range a.books[policy].places {
			if p.zone == z.name && p.points != "" {
				return p.points
			}
		}
	}
	return region.WeatherPoints(string(a.source.kind), z.name)
}

// makeWeatherDue makes all due. The caller holds a.mu.
func (a *asker) makeWeatherDue() {
	for role := range weatherRoles {
		a.weather[role].keyDue = time.Time{}
		for _, z := range a.zones {
			z.weather[role].question.due = time.Time{}
		}
	}
}

// eachWeatherDue calls back with when weather is due. The caller holds a.mu.
func (a *asker) eachWeatherDue(due func(time.Time)) {
	for role := range weatherRoles {
		hasSource := len(a.weather[role].sources) > 0
		if !hasSource && a.source.weather[role].secret != "" {
			due(a.weather[role].keyDue)
		}
		for _, z := range a.zones {
			if hasSource && a.kindFor(role, z) != "" {
				due(z.weather[role].question.due)
			}
		}
	}
}

// weatherOf returns what all sources say of the weather of a zone. The caller holds a.mu.
func (a *asker) weatherOf(z *zone) forecast.Weather {
	var all []forecast.Weather
	for role := range weatherRoles {
		if a.source.weather[role].kind != "" {
			all = append(all, z.weather[role].hours)
		}
	}
	return forecast.JoinWeather(all...)
}

// restoreWeather takes over the weather of a ConfigMap. Each value is of the source that is asked for it
// now, so that what the source says later replaces it.
func (a *asker) restoreWeather(z *zone, all forecast.Weather) {
	if a.source.weather[ofShares].kind == "" {
		z.weather[ofSky].hours = all
		return
	}
	for _, hour := range all {
		sky, shares := hour, forecast.UnknownWeather(hour.Start)
		shares.WindShare, shares.SolarShare = hour.WindShare, hour.SolarShare
		sky.WindShare, sky.SolarShare = math.NaN(), math.NaN()
		z.weather[ofSky].hours, z.weather[ofShares].hours = append(z.weather[ofSky].hours, sky), append(z.weather[ofShares].hours, shares)
	}
}

// receiveWeather takes over the weather of a zone, or notes why there is none. Nothing is wrong if a source
// that no policy names has never known the zone.
func (z *zone) receiveWeather(role weatherRole, answer weatherAnswer, isAsked bool, now time.Time) {
	w, r := &z.weather[role], answer.reading
	w.where = answer.where
	if isAsked {
		w.question.asked = now
	}
	if answer.err != nil {
		p := problemOf(answer.err)
		if !isAsked { // the error names another zone
			p.text = "the source does not answer: " + causeOf(answer.err)
		}
		p.text = role.String() + ": " + p.text
		if answer.isGuess && isOfTheZone(answer.err) && w.credit == "" {
			w.question.fail(now, firstPastPause, maxPastPause, problem{})
			return
		}
		w.question.fail(now, firstPause, maxPause, p)
		return
	}
	var p problem
	if r.Problem != "" {
		p = problem{"weather of a point", role.String() + ": a point has none: " + r.Problem}
	}
	w.question.succeed(now.Add(answer.source.Rhythm), p)
	w.credit = answer.source.Attribution
	w.hours = recentWeather(r.Weather, now)
}

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
