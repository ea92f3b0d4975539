package gridserver

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/exporter/provider"
)

// noon is when the tests take place.
var noon = time.Date(2026, time.November, 26, 12, 7, 0, 0, time.UTC)

// byHour is the intensity of the zone DE: 100 more than the hour of the day.
func byHour(zone string, at time.Time) (float64, bool) {
	return 100 + float64(at.UTC().Hour()), zone == "DE"
}

func start(t *testing.T, b Behaviour) *Server {
	t.Helper()
	if b.Intensity == nil {
		b.Intensity = byHour
	}
	s, err := Start(b, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// ask returns the client that ships, which asks the server.
func ask(t *testing.T, kind provider.Type, s *Server, key string) provider.Provider {
	t.Helper()
	base := s.EnergyCharts()
	if kind == provider.TypeElectricityMaps {
		base = s.ElectricityMaps()
	}
	p, err := provider.New(provider.Config{
		Type: kind, BaseURL: base, Credentials: provider.Credentials{Key: provider.NewSecret(key)},
		Options: provider.Options{
			Now: func() time.Time { return noon }, Timeout: 200 * time.Millisecond,
			Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheShippedClientsReadForecastAndPast(t *testing.T) {
	for _, kind := range []provider.Type{provider.TypeEnergyCharts, provider.TypeElectricityMaps} {
		t.Run(string(kind), func(t *testing.T) {
			var boundaries []time.Time
			for at := noon.Truncate(time.Hour); at.Before(noon.Add(time.Hour)); at = at.Add(5 * time.Second) {
				boundaries = append(boundaries, at)
			}
			s := start(t, Behaviour{Keys: []string{"k"}, Boundaries: boundaries})
			p := ask(t, kind, s, "k")
			expected, err := p.Forecast(t.Context(), "DE")
			if err != nil {
				t.Fatal(err)
			}
			past, err := p.Past(t.Context(), "DE", noon.AddDate(0, 0, -56), noon)
			if err != nil || past.Incomplete != nil {
				t.Fatal(err, past.Incomplete)
			}
			for at, reading := range map[time.Time]provider.Reading{
				noon: expected, noon.Add(70 * time.Hour): expected, noon.AddDate(0, 0, -55): past, noon.Add(-8 * time.Minute): past,
			} {
				want, _ := byHour("DE", at)
				if got, ok := reading.Series.At(at); !ok || got != want {
					t.Errorf("at %s: %v, want %v", at, got, want)
				}
			}
			if end, _ := expected.Series.NextBoundary(noon); !end.Equal(noon.Add(5 * time.Second)) {
				t.Errorf("the running slot ends at %s, want 5 seconds after %s", end, noon)
			}
			if !past.Series.End().Equal(noon) {
				t.Errorf("the past ends at %s", past.Series.End())
			}
			if asked := s.Requests(OfZone("de")); len(asked) < 4 || asked[0].Status != 200 || !strings.Contains(asked[0].UserAgent, "gridlatch") {
				t.Errorf("requests: %+v", asked)
			}
		})
	}
}

func TestFailuresAreThoseOfTheRealServers(t *testing.T) {
	for name, tt := range map[string]struct {
		behaviour Behaviour
		key, zone string
		want      error
		says      string
	}{
		"a wrong key":              {Behaviour{Keys: []string{"right"}}, "wrong", "DE", provider.ErrRefusedKey, "invalid auth-token"},
		"a plan without forecasts": {Behaviour{Keys: []string{"k"}, Plan: PlanOfHistory}, "k", "DE", provider.ErrNotInPlan, "your plan"},
		"a zone that nobody knows": {Behaviour{Keys: []string{"k"}}, "k", "ATLANTIS", provider.ErrUnknownZone, "no such zone"},
		"an hour of patience":      {Behaviour{Failure: AskedTooOften(time.Hour)}, "k", "DE", provider.ErrRateLimited, "429"},
		"an overloaded server":     {Behaviour{Failure: Unavailable}, "k", "DE", nil, "503"},
		"no server":                {Behaviour{Failure: Gone}, "k", "DE", nil, "EOF"},
		"a body that is cut off":   {Behaviour{Failure: CutOff}, "k", "DE", nil, "cut off after"},
		"JSON that ends too early": {Behaviour{Failure: Garbled}, "k", "DE", provider.ErrUnreadable, "the JSON is broken"},
		"a page of HTML":           {Behaviour{Failure: Page}, "k", "DE", provider.ErrUnreadable, "HTML"},
		"a slow server":            {Behaviour{Keys: []string{"k"}, Failure: Slow(time.Minute)}, "k", "DE", nil, "deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, tt.behaviour)
			_, err := ask(t, provider.TypeElectricityMaps, s, tt.key).Forecast(t.Context(), tt.zone)
			if err == nil || !strings.Contains(err.Error(), tt.says) || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v", err)
			}
			s.Change(func(b *Behaviour) { b.Failure, b.Plan, b.Keys = nil, PlanWithForecast, []string{tt.key} })
			if _, err := ask(t, provider.TypeElectricityMaps, s, tt.key).Forecast(t.Context(), "DE"); err != nil {
				t.Errorf("once all is well: %v", err)
			}
		})
	}
}

func TestWhatSmallPlansHave(t *testing.T) {
	for plan, hours := range map[Plan]float64{PlanOfHistory: 24, PlanOfLatest: 0.2} {
		s := start(t, Behaviour{Keys: []string{"k"}, Plan: plan})
		past, err := ask(t, provider.TypeElectricityMaps, s, "k").Past(t.Context(), "DE", noon.AddDate(0, 0, -56), noon)
		if err != nil || past.Incomplete == nil {
			t.Fatalf("%s: %v, incomplete: %v", plan, err, past.Incomplete)
		}
		if got := past.Series.End().Sub(past.Series.Start()).Hours(); math.Abs(got-hours) > 1 {
			t.Errorf("%s: %.1f hours of the past, want %.1f", plan, got, hours)
		}
	}
}

func TestAnUnchangedAnswerIsNotSentAgain(t *testing.T) {
	s := start(t, Behaviour{})
	p := ask(t, provider.TypeEnergyCharts, s, "")
	for range 2 {
		if _, err := p.Forecast(t.Context(), "DE"); err != nil {
			t.Fatal(err)
		}
	}
	if asked := s.Requests(); len(asked) != 2 || asked[0].Status != 200 || asked[1].Status != 304 {
		t.Errorf("requests: %+v", asked)
	}
}
