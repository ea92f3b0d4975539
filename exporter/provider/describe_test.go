package provider

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"
)

// TestEightWeeksCostFewRequests has a server that has nothing, so that only the requests count.
func TestEightWeeksCostFewRequests(t *testing.T) {
	for kind, want := range map[Type]int{
		TypeElectricityMaps: 6, TypeWattTime: 2, TypeUKCarbonIntensity: 5, TypeEnergyCharts: 1, TypeEnerginet: 1, TypeGridCarbon: 1, TypeCarbonAwareSDK: 8, TypeHTTP: 1,
	} {
		t.Run(string(kind), func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/login" {
					_, _ = w.Write([]byte(`{"token":"t"}`))
					return
				}
				w.WriteHeader(http.StatusNoContent)
			})
			p := makeProvider(t, kind, s, newClock(), func(c *Config) { c.PastURL = s.URL })
			_, err := p.Past(t.Context(), map[Type]string{TypeUKCarbonIntensity: "GB", TypeEnerginet: "DK1"}[kind], noon.AddDate(0, 0, -56), noon)
			asked := slices.DeleteFunc(s.paths(), func(path string) bool { return path == "/login" })
			if !errors.Is(err, ErrNoData) || len(asked) != want {
				t.Errorf("asked %d times, want %d: %v", len(asked), want, err)
			}
		})
	}
}

// TestAskingAsOftenAsThereIsNewsKeepsTheLimit has a cluster of many zones that asks for a forecast and
// for the past of each zone.
func TestAskingAsOftenAsThereIsNewsKeepsTheLimit(t *testing.T) {
	s := answers(t, "")
	for kind, zones := range map[Type]int{
		TypeElectricityMaps: 64, TypeWattTime: 64, TypeUKCarbonIntensity: 18, TypeEnergyCharts: 40, TypeEnerginet: 2, TypeGridCarbon: 45, TypeCarbonAwareSDK: 64, TypeHTTP: 64,
	} {
		d := makeProvider(t, kind, s, newClock(), func(c *Config) { c.ForecastURL = s.URL }).Describe()
		if takes := time.Duration(2*zones) * d.Limit.Per / time.Duration(d.Limit.Requests); d.Rhythm <= 0 || takes > d.Rhythm {
			t.Errorf("%s: %d zones take %v, and there is news every %v", kind, zones, takes, d.Rhythm)
		}
	}
}
