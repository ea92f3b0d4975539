package provider

import (
	"math"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// fuzz checks that a parser never panics, and that what it believes is a number in a slot of a
// bounded width.
func fuzz(f *testing.F, parse func([]byte) (tally, error), seeds ...string) {
	for _, seed := range append(seeds, "", "null", "[]", "{}", "<html>", `{"data":[null]}`, `{"zone":"DE","forecast":[{}]}`) {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := parse(body)
		if err != nil {
			return
		}
		r, err := got.reading("DE", forecast.Signal{}, time.Hour)
		if err != nil {
			return
		}
		for _, s := range r.Series.Slots() {
			if math.IsNaN(s.Intensity) || math.Abs(s.Intensity) > forecast.MaxIntensity || !s.Start.Before(s.End) {
				t.Fatalf("%v from %q", s, body)
			}
		}
		if r.BadElements+r.Unknown > r.Elements {
			t.Fatalf("%d bad and %d unknown of %d", r.BadElements, r.Unknown, r.Elements)
		}
	})
}

func FuzzElectricityMaps(f *testing.F) {
	fuzz(f, func(b []byte) (tally, error) { return parseElectricityMaps(b, "DE", forecast.LifeCycle) }, electricityMapsForecast,
		`{"zone":"DE","carbonIntensity":250,"datetime":"2026-11-26T11:00:00.000Z"}`)
}

func FuzzWattTime(f *testing.F) {
	fuzz(f, func(b []byte) (tally, error) { return parseWattTime(b, "", "") },
		`{"data":[{"point_time":"2026-11-26T12:00:00Z","value":870.1}],"meta":{"units":"lbs_co2_per_mwh","data_point_period_seconds":300}}`)
}

func FuzzUKCarbonIntensity(f *testing.F) {
	fuzz(f, func(b []byte) (tally, error) { return parseUKCarbonIntensity(b, thePast) }, ukNational, ukRegional)
}

func FuzzEnergyCharts(f *testing.F) {
	fuzz(f, func(b []byte) (tally, error) { return parseEnergyCharts(b, theForecast) }, energyChartsDay())
}

func FuzzGridCarbon(f *testing.F) {
	fuzz(f, func(b []byte) (tally, error) { return parseGridCarbon(b, "FR", forecast.LifeCycle) },
		`{"unit":"gCO2eq/kWh","data":[{"zone":"FR","ts":"2026-11-26T09:00:00Z","gco2eq_kwh":21.5}]}`)
}

func FuzzCarbonAwareSDK(f *testing.F) {
	fuzz(f, func(b []byte) (tally, error) { return parseCarbonAwareForecast(b, "IE") },
		`[{"generatedAt":"2026-11-26T11:50:00Z","forecastData":[{"location":"IE","timestamp":"2026-11-26T12:00:00Z","duration":5,"value":359.2}]}]`)
}

func FuzzHTTP(f *testing.F) {
	fuzz(f, func(b []byte) (tally, error) { return parseAny(b, "DE", theForecast) },
		electricityMapsForecast, ukNational, energyChartsDay(), energinetBody, "timestamp,intensity\n2026-11-26T12:00:00Z,312\n",
		`[{"location":"DE","timestamp":"2026-11-26T12:00:00Z","duration":60,"value":312}]`)
}
