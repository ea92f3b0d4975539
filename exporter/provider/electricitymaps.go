package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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
// named as there: DE, US-CAL-CISO.
type electricityMaps struct {
	client *client
	base   string
	key    Secret
	signal forecast.Signal
	now    func() time.Time
}

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

// Describe says that forecasts, and more than 24 hours of the past, depend on the plan.
func (p *electricityMaps) Describe() Description {
	return Description{
		Type: TypeElectricityMaps, Source: "Electricity Maps", Attribution: "Data: Electricity Maps (electricitymaps.com)",
		Signal: p.signal, Forecasts: DependsOnPlan, History: DependsOnPlan, Rhythm: time.Hour, Limit: electricityMapsLimit(),
	}
}

// Forecast asks for three days, or for as much as the plan has.
func (p *electricityMaps) Forecast(ctx context.Context, zone string) (Reading, error) {
	t, err := p.ask(ctx, zone, "forecast", url.Values{"horizonHours": {"72"}})
	if status, ok := errors.AsType[*StatusError](err); ok && status.Status == http.StatusBadRequest {
		t, err = p.ask(ctx, zone, "forecast", url.Values{})
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
	var incomplete error
	err := ErrNotInPlan
	if span.from.Before(now.Add(-electricityMapsRecent)) {
		t, err = span.judged().inPages(ctx, electricityMapsPage, p.page(zone))
		incomplete = err
	}
	for _, recent := range []string{"history", "latest"} {
		if errors.Is(err, ErrNotInPlan) {
			if recent == "latest" {
				incomplete = err
			}
			t, err = p.ask(ctx, zone, recent, url.Values{})
			t.incomplete = incomplete
		}
	}
	if err != nil {
		return Reading{}, err
	}
	return t.pastReading(zone, p.signal, time.Hour, span)
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
		Forecast, History, Data []json.RawMessage
		UpdatedAt               string
		Datetime                string
	}
	if err := decode(body, &document); err != nil {
		return tally{}, err
	}
	if zone != "" && document.Zone != "" && !strings.EqualFold(zone, document.Zone) {
		return tally{}, fmt.Errorf("%w: zone: %.40q: want %.40q", ErrUnreadable, document.Zone, zone)
	}
	var t tally
	elements := append(append(document.Forecast, document.History...), document.Data...)
	if document.Datetime != "" {
		elements, t.width = append(elements, trimMark(body)), time.Hour
	} else {
		t.issued = instantOf(document.UpdatedAt)
	}
	if elements == nil {
		return tally{}, fmt.Errorf("%w: no forecast, history or data", ErrUnreadable)
	}
	for _, raw := range elements {
		t.addElectricityMaps(raw, factors)
	}
	return t, nil
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
