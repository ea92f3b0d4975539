package gridserver

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	energyChartsPath    = "/energy-charts"
	electricityMapsPath = "/electricity-maps/v4"

	quarter = 15 * time.Minute
	day     = 24 * time.Hour
	// maxSpan is how much of the time one answer may be about.
	maxSpan = 100 * day
	// minuteLayout is how Energy-Charts reads, and the Carbon Intensity API reads and writes instants.
	minuteLayout = "2006-01-02T15:04Z"
	// horizon is how far ahead forecasts reach.
	horizon = 72 * time.Hour
)

// instants returns when the slots in [from, to) begin.
func instants(b Behaviour, from, to time.Time, width time.Duration) []time.Time {
	var all []time.Time
	first := from.UTC().Truncate(width)
	for at := first; at.Before(to); at = at.Add(width) {
		all = append(all, at)
	}
	for _, at := range b.Boundaries {
		if !at.Before(first) && at.Before(to) {
			all = append(all, at.UTC())
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}

// at returns an intensity, or nil if it is not known.
func (b Behaviour) at(zone string, at time.Time) *float64 {
	value, ok := b.Intensity(zone, at)
	if !ok || math.IsNaN(value) {
		return nil
	}
	return &value
}

// instantOr reads an instant as Energy-Charts does. Without a text, the instant is another one.
func instantOr(text string, otherwise time.Time) (time.Time, error) {
	if text == "" {
		return otherwise, nil
	}
	return time.Parse(minuteLayout, text)
}

// energyCharts answers about the time from start to end, with the values that were measured until now
// and with a forecast from today on.
func (s *Server) energyCharts(w http.ResponseWriter, r *http.Request) {
	b, zone := s.current(), strings.ToUpper(r.URL.Query().Get("country"))
	now := s.now().UTC()
	from, errFrom := instantOr(r.URL.Query().Get("start"), now.Truncate(day))
	to, errTo := instantOr(r.URL.Query().Get("end"), now.Add(horizon))
	if errFrom != nil || errTo != nil || to.Sub(from) > maxSpan {
		refuse(w, http.StatusUnprocessableEntity, "start and end: want instants")
		return
	}
	if _, ok := b.Intensity(zone, now); !ok {
		refuse(w, http.StatusNotFound, "no data for this country")
		return
	}
	var document struct {
		Seconds    []int64    `json:"unix_seconds"`
		Actual     []*float64 `json:"co2eq"`
		Forecast   []*float64 `json:"co2eq_forecast"`
		Deprecated bool       `json:"deprecated"`
	}
	for _, at := range instants(b, from, to, quarter) {
		var actual, expected *float64
		value := b.at(zone, at)
		if !at.After(now) {
			actual = value
		}
		if !at.Before(now.Truncate(day)) {
			expected = value
		}
		document.Seconds = append(document.Seconds, at.Unix())
		document.Actual, document.Forecast = append(document.Actual, actual), append(document.Forecast, expected)
	}
	answer(w, r, document)
}

// electricityMapsValue is an element of an answer of Electricity Maps.
type electricityMapsValue struct {
	CarbonIntensity    *float64  `json:"carbonIntensity"`
	Datetime           time.Time `json:"datetime"`
	EmissionFactorType string    `json:"emissionFactorType"`
	IsEstimated        bool      `json:"isEstimated"`
}

// electricityMaps answers whoever has a key, as far as the plan goes.
func (s *Server) electricityMaps(w http.ResponseWriter, r *http.Request) {
	b, query, what := s.current(), r.URL.Query(), r.PathValue("what")
	zone, now := query.Get("zone"), s.now().UTC()
	_, isKnown := b.Intensity(strings.ToUpper(zone), now)
	switch {
	case !slices.Contains(b.Keys, r.Header.Get("Auth-Token")):
		refuse(w, http.StatusUnauthorized, "invalid auth-token")
		return
	case !b.Plan.has(what):
		refuse(w, http.StatusUnauthorized, "your plan does not have this")
		return
	case !isKnown:
		refuse(w, http.StatusNotFound, "no such zone")
		return
	}
	value := func(at time.Time) electricityMapsValue {
		return electricityMapsValue{b.at(strings.ToUpper(zone), at), at, query.Get("emissionFactorType"), false}
	}
	w.Header().Set("X-RateLimit-Remaining", "149")
	if what == "latest" {
		answer(w, r, struct {
			Zone string `json:"zone"`
			electricityMapsValue
		}{zone, value(now.Truncate(time.Hour))})
		return
	}
	list, from, to, ok := s.electricityMapsSpan(what, query)
	if !ok {
		refuse(w, http.StatusBadRequest, "start and end: want at most 10 days")
		return
	}
	values := []electricityMapsValue{}
	for _, at := range instants(b, from, to, time.Hour) {
		values = append(values, value(at))
	}
	document := map[string]any{"zone": zone, list: values, "updatedAt": s.now15()}
	if len(b.Boundaries) == 0 {
		document["temporalGranularity"] = "hourly"
	}
	answer(w, r, document)
}

// has reports whether a plan has an answer of Electricity Maps.
func (p Plan) has(what string) bool {
	switch p {
	case PlanOfLatest:
		return what == "latest"
	case PlanOfHistory:
		return what == "latest" || what == "history"
	}
	return true
}

// electricityMapsSpan returns what an answer is about, and the name of the list in it.
func (s *Server) electricityMapsSpan(what string, query url.Values) (list string, from, to time.Time, ok bool) {
	now := s.now().UTC()
	switch what {
	case "forecast":
		return what, s.now15(), s.now15().Add(horizon), true
	case "history":
		return what, now.Add(-day), now, true
	case "past-range":
		from, errFrom := time.Parse(time.RFC3339, query.Get("start"))
		to, errTo := time.Parse(time.RFC3339, query.Get("end"))
		ok = errFrom == nil && errTo == nil && to.Sub(from) <= 10*day
		if to.After(now) {
			to = now
		}
		return "data", from, to, ok
	}
	return "", now, now, false
}
