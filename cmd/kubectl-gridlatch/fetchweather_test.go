package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestFetchPrintsTheWeather(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.UserAgent(), "kubectl-gridlatch") && !strings.Contains(r.UserAgent(), "gridlatch") {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		fmt.Fprint(w, `{"properties":{"meta":{"updated_at":"2026-11-22T09:30:00Z"},"timeseries":[
			{"time":"2026-11-22T10:00:00Z","data":{"instant":{"details":{"air_temperature":4.5,"wind_speed":7.25}}}},
			{"time":"2026-11-22T11:00:00Z","data":{"instant":{"details":{"wind_speed":8}}}}]}}`)
	}))
	t.Cleanup(s.Close)
	code, stdout, stderr := call(t, asking(), "fetch", "--weather", "met-norway", "--provider", "energy-charts", "--zone", "DE", "--base-url", s.URL)
	want := "issued,timestamp,wind_speed_10m,temperature_2m,shortwave_radiation\n" +
		"2026-11-22T09:30:00Z,2026-11-22T10:00:00Z,7.25,4.5,\n2026-11-22T09:30:00Z,2026-11-22T11:00:00Z,8,,\n"
	if code != 0 || stdout != want || !strings.Contains(stderr, "MET Norway") {
		t.Errorf("exit code %d\n%s\n%s\nwant\n%s", code, stdout, stderr, want)
	}
}

// TestFetchPrintsWhatTheOperatorExpects has the forecast of an hour of yesterday, and of hours to come. What is
// of yesterday was said on the day before.
func TestFetchPrintsWhatTheOperatorExpects(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		values := map[string]string{"load": "50000,40000,40000", "wind_onshore": "10000,null,20000", "solar": "0,5000,1"}[r.URL.Query().Get("production_type")]
		if values == "" || r.URL.Query().Get("country") != "de" {
			http.Error(w, `{"detail":"no content available"}`, http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, `{"unix_seconds":[%d,%d,%d],"forecast_values":[%s]}`,
			time.Date(2026, 11, 20, 22, 0, 0, 0, time.UTC).Unix(), time.Date(2026, 11, 21, 23, 0, 0, 0, time.UTC).Unix(), time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).Unix(), values)
	}))
	t.Cleanup(s.Close)
	want := "issued,timestamp,wind_share,solar_share\n" +
		"2026-11-19T18:00:00Z,2026-11-20T22:00:00Z,0.2,0\n2026-11-21T21:14:00Z,2026-11-21T23:00:00Z,,0.125\n2026-11-21T21:14:00Z,2026-11-22T00:00:00Z,0.5,0\n"
	for _, args := range [][]string{{"--zone", "DE"}, {"--zone", "de", "--provider", "energy-charts"}, {"--region", "eu-central-1"}} {
		code, stdout, stderr := call(t, asking(), append([]string{"fetch", "--weather", "energy-charts", "--base-url", s.URL}, args...)...)
		if code != 0 || stdout != want || !strings.HasPrefix(stderr, "DE: 3 hours\n") || !strings.Contains(stderr, "CC BY 4.0") {
			t.Errorf("%v: exit code %d\n%s\n%s\nwant\n%s", args, code, stdout, stderr, want)
		}
	}
}

func TestFetchRefusesWeatherThatNobodyHas(t *testing.T) {
	for want, args := range map[string][]string{
		"want met-norway or open-meteo":      {"--weather", "oracle"},
		"nobody is known":                    {"--weather", "energy-charts", "--zone", "XX"},
		"--points is for":                    {"--weather", "energy-charts", "--points", "1,1"},
		"--non-commercial":                   {"--weather", "open-meteo"},
		"no points are known":                {"--weather", "met-norway", "--zone", "XX"},
		"want degrees as LATITUDE,LONGITUDE": {"--weather", "met-norway", "--points", "91,0"},
	} {
		code, stdout, stderr := call(t, nil, append([]string{"fetch", "--provider", "energy-charts", "--zone", "DE"}, args...)...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q, want 2 and %q", args, code, stderr, want)
		}
	}
}
