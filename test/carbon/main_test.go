package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestEveryFigureIsMeasured(t *testing.T) {
	folder := cmp.Or(os.Getenv("GRIDLATCH_TRACES"), filepath.Join("..", "..", shipped))
	var out, errs strings.Builder
	if code := run(t.Context(), []string{"-traces", folder}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	for _, name := range []string{
		"simulate_s", "oracle_share_plain", "oracle_share_default", "mean_wait_default", "dirtier_default", "oracle_share_no_forecast",
		"oracle_share_stale", "oracle_share_cold_10_days", "oracle_share_cold_worst_part", "foresight_share_ceiling", "starts_over_ceiling",
		"oracle_share_lived", "oracle_share_warm_start", "warm_start_loss",
		"oracle_share_lived_no_forecast", "oracle_share_warm_start_no_forecast", "warm_start_loss_no_forecast",
		"oracle_share_interruptible", "oracle_share_interruptible_restart", "pausing_against_waiting", "pausing_saving",
		"elastic_saving", "elastic_against_fixed", "elastic_against_pausing", "oracle_share_elastic",
	} {
		if !regexp.MustCompile(`(?m)^figure ` + name + ` -?\d+\.\d{3} (s|h|%|jobs|points|times)$`).MatchString(out.String()) {
			t.Errorf("there is no figure %s in:\n%s", name, out.String())
		}
	}
	if !strings.Contains(out.String(), "figure starts_over_ceiling 0.000 jobs\n") {
		t.Error("jobs started over the ceiling")
	}
	if !strings.Contains(out.String(), "figure warm_start_loss_no_forecast 0.000 points\n") {
		t.Error("a model that was told of the past plans otherwise than one that lived through the past")
	}
}

// TestTheWeatherIsMeasured gives the region that the repository ships a weather of its own: wind when the
// electricity is clean.
func TestTheWeatherIsMeasured(t *testing.T) {
	dir := t.TempDir()
	for _, kind := range []string{"actual", "forecast"} {
		text, err := os.ReadFile(filepath.Join("..", "..", shipped, "CISO."+kind+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "CISO."+kind+".csv"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	regions, err := load(dir)
	if err != nil || len(regions) != 1 || regions[0].weather != nil {
		t.Fatal(regions, err)
	}
	var weather strings.Builder
	weather.WriteString("issued,timestamp,wind_speed_10m\n")
	for _, slot := range regions[0].actuals.Series.Slots() {
		issued := slot.Start.Truncate(day)
		for range 2 {
			fmt.Fprintf(&weather, "%s,%s,%.1f\n", issued.Format(time.RFC3339), slot.Start.Format(time.RFC3339), max(0, 15-slot.Intensity/30))
			issued = issued.Add(-day)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "CISO.weather.csv"), []byte(weather.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if regions, err = load(dir); err != nil {
		t.Fatal(err)
	}
	figures, err := measureWeather(t.Context(), regions, io.Discard)
	if err != nil || len(figures) != 3 {
		t.Fatal(figures, err)
	}
	without, err := measurePast(t.Context(), withoutWeather(regions), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if figures[0].name != "oracle_share_weather" || !(figures[0].value > without[0].value) {
		t.Errorf("%+v with weather, and %+v without", figures[0], without[0])
	}
}

func TestACallWithoutTracesFails(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a folder without traces": {[]string{"-traces", t.TempDir()}, 1, "has no REGION.actual.csv with its REGION.forecast.csv"},
		"an unknown argument":     {[]string{"DE"}, 2, `unknown argument "DE"`},
		"an unknown flag":         {[]string{"-trace"}, 2, "not defined: -trace"},
		"a question":              {[]string{"-help"}, 0, "folder with REGION.actual.csv"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs strings.Builder
			if code := run(t.Context(), tt.args, &out, &errs); code != tt.code || !strings.Contains(errs.String(), tt.want) {
				t.Errorf("exit code %d, %q; want %d, %q", code, errs.String(), tt.code, tt.want)
			}
		})
	}
}
