package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
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

// metNorwayLimit is our own: the terms allow twenty requests a second for all clusters together.
func metNorwayLimit() Limit { return Limit{Requests: 60, Per: time.Minute} }

// metNorwayGap is how many hours apart the elements of the last days are.
const metNorwayGap = 6

func newMETNorway(c WeatherConfig) (WeatherSource, error) {
	base, err := Config{BaseURL: c.BaseURL}.baseURL(metNorwayURL)
	if err != nil {
		return nil, err
	}
	client, err := newClient(c.Options, metNorwayLimit())
	if err != nil {
		return nil, err
	}
	client.cache.untilExpiry = true
	return &metNorway{client, base}, nil
}

// DescribeWeather says that there is no past.
func (p *metNorway) DescribeWeather() WeatherDescription {
	return WeatherDescription{
		Type: WeatherMETNorway, Source: "MET Norway", NeedsPoints: true, Rhythm: 2 * time.Hour,
		Attribution: "Weather: based on data from MET Norway (api.met.no), CC BY 4.0 (creativecommons.org/licenses/by/4.0), means of several places",
	}
}

// Weather asks for each point. A point that the server has no weather of costs that point only. A server
// that does not answer, or asks for patience, is not asked for the other points. Those that have
// answered need not be asked again, since their responses have not expired.
func (p *metNorway) Weather(ctx context.Context, zone string, points []Point) (WeatherReading, error) {
	if err := checkPoints(points); err != nil {
		return WeatherReading{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	all := newWeatherTally(p.client.options.Now())
	all.points = 0
	var oldest time.Time
	problem := ""
	for _, point := range points {
		issued, err := p.ask(ctx, point, all)
		if err != nil && (all.points == 0 || !isOfThePoint(err)) {
			return WeatherReading{}, fmt.Errorf("zone %.40q: %w", zone, err)
		}
		if err != nil {
			problem = cmp.Or(problem, "a point has none: "+err.Error())
			continue
		}
		if all.points++; oldest.IsZero() || issued.Before(oldest) {
			oldest = issued
		}
	}
	r, err := all.reading()
	if err != nil {
		return WeatherReading{}, fmt.Errorf("zone %.40q: MET Norway: %w", zone, err)
	}
	r.Issued, r.Problem = oldest, cmp.Or(problem, r.Problem)
	if p.client.isDeprecated.Load() {
		r.Problem = cmp.Or(r.Problem, "MET Norway is about to turn off this version of its service (status 203): update Gridlatch")
	}
	return r, nil
}

// isOfThePoint reports whether an error is about one point, so that other points may have weather.
func isOfThePoint(err error) bool {
	status, ok := errors.AsType[*StatusError](err)
	if !ok {
		return errors.Is(err, ErrUnreadable)
	}
	switch status.Status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusUnprocessableEntity:
		return true
	}
	return false
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
	var hours []pointHour
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
		hours = append(hours, pointHour{start: element.Time, wind: now.WindSpeed, temperature: now.Temperature})
	}
	for _, hour := range into.withinGaps(hours, metNorwayGap) {
		into.add(hour)
	}
	return issued, nil
}
