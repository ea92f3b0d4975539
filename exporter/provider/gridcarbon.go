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
	// gridCarbonPage is how much of the past one request asks for. The server states no limit.
	gridCarbonPage = 14 * 24 * time.Hour
)

// A gridCarbon asks GridCarbon (gridcarbon.dev), which has the past of 45 zones, and no forecasts.
type gridCarbon struct {
	client *client
	base   string
	signal forecast.Signal
	now    func() time.Time
}

func newGridCarbon(c Config) (Provider, error) {
	base, err := c.baseURL(gridCarbonURL)
	if err != nil {
		return nil, err
	}
	signal, err := c.signal(forecast.Signal{Kind: forecast.Average})
	if err != nil {
		return nil, err
	}
	client, err := newClient(c.Options, ownLimit())
	return &gridCarbon{client, base, signal, c.Options.Now}, err
}

// Describe says that the past is there without a key, and that there are no forecasts.
func (p *gridCarbon) Describe() Description {
	return Description{
		Type: TypeGridCarbon, Source: "GridCarbon", Attribution: "Data: GridCarbon (gridcarbon.dev), CC BY 4.0",
		Signal: p.signal, Forecasts: Unavailable, History: Available, Rhythm: time.Hour, Limit: ownLimit(),
	}
}

// Forecast returns [ErrUnavailable].
func (p *gridCarbon) Forecast(_ context.Context, zone string) (Reading, error) {
	return Reading{}, fmt.Errorf("zone %.40q: forecast of GridCarbon: %w", zone, ErrUnavailable)
}

// Past asks for two weeks at a time. An unknown zone is [ErrNoData], since the server gives an empty
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
	t, err := parseGridCarbon(body, zone)
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: GridCarbon: %w", zone, err)
	}
	return t, nil
}

// parseGridCarbon reads a list of values. The zone is the one that was asked for; "" stands for any.
func parseGridCarbon(body []byte, zone string) (tally, error) {
	var document struct {
		Unit string
		Data []json.RawMessage
	}
	if err := decode(body, &document); err != nil {
		return tally{}, err
	}
	if !strings.EqualFold(document.Unit, "gCO2eq/kWh") {
		return tally{}, fmt.Errorf("%w: unit: %.40q: want gCO2eq/kWh", ErrUnreadable, document.Unit)
	}
	var t tally
	for _, raw := range document.Data {
		var e struct {
			Zone, TS string
			Value    json.RawMessage `json:"gco2eq_kwh"`
		}
		err := json.Unmarshal(raw, &e)
		if err == nil && zone != "" && e.Zone != "" && !strings.EqualFold(e.Zone, zone) {
			err = fmt.Errorf("zone: %.40q: want %.40q", e.Zone, zone)
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
