package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

const (
	ukURL  = "https://api.carbonintensity.org.uk"
	ukSlot = 30 * time.Minute
	// ukPage is how much of the past one request may ask for: the server allows 14 days.
	ukPage = 13 * 24 * time.Hour
	// ukRegions is the number of the last region.
	ukRegions = 17
)

// A ukCarbonIntensity asks the Carbon Intensity API of the National Energy System Operator of Great
// Britain. A zone is GB, the number of a region (1 to 17), or the first part of a postcode (RG10).
type ukCarbonIntensity struct {
	client *client
	base   string
	signal forecast.Signal
	now    func() time.Time
}

func newUKCarbonIntensity(c Config) (Provider, error) {
	base, err := c.baseURL(ukURL)
	if err != nil {
		return nil, err
	}
	signal, err := c.signal(forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.Direct})
	if err != nil {
		return nil, err
	}
	client, err := newClient(c.Options, ownLimit())
	return &ukCarbonIntensity{client, base, signal, c.Options.Now}, err
}

// Describe says that both forecasts and the past are there without a key. The terms of use name
// CC BY 4.0, and a limit of requests without a number.
func (p *ukCarbonIntensity) Describe() Description {
	return Description{
		Type: TypeUKCarbonIntensity, Source: "Carbon Intensity API (GB)",
		Attribution: "Data: Carbon Intensity API, National Energy System Operator (carbonintensity.org.uk), CC BY 4.0",
		Signal:      p.signal, Forecasts: Available, History: Available, Rhythm: ukSlot, Limit: ownLimit(), Page: ukPage,
	}
}

// Forecast asks for two days.
func (p *ukCarbonIntensity) Forecast(ctx context.Context, zone string) (Reading, error) {
	now := p.now()
	t, err := p.ask(ctx, zone, now.UTC().Truncate(ukSlot).Format(minuteLayout)+"/fw48h", theForecast)
	if err != nil {
		return Reading{}, err
	}
	return t.forecastReading(zone, p.signal, ukSlot, now)
}

// Past asks for nearly two weeks at a time. The server measures the country only. Of a region the
// last forecast for each slot counts, as an estimate.
func (p *ukCarbonIntensity) Past(ctx context.Context, zone string, from, to time.Time) (Reading, error) {
	wanted := pastSpan(from, to, p.now())
	if wanted.isEmpty() {
		return Reading{Zone: zone, Signal: p.signal}, nil
	}
	t, err := wanted.judged().inPages(ctx, ukPage, func(ctx context.Context, s span) (tally, error) {
		return p.ask(ctx, zone, s.from.Format(minuteLayout)+"/"+s.to.Format(minuteLayout), thePast)
	})
	if err != nil {
		return Reading{}, err
	}
	return t.pastReading(zone, p.signal, ukSlot, wanted)
}

// ask sends a request for a time, such as 2026-11-26T08:00Z/fw48h.
func (p *ukCarbonIntensity) ask(ctx context.Context, zone, time string, want part) (tally, error) {
	path, suffix, err := ukPath(zone)
	if err != nil {
		return tally{}, err
	}
	body, err := p.client.get(ctx, request{url: p.base + path + time + suffix})
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	t, err := parseUKCarbonIntensity(body, want)
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: Carbon Intensity API: %w", zone, err)
	}
	return t, nil
}

// ukPath returns what comes before and after the time in the path of a zone.
func ukPath(zone string) (path, suffix string, err error) {
	if strings.EqualFold(zone, "GB") {
		return "/intensity/", "", nil
	}
	if n, err := strconv.Atoi(zone); err == nil && n >= 1 && n <= ukRegions {
		return "/regional/intensity/", fmt.Sprintf("/regionid/%d", n), nil
	}
	isPostcode := len(zone) >= 2 && len(zone) <= 4 && zone[0] >= 'A' && zone[0] <= 'Z' && strings.ContainsAny(zone, "0123456789")
	if !isPostcode {
		return "", "", fmt.Errorf("zone %.40q: %w: want GB, a region from 1 to %d, or the first part of a postcode such as RG10", zone, ErrUnknownZone, ukRegions)
	}
	return "/regional/intensity/", "/postcode/" + url.PathEscape(zone), nil
}

// A ukElement is a slot of the country, or of a region.
type ukElement struct {
	From, To  string
	Intensity struct{ Forecast, Actual json.RawMessage }
}

// parseUKCarbonIntensity reads a national response, whose data is a list, or a regional one, whose
// data is a region with a list.
func parseUKCarbonIntensity(body []byte, want part) (tally, error) {
	var document struct{ Data json.RawMessage }
	if err := decode(body, &document); err != nil {
		return tally{}, err
	}
	elements, isRegional, err := ukElements(document.Data)
	if err != nil {
		return tally{}, err
	}
	var t tally
	for _, raw := range elements {
		var e ukElement
		if err := json.Unmarshal(raw, &e); err != nil {
			t.elements++
			t.reject(err)
			continue
		}
		value := e.Intensity.Forecast
		if want == thePast && !isRegional {
			value = e.Intensity.Actual
		}
		if want == thePast && isRegional {
			t.estimated++
		}
		t.addSlot(e.From, e.To, value)
	}
	return t, nil
}

// ukElements returns the list of slots, and whether it is that of a region.
func ukElements(data json.RawMessage) (elements list, isRegional bool, err error) {
	type region struct{ Data list }
	if bytes.HasPrefix(data, []byte("{")) {
		var r region
		if err := decode(data, &r); err != nil {
			return nil, false, err
		}
		return r.Data, true, checkList("data.data", r.Data)
	}
	if len(data) > 0 {
		if err := decode(data, &elements); err != nil {
			return nil, false, err
		}
	}
	var only region
	if len(elements) == 1 && json.Unmarshal(elements[0], &only) == nil && only.Data != nil {
		return only.Data, true, nil
	}
	return elements, false, checkList("data", elements)
}

func checkList(name string, elements list) error {
	if elements == nil {
		return fmt.Errorf("%w: %s: want a list", ErrUnreadable, name)
	}
	return nil
}
