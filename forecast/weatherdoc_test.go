package forecast

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestWeatherSurvivesTheConfigMap(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, time.November, 26, 12, 0, 0, 0, time.UTC)
	nan := math.NaN()
	weather := Weather{
		{Start: start.Add(3 * time.Hour), WindSpeed: 7.04, Temperature: -3.26, SolarRadiation: nan, WindShare: 0.12345, SolarShare: nan},
		{Start: start, WindSpeed: 5, Temperature: nan, SolarRadiation: 1200.04, WindShare: 11, SolarShare: nan},
		{Start: start.Add(time.Hour), WindSpeed: 1e9, Temperature: math.Inf(1), SolarRadiation: nan, WindShare: nan, SolarShare: -1},
	}
	d := Document{
		Actuals: map[string]*Series{"DE": NewSeries([]Slot{{start, start.Add(time.Hour), 300}})},
		Details: map[string]Details{"DE": {Origin: Origin{Provider: "P"}}}, Weather: map[string]Weather{"DE": weather, "FR": nil},
	}
	binary, data, err := d.ConfigMap(start)
	if err != nil {
		t.Fatal(err)
	}
	got, err := FromConfigMap(binary, data, "data", start)
	want := map[string]Weather{"DE": {
		{Start: start, WindSpeed: 5, Temperature: nan, SolarRadiation: 1200, WindShare: nan, SolarShare: nan},
		UnknownWeather(start.Add(time.Hour)),
		UnknownWeather(start.Add(2 * time.Hour)),
		{Start: start.Add(3 * time.Hour), WindSpeed: 7, Temperature: -3.3, SolarRadiation: nan, WindShare: 0.123, SolarShare: nan},
	}}
	if diff := cmp.Diff(want, got.Weather, cmpopts.EquateNaNs()); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

func TestDamagedWeatherIsAnError(t *testing.T) {
	t.Parallel()
	encode := func(text string) []byte { return zipped(t, text) }
	for want, encoded := range map[string][]byte{
		"gzip":                        []byte("plain"),
		"want an array of runs":       encode(`{"a":1}`),
		"want as many temperatures":   encode(`[{"start":"2026-01-01T00:00:00Z","windSpeed":[1]}]`),
		"radiations and shares as":    encode(`[{"start":"2026-01-01T00:00:00Z","windSpeed":[1],"temperature":[1],"solarRadiation":[1],"windShare":[1,1]}]`),
		"want the years 2000 to 2200": encode(`[{"start":"1900-01-01T00:00:00Z"}]`),
		"want a name of at most":      encode(`[{"location":"` + strings.Repeat("x", maxNameLength+1) + `","start":"2026-01-01T00:00:00Z"}]`),
	} {
		if _, err := decodeWeather(encoded); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
