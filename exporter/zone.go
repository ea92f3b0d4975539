package exporter

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
)

const (
	// retention is how much of the past is kept. The models remember no longer either.
	retention = 8 * 7 * 24 * time.Hour
	// minPastPart is how much of the past is asked for at once, at least.
	minPastPart = 14 * 24 * time.Hour
	// overlap is how much of what is known is asked for again, because providers correct their newest
	// values.
	overlap = 6 * time.Hour
	// recentPast is the part of the past that also the smallest plans have.
	recentPast = 24 * time.Hour
	// actualsWidth is how long the slots of actual intensities are, as those in a model.
	actualsWidth = time.Hour
	// maxUnknown is how much of a part of the past may be unknown: up to there, unknown hours are gaps
	// of the provider's own.
	maxUnknown = 17 * time.Hour
)

// zone is what is known of a zone, and when to ask for more.
type zone struct {
	name string
	// origin tells where all series come from.
	origin      forecast.Origin
	attribution string
	// forecasts and history tell whether the provider has these for its customers.
	forecasts, history provider.Availability

	forecast      *forecast.Series
	issued        time.Time
	lacksForecast bool
	// actuals has slots of an hour.
	actuals *forecast.Series
	// begun has an hour that has not ended when the provider spoke of the whole of it. Some plans have
	// nothing else.
	begun forecast.Slot

	weather [weatherRoles]zoneWeather
	second  zoneSecond
	// saidNoPast says that the provider has answered, and knew nothing of the past.
	saidNoPast bool

	// expected asks for the forecast, recent for the newest actual intensities, and past for older ones.
	expected, recent, past question
	// askedFrom is the instant after which the past has been asked for.
	askedFrom time.Time
}

// belongTo drops what is known if the provider is another one, or has another signal. A book still has
// the series that it has published.
func (z *zone) belongTo(d provider.Description) {
	origin := forecast.Origin{Provider: d.Source, Zone: z.name, Signal: d.Signal, IsMadeUp: d.IsMadeUp}
	if z.origin != origin {
		*z = zone{name: z.name, origin: origin, weather: z.weather, second: zoneSecond{of: z.second.of, told: z.second.told}}
	}
	z.attribution, z.forecasts, z.history = d.Attribution, d.Forecasts, d.History
}

// isKnown reports whether there is a series of the zone.
func (z *zone) isKnown() bool { return !z.forecast.IsEmpty() || !z.actuals.IsEmpty() }

// receiveForecast takes over a forecast.
func (z *zone) receiveForecast(r provider.Reading, now, next time.Time) {
	z.lacksForecast = false
	z.expected.succeed(next, readingProblem(r))
	if isSameForecast(z.forecast, r.Series, now) {
		if r.Issued.After(z.issued) {
			z.issued = r.Issued // the provider has made it anew
		}
		return
	}
	z.issued = r.Issued
	if z.issued.IsZero() {
		z.issued = now.UTC()
	}
	if r.Series.Start().After(now) { // readers of the format look for the slot that covers now
		z.forecast = z.forecast.Splice(r.Series, now)
		return
	}
	z.forecast = r.Series
}

// isSameForecast reports whether a new forecast says of all that is to come what the one before
// said.
func isSameForecast(before, after *forecast.Series, now time.Time) bool {
	toCome := func(s *forecast.Series) []forecast.Slot {
		return slices.DeleteFunc(s.Slots(), func(slot forecast.Slot) bool { return !slot.End.After(now) })
	}
	return !before.IsEmpty() && slices.Equal(toCome(before), toCome(after))
}

// missForecast notes that there is no forecast. A plan that has no forecast is asked for once a day.
// A provider that has given a forecast of the zone, or has said nothing of the zone yet, may refuse
// for another reason, and is asked sooner.
func (z *zone) missForecast(err error, now time.Time) {
	switch {
	case !isOutsidePlan(err, z.forecasts), z.forecast.End().After(now):
		z.expected.fail(now, firstPause, maxPause, problemOf(err))
		return
	case z.forecasts == provider.Unavailable, z.forecast.IsEmpty() && z.hasPast():
		z.expected.postpone(now)
	default:
		z.expected.fail(now, firstPause, maxPause, problem{})
	}
	z.lacksForecast = true
}

// hasPast reports whether the provider has said something of the past.
func (z *zone) hasPast() bool { return !z.actuals.IsEmpty() || z.begun != forecast.Slot{} }

// recentFrom returns since when actual intensities are asked for.
func (z *zone) recentFrom(now time.Time) time.Time {
	end := z.actuals.End()
	from, limit := end.Add(-overlap), now.Add(-recentPast)
	if z.actuals.IsEmpty() || end.After(now) || from.Before(limit) && !end.Before(limit) {
		return limit
	}
	return from
}

// receiveRecent takes over the newest actual intensities.
func (z *zone) receiveRecent(r provider.Reading, now, next time.Time) {
	z.recent.succeed(next, readingProblem(r))
	z.addActuals(r.Series, now)
	if r.Incomplete != nil && !isOutsidePlan(r.Incomplete, z.history) { // there is a gap before what came
		z.askedFrom = time.Time{}
		z.past.fail(now, firstPastPause, maxPastPause, problemOf(r.Incomplete))
	}
}

// missRecent notes that there are no new actual intensities. The provider has given some before.
func (z *zone) missRecent(err error, now time.Time) {
	z.recent.fail(now, firstPause, maxPause, problemOf(err))
}

// addActuals takes over actual intensities. Newer ones replace what was known of the same hours.
func (z *zone) addActuals(s *forecast.Series, now time.Time) {
	newer := hours(s, now)
	if begun := z.begun; begun.End.After(newestEnd(newer)) && begun.Start.Before(begun.End) && !begun.End.After(now) {
		newer = append(newer, begun)
	}
	if begun := begunHour(s, now); begun != (forecast.Slot{}) || !z.begun.End.After(now) {
		z.begun = begun
	}
	known := slices.DeleteFunc(z.actuals.Slots(), func(slot forecast.Slot) bool {
		_, isReplaced := slices.BinarySearchFunc(newer, slot.Start, func(a forecast.Slot, at time.Time) int { return a.Start.Compare(at) })
		return isReplaced || slot.End.After(now) // the clock was ahead
	})
	all := forecast.NewSeries(append(newer, known...))
	oldest := all.End().Add(-retention) // not before now: what a silent provider has said stays
	z.actuals = forecast.NewSeries(slices.DeleteFunc(all.Slots(), func(slot forecast.Slot) bool { return slot.Start.Before(oldest) }))
}

func newestEnd(slots []forecast.Slot) time.Time {
	if len(slots) == 0 {
		return time.Time{}
	}
	return slots[len(slots)-1].End
}

// nextPast returns the newest part of the past that is worth asking for; isDone is true if there is
// none. What is known is not asked for again. page is how much of the past one request gives.
func (z *zone) nextPast(now time.Time, page time.Duration) (from, to time.Time, isDone bool) {
	oldest := now.Add(-retention).Truncate(actualsWidth)
	if z.askedFrom.IsZero() {
		z.askedFrom = now.Truncate(actualsWidth).Add(actualsWidth) // parts end with an hour
	}
	for z.askedFrom.After(oldest) {
		from, to = z.askedFrom.Add(-pastPart(page)), z.askedFrom
		if from.Before(oldest) {
			from = oldest
		}
		if first, last, missing := unknownHours(z.actuals, from, to); missing > maxUnknown {
			return first, last, false
		}
		z.askedFrom = from
	}
	return oldest, oldest, true
}

// pastPart returns how much of the past to ask for at once: as many whole pages as make the least
// part, so that no request gives less than a page.
func pastPart(page time.Duration) time.Duration {
	if page <= 0 {
		return minPastPart
	}
	return (minPastPart + page - 1) / page * page
}

// skipPast notes that the provider has nothing of a part of the past that begins at from. Older parts
// may not be empty.
func (z *zone) skipPast(err error, from, now time.Time) {
	z.askedFrom, z.past.due = from, now
	z.past.note(problemOf(err))
}

// endPast notes that all of the past was asked for. If the provider has nothing of it, all is asked for
// again.
func (z *zone) endPast(now time.Time) {
	if z.hasPast() {
		z.past.succeed(now.Add(retention), problem{})
		return
	}
	z.askedFrom, z.saidNoPast = time.Time{}, true
	z.past.fail(now, firstPause, maxPause, z.past.problem)
}

// receivePast takes over a part of the past that was asked for.
func (z *zone) receivePast(r provider.Reading, from, now, next time.Time) {
	z.addActuals(r.Series, now)
	switch {
	case r.Incomplete == nil:
		z.askedFrom = from
		z.past.succeed(now, readingProblem(r))
	case isOutsidePlan(r.Incomplete, z.history):
		z.past.postpone(now)
	default:
		z.askedFrom = r.From
		z.past.fail(now, firstPastPause, maxPastPause, problemOf(r.Incomplete))
	}
	if z.recent.due.IsZero() {
		z.recent.due = next // this was the newest part
	}
}

// missPast notes that a part of the past could not be had. A provider that has said nothing of the
// zone yet may refuse for another reason than the plan.
func (z *zone) missPast(err error, now time.Time) {
	isOutside := isOutsidePlan(err, z.history) && (z.history == provider.Unavailable || z.hasPast() || !z.forecast.IsEmpty())
	switch {
	case isOutside:
		z.saidNoPast = true
		z.past.postpone(now)
	case z.actuals.IsEmpty():
		z.past.fail(now, firstPause, maxPause, problemOf(err))
	default:
		z.past.fail(now, firstPastPause, maxPastPause, problemOf(err))
	}
}

// details returns what a document says of the zone.
func (z *zone) details() forecast.Details {
	d := forecast.Details{Origin: z.origin, Attribution: z.attribution, LacksForecast: z.lacksForecast}
	if !z.forecast.IsEmpty() {
		d.Issued = z.issued
	}
	d.WeatherReceived = z.weatherReceived()
	d.Problem = cmp.Or(z.expected.problem.text, z.recent.problem.text)
	for _, w := range z.weather {
		if w.credit != "" && !strings.Contains(d.Attribution, w.credit) {
			d.Attribution = strings.TrimPrefix(d.Attribution+"; "+w.credit, "; ")
		}
		d.Problem = cmp.Or(d.Problem, w.question.problem.text)
	}
	if d.Problem == "" && !z.hasPast() {
		d.Problem = z.past.problem.text
	}
	return d
}
