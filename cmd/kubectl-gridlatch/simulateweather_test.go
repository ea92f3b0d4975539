package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/replay"
)

// writeWeather writes forecasts of the weather into a CSV, and returns its path. The wind blows when the
// invented grid is clean, but for its days, which are alike.
func writeWeather(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("issued,timestamp,wind_speed_10m,temperature_2m\n")
	at := func(hour int) string { return time.Date(2021, 7, 1, hour, 0, 0, 0, time.UTC).Format(time.RFC3339) }
	for d := range 40 {
		for h := 24 * d; h < 24*(d+2); h++ {
			fmt.Fprintf(&text, "%s,%s,%.1f,\n", at(24*d), at(h), 6-4*math.Sin(float64(h)/31))
		}
	}
	file := filepath.Join(t.TempDir(), "weather.csv")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheWeatherIsReplayed(t *testing.T) {
	grid, weather := writeGrid(t), writeWeather(t)
	args := []string{"simulate", "--actual", grid, "--weather", weather, "--every", "6h", "--policy", "gridlatch,oracle"}
	code, stdout, stderr := call(t, nil, args...)
	if code != 0 {
		t.Fatal(stderr)
	}
	wantGolden(t, "simulate-weather", strings.NewReplacer(grid, "grid.csv", weather, "weather.csv").Replace(stdout))
	code, stdout, stderr = call(t, nil, append(args, "--weather-delay", "12h", "-o", "json")...)
	var got replay.Report
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 {
		t.Fatal(err, stderr)
	}
	want := &replay.Weather{
		File: weather, Issues: 40, First: time.Date(2021, 7, 1, 0, 0, 0, 0, time.UTC), Last: time.Date(2021, 8, 9, 0, 0, 0, 0, time.UTC), Hours: 40 * 48, UnknownValues: 40 * 48,
	}
	if diff := cmp.Diff(want, got.Weather); diff != "" {
		t.Error(diff)
	}
}
