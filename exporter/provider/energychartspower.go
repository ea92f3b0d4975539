package provider

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// An energyChartsPower asks Energy-Charts what the operators of European grids expect of wind, sun and
// load a day ahead. Areas are countries: DE. The server's description in OpenAPI states the response: the
// lists unix_seconds and forecast_values, the latter with nulls. Clients in public repositories read it
// so. For load the server has forecasts of the day before only, so these count for wind and sun as well:
// the past has them for years.
type energyChartsPower struct {
	client *client
	base   string
	now    func() time.Time
	book   powerBook
}

func newEnergyChartsPower(c WeatherConfig) (WeatherSource, error) {
	base, err := Config{BaseURL: c.BaseURL}.baseURL(energyChartsURL)
	if err != nil {
		return nil, err
	}
	client, err := newPublicClient(c.Options, energyChartsLimit(), base, energyChartsURL)
	return &energyChartsPower{client: client, base: base, now: c.Options.Now}, err
}

// DescribeWeather says that areas have names. There is a new forecast once a day, at different times by
// country.
func (p *energyChartsPower) DescribeWeather() WeatherDescription {
	return WeatherDescription{
		Type: WeatherEnergyCharts, Source: "Energy-Charts", Rhythm: 3 * time.Hour,
		Attribution: "Forecasts of wind and solar power: Energy-Charts, Fraunhofer ISE (energy-charts.info), CC BY 4.0",
	}
}

// Weather asks for each kind of power. A country may have no wind at sea, and is asked for it once a day
// then, because the server allows few requests. Every other failure is one of the whole reading.
func (p *energyChartsPower) Weather(ctx context.Context, zone string, _ []Point) (WeatherReading, error) {
	now := p.now()
	from := p.book.from(zone, now)
	news := powerHours{now: now}
	for _, of := range []struct {
		kind powerKind
		name string
	}{{loadPower, "load"}, {onshoreWind, "wind_onshore"}, {offshoreWind, "wind_offshore"}, {sunPower, "solar"}} {
		if p.book.lacks(zone, of.kind, now) {
			continue
		}
		err := p.ask(ctx, zone, of.name, span{from, now.UTC().Add(powerHorizon)}, func(at time.Time, megawatts float64) { news.add(of.kind, at, megawatts) })
		isNone := errors.Is(err, ErrUnknownZone) || errors.Is(err, ErrNoData)
		if err != nil && (!isNone || of.kind == loadPower) {
			return WeatherReading{}, fmt.Errorf("zone %.40q: forecast of %s: %w", zone, of.name, err)
		}
	}
	return p.book.join(zone, &news, now)
}

func (p *energyChartsPower) ask(ctx context.Context, zone, kind string, s span, use func(time.Time, float64)) error {
	query := url.Values{
		"country": {energyChartsCountry(zone)}, "production_type": {kind}, "forecast_type": {"day-ahead"},
		"start": {s.from.Format(minuteLayout)}, "end": {s.to.Format(minuteLayout)},
	}
	body, err := p.client.get(ctx, request{url: p.base + "/public_power_forecast?" + query.Encode()})
	if err != nil {
		return err
	}
	return parseEnergyChartsPower(body, use)
}

// energyChartsCountry returns the country of an area, as the server names it. The area SE-SE3 is in se.
func energyChartsCountry(zone string) string {
	country, _, _ := strings.Cut(strings.ToLower(zone), "-")
	if country == "gb" {
		return "uk"
	}
	return country
}

// parseEnergyChartsPower reads lists of instants and values, which belong together by their index. A
// value that is no number is unknown.
func parseEnergyChartsPower(body []byte, use func(at time.Time, megawatts float64)) error {
	var document struct {
		Seconds list `json:"unix_seconds"`
		Values  list `json:"forecast_values"`
	}
	if err := decode(body, &document); err != nil {
		return err
	}
	if document.Seconds == nil || len(document.Values) != len(document.Seconds) {
		return fmt.Errorf("%w: unix_seconds has %d elements, forecast_values has %d: want as many", ErrUnreadable, len(document.Seconds), len(document.Values))
	}
	for i, raw := range document.Seconds {
		seconds, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || seconds < 0 || seconds > maxUnixSeconds {
			continue
		}
		if megawatts, err := strconv.ParseFloat(string(document.Values[i]), 64); err == nil {
			use(time.Unix(seconds, 0), megawatts)
		}
	}
	return nil
}
