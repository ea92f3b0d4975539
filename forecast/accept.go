package forecast

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// merge accepts the good locations of a document. The error tells which are not good.
func (s *Snapshot) merge(document Document, now time.Time) error {
	locations := document.locations()
	if len(locations) == 0 {
		s.problem = "forecast has no locations"
		return errors.New(s.problem)
	}
	var refused []error
	for _, location := range locations {
		if err := s.accept(location, document, now); err != nil {
			refused = append(refused, fmt.Errorf("location %q: %w", location, err))
		}
	}
	for location, kept := range s.kept {
		if document.has(location) {
			continue
		}
		kept.Problem = "the newest document does not have the location"
		s.kept[location] = kept
	}
	if len(refused) < len(locations) {
		s.markNewest(document, now)
	}
	return errors.Join(refused...)
}

// accept takes what a document says of a location. The error says why the forecast was refused.
func (s *Snapshot) accept(location string, document Document, now time.Time) error {
	details, isDescribed := document.Details[location]
	kept, isKnown := s.kept[location]
	hasSameOrigin := isKnown && kept.Details.Origin == details.Origin
	if !hasSameOrigin {
		kept = newKept(location)
	}
	kept.Details = details
	kept.hearWeather(document.Weather[location], now)
	observed := kept.observe(document.Actuals[location], document.Levelled[location], now)
	if observed.Doubt != "" {
		observed.Doubt = "actual intensities: " + observed.Doubt
	}
	received, err := kept.receive(document, now)
	kept.Problem = details.Problem
	if err != nil {
		kept.Problem = join(kept.Problem, err.Error())
	}
	s.note(location, observed, nil)
	s.note(location, received, err)
	if hasSameOrigin || isDescribed && !isKnown || !observed.Believed.IsEmpty() || !received.Believed.IsEmpty() {
		s.kept[location] = kept
	} else if before, ok := s.kept[location]; ok {
		before.Problem = kept.Problem
		s.kept[location] = before
	}
	return err
}

// note adds what is not believed, or else why a forecast was refused.
func (s *Snapshot) note(location string, v Verdict, err error) {
	s.doubted += v.Doubted
	switch {
	case v.Doubt != "":
		s.doubt, s.problem = appendProblem(s.doubt, location, v.Doubt), appendProblem(s.problem, location, v.Doubt)
	case err != nil:
		s.problem = appendProblem(s.problem, location, err.Error())
	}
}

// appendProblem adds what is wrong with a location to a sentence.
func appendProblem(sentence, location, more string) string {
	return join(sentence, fmt.Sprintf("location %q: %s", location, more))
}

// join joins two sentences, of which any may be empty.
func join(sentence, more string) string {
	if sentence == "" || more == "" {
		return sentence + more
	}
	return sentence + "; " + more
}

// newKept returns what is kept of a location that is new.
func newKept(location string) keptForecast {
	return keptForecast{Forecast: Forecast{Location: location, Model: &Model{}}}
}

// hearWeather tells the model the weather of a document, if there is any.
func (k *keptForecast) hearWeather(weather Weather, now time.Time) {
	if len(weather) == 0 {
		return
	}
	k.rewind(weather[0].Start, now) // a clock that was ahead would keep the weather out
	received := now
	if told := k.Details.WeatherReceived; !told.IsZero() && told.Before(now) {
		received = told
	}
	k.Model.HearWeather(weather, received)
}

// observe tells the model the actual intensities of a document, if there are any, and those of a second
// source where there are none. What was known of the second source alone is corrected, also if the newest
// document has nothing of that source.
func (k *keptForecast) observe(actuals, levelled *Series, now time.Time) Verdict {
	all := joined(actuals, levelled)
	if all.IsEmpty() {
		return Verdict{}
	}
	k.rewind(all.Start(), now)
	if !actuals.IsEmpty() {
		k.Actuals = k.Actuals.revisedBy(actuals, now)
		k.Model.correct(k.levelled, k.Actuals)
	}
	k.levelled = joined(levelled, k.levelled).unknownTo(k.Actuals, now)
	return k.Model.ObserveAll(all, now)
}

// receive takes the forecast of a document, if the document has one. The error says why the forecast
// was refused.
func (k *keptForecast) receive(document Document, now time.Time) (Verdict, error) {
	offered, ok := document.Series[k.Location]
	if !ok {
		return Verdict{}, nil
	}
	if err := k.checkOffer(offered, now); err != nil {
		return Verdict{}, err
	}
	issued := document.IssuedAt(k.Location)
	known := issued
	if issued.IsZero() || issued.After(now) {
		known = now
	}
	k.rewind(offered.Start(), now)
	v := k.Model.Receive(offered, known)
	k.from, k.until = document.span(k.Location)
	k.until = earlier(k.until, now.Add(freshFor)) // a forecast beyond that is stale
	if v.Believed.IsEmpty() {
		return v, errors.New(v.Doubt)
	}
	k.course = k.course.next(v.Believed, known, now)
	k.Series, k.Issued = k.course.Series, issued
	return v, nil
}

// rewind sets the model back if the clock was ahead of now. If a document begins far ahead of now,
// the clock is wrong now, and far behind.
func (k *keptForecast) rewind(begins, now time.Time) {
	if !begins.After(now.Add(maxNextDayAhead)) {
		k.Model.rewind(now)
	}
}

// locations returns the sorted names of all locations of which the document says something.
func (d Document) locations() []string {
	all := map[string]bool{}
	for location := range d.Series {
		all[location] = true
	}
	for location := range d.Actuals {
		all[location] = true
	}
	for location := range d.Details {
		all[location] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// has reports whether the document says something of a location.
func (d Document) has(location string) bool {
	_, hasForecast := d.Series[location]
	_, hasActuals := d.Actuals[location]
	_, hasDetails := d.Details[location]
	return hasForecast || hasActuals || hasDetails
}
