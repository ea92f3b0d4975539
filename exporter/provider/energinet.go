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
	energinetURL  = "https://api.energidataservice.dk"
	energinetSlot = 5 * time.Minute
	// energinetPage is how much of the past one request asks for: 16,000 records, far below maxResponseSize.
	energinetPage = 56 * 24 * time.Hour
)

// An energinet asks the Energi Data Service of Energinet, the operator of the Danish grid
// (energidataservice.dk). Zones are the price areas DK1 and DK2, or DK-DK1 and DK-DK2 as Electricity Maps
// names them. The forecast (data set CO2EmisProg) looks at least 9 hours ahead. The intensities count
// what leaves the chimneys for the electricity that is used, imports included. Answers of the data set
// CO2Emis with these fields were seen in several public repositories, of the years 2022 to 2026. Energinet's page
// states the same fields for CO2EmisProg.
type energinet struct {
	client *client
	base   string
	signal forecast.Signal
	now    func() time.Time
}

// energinetLimit is below the 40 requests in 10 seconds that the server documents. Whoever reaches them
// is banned for 5 minutes.
func energinetLimit() Limit { return Limit{Requests: 30, Per: time.Minute} }

func newEnerginet(c Config) (Provider, error) {
	base, err := c.baseURL(energinetURL)
	if err != nil {
		return nil, err
	}
	signal, err := c.signal(forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.Direct})
	if err != nil {
		return nil, err
	}
	client, err := newPublicClient(c.Options, energinetLimit(), base, energinetURL)
	return &energinet{client, base, signal, c.Options.Now}, err
}

// energinetCredit is the sentence that the terms of the Energi Data Service demand.
const energinetCredit = "Source: Energinet (www.energidataservice.dk), CC BY 4.0"

// Describe says that both forecasts and the past are there without a key.
func (p *energinet) Describe() Description {
	return Description{
		Type: TypeEnerginet, Source: "Energinet", Attribution: energinetCredit,
		Signal: p.signal, Forecasts: Available, History: Available, Rhythm: 15 * time.Minute, Limit: energinetLimit(), Page: energinetPage,
	}
}

// Forecast asks for all that the server expects from now on.
func (p *energinet) Forecast(ctx context.Context, zone string) (Reading, error) {
	now := p.now()
	t, err := p.ask(ctx, "CO2EmisProg", zone, now.UTC().Truncate(time.Hour), time.Time{})
	if err != nil {
		return Reading{}, err
	}
	return t.forecastReading(zone, p.signal, energinetSlot, now)
}

// Past asks for eight weeks at a time.
func (p *energinet) Past(ctx context.Context, zone string, from, to time.Time) (Reading, error) {
	wanted := pastSpan(from, to, p.now())
	if wanted.isEmpty() {
		return Reading{Zone: zone, Signal: p.signal}, nil
	}
	t, err := wanted.judged().inPages(ctx, energinetPage, func(ctx context.Context, s span) (tally, error) {
		return p.ask(ctx, "CO2Emis", zone, s.from, s.to)
	})
	if err != nil {
		return Reading{}, err
	}
	return t.pastReading(zone, p.signal, energinetSlot, wanted)
}

func (p *energinet) ask(ctx context.Context, dataset, zone string, from, to time.Time) (tally, error) {
	area, err := energinetArea(zone)
	if err != nil {
		return tally{}, err
	}
	query := energinetQuery(area, "Minutes5UTC", from, to, "CO2Emission")
	body, err := p.client.get(ctx, request{url: p.base + "/dataset/" + dataset + "?" + query.Encode()})
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	t, err := parseEnerginet(body, area)
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: Energinet: %w", zone, err)
	}
	return t, nil
}

// energinetArea returns the price area of a zone. The server would answer for an unknown area with an
// empty list.
func energinetArea(zone string) (string, error) {
	area := strings.TrimPrefix(strings.ToUpper(zone), "DK-")
	if area != "DK1" && area != "DK2" {
		return "", fmt.Errorf("zone %.40q: %w: want DK1 or DK2", zone, ErrUnknownZone)
	}
	return area, nil
}

// energinetQuery asks for all records of an area, with a column of instants and some others. Without
// the time zone, the server takes the instants for Danish ones.
func energinetQuery(area, instants string, from, to time.Time, columns ...string) url.Values {
	const layout = "2006-01-02T15:04"
	query := url.Values{
		"start": {from.UTC().Format(layout)}, "timezone": {"UTC"}, "filter": {`{"PriceArea":["` + area + `"]}`}, "sort": {instants + " asc"}, "limit": {"0"},
		"columns": {strings.Join(append([]string{instants, "PriceArea"}, columns...), ",")},
	}
	if !to.IsZero() {
		query.Set("end", to.UTC().Format(layout))
	}
	return query
}

// energinetRecords returns the records of a response.
func energinetRecords(body []byte) (list, error) {
	var document struct{ Records list }
	if err := decode(body, &document); err != nil {
		return nil, err
	}
	return document.Records, checkList("records", document.Records)
}

// parseEnerginet reads the records of an area; "" stands for that of the first record.
func parseEnerginet(body []byte, area string) (tally, error) {
	records, err := energinetRecords(body)
	if err != nil {
		return tally{}, err
	}
	var t tally
	for _, raw := range records {
		var e struct {
			Minutes5UTC, PriceArea string
			CO2Emission            json.RawMessage
		}
		err := json.Unmarshal(raw, &e)
		if area == "" {
			area = e.PriceArea
		}
		if err == nil && e.PriceArea != "" && e.PriceArea != area {
			err = fmt.Errorf("PriceArea: %.40q: want %.40q", e.PriceArea, area)
		}
		if err != nil {
			t.elements++
			t.reject(err)
			continue
		}
		t.addPoint(e.Minutes5UTC, e.CO2Emission, 1)
	}
	return t, nil
}
