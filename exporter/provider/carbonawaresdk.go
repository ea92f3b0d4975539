package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// carbonAwarePage is how much of the past one request asks for: the providers behind the SDK allow ten
// days at least.
const carbonAwarePage = 7 * 24 * time.Hour

// A carbonAwareSDK asks the WebApi of a Carbon Aware SDK of one's own. Zones are its locations:
// westeurope.
type carbonAwareSDK struct {
	client *client
	base   string
	header http.Header
	key    Secret
	signal forecast.Signal
	now    func() time.Time
}

func newCarbonAwareSDK(c Config) (Provider, error) {
	if c.BaseURL == "" {
		return nil, errors.New("baseURL: is empty: want the address of the WebApi")
	}
	base, err := c.baseURL("")
	if err != nil {
		return nil, err
	}
	header, err := keyHeader(c.KeyHeader, c.Credentials.Key)
	if err != nil {
		return nil, err
	}
	client, err := newClient(c.Options, ownLimit())
	return &carbonAwareSDK{client, base, header, c.Credentials.Key, c.Signal, c.Options.Now}, err
}

// Describe says that what there is depends on the provider behind the SDK, and so does the signal.
func (p *carbonAwareSDK) Describe() Description {
	return Description{
		Type: TypeCarbonAwareSDK, Source: "Carbon Aware SDK", Signal: p.signal,
		Forecasts: DependsOnPlan, History: DependsOnPlan, Rhythm: 30 * time.Minute, Limit: ownLimit(), Page: carbonAwarePage,
	}
}

// Forecast asks for the current forecast.
func (p *carbonAwareSDK) Forecast(ctx context.Context, zone string) (Reading, error) {
	t, err := p.ask(ctx, zone, "/emissions/forecasts/current", url.Values{}, parseCarbonAwareForecast)
	if err != nil {
		return Reading{}, err
	}
	return t.forecastReading(zone, p.signal, 0, p.now())
}

// Past asks for what was emitted. The server answers 204 where it has nothing, which is a gap.
func (p *carbonAwareSDK) Past(ctx context.Context, zone string, from, to time.Time) (Reading, error) {
	wanted := pastSpan(from, to, p.now())
	if wanted.isEmpty() {
		return Reading{Zone: zone, Signal: p.signal}, nil
	}
	t, err := wanted.judged().inPages(ctx, carbonAwarePage, func(ctx context.Context, s span) (tally, error) {
		query := url.Values{"time": {s.from.Format(time.RFC3339)}, "toTime": {s.to.Format(time.RFC3339)}}
		return p.ask(ctx, zone, "/emissions/bylocation", query, parseExporter)
	})
	if err != nil {
		return Reading{}, err
	}
	return t.pastReading(zone, p.signal, 0, wanted)
}

func (p *carbonAwareSDK) ask(ctx context.Context, zone, path string, query url.Values, parse func(body []byte, zone string) (tally, error)) (tally, error) {
	query.Set("location", zone)
	body, err := p.client.get(ctx, request{url: p.base + path + "?" + query.Encode(), header: p.header, secrets: []Secret{p.key}})
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	t, err := parse(body, zone)
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: Carbon Aware SDK: %w", zone, err)
	}
	return t, nil
}

// A carbonAwareForecast is the forecast of a location.
type carbonAwareForecast struct {
	GeneratedAt  string
	ForecastData json.RawMessage
}

// parseCarbonAwareForecast reads a list of forecasts, of which the first counts: one location was
// asked for.
func parseCarbonAwareForecast(body []byte, zone string) (tally, error) {
	first, err := firstForecast(body)
	if err != nil {
		return tally{}, err
	}
	if first.ForecastData == nil {
		return tally{}, fmt.Errorf("%w: no forecastData", ErrUnreadable)
	}
	t, err := parseExporter(first.ForecastData, zone)
	t.issued = instantOf(first.GeneratedAt)
	return t, err
}

// firstForecast returns the first forecast of a list. It has no data if there is none, or if the list
// is one of other elements.
func firstForecast(body []byte) (carbonAwareForecast, error) {
	var n elementCount
	if err := decode(body, &n); err != nil || n == 0 {
		return carbonAwareForecast{}, err
	}
	elements := json.NewDecoder(bytes.NewReader(trimMark(body)))
	var first carbonAwareForecast
	if _, err := elements.Token(); err != nil || elements.Decode(&first) != nil {
		return carbonAwareForecast{}, nil
	}
	return first, nil
}

// parseExporter reads the array that the carbon-intensity exporter publishes. A server may name the
// location otherwise than the zone that was asked for, but then it names one only.
func parseExporter(body []byte, zone string) (tally, error) {
	var elements elementCount // bounds the elements, and tells HTML from JSON
	if err := decode(body, &elements); err != nil {
		return tally{}, err
	}
	if elements == 0 {
		return tally{}, fmt.Errorf("%w: an empty array", ErrNoData)
	}
	document, err := forecast.Parse(body)
	if err != nil {
		return tally{}, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	series, ok := document.Series[zone]
	if !ok && len(document.Series) > 1 {
		return tally{}, fmt.Errorf("%w: %d locations, and none is %.40q", ErrUnknownZone, len(document.Series), zone)
	}
	for _, only := range document.Series {
		if !ok {
			series = only
		}
	}
	t := tally{slots: series.Slots(), elements: document.Elements, bad: document.BadElements}
	if len(document.Problems) > 0 {
		t.problem = document.Problems[0]
	}
	return t, nil
}
