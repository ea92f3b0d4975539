package provider

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

const (
	electricityMapsURL = "https://api.electricitymaps.com/v4"
	// electricityMapsPage is how much of the past one request may ask for.
	electricityMapsPage = 10 * 24 * time.Hour
	// electricityMapsRecent is how much of the past every plan has.
	electricityMapsRecent = 24 * time.Hour
)

// An electricityMaps asks Electricity Maps (electricitymaps.com), version 4 of its API. Zones are
// named as there: DE, US-CAL-CISO. The server answers 401 both to a wrong key and to a request that
// the plan does not have.
type electricityMaps struct {
	client *client
	base   string
	key    Secret
	signal forecast.Signal
	now    func() time.Time
}

// electricityMapsLimit is the one of the terms of use. A free plan may have less.
func electricityMapsLimit() Limit { return Limit{150, time.Minute, true} }

func newElectricityMaps(c Config) (Provider, error) {
	base, err := c.baseURL(electricityMapsURL)
	if err != nil {
		return nil, err
	}
	if err := c.Credentials.Key.check("key"); err != nil {
		return nil, err
	}
	signal, err := c.signal(forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}, forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.Direct})
	if err != nil {
		return nil, err
	}
	client, err := newClient(c.Options, electricityMapsLimit())
	return &electricityMaps{client, base, c.Credentials.Key, signal, c.Options.Now}, err
}

// Describe says that forecasts, and more than 24 hours of the past, depend on the plan. The terms of
// use want the source to be named; no sentence is prescribed.
func (p *electricityMaps) Describe() Description {
	return Description{
		Type: TypeElectricityMaps, Source: "Electricity Maps", Attribution: "Data: Electricity Maps (electricitymaps.com)",
		Signal: p.signal, Forecasts: DependsOnPlan, History: DependsOnPlan, Rhythm: time.Hour, Limit: electricityMapsLimit(), Page: electricityMapsPage,
	}
}

// Forecast asks for three days, or for as much as the plan has.
func (p *electricityMaps) Forecast(ctx context.Context, zone string) (Reading, error) {
	t, err := p.ask(ctx, zone, "forecast", url.Values{"horizonHours": {"72"}})
	if status, ok := errors.AsType[*StatusError](err); ok && status.Status == http.StatusBadRequest {
		t, err = p.ask(ctx, zone, "forecast", url.Values{})
	}
	if isRefusal(err) {
		if _, latestErr := p.ask(ctx, zone, "latest", url.Values{}); latestErr == nil {
			err = notInPlan(zone, err)
		}
	}
	if err != nil {
		return Reading{}, err
	}
	return t.forecastReading(zone, p.signal, time.Hour, p.now())
}

// Past asks for the last 24 hours where they are enough. A plan without more gives these, and a plan
// without these the current value.
func (p *electricityMaps) Past(ctx context.Context, zone string, from, to time.Time) (Reading, error) {
	now := p.now()
	span := pastSpan(from, to, now)
	if span.isEmpty() {
		return Reading{Zone: zone, Signal: p.signal}, nil
	}
	var t tally
	var err error
	if span.from.Before(now.Add(-electricityMapsRecent)) {
		t, err = p.older(ctx, zone, span, now)
	} else {
		t, err = p.recent(ctx, zone, now)
	}
	if err != nil {
		return Reading{}, err
	}
	return t.pastReading(zone, p.signal, time.Hour, span)
}

// older asks for a span page by page, and for the recent past if the plan does not have past ranges.
func (p *electricityMaps) older(ctx context.Context, zone string, s span, now time.Time) (tally, error) {
	t, err := s.judged().inPages(ctx, electricityMapsPage, p.page(zone))
	if isRefusal(t.incomplete) {
		t.incomplete = notInPlan(zone, t.incomplete) // the key was good for the page before
	}
	if !isRefusal(err) {
		return t, err
	}
	t, recentErr := p.recent(ctx, zone, now)
	if recentErr == nil && t.incomplete == nil {
		t.incomplete = notInPlan(zone, err)
	}
	return t, recentErr
}

// recent asks for the last 24 hours, and for the current value if the plan does not have them.
func (p *electricityMaps) recent(ctx context.Context, zone string, now time.Time) (tally, error) {
	t, err := p.ask(ctx, zone, "history", url.Values{})
	t.from = now.Add(-electricityMapsRecent)
	if !isRefusal(err) {
		return t, err
	}
	t, latestErr := p.ask(ctx, zone, "latest", url.Values{})
	t.from, t.incomplete = now, notInPlan(zone, err)
	if len(t.points) > 0 {
		t.from = t.points[0].at
	}
	return t, latestErr
}

// isRefusal reports whether the server refuses the key, or what the key is for.
func isRefusal(err error) bool {
	return errors.Is(err, ErrNotInPlan) || errors.Is(err, ErrRefusedKey)
}

// notInPlan returns a refusal of a request as one by the plan: the server has accepted the key.
func notInPlan(zone string, refusal error) error {
	status, ok := errors.AsType[*StatusError](refusal)
	if !ok {
		return refusal
	}
	known := *status
	known.cause = ErrNotInPlan
	return fmt.Errorf("zone %.40q: %w", zone, &known)
}

// page returns a function that fetches a page of the past.
func (p *electricityMaps) page(zone string) func(context.Context, span) (tally, error) {
	return func(ctx context.Context, s span) (tally, error) {
		return p.ask(ctx, zone, "past-range", url.Values{"start": {s.from.Format(time.RFC3339)}, "end": {s.to.Format(time.RFC3339)}})
	}
}

// ask sends a request and reads the response, which must be about the zone.
func (p *electricityMaps) ask(ctx context.Context, zone, what string, query url.Values) (tally, error) {
	query.Set("zone", zone)
	query.Set("disableCallerLookup", "true") // or the server answers for where the caller is, if it does not know the zone
	query.Set("emissionFactorType", strings.ToLower(string(p.signal.EmissionFactors)))
	body, err := p.client.get(ctx, request{
		url:     p.base + "/carbon-intensity/" + what + "?" + query.Encode(),
		header:  http.Header{"Auth-Token": {p.key.reveal()}},
		secrets: []Secret{p.key},
	})
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	t, err := parseElectricityMaps(body, zone, p.signal.EmissionFactors)
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: %s of Electricity Maps: %w", zone, what, err)
	}
	return t, nil
}

// An electricityMapsElement is one value. The answer to "latest" is one element by itself.
type electricityMapsElement struct {
	Datetime           string          `json:"datetime"`
	CarbonIntensity    json.RawMessage `json:"carbonIntensity"`
	EmissionFactorType string          `json:"emissionFactorType"`
	IsEstimated        bool            `json:"isEstimated"`
}

// parseElectricityMaps reads a forecast, a history, a past range or a latest value. The zone and the
// factors are those that were asked for; "" stands for any.
func parseElectricityMaps(body []byte, zone string, factors forecast.EmissionFactors) (tally, error) {
	var document struct {
		Zone                    string
		Forecast, History, Data list
		TemporalGranularity     string
		UpdatedAt               string
		Datetime                string
	}
	if err := decode(body, &document); err != nil {
		return tally{}, err
	}
	if zone != "" && document.Zone != "" && !strings.EqualFold(zone, document.Zone) {
		return tally{}, fmt.Errorf("%w: zone: %.40q: want %.40q", ErrUnreadable, document.Zone, zone)
	}
	t := tally{width: electricityMapsWidth(document.TemporalGranularity)}
	elements := slices.Concat(document.Forecast, document.History, document.Data)
	switch {
	case document.Datetime != "":
		elements = append(elements, trimMark(body))
		t.width = cmp.Or(t.width, time.Hour)
	case document.Forecast == nil && document.History == nil && document.Data == nil:
		return tally{}, fmt.Errorf("%w: no forecast, history or data", ErrUnreadable)
	default:
		t.issued = instantOf(document.UpdatedAt)
	}
	for _, raw := range elements {
		t.addElectricityMaps(raw, factors)
	}
	return t, nil
}

// electricityMapsWidth returns the width of slots, or 0 if the granularity does not tell.
func electricityMapsWidth(granularity string) time.Duration {
	return map[string]time.Duration{
		"5_minutes": 5 * time.Minute, "15_minutes": 15 * time.Minute, "hourly": time.Hour, "daily": 24 * time.Hour,
	}[granularity]
}

func (t *tally) addElectricityMaps(raw json.RawMessage, factors forecast.EmissionFactors) {
	var e electricityMapsElement
	switch err := json.Unmarshal(raw, &e); {
	case err != nil:
		t.elements++
		t.reject(err)
	case factors != "" && e.EmissionFactorType != "" && !strings.EqualFold(e.EmissionFactorType, string(factors)):
		t.elements++
		t.reject(fmt.Errorf("emissionFactorType: %.40q: want %s", e.EmissionFactorType, strings.ToLower(string(factors))))
	default:
		t.addPoint(e.Datetime, e.CarbonIntensity, 1)
		if e.IsEstimated {
			t.estimated++
		}
	}
}
