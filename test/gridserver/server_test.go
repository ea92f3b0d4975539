package gridserver

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/test/env"
)

// noon is when the tests take place.
var noon = time.Date(2026, time.November, 26, 12, 7, 0, 0, time.UTC)

// byHour is the intensity of the zones DE and GB: 100 more than the hour of the day.
func byHour(zone string, at time.Time) (float64, bool) {
	return 100 + float64(at.UTC().Hour()), zone == "DE" || zone == "GB"
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

// baseURL returns where the server answers as a provider.
func baseURL(kind provider.Type, s *Server) string {
	return map[provider.Type]string{
		provider.TypeEnergyCharts: s.EnergyCharts(), provider.TypeElectricityMaps: s.ElectricityMaps(), provider.TypeUKCarbonIntensity: s.UKCarbonIntensity(),
	}[kind]
}

// ask returns the client that ships, which asks the server.
func ask(t *testing.T, kind provider.Type, s *Server, key string) provider.Provider {
	t.Helper()
	p, err := provider.New(provider.Config{
		Type: kind, BaseURL: baseURL(kind, s), Credentials: provider.Credentials{Key: provider.NewSecret(key)},
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
	for kind, zone := range map[provider.Type]string{
		provider.TypeEnergyCharts: "DE", provider.TypeElectricityMaps: "DE", provider.TypeUKCarbonIntensity: "GB",
	} {
		t.Run(string(kind), func(t *testing.T) {
			var boundaries []time.Time
			for at := noon.Truncate(time.Hour); at.Before(noon.Add(time.Hour)); at = at.Add(5 * time.Second) {
				boundaries = append(boundaries, at)
			}
			s := start(t, Behaviour{Keys: []string{"k"}, Boundaries: boundaries})
			p := ask(t, kind, s, "k")
			expected, err := p.Forecast(t.Context(), zone)
			if err != nil {
				t.Fatal(err)
			}
			past, err := p.Past(t.Context(), zone, noon.AddDate(0, 0, -56), noon)
			if err != nil || past.Incomplete != nil {
				t.Fatal(err, past.Incomplete)
			}
			for at, reading := range map[time.Time]provider.Reading{
				noon: expected, noon.Add(40 * time.Hour): expected, noon.AddDate(0, 0, -55): past, noon.Add(-8 * time.Minute): past,
			} {
				want, _ := byHour("DE", at)
				if got, ok := reading.Series.At(at); !ok || got != want {
					t.Errorf("at %s: %v, want %v", at, got, want)
				}
			}
			end, _ := expected.Series.NextBoundary(noon)
			if kind != provider.TypeUKCarbonIntensity && !end.Equal(noon.Add(5*time.Second)) {
				t.Errorf("the running slot ends at %s, want 5 seconds after %s", end, noon)
			}
			if !past.Series.End().Equal(noon) {
				t.Errorf("the past ends at %s", past.Series.End())
			}
			if asked := s.Requests(AtPath("/")); len(asked) < 2 || asked[0].Status != 200 || !strings.Contains(asked[0].UserAgent, "gridlatch") {
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

func TestThePastEndsNow(t *testing.T) {
	for kind, zone := range map[provider.Type]string{
		provider.TypeEnergyCharts: "DE", provider.TypeElectricityMaps: "DE", provider.TypeUKCarbonIntensity: "GB",
	} {
		s := start(t, Behaviour{Keys: []string{"k"}})
		// The clock of the client is ahead.
		p, err := provider.New(provider.Config{
			Type: kind, BaseURL: baseURL(kind, s), Credentials: provider.Credentials{Key: provider.NewSecret("k")},
			Options: provider.Options{Now: func() time.Time { return noon.Add(30 * time.Hour) }},
		})
		if err != nil {
			t.Fatal(err)
		}
		past, err := p.Past(t.Context(), zone, noon.Add(-30*time.Hour), noon.Add(30*time.Hour))
		if err != nil || past.Series.End().After(noon.Add(time.Hour)) {
			t.Errorf("%s: until %s: %v", kind, past.Series.End(), err)
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

// TestTheProxyStandsInForThePublicHosts runs itself in a process of its own, since a process reads the
// environment's proxy once.
func TestTheProxyStandsInForThePublicHosts(t *testing.T) {
	const ca = "GRIDLATCH_TEST_CA"
	if path := os.Getenv(ca); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for kind, zone := range map[provider.Type]string{provider.TypeEnergyCharts: "DE", provider.TypeUKCarbonIntensity: "GB"} {
			p, err := provider.New(provider.Config{Type: kind, Options: provider.Options{Now: func() time.Time { return noon }, CA: pem}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Forecast(t.Context(), zone); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		return
	}
	dir, s := t.TempDir(), start(t, Behaviour{})
	if _, err := env.WriteCertificate(dir, Hosts()...); err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	url, err := s.Proxy(certificate)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), ca+"="+filepath.Join(dir, "ca.crt"), "HTTPS_PROXY="+url, "NO_PROXY=", "no_proxy=")
	if output, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if len(s.Requests(AtPath("/uk/"))) == 0 || len(s.Requests(AtPath("/energy-charts/"))) == 0 {
		t.Errorf("requests: %+v", s.Requests())
	}
}
