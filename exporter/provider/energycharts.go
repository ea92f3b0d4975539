package provider

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

const (
	energyChartsURL  = "https://api.energy-charts.info"
	energyChartsSlot = 15 * time.Minute
	// energyChartsPage is how much of the past one request asks for. The server states no limit of the
	// span, but one of the requests.
	energyChartsPage = 56 * 24 * time.Hour
)

// An energyCharts asks Energy-Charts of Fraunhofer ISE (energy-charts.info). Zones are countries: DE.
// Great Britain is UK there. The server has no intensities of bidding zones, and none in version 2 of
// its API. It does not say whether the intensities count life cycles.
type energyCharts struct {
	client *client
	base   string
	signal forecast.Signal
	now    func() time.Time
}

// energyChartsLimit is for all requests from one address.
func energyChartsLimit() Limit { return Limit{2, time.Minute, true} }

func newEnergyCharts(c Config) (Provider, error) {
	base, err := c.baseURL(energyChartsURL)
	if err != nil {
		return nil, err
	}
	signal, err := c.signal(forecast.Signal{Kind: forecast.Average})
	if err != nil {
		return nil, err
	}
	client, err := newPublicClient(c.Options, energyChartsLimit(), base, energyChartsURL)
	return &energyCharts{client, base, signal, c.Options.Now}, err
}

// Describe says that both forecasts and the past are there without a key. The server makes the
// forecast anew each hour. The responses of version 2 of the API name CC BY 4.0, those with
// intensities name no licence.
func (p *energyCharts) Describe() Description {
	return Description{
		Type: TypeEnergyCharts, Source: "Energy-Charts", Attribution: "Data: Energy-Charts, Fraunhofer ISE (energy-charts.info), CC BY 4.0",
		Signal: p.signal, Forecasts: Available, History: Available, Rhythm: time.Hour, Limit: energyChartsLimit(), Page: energyChartsPage,
	}
}

// Forecast asks for what the server has without a start and an end: today, and tomorrow as soon as
// there is a forecast of it.
func (p *energyCharts) Forecast(ctx context.Context, zone string) (Reading, error) {
	t, err := p.ask(ctx, zone, url.Values{}, theForecast)
	if err != nil {
		return Reading{}, err
	}
	return t.forecastReading(zone, p.signal, energyChartsSlot, p.now())
}

// Past asks for eight weeks at a time.
func (p *energyCharts) Past(ctx context.Context, zone string, from, to time.Time) (Reading, error) {
	wanted := pastSpan(from, to, p.now())
	if wanted.isEmpty() {
		return Reading{Zone: zone, Signal: p.signal}, nil
	}
	t, err := wanted.judged().inPages(ctx, energyChartsPage, func(ctx context.Context, s span) (tally, error) {
		return p.ask(ctx, zone, url.Values{"start": {s.from.Format(minuteLayout)}, "end": {s.to.Format(minuteLayout)}}, thePast)
	})
	if err != nil {
		return Reading{}, err
	}
	return t.pastReading(zone, p.signal, energyChartsSlot, wanted)
}

func (p *energyCharts) ask(ctx context.Context, zone string, query url.Values, want part) (tally, error) {
	query.Set("country", strings.ToLower(zone))
	body, err := p.client.get(ctx, request{url: p.base + "/co2eq?" + query.Encode()})
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	t, err := parseEnergyCharts(body, want)
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: Energy-Charts: %w", zone, err)
	}
	return t, nil
}

// parseEnergyCharts reads lists of instants and values, which belong together by their index.
func parseEnergyCharts(body []byte, want part) (tally, error) {
	var document struct {
		Seconds  list `json:"unix_seconds"`
		Actual   list `json:"co2eq"`
		Forecast list `json:"co2eq_forecast"`
	}
	if err := decode(body, &document); err != nil {
		return tally{}, err
	}
	name, values := "co2eq", document.Actual
	if want == theForecast {
		name, values = "co2eq_forecast", document.Forecast
	}
	if document.Seconds == nil || len(values) != len(document.Seconds) {
		return tally{}, fmt.Errorf("%w: unix_seconds has %d elements, %s has %d: want as many", ErrUnreadable, len(document.Seconds), name, len(values))
	}
	var t tally
	for i, raw := range document.Seconds {
		seconds, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || seconds < 0 {
			t.elements++
			t.reject(fmt.Errorf("unix_seconds: %.40q: want seconds since 1970", raw))
			continue
		}
		t.addPoint(time.Unix(seconds, 0).UTC().Format(time.RFC3339), values[i], 1)
	}
	return t, nil
}
