package provider

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gridlatch/gridlatch/forecast"
)

const metNorwayBody = `{"type":"Feature","geometry":{"type":"Point","coordinates":[9.5,55.1,10]},"properties":{
"meta":{"updated_at":"2026-11-26T11:30:00Z","units":{"air_temperature":"celsius","wind_speed":"m/s"}},
"timeseries":[
{"time":"2026-11-26T12:00:00Z","data":{"instant":{"details":{"air_temperature":4.5,"wind_speed":%v}}}},
{"time":"2026-11-26T13:00:00Z","data":{"instant":{"details":{"air_temperature":null,"wind_speed":8}}}},
{"time":"nonsense","data":7},
{"time":"2026-11-26T18:00:00Z","data":{"instant":{"details":{}}}}]}}`

func makeWeather(t *testing.T, c WeatherConfig, clock *fakeClock) WeatherSource {
	t.Helper()
	c.Options = clock.options()
	source, err := NewWeather(c)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func weatherAt(h int, wind, temperature, radiation float64) forecast.WeatherHour {
	return forecast.WeatherHour{Start: at(h, 0), WindSpeed: wind, Temperature: temperature, SolarRadiation: radiation, WindShare: math.NaN(), SolarShare: math.NaN()}
}

func TestMETNorwayIsAskedAsItsTermsWant(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Expires", clock.Now().Add(30*time.Minute).Format(http.TimeFormat))
		w.Header().Set("Last-Modified", at(11, 30).Format(http.TimeFormat))
		if r.Header.Get("If-Modified-Since") == at(11, 30).Format(http.TimeFormat) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		wind := 6
		if strings.Contains(r.URL.RawQuery, "lat=-1.23") {
			wind = 10
		}
		fmt.Fprintf(w, metNorwayBody, wind)
	})
	source := makeWeather(t, WeatherConfig{Type: WeatherMETNorway, BaseURL: s.URL}, clock)
	points := []Point{{55.123456, 9.5}, {-1.2345, 179.999}}
	ask := func() WeatherReading {
		r, err := source.Weather(t.Context(), "DK-DK1", points)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	got, nan := ask(), math.NaN()
	want := WeatherReading{Issued: at(11, 30), Points: 2, Weather: forecast.Weather{
		weatherAt(12, 8, 4.5, nan), weatherAt(13, 8, nan, nan), weatherAt(18, nan, nan, nan),
	}}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	clock.pass(29 * time.Minute)
	ask()
	if n := len(s.asked()); n != 2 {
		t.Errorf("%d requests before the responses expire, want 2", n)
	}
	clock.pass(2 * time.Minute)
	if diff := cmp.Diff(want, ask(), cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("after the responses have expired (-want +got)\n%s", diff)
	}
	clock.pass(20 * time.Minute)
	ask()
	wantPaths := []string{"/locationforecast/2.0/compact?lat=55.12&lon=9.50", "/locationforecast/2.0/compact?lat=-1.23&lon=180.00"}
	if diff := cmp.Diff(append(wantPaths, wantPaths...), s.paths()); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
	if agent := s.asked()[0].UserAgent(); !strings.Contains(agent, "gridlatch") || !strings.Contains(agent, "https://") {
		t.Errorf("User-Agent %q: want the program and where to reach its makers", agent)
	}
}

func TestAPointWithoutWeatherCostsThatPointOnly(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "lat=2.00") {
			http.Error(w, "no such place", http.StatusUnprocessableEntity)
			return
		}
		fmt.Fprintf(w, metNorwayBody, 6)
	})
	source := makeWeather(t, WeatherConfig{Type: WeatherMETNorway, BaseURL: s.URL}, newClock())
	r, err := source.Weather(t.Context(), "X", []Point{{1, 1}, {2, 2}, {3, 3}})
	if err != nil || r.Points != 2 || !strings.Contains(r.Problem, "422") {
		t.Errorf("got %+v, %v, want two points and the problem of the third", r, err)
	}
}

func TestOpenMeteoGivesThePastAndTheWindAtTheHeightOfTurbines(t *testing.T) {
	t.Parallel()
	point := func(wind100 string) string {
		return `{"hourly":{"time":[` + fmt.Sprint(at(12, 0).Unix(), ",", at(13, 0).Unix()) + `],"wind_speed_100m":` + wind100 + `,
			"wind_speed_10m":[5,6],"temperature_2m":[3,null],"shortwave_radiation":[200,100]}}`
	}
	s := answers(t, "["+point("[9,11]")+","+point("[null,null]")+"]")
	source := makeWeather(t, WeatherConfig{Type: WeatherOpenMeteo, BaseURL: s.URL, Key: NewSecret("om-key-789")}, newClock())
	r, err := source.Weather(t.Context(), "DE", []Point{{54, 9}, {53, 8.5}})
	want := forecast.Weather{weatherAt(12, 7, 3, 200), weatherAt(13, 8.5, math.NaN(), 100)}
	if diff := cmp.Diff(want, r.Weather, cmpopts.EquateNaNs()); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	query := s.asked()[0].URL.Query()
	for key, want := range map[string]string{
		"latitude": "54.00,53.00", "longitude": "9.00,8.50", "past_days": "92", "wind_speed_unit": "ms", "timeformat": "unixtime", "apikey": "om-key-789",
	} {
		if got := query.Get(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

func TestTheKeyOfOpenMeteoIsInNoError(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "bad key om-key-789", http.StatusUnauthorized)
	})
	source := makeWeather(t, WeatherConfig{Type: WeatherOpenMeteo, BaseURL: s.URL, Key: NewSecret("om-key-789")}, newClock())
	_, err := source.Weather(t.Context(), "DE", []Point{{54, 9}})
	if !errors.Is(err, ErrRefusedKey) || strings.Contains(err.Error(), "om-key") {
		t.Errorf("got %v, want a refused key that does not show", err)
	}
}

func TestTheFreeServiceOfOpenMeteoWantsAWord(t *testing.T) {
	t.Parallel()
	options := newClock().options()
	if _, err := NewWeather(WeatherConfig{Type: WeatherOpenMeteo, Options: options}); err == nil || !strings.Contains(err.Error(), "acceptNonCommercial: true") {
		t.Errorf("got %v, want an error that says what to write", err)
	}
	for name, c := range map[string]WeatherConfig{
		"its word": {AcceptNonCommercial: true}, "a key": {Key: NewSecret("k")}, "a server of one's own": {BaseURL: "http://weather.example"},
	} {
		c.Type, c.Options = WeatherOpenMeteo, options
		if _, err := NewWeather(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWeatherFromAURLOfOnesOwn(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for name, test := range map[string]struct {
		body string
		want forecast.Weather
	}{
		"CSV": {
			"\ufeffissued,timestamp,wind_speed_10m,temperature_2m,shortwave_radiation\n2026-11-26T00:00:00Z,2026-11-26T12:00:00Z,5,3,\n,2026-11-26T13:00:00Z,x,4,20\nbroken\n",
			forecast.Weather{weatherAt(12, 5, 3, nan), weatherAt(13, nan, 4, 20)},
		},
		"shares of the load by quarters of an hour": {
			"solar_share,timestamp,wind_share\n0.1,2026-11-26T12:00:00Z,0.5\n0.3,2026-11-26T12:15:00Z,\n,2026-11-26T13:00:00Z,1.2\n",
			forecast.Weather{sharesAt(12, 0.5, 0.2), sharesAt(13, 1.2, nan)},
		},
		"MET Norway":        {fmt.Sprintf(metNorwayBody, 6), forecast.Weather{weatherAt(12, 6, 4.5, nan), weatherAt(13, 8, nan, nan), weatherAt(18, nan, nan, nan)}},
		"one of Open-Meteo": {fmt.Sprintf(`{"hourly":{"time":[%d],"wind_speed_10m":[5]}}`, at(12, 0).Unix()), forecast.Weather{weatherAt(12, 5, nan, nan)}},
	} {
		s := answers(t, test.body)
		source := makeWeather(t, WeatherConfig{Type: WeatherHTTP, URL: s.URL + "/w/{zone}.csv"}, newClock())
		r, err := source.Weather(t.Context(), "DE LU", nil)
		if diff := cmp.Diff(test.want, r.Weather, cmpopts.EquateNaNs()); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", name, err, diff)
		}
		if got := s.paths()[0]; got != "/w/DE%20LU.csv" {
			t.Errorf("%s: asked for %s", name, got)
		}
	}
}

func TestWeatherThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string
		want error
	}{
		"nothing":             {"", ErrUnreadable},
		"HTML":                {"<html>log in</html>", ErrUnreadable},
		"other JSON":          {`{"a":1}`, ErrNoData},
		"no list":             {`{"timeseries":1,"properties":{}}`, ErrUnreadable},
		"other CSV":           {"a,b\n1,2\n", ErrUnreadable},
		"CSV without a row":   {"timestamp,wind_speed\n", ErrNoData},
		"lists of two sizes":  {`{"hourly":{"time":[1,2],"wind_speed_10m":[5]}}`, ErrUnreadable},
		"too many points":     {"[" + strings.Repeat("{},", maxPoints) + "{}]", ErrUnreadable},
		"times out of bounds": {`{"hourly":{"time":[-5,9223372036854775807],"wind_speed_10m":[5,5]}}`, ErrNoData},
	} {
		s := answers(t, test.body)
		source := makeWeather(t, WeatherConfig{Type: WeatherHTTP, URL: s.URL}, newClock())
		if r, err := source.Weather(t.Context(), "X", nil); !errors.Is(err, test.want) {
			t.Errorf("%s: got %+v, %v, want %v", name, r, err, test.want)
		}
	}
}

func TestPointsMustBeOnEarth(t *testing.T) {
	t.Parallel()
	source := makeWeather(t, WeatherConfig{Type: WeatherMETNorway, BaseURL: "http://127.0.0.1:1"}, newClock())
	for _, points := range [][]Point{nil, {{91, 0}}, {{0, 181}}, {{math.NaN(), 0}}, make([]Point, maxPoints+1)} {
		if _, err := source.Weather(t.Context(), "X", points); err == nil || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%v: got %v, want an error before anybody is asked", points, err)
		}
	}
}

func FuzzWeather(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(metNorwayBody, 6)))
	f.Add([]byte(`[{"hourly":{"time":[1],"wind_speed_10m":[5]}}]`))
	f.Add([]byte("timestamp,wind_speed_10m\n2026-11-26T12:00:00Z,5\n0001-01-01T00:00:00Z,NaN\n9999-12-31T23:00:00Z,1e308\n"))
	f.Add([]byte(`{"error":true,"reason":"x"}`))
	f.Add([]byte(`{"utc_offset_seconds":-9223372036854775808,"hourly_units":{"wind_speed_10m":"kn"},"hourly":{"time":["2026-11-26T12:00",null],"wind_speed_10m":["x",1e308]}}`))
	f.Add([]byte(`{"properties":{"timeseries":[{"time":"2026-11-26T18:00:00Z","data":{"instant":{"details":{"wind_speed":5}}}},{"time":"2026-11-26T12:00:00Z","data":{"instant":{"details":{"wind_speed":1e308}}}}]}}`))
	f.Add([]byte("timestamp,wind_share,solar_share\n2026-11-26T12:00:00Z,NaN,1e300\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseWeather(body, noon)
		if err == nil && (len(r.Weather) == 0 || len(r.Weather) > maxWeatherHours) {
			t.Errorf("%d hours without an error", len(r.Weather))
		}
		for i, hour := range r.Weather {
			if i > 0 && !hour.Start.After(r.Weather[i-1].Start) {
				t.Errorf("hours out of order: %v after %v", hour.Start, r.Weather[i-1].Start)
			}
		}
	})
}
