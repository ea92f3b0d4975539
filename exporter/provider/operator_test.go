package provider

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gridlatch/gridlatch/forecast"
)

// sharesAt returns an hour of the tests' day of which the shares are known.
func sharesAt(h int, wind, sun float64) forecast.WeatherHour {
	hour := forecast.UnknownWeather(at(h, 0))
	hour.WindShare, hour.SolarShare = wind, sun
	return hour
}

func checkShares(t *testing.T, got WeatherReading, err error, want ...forecast.WeatherHour) {
	t.Helper()
	if diff := cmp.Diff(forecast.Weather(want), got.Weather, cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 1e-9)); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// anEnergyCharts answers with quarters of hours from noon on, and with one hour of the load.
type anEnergyCharts struct{ values map[string]string }

func (a *anEnergyCharts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := r.URL.Query().Get("production_type")
	values, ok := a.values[kind]
	switch {
	case r.URL.Path != "/public_power_forecast" || !ok:
		http.Error(w, `{"detail":"no content available"}`, http.StatusNotFound)
		return
	case values == "broken":
		http.Error(w, "", http.StatusBadRequest)
		return
	}
	var seconds []string
	for i := range strings.Split(values, ",") {
		seconds = append(seconds, fmt.Sprint(noon.Add(time.Duration(i)*15*time.Minute).Unix()))
	}
	fmt.Fprintf(w, `{"unix_seconds":[%s],"forecast_values":[%s],"production_type":"%s","forecast_type":"day-ahead","deprecated":false}`,
		strings.Join(seconds, ","), values, kind)
}

func TestEnergyChartsKnowsTheSharesOfWindAndSun(t *testing.T) {
	t.Parallel()
	charts := &anEnergyCharts{map[string]string{
		"load": "50000,50000,50000,50000,40000", "wind_onshore": "8000,9000,11000,12000,null", "wind_offshore": "5000,5000,5000,5000,5000", "solar": "1000,1000,null,1000,0",
	}}
	s := serve(t, charts.ServeHTTP)
	source := makeWeather(t, WeatherConfig{Type: WeatherEnergyCharts, BaseURL: s.URL}, newClock())
	r, err := source.Weather(t.Context(), "DE", nil)
	checkShares(t, r, err, sharesAt(12, 0.3, 0.02), sharesAt(13, math.NaN(), 0))
	want := url.Values{
		"country": {"de"}, "production_type": {"load"}, "forecast_type": {"day-ahead"}, "start": {"2026-10-01T00:00Z"}, "end": {"2026-11-29T12:00Z"},
	}
	if diff := cmp.Diff(want, s.asked()[0].URL.Query()); diff != "" {
		t.Errorf("the first request (-want +got)\n%s", diff)
	}
	if d := source.DescribeWeather(); d.NeedsPoints || d.Attribution == "" || d.Type != WeatherEnergyCharts {
		t.Errorf("%+v", d)
	}
}

func TestThePastOfAnAreaIsAskedForOnceAndKept(t *testing.T) {
	t.Parallel()
	clock, charts := newClock(), &anEnergyCharts{map[string]string{"load": "100,100,100,100,200", "wind_onshore": "10,10,10,10,10"}}
	s := serve(t, charts.ServeHTTP)
	source := makeWeather(t, WeatherConfig{Type: WeatherEnergyCharts, BaseURL: s.URL}, clock)
	r, err := source.Weather(t.Context(), "FR", nil)
	checkShares(t, r, err, sharesAt(12, 0.1, math.NaN()), sharesAt(13, 0.05, math.NaN()))
	clock.pass(36 * time.Hour)
	charts.values = map[string]string{"load": "50", "wind_onshore": "10"}
	r, err = source.Weather(t.Context(), "FR", nil)
	checkShares(t, r, err, sharesAt(12, 0.2, math.NaN()), sharesAt(13, 0.05, math.NaN()))
	if start := s.asked()[4].URL.Query().Get("start"); start != "2026-11-26T00:00Z" {
		t.Errorf("the second time asked from %s, want the day of the last answer", start)
	}
	clock.pass(400 * 24 * time.Hour) // a clock that is ahead, for once
	_, _ = source.Weather(t.Context(), "FR", nil)
	clock.pass(-400*24*time.Hour - 12*time.Hour)
	charts.values["load"] = "100,100,100,100,200"
	charts.values["wind_onshore"] = "10,10,10,10,10"
	r, err = source.Weather(t.Context(), "FR", nil)
	checkShares(t, r, err, sharesAt(12, 0.1, math.NaN()), sharesAt(13, 0.05, math.NaN()))
	if paths := s.paths(); !strings.Contains(paths[len(paths)-4], "start=2026-10-02T00%3A00Z") {
		t.Errorf("after a clock that was ahead asked for %s, want the past again, which was forgotten", paths[len(paths)-4])
	}
}

func TestACountryIsAskedOnceADayForWhatItDoesNotHave(t *testing.T) {
	t.Parallel()
	clock, charts := newClock(), &anEnergyCharts{map[string]string{"load": "100", "wind_onshore": "10"}}
	s := serve(t, charts.ServeHTTP)
	source := makeWeather(t, WeatherConfig{Type: WeatherEnergyCharts, BaseURL: s.URL}, clock)
	for _, test := range []struct {
		after time.Duration
		want  int
	}{{0, 4}, {3 * time.Hour, 6}, {3 * time.Hour, 8}, {12 * time.Hour, 12}, {3 * time.Hour, 14}} {
		clock.pass(test.after)
		if _, err := source.Weather(t.Context(), "AT", nil); err != nil || len(s.asked()) != test.want {
			t.Errorf("%v: %d requests at %v, want %d", err, len(s.asked()), clock.Now(), test.want)
		}
	}
}

func TestAShareWithoutAPartOfTheWindIsUnknown(t *testing.T) {
	t.Parallel()
	whole := map[string]string{"load": "100", "wind_onshore": "10", "wind_offshore": "20", "solar": "30"}
	for name, test := range map[string]struct {
		change map[string]string
		want   error
	}{
		"the wind at sea fails": {map[string]string{"wind_offshore": "broken"}, nil}, "the sun fails": {map[string]string{"solar": "broken"}, nil},
		"the load fails": {map[string]string{"load": "broken"}, nil}, "no load": {map[string]string{"load": ""}, ErrUnknownZone},
		"a load of null": {map[string]string{"load": "null"}, ErrNoData}, "a load of next to nothing": {map[string]string{"load": "1e-300"}, ErrNoData},
		"a load of 0":             {map[string]string{"load": "0"}, ErrNoData},
		"a load that no grid has": {map[string]string{"load": "1e300"}, ErrNoData},
	} {
		charts := &anEnergyCharts{map[string]string{}}
		for kind, values := range whole {
			if changed, ok := test.change[kind]; ok {
				values = changed
			}
			if values != "" {
				charts.values[kind] = values
			}
		}
		source := makeWeather(t, WeatherConfig{Type: WeatherEnergyCharts, BaseURL: serve(t, charts.ServeHTTP).URL}, newClock())
		if r, err := source.Weather(t.Context(), "DE", nil); err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: got %+v, %v, want an error: %v", name, r, err, test.want)
		}
	}
	charts := &anEnergyCharts{map[string]string{"load": "100,100,100,100,100", "wind_onshore": "10,10,10,10,10", "wind_offshore": "20,20,20,20,20", "solar": "30"}}
	source := makeWeather(t, WeatherConfig{Type: WeatherEnergyCharts, BaseURL: serve(t, charts.ServeHTTP).URL}, newClock())
	r, err := source.Weather(t.Context(), "NL", nil)
	checkShares(t, r, err, sharesAt(12, 0.3, 0.3), sharesAt(13, 0.3, math.NaN()))
	delete(charts.values, "wind_offshore") // the wind at sea has been there, so its absence is no calm
	charts.values["wind_onshore"] = "null,null,null,null,50"
	r, err = source.Weather(t.Context(), "NL", nil)
	checkShares(t, r, err, sharesAt(12, 0.3, 0.3), sharesAt(13, 0.7, math.NaN()))
}

func TestThePowerOfAnAreaIsBounded(t *testing.T) {
	t.Parallel()
	news := powerHours{now: noon}
	for _, megawatts := range []float64{math.NaN(), math.Inf(1), -1e8, 1e8} {
		news.add(loadPower, noon, megawatts)
	}
	if len(news.kinds[loadPower]) != 0 {
		t.Errorf("counted what no area has: %v", news.kinds[loadPower])
	}
	for h := range 100_000 { // eleven years, and the oldest hours come first
		at := noon.Add(time.Duration(h-90_000) * time.Hour)
		news.add(loadPower, at, 1)
		news.add(sunPower, at, 1)
	}
	var book powerBook
	r, err := book.join("DE", &news, noon)
	want := int((powerMemory+24*time.Hour+2*powerHorizon)/time.Hour) + 1
	if n := len(r.Weather); err != nil || len(news.kinds[loadPower]) != want || n != want {
		t.Errorf("%d hours of the load, %d in the reading, %v; want those near now, which are %d", len(news.kinds[loadPower]), n, err, want)
	}
}

func FuzzEnergyChartsPower(f *testing.F) {
	f.Add([]byte(`{"unix_seconds":[1795780800,1795781700],"forecast_values":[50000.5,null]}`))
	f.Add([]byte(`{"unix_seconds":[-1,1e5,"x",9999999999999999999],"forecast_values":[1e400,"NaN",1,1]}`))
	f.Add([]byte(`{"unix_seconds":null,"forecast_values":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		checkPower(t, func(p *powerHours) error {
			return parseEnergyChartsPower(body, func(at time.Time, megawatts float64) { p.add(loadPower, at, megawatts); p.add(sunPower, at, megawatts) })
		})
	})
}

// checkPower checks that whatever a parser notes, the shares are numbers that can be.
func checkPower(t *testing.T, parse func(*powerHours) error) {
	t.Helper()
	p := powerHours{now: noon}
	if parse(&p) != nil {
		return
	}
	for _, hour := range p.shares() {
		if math.IsInf(hour.WindShare, 0) || math.IsInf(hour.SolarShare, 0) || hour.Start.Year() > 2201 || hour.Start.Year() < 1970 {
			t.Errorf("%+v", hour)
		}
	}
}
