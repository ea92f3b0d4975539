package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

const (
	gridCarbonURL = "https://api.gridcarbon.dev"
	// gridCarbonPage is how much of the past one request asks for: a response has up to 5000 values.
	gridCarbonPage = 56 * 24 * time.Hour
)

// A gridCarbon asks GridCarbon (gridcarbon.dev), which had the past of 45 zones, and no forecasts. Its
// makers have ended the service in September 2026: the server answers 410, which is [ErrUnavailable].
// A server of one's own with the same interface works by its base URL. The intensities count life
// cycles, but those of Great Britain count direct emissions.
type gridCarbon struct {
	client *client
	base   string
	signal forecast.Signal
	now    func() time.Time
}

func gridCarbonLimit() Limit { return Limit{60, time.Minute, true} }

func newGridCarbon(c Config) (Provider, error) {
	base, err := c.baseURL(gridCarbonURL)
	if err != nil {
		return nil, err
	}
	signal, err := c.signal(forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}, forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.Direct})
	if err != nil {
		return nil, err
	}
	client, err := newClient(c.Options, gridCarbonLimit())
	return &gridCarbon{client, base, signal, c.Options.Now}, err
}

// Describe says that the past is there without a key, and that there are no forecasts. The licence of
// the data demands to name its sources.
func (p *gridCarbon) Describe() Description {
	return Description{
		Type: TypeGridCarbon, Source: "GridCarbon",
		Attribution: "Carbon intensity computed by gridcarbon.dev (CC BY 4.0) from electricity data of the ENTSO-E Transparency Platform, the U.S. Energy Information Administration (EIA), and the NESO Carbon Intensity API",
		Signal:      p.signal, Forecasts: Unavailable, History: Available, Rhythm: time.Hour, Limit: gridCarbonLimit(), Page: gridCarbonPage,
	}
}

// Forecast returns [ErrUnavailable].
func (p *gridCarbon) Forecast(_ context.Context, zone string) (Reading, error) {
	return Reading{}, fmt.Errorf("zone %.40q: forecast of GridCarbon: %w", zone, ErrUnavailable)
}

// Past asks for eight weeks at a time. An unknown zone is [ErrNoData], since the server gives an empty
// list.
func (p *gridCarbon) Past(ctx context.Context, zone string, from, to time.Time) (Reading, error) {
	wanted := pastSpan(from, to, p.now())
	if wanted.isEmpty() {
		return Reading{Zone: zone, Signal: p.signal}, nil
	}
	t, err := wanted.judged().inPages(ctx, gridCarbonPage, func(ctx context.Context, s span) (tally, error) {
		return p.ask(ctx, zone, s)
	})
	if err != nil {
		return Reading{}, err
	}
	return t.pastReading(zone, p.signal, time.Hour, wanted)
}

func (p *gridCarbon) ask(ctx context.Context, zone string, s span) (tally, error) {
	query := url.Values{"zone": {zone}, "from": {s.from.Format(time.RFC3339)}, "to": {s.to.Format(time.RFC3339)}}
	body, err := p.client.get(ctx, request{url: p.base + "/v1/intensity?" + query.Encode()})
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	t, err := parseGridCarbon(body, zone, p.signal.EmissionFactors)
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: GridCarbon: %w", zone, err)
	}
	return t, nil
}

// A gridCarbonElement is one value. The method tells whether it is computed with factors of life
// cycles, or taken over from a source that counts direct emissions.
type gridCarbonElement struct {
	Zone, TS, Method string
	Value            json.RawMessage `json:"gco2eq_kwh"`
}

// check returns an error if the value is not of the zone, or counts other emissions; "" stands for
// any.
func (e gridCarbonElement) check(zone string, factors forecast.EmissionFactors) error {
	counted := forecast.Direct
	if strings.HasPrefix(e.Method, "computed:") {
		counted = forecast.LifeCycle
	}
	switch {
	case zone != "" && e.Zone != "" && !strings.EqualFold(e.Zone, zone):
		return fmt.Errorf("zone: %.40q: want %.40q", e.Zone, zone)
	case factors != "" && e.Method != "" && counted != factors:
		return fmt.Errorf("method: %.40q: counts other emissions than the wanted signal", e.Method)
	}
	return nil
}

// parseGridCarbon reads a list of values. The zone and the factors are those that were asked for; ""
// stands for any.
func parseGridCarbon(body []byte, zone string, factors forecast.EmissionFactors) (tally, error) {
	var document struct {
		Zone, Unit string
		Truncated  bool
		Data       list
	}
	if err := decode(body, &document); err != nil {
		return tally{}, err
	}
	switch {
	case !strings.EqualFold(document.Unit, "gCO2eq/kWh"):
		return tally{}, fmt.Errorf("%w: unit: %.40q: want gCO2eq/kWh", ErrUnreadable, document.Unit)
	case zone != "" && document.Zone != "" && !strings.EqualFold(document.Zone, zone):
		return tally{}, fmt.Errorf("%w: zone: %.40q: want %.40q", ErrUnreadable, document.Zone, zone)
	case document.Truncated:
		return tally{}, fmt.Errorf("%w: the server has left out values at the end", ErrUnreadable)
	}
	var t tally
	for _, raw := range document.Data {
		var e gridCarbonElement
		err := json.Unmarshal(raw, &e)
		if err == nil {
			err = e.check(zone, factors)
		}
		if err != nil {
			t.elements++
			t.reject(err)
			continue
		}
		t.addPoint(e.TS, e.Value, 1)
	}
	return t, nil
}
