package exporter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/exporter/region"
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

// Forecasts wait while weather is asked for. So no zone takes longer than weatherTimeout, and no zone is asked
// for after maxWeatherRound. Some sources allow few requests, and an operator needs several.
const weatherTimeout, maxWeatherRound = 4 * time.Minute, 3 * time.Minute

// anyOperator asks of each zone whoever speaks for the operator of its area.
const anyOperator provider.WeatherType = "Auto"

// weatherAsker asks the sources of one role for an asker. Only [asker.step] uses it.
type weatherAsker struct {
	sources map[provider.WeatherType]provider.WeatherSource // none while nobody can be asked
	usedKey digest
	keyDue  time.Time
	problem string                       // why nobody can be asked
	logged  string                       // the last problem of an answer, so that it is logged once
	silence map[provider.WeatherType]int // how often in a row several zones had no answer
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

// A weatherRound is what happens when the sources of a role are asked for all zones that are due.
type weatherRound struct {
	role     weatherRole
	areas    map[string]weatherAnswer // several zones may be in an area
	failures map[provider.WeatherType]int
	last     map[provider.WeatherType]weatherAnswer
	unasked  map[provider.WeatherType][]*zone // their source does not answer
}

// askRole asks the sources of a role. One that does not answer is not asked for more zones, and keeps no
// other from being asked.
func (a *asker) askRole(ctx context.Context, role weatherRole) (mayHaveNews bool) {
	a.findWeatherSources(ctx, role)
	if len(a.weather[role].sources) == 0 {
		return a.weather[role].problem != ""
	}
	r := weatherRound{role, map[string]weatherAnswer{}, map[provider.WeatherType]int{}, map[provider.WeatherType]weatherAnswer{}, map[provider.WeatherType][]*zone{}}
	due, began := a.zonesWithoutWeather(role), a.exporter.Clock.Now()
	for _, z := range due {
		if a.hasOtherTargets() || ctx.Err() != nil || a.exporter.Clock.Since(began) >= maxWeatherRound {
			break
		}
		if kind := a.kindFor(role, z); r.failures[kind] >= maxFailuresInARow {
			r.unasked[kind] = append(r.unasked[kind], z)
		} else {
			a.askFor(ctx, &r, kind, z)
		}
	}
	for kind, zones := range r.unasked {
		a.postponeWeather(role, kind, zones, r.last[kind].err)
	}
	return len(due) > 0
}

// askFor asks a source for the weather of a zone.
func (a *asker) askFor(ctx context.Context, r *weatherRound, kind provider.WeatherType, z *zone) {
	w, where := &a.weather[r.role], a.whereOf(r.role, z)
	limited, cancel := context.WithTimeout(ctx, weatherTimeout)
	defer cancel()
	answer := askSource(limited, w.sources[kind], r.role, z.name, where, r.areas)
	// a random time more each time: not all clusters ask at once, and none always at the full hour
	answer.source.Rhythm += time.Duration(a.exporter.jitter() * jitterShare * float64(answer.source.Rhythm))
	answer.where, answer.isGuess = where, a.source.weather[r.role].kind == anyOperator
	r.last[kind] = answer
	a.note(func(now time.Time) { z.receiveWeather(r.role, answer, now) })
	if text := answer.reading.Problem; text != "" && text != w.logged {
		log.FromContext(ctx).Info(r.role.String()+": "+text, "source", kind)
		w.logged = text
	}
	if r.failures[kind] = failuresWith(r.failures[kind], answer.err); r.failures[kind] == 0 {
		delete(w.silence, kind)
	} else {
		log.FromContext(ctx).V(1).Info("a source of weather has no answer", "source", kind, "zone", z.name, "why", answer.err.Error())
	}
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

// postponeWeather leaves a source alone that has not answered for several zones in a row: longer each
// time. The zones that were not asked for come first then.
func (a *asker) postponeWeather(role weatherRole, kind provider.WeatherType, unasked []*zone, err error) {
	p := problemOf(err)
	p.text = role.String() + ": the source does not answer: " + causeOf(err) // the text of the error names another zone
	a.mu.Lock()
	defer a.mu.Unlock()
	w := &a.weather[role]
	due := a.exporter.Clock.Now().Add(pauseAfter(w.silence[kind], firstPause, maxPause))
	if w.silence == nil {
		w.silence = map[provider.WeatherType]int{}
	}
	w.silence[kind]++
	for _, z := range a.zones {
		if q := &z.weather[role].question; a.kindFor(role, z) == kind {
			q.due = later(q.due, due.Add(time.Second))
		}
	}
	for _, z := range unasked {
		z.weather[role].question.due = due
		z.weather[role].question.note(p)
	}
}

// weatherAnswer is what a source says of a zone.
type weatherAnswer struct {
	source  provider.WeatherDescription
	reading provider.WeatherReading
	err     error
	where   string // points, or an area
	isGuess bool   // no policy names the source: it may not know the zone
}

// problem returns what is wrong with an answer. It is the zero problem if nothing is.
func (w weatherAnswer) problem(role weatherRole) problem {
	switch {
	case w.err != nil:
		p := problemOf(w.err)
		p.text = role.String() + ": " + p.text
		return p
	case w.reading.Problem != "":
		text := role.String() + ": " + w.reading.Problem
		return problem{text, text}
	}
	return problem{}
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
	a.useWeatherKey(role, k)
}

// useWeatherKey makes the sources of a role anew. All weather is due at once with another key.
func (a *asker) useWeatherKey(role weatherRole, k key) {
	var made map[provider.WeatherType]provider.WeatherSource
	if k.problem == "" {
		var err error
		if made, err = a.exporter.makeWeatherSources(a.source.weather[role], k.credentials.Key); err != nil {
			k.problem = fmt.Sprintf("the source of %s cannot be used: %v", role, err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	w := &a.weather[role]
	for _, z := range a.zones {
		of := &z.weather[role]
		if w.usedKey != k.digest {
			of.question.due = a.exporter.Clock.Now()
		}
		if source := made[a.kindFor(role, z)]; source != nil && len(of.hours) > 0 { // of an earlier run
			of.credit = source.DescribeWeather().Attribution
		}
	}
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

// zonesWithoutWeather returns the zones for which weather is due, the one that waits longest first.
func (a *asker) zonesWithoutWeather(role weatherRole) []*zone {
	now := a.exporter.Clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	var due []*zone
	for _, z := range a.zones {
		w := &z.weather[role]
		if a.kindFor(role, z) != "" && (w.question.isDue(now) || w.isAsked && w.where != a.whereOfLocked(role, z)) {
			due = append(due, z)
		}
	}
	slices.SortFunc(due, func(x, y *zone) int {
		return cmp.Or(x.weather[role].question.due.Compare(y.weather[role].question.due), strings.Compare(x.name, y.name))
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
		area := region.Area(string(a.source.kind), z.name)
		if a.kindFor(role, z) == provider.WeatherEnergyCharts {
			area, _, _ = strings.Cut(area, "-") // it knows whole countries, and allows few requests
		}
		return area
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
