package main

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/internal/version"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/render"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/exporter/region"
)

// weatherFlags say whose weather is meant.
type weatherFlags struct {
	source          string
	isNonCommercial bool
	points          string
}

// weatherTypes returns the sources of weather by the names that the flag takes.
func weatherTypes() map[string]provider.WeatherType {
	return map[string]provider.WeatherType{"met-norway": provider.WeatherMETNorway, "open-meteo": provider.WeatherOpenMeteo}
}

// open returns the source of weather, and the points of a zone. It asks nobody.
func (f *weatherFlags) open(e env, of *providerFlags) (source provider.WeatherSource, zone string, points []provider.Point, err error) {
	kind, ok := weatherTypes()[f.source]
	if !ok {
		return nil, "", nil, wrong("weather", f.source, errors.New("want met-norway or open-meteo"))
	}
	gridKind, zone, err := of.resolve()
	if err != nil {
		return nil, "", nil, err
	}
	text := f.points
	if text == "" {
		text = region.WeatherPoints(string(gridKind), zone)
	}
	if points, err = provider.ParsePoints(text); err != nil {
		return nil, "", nil, wrong("points", text, err)
	}
	if len(points) == 0 {
		return nil, "", nil, usageError{errors.New("no points are known of this zone: name them with --points LATITUDE,LONGITUDE;…")}
	}
	source, err = provider.NewWeather(provider.WeatherConfig{
		Type: kind, BaseURL: of.baseURL, AcceptNonCommercial: f.isNonCommercial, Key: provider.NewSecret(e.getenv("GRIDLATCH_KEY")),
		Options: provider.Options{Now: e.now, Sleep: e.sleep, UserAgent: version.Get().UserAgent(name)},
	})
	if err != nil {
		return nil, "", nil, usageError{errors.New("--weather " + f.source + ": " + strings.Replace(err.Error(), "acceptNonCommercial: true", "--non-commercial", 1))}
	}
	return source, zone, points, nil
}

// runWeather fetches the weather and writes CSV.
func (f *fetchFlags) runWeather(ctx context.Context, e env) error {
	source, zone, points, err := f.weather.open(e, &f.provider)
	if err != nil {
		return err
	}
	r, err := source.Weather(ctx, zone, points)
	if err != nil {
		return err
	}
	if r.Issued.IsZero() {
		r.Issued = e.now().UTC().Truncate(time.Second)
	}
	write := func(w *screen.Screen) error { return writeWeatherCSV(w, r) }
	if f.file == "" {
		err = write(e.stdout)
	} else {
		err = writeFile(f.file, func(w io.Writer) error { return write(screen.New(w, false)) })
	}
	if err != nil {
		return err
	}
	e.stderr.Printf("%s: %s of %s\n", zone, render.Count(len(r.Weather), "hour"), render.Count(r.Points, "point"))
	e.stderr.Printf("%s\n", source.DescribeWeather().Attribution)
	if r.Problem != "" {
		e.warn([]string{"weather: " + r.Problem})
	}
	return nil
}

// writeWeatherCSV writes CSV as simulate --weather reads it. An unknown value is an empty cell.
func writeWeatherCSV(w io.Writer, r provider.WeatherReading) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"issued", "timestamp", "wind_speed_10m", "temperature_2m", "shortwave_radiation"}) // Flush returns the error
	cell := func(value float64) string {
		if math.IsNaN(value) {
			return ""
		}
		return strconv.FormatFloat(math.Round(value*100)/100, 'f', -1, 64)
	}
	for _, hour := range r.Weather {
		_ = out.Write([]string{
			r.Issued.UTC().Format(time.RFC3339), hour.Start.Format(time.RFC3339), cell(hour.WindSpeed), cell(hour.Temperature), cell(hour.SolarRadiation),
		})
	}
	out.Flush()
	return out.Error()
}
