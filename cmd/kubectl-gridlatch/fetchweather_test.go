package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
	code, stdout, stderr := call(t, nil, "fetch", "--weather", "met-norway", "--provider", "energy-charts", "--zone", "DE", "--base-url", s.URL)
	want := "issued,timestamp,wind_speed_10m,temperature_2m,shortwave_radiation\n" +
		"2026-11-22T09:30:00Z,2026-11-22T10:00:00Z,7.25,4.5,\n2026-11-22T09:30:00Z,2026-11-22T11:00:00Z,8,,\n"
	if code != 0 || stdout != want || !strings.Contains(stderr, "MET Norway") {
		t.Errorf("exit code %d\n%s\n%s\nwant\n%s", code, stdout, stderr, want)
	}
}

func TestFetchRefusesWeatherThatNobodyHas(t *testing.T) {
	for want, args := range map[string][]string{
		"want met-norway or open-meteo":      {"--weather", "oracle"},
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
