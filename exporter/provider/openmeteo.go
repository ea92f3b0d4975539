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

// openMeteoLimit is below the 600 calls a minute of the free service. A request counts for each point, and
// for each ten values of fourteen days: four values of 97 days at 16 points are 45 calls.
func openMeteoLimit() Limit { return Limit{Requests: 12, Per: time.Minute} }

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
		Type: WeatherOpenMeteo, Source: "Open-Meteo", NeedsPoints: true, Rhythm: 6 * time.Hour,
		Attribution: "Weather data by Open-Meteo.com (https://open-meteo.com), CC BY 4.0 (creativecommons.org/licenses/by/4.0), means of several places",
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
	reading, err := parseOpenMeteo(body, p.client.options.Now())
	if err != nil {
		return WeatherReading{}, fmt.Errorf("zone %.40q: Open-Meteo: %w", zone, err)
	}
	return reading, nil
}
