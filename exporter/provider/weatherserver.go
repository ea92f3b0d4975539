package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// A weatherServer asks a URL of one's own.
type weatherServer struct {
	client *client
	url    string
	header http.Header
	key    Secret
}

func newWeatherServer(c WeatherConfig) (WeatherSource, error) {
	if c.URL == "" {
		return nil, errors.New("url: want the URL of the weather")
	}
	if err := checkURL("url", fill(c.URL, "zone", span{})); err != nil {
		return nil, err
	}
	header, err := keyHeader("", c.Key)
	if err != nil {
		return nil, err
	}
	client, err := newClient(c.Options, ownLimit())
	return &weatherServer{client, c.URL, header, c.Key}, err
}

// DescribeWeather says that the URL has the zone.
func (p *weatherServer) DescribeWeather() WeatherDescription {
	return WeatherDescription{Type: WeatherHTTP, Source: "HTTP", Rhythm: time.Hour}
}

// Weather asks the URL.
func (p *weatherServer) Weather(ctx context.Context, zone string, _ []Point) (WeatherReading, error) {
	body, err := p.client.get(ctx, request{url: fill(p.url, zone, span{}), header: p.header, secrets: []Secret{p.key}})
	if err != nil {
		return WeatherReading{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	r, err := parseWeather(body, p.client.options.Now())
	if err != nil {
		return WeatherReading{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	return r, nil
}

// parseWeather reads CSV, what Open-Meteo answers, or what MET Norway answers.
func parseWeather(body []byte, now time.Time) (WeatherReading, error) {
	trimmed := bytes.TrimSpace(trimMark(body))
	switch {
	case len(trimmed) == 0:
		return WeatherReading{}, fmt.Errorf("%w: an empty response", ErrUnreadable)
	case trimmed[0] == '[', trimmed[0] == '{' && !bytes.Contains(trimmed, []byte(`"timeseries"`)):
		return parseOpenMeteo(trimmed, now)
	case trimmed[0] == '{':
		all := newWeatherTally(now)
		issued, err := parseMETNorway(trimmed, all)
		if err != nil {
			return WeatherReading{}, err
		}
		r, err := all.reading()
		r.Issued = issued
		return r, err
	case trimmed[0] == '<':
		return WeatherReading{}, decode(trimmed, nil)
	}
	return parseWeatherCSV(trimmed, now)
}

// weatherColumns are the names of the columns of CSV, by what they have. The first name is the usual one.
func weatherColumns() [6][]string {
	return [6][]string{
		{"timestamp", "time", "datetime"},
		{"wind_speed_100m", "wind_speed_10m", "wind_speed"},
		{"temperature_2m", "temperature", "air_temperature"},
		{"shortwave_radiation", "solar_radiation", "ghi"},
		{"wind_share"},
		{"solar_share"},
	}
}

// parseWeatherCSV reads the column timestamp and one or more of wind_speed_10m, temperature_2m,
// shortwave_radiation, wind_share and solar_share, in any order, among others. A cell that is no number is
// unknown.
func parseWeatherCSV(body []byte, now time.Time) (WeatherReading, error) {
	rows, header, err := readHeader(body)
	if err != nil {
		return WeatherReading{}, err
	}
	columns := [6]int{}
	for i, names := range weatherColumns() {
		columns[i] = slices.IndexFunc(header, func(cell string) bool { return slices.Contains(names, strings.ToLower(strings.TrimSpace(cell))) })
	}
	if columns[0] < 0 || slices.Max(columns[1:]) < 0 {
		return WeatherReading{}, fmt.Errorf("%w: the first line is %.40q: want JSON, or CSV with the columns timestamp,wind_speed_10m,temperature_2m,shortwave_radiation,wind_share,solar_share",
			ErrUnreadable, strings.Join(header, ","))
	}
	all := newWeatherTally(now)
	for count := 0; ; count++ {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && count == maxElements {
			err = fmt.Errorf("more than %d rows", maxElements)
		}
		if err != nil {
			return WeatherReading{}, fmt.Errorf("%w: CSV: %w", ErrUnreadable, err)
		}
		if at, err := forecast.ParseTime(cellAt(row, columns[0])); err == nil {
			all.add(pointHour{
				at, numberAt(row, columns[1]), numberAt(row, columns[2]), numberAt(row, columns[3]), numberAt(row, columns[4]), numberAt(row, columns[5]),
			})
		}
	}
	return all.reading()
}

func cellAt(row []string, i int) string {
	if i < 0 || i >= len(row) {
		return ""
	}
	return strings.TrimSpace(row[i])
}

// numberAt returns nil for a cell that is no number.
func numberAt(row []string, i int) *float64 {
	value, err := strconv.ParseFloat(cellAt(row, i), 64)
	if err != nil {
		return nil
	}
	return &value
}
