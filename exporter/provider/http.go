package provider

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// An httpServer asks a URL of one's own. Its zones are whatever the URL takes in place of {zone}.
type httpServer struct {
	client            *client
	forecastURL       string
	pastURL           string
	header            http.Header
	key               Secret
	signal            forecast.Signal
	sourceAttribution string
	now               func() time.Time
}

func newHTTP(c Config) (Provider, error) {
	if c.ForecastURL == "" && c.PastURL == "" {
		return nil, errors.New("want the URL of a forecast, or of a past, or both")
	}
	p := &httpServer{
		forecastURL: c.ForecastURL, pastURL: c.PastURL, key: c.Credentials.Key,
		signal: c.Signal, sourceAttribution: c.Attribution, now: c.Options.Now,
	}
	for name, template := range map[string]string{"forecastURL": c.ForecastURL, "pastURL": c.PastURL} {
		if template == "" {
			continue
		}
		if err := checkURL(name, fill(template, "zone", span{})); err != nil {
			return nil, err
		}
	}
	var err error
	if p.header, err = keyHeader(c.KeyHeader, c.Credentials.Key); err != nil {
		return nil, err
	}
	p.client, err = newClient(c.Options, ownLimit())
	return p, err
}

// Describe says that there is what there is a URL for.
func (p *httpServer) Describe() Description {
	return Description{
		Type: TypeHTTP, Source: "HTTP", Attribution: p.sourceAttribution, Signal: p.signal,
		Forecasts: availableAt(p.forecastURL), History: availableAt(p.pastURL), Rhythm: 15 * time.Minute, Limit: ownLimit(), Page: maxPast,
	}
}

func availableAt(url string) Availability {
	if url == "" {
		return Unavailable
	}
	return Available
}

// Forecast asks the URL of the forecast.
func (p *httpServer) Forecast(ctx context.Context, zone string) (Reading, error) {
	now := p.now()
	t, err := p.ask(ctx, p.forecastURL, zone, pastSpan(now, now, now), theForecast)
	if err != nil {
		return Reading{}, err
	}
	return t.forecastReading(zone, p.signal, 0, now)
}

// Past asks the URL of the past once. The response may have more than was asked for.
func (p *httpServer) Past(ctx context.Context, zone string, from, to time.Time) (Reading, error) {
	wanted := pastSpan(from, to, p.now())
	if wanted.isEmpty() {
		return Reading{Zone: zone, Signal: p.signal}, nil
	}
	t, err := p.ask(ctx, p.pastURL, zone, wanted.judged(), thePast)
	if err != nil {
		return Reading{}, err
	}
	return t.pastReading(zone, p.signal, 0, wanted)
}

func (p *httpServer) ask(ctx context.Context, template, zone string, s span, want part) (tally, error) {
	if template == "" {
		return tally{}, fmt.Errorf("zone %.40q: no URL is configured for this: %w", zone, ErrUnavailable)
	}
	body, err := p.client.get(ctx, request{url: fill(template, zone, s), header: p.header, secrets: []Secret{p.key}})
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	t, err := parseAny(body, zone, want)
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	return t, nil
}

// fill puts the zone and the span into a URL.
func fill(template, zone string, s span) string {
	escape := func(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
	return strings.NewReplacer(
		"{zone}", escape(zone),
		"{from}", escape(s.from.Format(time.RFC3339)),
		"{to}", escape(s.to.Format(time.RFC3339)),
	).Replace(template)
}

// parseAny reads a response in the form of any provider: the exporter's array, what the other
// providers answer, or CSV.
func parseAny(body []byte, zone string, want part) (tally, error) {
	trimmed := bytes.TrimSpace(trimMark(body))
	if len(trimmed) == 0 {
		return tally{}, fmt.Errorf("%w: an empty response", ErrUnreadable)
	}
	switch trimmed[0] {
	case '<':
		return tally{}, decode(trimmed, nil)
	case '{':
		return parseAnyObject(trimmed, want)
	case '[':
		if first, err := firstForecast(trimmed); err == nil && first.ForecastData != nil {
			return parseCarbonAwareForecast(trimmed, zone)
		}
		return parseExporter(trimmed, zone)
	}
	return parseCSV(trimmed)
}

// parseAnyObject tells by its fields whose response an object is.
func parseAnyObject(body []byte, want part) (tally, error) {
	var has struct {
		UnixSeconds                                                  json.RawMessage `json:"unix_seconds"`
		Meta, Unit, Forecast, History, Datetime, Zone, Data, Records json.RawMessage
	}
	if err := decode(body, &has); err != nil {
		return tally{}, err
	}
	switch {
	case has.UnixSeconds != nil:
		return parseEnergyCharts(body, want)
	case has.Records != nil:
		return parseEnerginet(body, "")
	case has.Meta != nil:
		return parseWattTime(body, "", "")
	case has.Unit != nil:
		return parseGridCarbon(body, "", "")
	case has.Forecast != nil, has.History != nil, has.Datetime != nil, has.Zone != nil:
		return parseElectricityMaps(body, "", "")
	case has.Data != nil:
		return parseUKCarbonIntensity(body, want)
	}
	return tally{}, fmt.Errorf("%w: an object that no known provider writes: want the exporter's array, or CSV with the columns timestamp,intensity", ErrUnreadable)
}

// parseCSV reads the columns timestamp and intensity, in any order, among others.
func parseCSV(body []byte) (tally, error) {
	rows := csv.NewReader(bytes.NewReader(body))
	rows.FieldsPerRecord = -1 // a short row costs that row
	rows.TrimLeadingSpace = true
	header, err := rows.Read()
	if err != nil {
		return tally{}, fmt.Errorf("%w: CSV: %w", ErrUnreadable, err)
	}
	at, value := -1, -1
	for i, name := range header {
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "timestamp":
			at = i
		case "intensity":
			value = i
		}
	}
	if at < 0 || value < 0 {
		return tally{}, fmt.Errorf("%w: the first line is %.40q: want JSON, or CSV with the columns timestamp,intensity", ErrUnreadable, strings.Join(header, ","))
	}
	var t tally
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err == nil && t.elements == maxElements {
			err = fmt.Errorf("more than %d rows", maxElements)
		}
		if err != nil {
			return tally{}, fmt.Errorf("%w: CSV: %w", ErrUnreadable, err)
		}
		t.addRow(row, at, value)
	}
}

// addRow notes a row. An empty intensity is no value.
func (t *tally) addRow(row []string, at, value int) {
	if max(at, value) >= len(row) {
		t.elements++
		t.reject(fmt.Errorf("%d columns: want a timestamp and an intensity", len(row)))
		return
	}
	text := strings.TrimSpace(row[value])
	quoted, err := json.Marshal(text)
	if text == "" || err != nil {
		quoted = nil
	}
	t.addPoint(strings.TrimSpace(row[at]), quoted, 1)
}

// keyHeader returns the header that carries a key; nil if there is no key.
func keyHeader(name string, key Secret) (http.Header, error) {
	if key.IsEmpty() {
		return nil, nil
	}
	if err := key.check("key"); err != nil {
		return nil, err
	}
	if name == "" || strings.EqualFold(name, "Authorization") {
		return http.Header{"Authorization": {"Bearer " + key.reveal()}}, nil
	}
	if !isHeaderName(name) {
		return nil, fmt.Errorf("keyHeader: %.40q: want the name of a header", name)
	}
	return http.Header{http.CanonicalHeaderKey(name): {key.reveal()}}, nil
}

func isHeaderName(name string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	return strings.Trim(name, allowed) == ""
}
