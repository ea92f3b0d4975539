package provider

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/forecast"
)

// wattTimeServer answers as WattTime does. Tokens expire when revoke is called.
type wattTimeServer struct {
	*server
	clock  *fakeClock
	logins atomic.Int32
	// oldest is the last login whose token is no longer accepted.
	oldest atomic.Int32
}

func serveWattTime(t *testing.T) *wattTimeServer {
	w := &wattTimeServer{clock: newClock()}
	w.server = serve(t, w.answer)
	return w
}

func (s *wattTimeServer) answer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/login" {
		if user, password, _ := r.BasicAuth(); user != "ada" || password != "pass-word-456" {
			http.Error(w, `{"error":"Invalid username or password"}`, http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"token":"token-%d"}`, s.logins.Add(1))
		return
	}
	var n int32
	if _, err := fmt.Sscanf(r.Header.Get("Authorization"), "Bearer token-%d", &n); err != nil || n <= s.oldest.Load() {
		http.Error(w, "token expired", http.StatusUnauthorized)
		return
	}
	q := r.URL.Query()
	switch {
	case r.URL.Path == "/v3/region-from-loc":
		fmt.Fprintf(w, `{"region":"CAISO_NORTH","region_full_name":"California ISO Northern","signal_type":%q}`, q.Get("signal_type"))
	case q.Get("region") != "CAISO_NORTH":
		http.Error(w, `{"error":"Unauthorized region"}`, http.StatusForbidden)
	case r.URL.Path == "/v3/forecast":
		s.write(w, q.Get("signal_type"), noon, noon.Add(72*time.Hour))
	case r.URL.Path == "/v3/historical":
		from, _ := time.Parse(time.RFC3339, q.Get("start"))
		to, _ := time.Parse(time.RFC3339, q.Get("end"))
		if to.Sub(from) > 32*24*time.Hour {
			http.Error(w, `{"error":"too long"}`, http.StatusBadRequest)
			return
		}
		s.write(w, q.Get("signal_type"), from.Truncate(5*time.Minute), to)
	default:
		http.NotFound(w, r)
	}
}

// write answers with 1000 lbs/MWh, or 500 for the average.
func (s *wattTimeServer) write(w http.ResponseWriter, signalType string, from, to time.Time) {
	value := 1000
	if signalType == "co2_aoer" {
		value = 500
	}
	var points []string
	for at := from; at.Before(to); at = at.Add(5 * time.Minute) {
		points = append(points, fmt.Sprintf(`{"point_time":%q,"value":%d}`, at.Format("2006-01-02T15:04:05Z07:00"), value))
	}
	fmt.Fprintf(w, `{"data":[%s],"meta":{"region":"CAISO_NORTH","signal_type":%q,"model":{"date":"2023-03-01"},"units":"lbs_co2_per_mwh","generated_at":"2026-11-26T11:55:00Z","generated_at_period_seconds":300,"data_point_period_seconds":300,"warnings":[]}}`,
		strings.Join(points, ","), signalType)
}

func TestWattTimeForecast(t *testing.T) {
	s := serveWattTime(t)
	p := makeProvider(t, TypeWattTime, s.server, s.clock)
	got, err := p.Forecast(t.Context(), "CAISO_NORTH")
	if err != nil {
		t.Fatal(err)
	}
	first := got.Series.Slots()[0]
	if math.Abs(first.Intensity-453.59237) > 1e-9 || first.End.Sub(first.Start) != 5*time.Minute || !got.Issued.Equal(at(11, 55)) {
		t.Errorf("got %v, issued %v", first, got.Issued)
	}
	if got.Signal != (forecast.Signal{Kind: forecast.Marginal, EmissionFactors: forecast.Direct}) || !got.Series.End().Equal(noon.Add(72*time.Hour)) {
		t.Errorf("signal %v until %v", got.Signal, got.Series.End())
	}
}

func TestWattTimeHasNoForecastOfTheAverage(t *testing.T) {
	s := serveWattTime(t)
	p := makeProvider(t, TypeWattTime, s.server, s.clock, func(c *Config) { c.Signal.Kind = forecast.Average })
	if _, err := p.Forecast(t.Context(), "CAISO_NORTH"); !errors.Is(err, ErrUnavailable) || p.Describe().Forecasts != Unavailable || len(s.asked()) > 0 {
		t.Errorf("asked %v, got %v", s.paths(), err)
	}
	got, err := p.Past(t.Context(), "CAISO_NORTH", at(9, 0), noon)
	if err != nil {
		t.Fatal(err)
	}
	if first := got.Series.Slots()[0]; math.Abs(first.Intensity-226.796185) > 1e-9 || got.Signal != (forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.Direct}) {
		t.Errorf("got %v of %v", first, got.Signal)
	}
}

func TestWattTimePastComesInPages(t *testing.T) {
	s := serveWattTime(t)
	got, err := makeProvider(t, TypeWattTime, s.server, s.clock).Past(t.Context(), "CAISO_NORTH", noon.AddDate(0, 0, -56), noon.Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if got.Incomplete != nil || !got.Series.Start().Equal(noon.AddDate(0, 0, -56)) || !got.Series.End().Equal(noon) || len(s.asked()) != 3 {
		t.Errorf("from %v to %v, incomplete: %v, asked %q", got.Series.Start(), got.Series.End(), got.Incomplete, s.paths())
	}
}

func TestWattTimeTokens(t *testing.T) {
	s := serveWattTime(t)
	p := makeProvider(t, TypeWattTime, s.server, s.clock)
	for i, step := range []struct {
		name   string
		before func()
		logins int32
	}{
		{"the first request logs in", func() {}, 1},
		{"the next uses the same token", func() { s.clock.pass(20 * time.Minute) }, 1},
		{"an old token is renewed before the server refuses it", func() { s.clock.pass(10 * time.Minute) }, 2},
		{"a token that the server refuses early is renewed", func() { s.clock.pass(wattTimeLogInPause); s.oldest.Store(2) }, 3},
		{"a token of a clock that was ahead is not trusted", func() { s.clock.pass(-48 * time.Hour) }, 4},
	} {
		step.before()
		if _, err := p.Forecast(t.Context(), "CAISO_NORTH"); err != nil || s.logins.Load() != step.logins {
			t.Errorf("%d: %s: %d logins, %v", i, step.name, s.logins.Load(), err)
		}
	}
	s.clock.pass(wattTimeLogInPause)
	s.oldest.Store(99)
	for range 20 {
		if _, err := p.Forecast(t.Context(), "CAISO_NORTH"); !errors.Is(err, ErrRefusedKey) || s.logins.Load() != 5 {
			t.Errorf("a server that refuses every token: %d logins, %v", s.logins.Load(), err)
		}
	}
}

func TestManyZonesTryAWrongPasswordOnce(t *testing.T) {
	s := serveWattTime(t)
	p := makeProvider(t, TypeWattTime, s.server, s.clock, func(c *Config) { c.Credentials.Password = NewSecret("wrong-pass") })
	for range 64 {
		if _, err := p.Forecast(t.Context(), "CAISO_NORTH"); !errors.Is(err, ErrRefusedKey) {
			t.Fatal(err)
		}
	}
	if len(s.asked()) != 1 {
		t.Errorf("tried %d times", len(s.asked()))
	}
	s.clock.pass(wattTimeLogInPause)
	if _, err := p.Forecast(t.Context(), "CAISO_NORTH"); !errors.Is(err, ErrRefusedKey) || len(s.asked()) != 2 {
		t.Errorf("later: tried %d times, got %v", len(s.asked()), err)
	}
}

func TestACancelledCallDoesNotWaitForTheLogInOfAnother(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	s := serve(t, func(http.ResponseWriter, *http.Request) { close(asked); <-release })
	t.Cleanup(func() { close(release) })
	p := makeProvider(t, TypeWattTime, s, newClock())
	first, cancelFirst := context.WithCancel(t.Context())
	t.Cleanup(cancelFirst)
	firstEnded := make(chan struct{})
	go func() {
		defer close(firstEnded)
		_, _ = p.Forecast(first, "CAISO_NORTH")
	}()
	<-asked
	second, cancelSecond := context.WithCancel(t.Context())
	cancelSecond()
	_, err := p.Forecast(second, "CAISO_NORTH")
	select {
	case <-firstEnded:
		t.Error("the call has waited until the other ended")
	default:
	}
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWattTimeErrors(t *testing.T) {
	s := serveWattTime(t)
	wrong := makeProvider(t, TypeWattTime, s.server, s.clock, func(c *Config) { c.Credentials.Password = NewSecret("wrong-pass") })
	if _, err := wrong.Forecast(t.Context(), "CAISO_NORTH"); !errors.Is(err, ErrRefusedKey) || strings.Contains(err.Error(), "wrong-pass") {
		t.Errorf("wrong password: %v", err)
	}
	if _, err := makeProvider(t, TypeWattTime, s.server, s.clock).Forecast(t.Context(), "PJM_DC"); !errors.Is(err, ErrNotInPlan) {
		t.Errorf("another region: %v", err)
	}
	for name, meta := range map[string]string{
		"another unit":   `{"units":"kg_co2_per_mwh"}`,
		"no unit":        `{}`,
		"another region": `{"units":"lbs_co2_per_mwh","region":"PJM_DC"}`,
		"another signal": `{"units":"lbs_co2_per_mwh","signal_type":"health_damage"}`,
	} {
		body := `{"data":[{"point_time":"2026-11-26T12:00:00Z","value":870}],"meta":` + meta + `}`
		if _, err := parseWattTime([]byte(body), "CAISO_NORTH", "co2_moer"); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWattTimeFindsTheZoneOfAPlace(t *testing.T) {
	s := serveWattTime(t)
	p, ok := makeProvider(t, TypeWattTime, s.server, s.clock).(ZoneFinder)
	if !ok {
		t.Fatal("want a provider that finds zones")
	}
	if zone, err := p.Zone(t.Context(), 37.5, -121.9); err != nil || zone != "CAISO_NORTH" {
		t.Errorf("%q, %v", zone, err)
	}
	want := "/v3/region-from-loc?latitude=37.5&longitude=-121.9&signal_type=co2_moer"
	if diff := cmp.Diff([]string{"/login", want}, s.paths()); diff != "" {
		t.Error(diff)
	}
}

func TestManyZonesShareOneLogin(t *testing.T) {
	s := serveWattTime(t)
	p := makeProvider(t, TypeWattTime, s.server, s.clock)
	errs := make(chan error)
	for range 16 {
		go func() {
			_, err := p.Forecast(t.Context(), "CAISO_NORTH")
			errs <- err
		}()
	}
	for range 16 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if s.logins.Load() != 1 || slices.Index(s.paths(), "/login") != 0 {
		t.Errorf("%d logins", s.logins.Load())
	}
}
