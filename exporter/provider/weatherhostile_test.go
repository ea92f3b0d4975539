package provider

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gridlatch/gridlatch/forecast"
)

// metNorwayHours returns a response with the wind of some hours, as hour and speed.
func metNorwayHours(winds ...[2]int) string {
	elements := make([]string, len(winds))
	for i, w := range winds {
		elements[i] = fmt.Sprintf(`{"time":%q,"data":{"instant":{"details":{"wind_speed":%d}}}}`, at(w[0], 0).Format(time.RFC3339), w[1])
	}
	return `{"properties":{"timeseries":[` + strings.Join(elements, ",") + `]}}`
}

func TestAServiceThatIsAboutToBeTurnedOffIsUsedAndMentioned(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", at(11, 30).Format(http.TimeFormat))
		if r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.WriteHeader(http.StatusNonAuthoritativeInfo)
		fmt.Fprintf(w, metNorwayBody, 6)
	})
	source := makeWeather(t, WeatherConfig{Type: WeatherMETNorway, BaseURL: s.URL}, clock)
	for i := range 2 {
		r, err := source.Weather(t.Context(), "DK-DK1", []Point{{55, 9}})
		if err != nil || r.Points != 1 || !strings.Contains(r.Problem, "203") || !strings.Contains(r.Problem, "update Gridlatch") {
			t.Errorf("answer %d: got %+v, %v, want the weather, and what to do", i, r, err)
		}
		clock.pass(time.Hour)
	}
}

// TestAServerThatIsBusyIsNotAskedForOtherPoints has a server that refuses the second point.
func TestAServerThatIsBusyIsNotAskedForOtherPoints(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusTooManyRequests, http.StatusForbidden, http.StatusServiceUnavailable} {
		clock, isBusy := newClock(), true
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if isBusy && !strings.Contains(r.URL.RawQuery, "lat=0.00") {
				http.Error(w, "enhance your calm", status)
				return
			}
			w.Header().Set("Expires", clock.Now().Add(30*time.Minute).Format(http.TimeFormat))
			fmt.Fprintf(w, metNorwayBody, 6)
		})
		points := make([]Point, maxPoints)
		for i := range points {
			points[i].Latitude = float64(i)
		}
		source := makeWeather(t, WeatherConfig{Type: WeatherMETNorway, BaseURL: s.URL}, clock)
		if _, err := source.Weather(t.Context(), "X", points); err == nil {
			t.Errorf("%d: no error", status)
		}
		if n := len(s.asked()); n > 1+maxAttempts {
			t.Errorf("%d: %d requests to a server that is busy, want at most %d", status, n, 1+maxAttempts)
		}
		before := len(s.asked())
		isBusy = false
		clock.pass(time.Minute)
		if r, err := source.Weather(t.Context(), "X", points); err != nil || r.Points != maxPoints {
			t.Errorf("%d: afterwards: got %+v, %v", status, r, err)
		}
		if n := len(s.asked()) - before; n != maxPoints-1 {
			t.Errorf("%d: afterwards: %d requests, want one for each other point", status, n)
		}
	}
}

// TestAnHourOfFewPointsIsNoChangeOfTheWeather has points whose forecasts have fewer hours from different
// hours on, and begin at different hours.
func TestAnHourOfFewPointsIsNoChangeOfTheWeather(t *testing.T) {
	t.Parallel()
	bodies := []string{
		metNorwayHours([2]int{12, 2}, [2]int{13, 2}, [2]int{14, 2}, [2]int{15, 2}, [2]int{16, 2}, [2]int{17, 2}, [2]int{18, 2}),
		metNorwayHours([2]int{18, 20}, [2]int{13, 10}, [2]int{14, 12}), // in no order, and without noon
		metNorwayHours([2]int{13, 3}, [2]int{14, 4}, [2]int{18, 8}),
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, bodies[r.URL.Query().Get("lat")[0]-'0'])
	})
	source := makeWeather(t, WeatherConfig{Type: WeatherMETNorway, BaseURL: s.URL}, newClock())
	r, err := source.Weather(t.Context(), "X", []Point{{0, 0}, {1, 0}, {2, 0}})
	nan := math.NaN()
	want := forecast.Weather{
		weatherAt(12, nan, nan, nan), weatherAt(13, 5, nan, nan), weatherAt(14, 6, nan, nan), weatherAt(15, 7, nan, nan),
		weatherAt(16, 8, nan, nan), weatherAt(17, 9, nan, nan), weatherAt(18, 10, nan, nan),
	}
	if diff := cmp.Diff(want, r.Weather, cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 1e-9)); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// TestOpenMeteoAnswersInItsUsualUnits has what the service answers if nobody asks for other units.
func TestOpenMeteoAnswersInItsUsualUnits(t *testing.T) {
	t.Parallel()
	s := answers(t, `{"utc_offset_seconds":3600,"timezone":"Europe/Berlin","hourly_units":{"time":"iso8601","temperature_2m":"°F","wind_speed_10m":"km/h"},
		"hourly":{"time":["2026-11-26T13:00",null,"2026-11-26T14:00"],"temperature_2m":[50,1,"?"],"wind_speed_10m":[36,1,18],"shortwave_radiation":[10,1,null]}}`)
	source := makeWeather(t, WeatherConfig{Type: WeatherHTTP, URL: s.URL}, newClock())
	r, err := source.Weather(t.Context(), "X", nil)
	want := forecast.Weather{weatherAt(12, 10, 10, 10), weatherAt(13, 5, math.NaN(), math.NaN())}
	if diff := cmp.Diff(want, r.Weather, cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 1e-9)); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	_, err = parseOpenMeteo([]byte(`{"hourly_units":{"wind_speed_10m":"Bft"},"hourly":{"time":[1],"wind_speed_10m":[5]}}`), noon)
	if !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), `wind_speed is in "Bft": want m/s, km/h`) {
		t.Errorf("an unknown unit: got %v", err)
	}
}

func TestTheReasonOfOpenMeteoIsShown(t *testing.T) {
	t.Parallel()
	const reason = "Daily API request limit exceeded. Please try again tomorrow."
	for _, status := range []int{http.StatusTooManyRequests, http.StatusBadRequest, http.StatusOK} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error":true,"reason":%q}`, reason)
		})
		source := makeWeather(t, WeatherConfig{Type: WeatherOpenMeteo, BaseURL: s.URL, AcceptNonCommercial: true}, newClock())
		_, err := source.Weather(t.Context(), "DE", []Point{{54, 9}})
		if err == nil || !strings.Contains(err.Error(), `the server says "`+reason) {
			t.Errorf("%d: got %v, want the reason", status, err)
		}
	}
}

// TestRequestsToOpenMeteoStayBelowItsLimit counts as the service does.
func TestRequestsToOpenMeteoStayBelowItsLimit(t *testing.T) {
	t.Parallel()
	const variables, perVariables, perDays = 4, 10.0, 14.0
	calls := maxPoints * max(1, variables/perVariables*(openMeteoPastDays+openMeteoForecastDays)/perDays)
	if limit := openMeteoLimit(); float64(limit.Requests)*calls >= 600*limit.Per.Minutes() {
		t.Errorf("%d requests of %.0f calls each in %v: want less than 600 calls a minute", limit.Requests, calls, limit.Per)
	}
}

func TestAFileOfYearsHasTheHoursThatCount(t *testing.T) {
	t.Parallel()
	file := []string{"timestamp,wind_speed_10m", "0001-01-01T00:00:00Z,5", "9999-12-31T23:00:00Z,5"}
	for h := -5 * 365 * 24; h <= 48; h++ {
		file = append(file, noon.Add(time.Duration(h)*time.Hour).Format(time.RFC3339)+",7")
	}
	r, err := parseWeather([]byte(strings.Join(file, "\n")), noon)
	if err != nil || !r.Weather[len(r.Weather)-1].Start.Equal(noon.Add(48*time.Hour)) || len(r.Weather) > maxWeatherHours || r.Problem != "" {
		t.Errorf("%d hours, %q, %v, want the newest ones", len(r.Weather), r.Problem, err)
	}
}

func TestWeatherThatIsOverIsMentioned(t *testing.T) {
	t.Parallel()
	r, err := parseWeather([]byte("timestamp,wind_speed_10m\n2026-11-25T12:00:00Z,7\n"), noon)
	if want := "the newest hour is 2026-11-25T12:00:00Z"; err != nil || len(r.Weather) != 1 || !strings.Contains(r.Problem, want) {
		t.Errorf("got %+v, %v, want %q", r, err, want)
	}
}

func TestAPointThatIsWrongSpoilsNoMean(t *testing.T) {
	t.Parallel()
	point := func(wind string) string {
		return fmt.Sprintf(`{"hourly":{"time":[%d],"wind_speed_10m":[%s]}}`, at(12, 0).Unix(), wind)
	}
	for _, wrong := range []string{"500", "-9999", "1e308", "null", `"NaN"`, "1e999"} {
		r, err := parseWeather([]byte("["+strings.Join([]string{point("6"), point(wrong), point("8")}, ",")+"]"), noon)
		if err != nil || len(r.Weather) != 1 || r.Weather[0].WindSpeed != 7 {
			t.Errorf("%s: got %+v, %v, want the mean of the two others", wrong, r.Weather, err)
		}
	}
}

// TestManyPointsAreNotDownloadedAgain has the points of 60 zones, with responses as long as real ones.
func TestManyPointsAreNotDownloadedAgain(t *testing.T) {
	t.Parallel()
	var winds [][2]int
	for h := range 300 {
		winds = append(winds, [2]int{h, h * h % 31})
	}
	clock, body := newClock(), metNorwayHours(winds...)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", at(11, 30).Format(http.TimeFormat))
		if r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, body)
	})
	source := makeWeather(t, WeatherConfig{Type: WeatherMETNorway, BaseURL: s.URL}, clock)
	for range 2 {
		for zone := range 60 {
			points := make([]Point, maxPoints)
			for i := range points {
				points[i] = Point{float64(zone), float64(i)}
			}
			if _, err := source.Weather(t.Context(), "X", points); err != nil {
				t.Fatal(err)
			}
		}
		clock.pass(2 * time.Hour)
	}
	again := slices.DeleteFunc(s.asked(), func(r *http.Request) bool { return r.Header.Get("If-Modified-Since") == "" })
	if len(again) != 60*maxPoints {
		t.Errorf("%d of %d requests ask for what has changed only", len(again), 60*maxPoints)
	}
}

func TestAKeyInAURLLeavesNoTrace(t *testing.T) {
	t.Parallel()
	const key, escaped = "om+key/789", "om%2Bkey%2F789"
	var seen []string
	other := serve(t, func(_ http.ResponseWriter, r *http.Request) { seen = append(seen, r.Referer()+r.URL.String()) })
	for name, handler := range map[string]http.HandlerFunc{
		"echo": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "bad URL "+r.RequestURI, http.StatusBadRequest)
		},
		"redirect": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", other.URL)
			w.WriteHeader(http.StatusFound)
		},
		"no URL": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "://"+r.RequestURI)
			w.WriteHeader(http.StatusFound)
		},
		"broken": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"error":true,"reason":%q}`, r.RequestURI)
		},
	} {
		s := serve(t, handler)
		source := makeWeather(t, WeatherConfig{Type: WeatherOpenMeteo, BaseURL: s.URL, Key: NewSecret(key)}, newClock())
		_, err := source.Weather(t.Context(), "DE", []Point{{54, 9}})
		if err == nil || strings.Contains(err.Error(), key) || strings.Contains(err.Error(), escaped) {
			t.Errorf("%s: got %v, want an error without the key", name, err)
		}
	}
	if len(seen) > 0 {
		t.Errorf("another host was asked: %q", seen)
	}
}

// TestHostileWeatherTakesBoundedMemory has the largest responses with the smallest elements.
func TestHostileWeatherTakesBoundedMemory(t *testing.T) {
	fill := func(head, element, tail string) []byte {
		return []byte(head + strings.Repeat(element, (maxResponseSize-len(head)-len(tail))/len(element)) + tail)
	}
	for name, body := range map[string][]byte{
		"hours of nothing":  fill(`{"hourly":{"time":[1`, ",1", `]}}`),
		"nulls":             fill(`{"hourly":{"wind_speed_10m":[null`, ",0", `]}}`),
		"points":            fill(`[{}`, ",{}", `]`),
		"points of nothing": fill(`[1`, ",1", `]`),
		"elements":          fill(`{"properties":{"timeseries":[1`, ",1", `]}}`),
		"depth":             fill(`{"properties":{"timeseries":`, "[", ``),
		"rows":              fill("timestamp,wind_speed\n", ",\n", ""),
		"columns":           fill("timestamp,wind_speed\n", ",", ""),
		"header":            fill("timestamp,wind_speed", ",", "\n"),
		"quotes":            fill("timestamp,wind_speed\n\"", "\n", ""),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if r, err := parseWeather(body, noon); err == nil {
			t.Errorf("%s: %d hours without an error", name, len(r.Weather))
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
		runtime.ReadMemStats(&after)
		if taken := (after.TotalAlloc - before.TotalAlloc) >> 20; taken > 100 {
			t.Errorf("%s: takes %d MiB", name, taken)
		}
	}
}
