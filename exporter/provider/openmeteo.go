package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	openMeteoURL = "https://api.open-meteo.com"
	// openMeteoCustomerURL is for customers with a key.
	openMeteoCustomerURL = "https://customer-api.open-meteo.com"
	// openMeteoPastDays is the most that the server gives. Stage one of a forecast from weather learns
	// from the past at once.
	openMeteoPastDays = 92
	// openMeteoForecastDays is today and the four days after.
	openMeteoForecastDays = 5
)

// An openMeteo asks Open-Meteo (open-meteo.com), its service for customers, or a server of one's own.
// The free service is for uses that are not commercial.
type openMeteo struct {
	client *client
	base   string
	key    Secret
}

// openMeteoLimit is below the 600 requests a minute and 10,000 a day of the free service. A request for
// several points counts once for each.
func openMeteoLimit() Limit { return Limit{Requests: 30, Per: time.Minute} }

func newOpenMeteo(c WeatherConfig) (WeatherSource, error) {
	public := openMeteoURL
	if !c.Key.IsEmpty() {
		public = openMeteoCustomerURL
		if err := c.Key.check("key"); err != nil {
			return nil, err
		}
	}
	if c.Key.IsEmpty() && c.BaseURL == "" && !c.AcceptNonCommercial {
		return nil, errors.New("the free service is for uses that are not commercial: want acceptNonCommercial: true, or a key in secretRef, or a server of your own in baseURL")
	}
	base, err := Config{BaseURL: c.BaseURL}.baseURL(public)
	if err != nil {
		return nil, err
	}
	client, err := newClient(c.Options, openMeteoLimit())
	return &openMeteo{client, base, c.Key}, err
}

// DescribeWeather says that the past is there, too.
func (p *openMeteo) DescribeWeather() WeatherDescription {
	return WeatherDescription{
		Type: WeatherOpenMeteo, Source: "Open-Meteo", Attribution: "Weather: Open-Meteo.com, CC BY 4.0", NeedsPoints: true, Rhythm: 6 * time.Hour,
	}
}

// Weather asks for all points at once.
func (p *openMeteo) Weather(ctx context.Context, zone string, points []Point) (WeatherReading, error) {
	if err := checkPoints(points); err != nil {
		return WeatherReading{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	var latitudes, longitudes []string
	for _, point := range points {
		latitudes, longitudes = append(latitudes, coordinate(point.Latitude)), append(longitudes, coordinate(point.Longitude))
	}
	query := url.Values{
		"latitude": {strings.Join(latitudes, ",")}, "longitude": {strings.Join(longitudes, ",")},
		"hourly":          {"wind_speed_100m,wind_speed_10m,temperature_2m,shortwave_radiation"},
		"wind_speed_unit": {"ms"}, "timeformat": {"unixtime"},
		"past_days": {strconv.Itoa(openMeteoPastDays)}, "forecast_days": {strconv.Itoa(openMeteoForecastDays)},
	}
	r := request{url: p.base + "/v1/forecast?" + query.Encode()}
	if !p.key.IsEmpty() {
		r.url += "&apikey=" + url.QueryEscape(p.key.reveal())
		r.secrets = []Secret{p.key}
	}
	body, err := p.client.get(ctx, r)
	if err != nil {
		return WeatherReading{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	reading, err := parseOpenMeteo(body)
	if err != nil {
		return WeatherReading{}, fmt.Errorf("zone %.40q: Open-Meteo: %w", zone, err)
	}
	return reading, nil
}

// An openMeteoPoint is what the server says of one point. The lists belong together by their index.
type openMeteoPoint struct {
	Hourly struct {
		Time      []int64    `json:"time"`
		WindAt100 []*float64 `json:"wind_speed_100m"`
		WindAt10  []*float64 `json:"wind_speed_10m"`
		Air       []*float64 `json:"temperature_2m"`
		Radiation []*float64 `json:"shortwave_radiation"`
	} `json:"hourly"`
}

// parseOpenMeteo reads one object, or a list of one for each point.
func parseOpenMeteo(body []byte) (WeatherReading, error) {
	points := make([]openMeteoPoint, 1)
	var err error
	if trimmed := bytes.TrimSpace(trimMark(body)); len(trimmed) > 0 && trimmed[0] == '[' {
		var elements list
		if err = decode(body, &elements); err == nil {
			points, err = eachPoint(elements)
		}
	} else {
		err = decode(body, &points[0])
	}
	if err != nil {
		return WeatherReading{}, err
	}
	var all weatherTally
	var r WeatherReading
	for i := range points {
		if err := points[i].tally(&all); err != nil {
			return WeatherReading{}, err
		}
		r.Points++
	}
	if r.Weather = all.weather(); len(r.Weather) == 0 {
		return WeatherReading{}, ErrNoData
	}
	return r, nil
}

func eachPoint(elements []json.RawMessage) ([]openMeteoPoint, error) {
	if len(elements) > maxPoints {
		return nil, fmt.Errorf("%w: %d points: want at most %d", ErrUnreadable, len(elements), maxPoints)
	}
	points := make([]openMeteoPoint, len(elements))
	for i, raw := range elements {
		if err := decode(raw, &points[i]); err != nil {
			return nil, fmt.Errorf("point %d: %w", i, err)
		}
	}
	return points, nil
}

// tally notes the weather of a point. The wind at the height of turbines counts, if the server knows
// any.
func (p *openMeteoPoint) tally(into *weatherTally) error {
	hourly := &p.Hourly
	wind := hourly.WindAt100
	if !hasAny(wind) {
		wind = hourly.WindAt10
	}
	for name, values := range map[string][]*float64{"wind_speed": wind, "temperature_2m": hourly.Air, "shortwave_radiation": hourly.Radiation} {
		if len(values) != len(hourly.Time) && len(values) != 0 {
			return fmt.Errorf("%w: time has %d elements, %s has %d: want as many", ErrUnreadable, len(hourly.Time), name, len(values))
		}
	}
	for i, seconds := range hourly.Time {
		if seconds < 0 || seconds > maxUnixSeconds {
			continue
		}
		into.add(time.Unix(seconds, 0), valueAt(wind, i), valueAt(hourly.Air, i), valueAt(hourly.Radiation, i))
	}
	return nil
}

// maxUnixSeconds is in the year 2200.
const maxUnixSeconds = 7_258_118_400

func hasAny(values []*float64) bool {
	for _, v := range values {
		if v != nil {
			return true
		}
	}
	return false
}

func valueAt(values []*float64, i int) *float64 {
	if i < len(values) {
		return values[i]
	}
	return nil
}
