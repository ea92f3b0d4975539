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
	return map[string]provider.WeatherType{
		"met-norway": provider.WeatherMETNorway, "open-meteo": provider.WeatherOpenMeteo,
		"energy-charts": provider.WeatherEnergyCharts, "energinet": provider.WeatherEnerginet, "elexon": provider.WeatherElexon,
	}
}

// openedWeather is a source of weather, and what to ask it for.
type openedWeather struct {
	source provider.WeatherSource
	zone   string
	points []provider.Point // none for an operator of a grid
}

// isOfOperator reports whether the source tells what the operator of a grid expects of wind and sun.
func (w openedWeather) isOfOperator() bool { return len(w.points) == 0 }

// open returns the source of weather, and the points of a zone. It asks nobody.
func (f *weatherFlags) open(e env, of *providerFlags) (openedWeather, error) {
	kind, ok := weatherTypes()[f.source]
	if !ok {
		return openedWeather{}, wrong("weather", f.source, errors.New("want met-norway or open-meteo, or energy-charts, energinet or elexon for what the operator of the grid expects of wind and sun"))
	}
	source, err := provider.NewWeather(provider.WeatherConfig{
		Type: kind, BaseURL: of.baseURL, AcceptNonCommercial: f.isNonCommercial, Key: provider.NewSecret(e.getenv("GRIDLATCH_KEY")),
		Options: provider.Options{Now: e.now, Sleep: e.sleep, UserAgent: version.Get().UserAgent(name)},
	})
	if err != nil {
		return openedWeather{}, usageError{errors.New("--weather " + f.source + ": " + strings.Replace(err.Error(), "acceptNonCommercial: true", "--non-commercial", 1))}
	}
	opened := openedWeather{source: source}
	if !source.DescribeWeather().NeedsPoints {
		opened.zone, err = f.area(of)
		return opened, err
	}
	opened.zone, opened.points, err = f.placesOf(of)
	return opened, err
}

// area returns the area of a grid that is meant. Without a provider, the zone has the name that Electricity
// Maps gives it.
func (f *weatherFlags) area(of *providerFlags) (string, error) {
	if f.points != "" {
		return "", usageError{errors.New("--points is for met-norway and open-meteo")}
	}
	kind, zone := provider.TypeElectricityMaps, of.zone
	if of.isAsked() || zone == "" {
		var err error
		if kind, zone, err = of.resolve(); err != nil {
			return "", err
		}
	}
	if area := region.Area(string(kind), zone); area != "" {
		return area, nil
	}
	return "", wrong("zone", zone, errors.New("nobody is known who forecasts wind and sun there"))
}

// placesOf returns the zone that is meant, and where the weather counts.
func (f *weatherFlags) placesOf(of *providerFlags) (zone string, points []provider.Point, err error) {
	kind, zone, err := of.resolve()
	if err != nil {
		return "", nil, err
	}
	text := f.points
	if text == "" {
		text = region.WeatherPoints(string(kind), zone)
	}
	if points, err = provider.ParsePoints(text); err != nil {
		return "", nil, wrong("points", text, err)
	}
	if len(points) == 0 {
		return "", nil, usageError{errors.New("no points are known of this zone: name them with --points LATITUDE,LONGITUDE;…")}
	}
	return zone, points, nil
}

// runWeather fetches the weather and writes CSV.
func (f *fetchFlags) runWeather(ctx context.Context, e env) error {
	of, err := f.weather.open(e, &f.provider)
	if err != nil {
		return err
	}
	progress := e.progress("fetching") // who allows few requests takes minutes
	r, err := of.source.Weather(ctx, of.zone, of.points)
	progress.End()
	if err != nil {
		return err
	}
	if r.Issued.IsZero() {
		r.Issued = e.now().UTC().Truncate(time.Second)
	}
	write := func(w *screen.Screen) error { return writeWeatherCSV(w, r, of.isOfOperator()) }
	if f.file == "" {
		err = write(e.stdout)
	} else {
		err = writeFile(f.file, func(w io.Writer) error { return write(screen.New(w, false)) })
	}
	if err != nil {
		return err
	}
	hours := render.Count(len(r.Weather), "hour")
	if !of.isOfOperator() {
		hours += " of " + render.Count(r.Points, "point")
	}
	e.stderr.Printf("%s: %s\n", of.zone, hours)
	e.stderr.Printf("%s\n", of.source.DescribeWeather().Attribution)
	if r.Problem != "" {
		e.warn([]string{"weather: " + r.Problem})
	}
	return nil
}

// publishedBefore is how long before a day begins the operators of Europe have published what they expect of
// its wind and sun: at 18:00 in Brussels, by regulation (EU) 543/2013.
const publishedBefore = 6 * time.Hour

// writeWeatherCSV writes CSV as simulate --weather reads it: the weather, or what an operator expects of wind
// and sun. An unknown value is an empty cell. Of the hours that have begun, operators tell what they said on the
// day before.
func writeWeatherCSV(w io.Writer, r provider.WeatherReading, isOfOperator bool) error {
	columns, decimals := []string{"wind_speed_10m", "temperature_2m", "shortwave_radiation"}, 2
	if isOfOperator {
		columns, decimals = []string{"wind_share", "solar_share"}, 4
	}
	out := csv.NewWriter(w)
	_ = out.Write(append([]string{"issued", "timestamp"}, columns...)) // Flush returns the error
	for _, hour := range r.Weather {
		issued, values := r.Issued, []float64{hour.WindSpeed, hour.Temperature, hour.SolarRadiation}
		if isOfOperator {
			values = []float64{hour.WindShare, hour.SolarShare}
			if hour.Start.Before(issued) {
				issued = hour.Start.UTC().Truncate(24 * time.Hour).Add(-publishedBefore)
			}
		}
		row := []string{issued.UTC().Format(time.RFC3339), hour.Start.Format(time.RFC3339)}
		for _, value := range values {
			row = append(row, cellOf(value, decimals))
		}
		_ = out.Write(row)
	}
	out.Flush()
	return out.Error()
}

// cellOf returns an empty cell for a value that is unknown.
func cellOf(value float64, decimals int) string {
	if math.IsNaN(value) {
		return ""
	}
	scale := math.Pow10(decimals)
	return strconv.FormatFloat(math.Round(value*scale)/scale, 'f', -1, 64)
}
