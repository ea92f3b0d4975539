package provider

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

// elexonPowerBody has rows as Elexon's DGWS has them.
const elexonPowerBody = `{"metadata":{"datasets":["DGWS"]},"data":[
 {"publishTime":"2026-11-25T16:45:11Z","processType":"Day ahead","businessType":"Wind generation","psrType":"Wind Onshore","startTime":"2026-11-26T12:00:00Z","settlementDate":"2026-11-26","settlementPeriod":25,"quantity":7602.0},
 {"publishTime":"2026-11-25T16:45:11Z","processType":"Day ahead","businessType":"Wind generation","psrType":"Wind Onshore","startTime":"2026-11-26T12:30:00Z","settlementDate":"2026-11-26","settlementPeriod":26,"quantity":6398},
 {"publishTime":"2026-11-25T16:45:11Z","processType":"Day ahead","psrType":"Wind Offshore","startTime":"2026-11-26T12:00:00Z","quantity":8000},
 {"publishTime":"2026-11-25T10:00:00Z","processType":"Day Ahead","psrType":"Wind Offshore","startTime":"2026-11-26T12:00:00Z","quantity":1},
 {"publishTime":"2026-11-26T08:00:00Z","processType":"Intraday process","psrType":"Wind Offshore","startTime":"2026-11-26T12:00:00Z","quantity":2},
 {"publishTime":"2026-11-25T16:45:11Z","processType":"Day ahead","psrType":"Solar","startTime":"2026-11-26T12:00:00Z","quantity":3000},
 {"publishTime":"2026-11-25T16:45:11Z","processType":"Day ahead","psrType":null,"startTime":"2026-11-26T12:00:00Z","quantity":9},
 {"publishTime":"2026-11-25T16:45:11Z","processType":"Day ahead","psrType":"Solar","startTime":"2026-11-26T13:00:00Z","quantity":null},
 {"publishTime":"2026-11-25T16:45:11Z","psrType":"Solar","startTime":"nonsense","quantity":1},7]}`

const elexonLoadBody = `{"data":[
 {"publishTime":"2026-11-25T10:00:00Z","startTime":"2026-11-26T12:00:00Z","settlementDate":"2026-11-26","settlementPeriod":25,"quantity":31000},
 {"publishTime":"2026-11-25T10:00:00Z","startTime":"2026-11-26T12:30:00Z","settlementDate":"2026-11-26","settlementPeriod":26,"quantity":29000},
 {"publishTime":"2026-11-25T10:00:00Z","startTime":"2026-11-26T13:00:00Z","quantity":30000}]}`

// anElexon answers each page with the same rows, as neighbouring pages do at their border.
func anElexon(t *testing.T, load, power string) *server {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		body := map[string]string{"/forecast/demand/total/day-ahead": load, "/forecast/generation/wind-and-solar/day-ahead": power}[r.URL.Path]
		if body == "" {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, body)
	})
}

func TestElexonKnowsTheSharesOfWindAndSun(t *testing.T) {
	t.Parallel()
	s, clock := anElexon(t, elexonLoadBody, elexonPowerBody), newClock()
	source := makeWeather(t, WeatherConfig{Type: WeatherElexon, BaseURL: s.URL}, clock)
	r, err := source.Weather(t.Context(), "gb", nil)
	checkShares(t, r, err, sharesAt(12, 0.5, 0.1))
	if n := len(s.asked()); n != 18 {
		t.Errorf("%d requests for eight weeks, want 18", n)
	}
	want := "/forecast/generation/wind-and-solar/day-ahead?format=json&from=2026-10-01T00%3A00Z&processType=Day+ahead&to=2026-10-08T00%3A00Z"
	if got := s.paths()[1]; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	clock.pass(3 * time.Hour)
	if _, err := source.Weather(t.Context(), "GB", nil); err != nil || len(s.asked()) != 20 {
		t.Errorf("three hours later: %v, %d requests in all, want 2 more", err, len(s.asked()))
	}
	if d := source.DescribeWeather(); d.NeedsPoints || d.Attribution != "Contains BMRS data © Elexon Limited copyright and database right 2026" {
		t.Errorf("%+v", d)
	}
	if _, err := source.Weather(t.Context(), "FR", nil); !errors.Is(err, ErrUnknownZone) || len(s.asked()) != 20 {
		t.Errorf("another country: %v", err)
	}
}

func TestAFailureOfElexonIsAnError(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ load, power, want string }{
		"no load":           {"", elexonPowerBody, "forecast of the load: GET"},
		"no wind":           {elexonLoadBody, "", "forecast of wind and sun: GET"},
		"a load of nothing": {`{"data":[]}`, elexonPowerBody, ErrNoData.Error()},
		"no list":           {elexonLoadBody, `{"data":null}`, ErrUnreadable.Error()},
		"HTML":              {"<html>", elexonPowerBody, ErrUnreadable.Error()},
	} {
		source := makeWeather(t, WeatherConfig{Type: WeatherElexon, BaseURL: anElexon(t, test.load, test.power).URL}, newClock())
		if r, err := source.Weather(t.Context(), "GB", nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %+v, %v, want %s", name, r, err, test.want)
		}
	}
}

func TestRowsOfAnotherAgeKeepNoRowOfElexonOut(t *testing.T) {
	t.Parallel()
	rows := elexonRows{now: noon, slots: map[elexonSlot]elexonValue{}}
	old := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	for page := range 12 {
		var body strings.Builder
		body.WriteString(`{"data":[{"startTime":"1990-01-01T00:00:00Z","quantity":1}`)
		for i := range 10_000 {
			fmt.Fprintf(&body, `,{"startTime":%q,"quantity":1}`, old.Add(time.Duration(page*10_000+i)*time.Minute).Format(time.RFC3339))
		}
		if err := rows.parse([]byte(body.String()+`]}`), true); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(rows.parse([]byte(elexonLoadBody), true), rows.parse([]byte(elexonPowerBody), false)); err != nil {
		t.Fatal(err)
	}
	if got := rows.power().shares(); len(got) != 1 || got[0].WindShare != 0.5 {
		t.Errorf("got %v after 120,000 rows of 1990, want the hour of today", got)
	}
}

func FuzzElexon(f *testing.F) {
	f.Add([]byte(elexonPowerBody), []byte(elexonLoadBody))
	f.Add([]byte(`{"data":[{"psrType":"Solar","startTime":"2026-11-26T12:00:00Z","quantity":1e308}]}`), []byte(`{"data":[{"startTime":"2026-11-26T12:00:00Z","quantity":-0}]}`))
	f.Fuzz(func(t *testing.T, power, load []byte) {
		rows := elexonRows{now: noon, slots: map[elexonSlot]elexonValue{}}
		if err := errors.Join(rows.parse(load, true), rows.parse(power, false)); err != nil {
			return
		}
		for _, hour := range rows.power().shares() {
			if math.IsInf(hour.WindShare, 0) || math.IsInf(hour.SolarShare, 0) {
				t.Errorf("%+v", hour)
			}
		}
	})
}
