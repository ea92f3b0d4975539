package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

const (
	// energinetPowerPage is how much one request asks for: three kinds of power each 5 minutes, 12,000
	// records.
	energinetPowerPage = 14 * 24 * time.Hour
	week               = 7 * 24 * time.Hour
)

// An energinetPower asks the Energi Data Service what Energinet expects of wind and sun in the price areas
// DK1 and DK2 (data set Forecasts_5Min). An answer of February 2025 was seen in the tests of Electricity
// Maps' parsers. The service has no forecast of the load. So the load of the week before counts, by the data
// set ElectricityBalanceNonv. Of that one only programs that read its fields HourUTC and TotalLoad were
// seen.
type energinetPower struct {
	client *client
	base   string
	now    func() time.Time
	book   powerBook
}

func newEnerginetPower(c WeatherConfig) (WeatherSource, error) {
	base, err := Config{BaseURL: c.BaseURL}.baseURL(energinetURL)
	if err != nil {
		return nil, err
	}
	client, err := newPublicClient(c.Options, energinetLimit(), base, energinetURL)
	return &energinetPower{client: client, base: base, now: c.Options.Now}, err
}

// DescribeWeather says that areas have names. Energinet makes its forecasts anew every 5 minutes, which
// matters for the next hours only.
func (p *energinetPower) DescribeWeather() WeatherDescription {
	return WeatherDescription{Type: WeatherEnerginet, Source: "Energinet", Attribution: energinetCredit, Rhythm: time.Hour}
}

// Weather asks for the load, and for wind and sun.
func (p *energinetPower) Weather(ctx context.Context, zone string, _ []Point) (WeatherReading, error) {
	area, err := energinetArea(zone)
	if err != nil {
		return WeatherReading{}, err
	}
	now := p.now()
	from, end := p.book.from(area, now), now.Add(powerHorizon)
	news := powerHours{now: now}
	err = p.ask(ctx, "ElectricityBalanceNonv", energinetQuery(area, "HourUTC", from.Add(-week), end.Add(-week), "TotalLoad"),
		func(body []byte) error { return parseEnerginetLoad(body, area, &news) })
	for ; err == nil && from.Before(end); from = from.Add(energinetPowerPage) {
		query := energinetQuery(area, "Minutes5UTC", from, from.Add(energinetPowerPage), "ForecastType", "ForecastDayAhead", "ForecastCurrent")
		err = p.ask(ctx, "Forecasts_5Min", query, func(body []byte) error { return parseEnerginetPower(body, area, now, &news) })
	}
	if err != nil {
		return WeatherReading{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	return p.book.join(area, &news, now)
}

func (p *energinetPower) ask(ctx context.Context, dataset string, query url.Values, parse func([]byte) error) error {
	body, err := p.client.get(ctx, request{url: p.base + "/dataset/" + dataset + "?" + query.Encode()})
	if err != nil {
		return err
	}
	if err := parse(body); err != nil {
		return fmt.Errorf("data set %s of Energinet: %w", dataset, err)
	}
	return nil
}

// An energinetPowerRecord is what the operator expects of one kind of power, or how the load was.
type energinetPowerRecord struct {
	Minutes5UTC, HourUTC, PriceArea, ForecastType string
	ForecastDayAhead, ForecastCurrent, TotalLoad  *float64
}

// eachEnerginetRecord calls a function with each record of an area that can be read.
func eachEnerginetRecord(body []byte, area string, use func(energinetPowerRecord)) error {
	records, err := energinetRecords(body)
	if err != nil {
		return err
	}
	for _, raw := range records {
		var e energinetPowerRecord
		if json.Unmarshal(raw, &e) == nil && (e.PriceArea == "" || e.PriceArea == area) {
			use(e)
		}
	}
	return nil
}

// parseEnerginetLoad notes the load of each hour for the same hour a week later.
func parseEnerginetLoad(body []byte, area string, into *powerHours) error {
	return eachEnerginetRecord(body, area, func(e energinetPowerRecord) {
		if at, err := forecast.ParseTime(e.HourUTC); err == nil {
			into.add(loadPower, at.Add(week), megawatts(e.TotalLoad))
		}
	})
}

// parseEnerginetPower notes what was expected a day ahead of the time until now, since a plan knows no
// more. Of the time ahead the newest forecast counts.
func parseEnerginetPower(body []byte, area string, now time.Time, into *powerHours) error {
	return eachEnerginetRecord(body, area, func(e energinetPowerRecord) {
		at, err := forecast.ParseTime(e.Minutes5UTC)
		kind, ok := map[string]powerKind{"Onshore Wind": onshoreWind, "Offshore Wind": offshoreWind, "Solar": sunPower}[e.ForecastType]
		if err != nil || !ok {
			return
		}
		first, second := e.ForecastDayAhead, e.ForecastCurrent
		if at.After(now) {
			first, second = second, first
		}
		if first == nil {
			first = second
		}
		into.add(kind, at, megawatts(first))
	})
}

// megawatts returns NaN for a value that is not there.
func megawatts(value *float64) float64 {
	if value == nil {
		return math.NaN()
	}
	return *value
}
