package provider

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"
)

const metNorwayURL = "https://api.met.no/weatherapi"

// A metNorway asks Locationforecast 2.0 of the Norwegian Meteorological Institute (api.met.no), which
// covers the Earth. The terms of service want a User-Agent that names the program and a way to reach
// its makers, coordinates of four decimals at most, no request before the response expires, and
// If-Modified-Since after that.
type metNorway struct {
	client *client
	base   string
}

// metNorwayLimit is our own: the terms allow twenty requests a second.
func metNorwayLimit() Limit { return Limit{Requests: 120, Per: time.Minute} }

func newMETNorway(c WeatherConfig) (WeatherSource, error) {
	base, err := Config{BaseURL: c.BaseURL}.baseURL(metNorwayURL)
	if err != nil {
		return nil, err
	}
	client, err := newClient(c.Options, metNorwayLimit())
	return &metNorway{client, base}, err
}

// DescribeWeather says that there is no past.
func (p *metNorway) DescribeWeather() WeatherDescription {
	return WeatherDescription{
		Type: WeatherMETNorway, Source: "MET Norway", Attribution: "Weather: MET Norway (met.no), CC BY 4.0", NeedsPoints: true, Rhythm: 2 * time.Hour,
	}
}

// Weather asks for each point. A point without an answer costs that point only, unless it is the
// first: a server that does not answer is not asked for fifteen more.
func (p *metNorway) Weather(ctx context.Context, zone string, points []Point) (WeatherReading, error) {
	if err := checkPoints(points); err != nil {
		return WeatherReading{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	var r WeatherReading
	var all weatherTally
	for _, point := range points {
		issued, err := p.ask(ctx, point, &all)
		if err != nil && r.Points == 0 {
			return WeatherReading{}, fmt.Errorf("zone %.40q: %w", zone, err)
		}
		if err != nil {
			if r.Problem == "" {
				r.Problem = err.Error()
			}
			continue
		}
		if r.Points++; r.Issued.IsZero() || issued.Before(r.Issued) {
			r.Issued = issued
		}
	}
	if r.Weather = all.weather(); len(r.Weather) == 0 {
		return WeatherReading{}, fmt.Errorf("zone %.40q: MET Norway: %w", zone, ErrNoData)
	}
	return r, nil
}

// coordinate rounds to two decimals: a kilometre is nothing for the weather of a zone, and clients that
// ask for the same places share what the server keeps.
func coordinate(degrees float64) string {
	return strconv.FormatFloat(math.Round(degrees*100)/100+0, 'f', 2, 64)
}

func (p *metNorway) ask(ctx context.Context, point Point, into *weatherTally) (issued time.Time, err error) {
	url := p.base + "/locationforecast/2.0/compact?lat=" + coordinate(point.Latitude) + "&lon=" + coordinate(point.Longitude)
	body, err := p.client.get(ctx, request{url: url, keepsUntilExpiry: true})
	if err != nil {
		return time.Time{}, err
	}
	issued, err = parseMETNorway(body, into)
	if err != nil {
		return time.Time{}, fmt.Errorf("MET Norway: %w", err)
	}
	return issued, nil
}

// parseMETNorway notes the weather of one point. The values of an instant stand for its hour.
func parseMETNorway(body []byte, into *weatherTally) (issued time.Time, err error) {
	var document struct {
		Properties struct {
			Meta struct {
				UpdatedAt string `json:"updated_at"`
			} `json:"meta"`
			Timeseries list `json:"timeseries"`
		} `json:"properties"`
	}
	if err := decode(body, &document); err != nil {
		return time.Time{}, err
	}
	if document.Properties.Timeseries == nil {
		return time.Time{}, fmt.Errorf("%w: no properties.timeseries", ErrUnreadable)
	}
	issued, _ = time.Parse(time.RFC3339, document.Properties.Meta.UpdatedAt) // zero if it is not said
	for _, raw := range document.Properties.Timeseries {
		var element struct {
			Time time.Time `json:"time"`
			Data struct {
				Instant struct {
					Details struct {
						Temperature *float64 `json:"air_temperature"`
						WindSpeed   *float64 `json:"wind_speed"`
					} `json:"details"`
				} `json:"instant"`
			} `json:"data"`
		}
		if err := decode(raw, &element); err != nil || element.Time.IsZero() {
			continue // it costs that hour only
		}
		now := element.Data.Instant.Details
		into.add(element.Time, now.WindSpeed, now.Temperature, nil)
	}
	return issued, nil
}
