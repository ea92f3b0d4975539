package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// late is a grid whose provider tells a day late how the intensity was. Another server, which answers as
// Energy-Charts does, tells at once, and counts twice as much.
type late struct{ now time.Time }

// intensity is that of an hour, which nobody can tell from the hour of the day.
func (late) intensity(hour time.Time) float64 { return 200 + float64(hour.Unix()/3600%17)*10 }

// ServeHTTP answers with the past, as the provider or as the other server.
func (g late) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := g.now.Add(-50 * 24 * time.Hour)
	if strings.HasPrefix(r.URL.Path, "/past") {
		fmt.Fprintln(w, "timestamp,intensity")
		for hour := begin; hour.Before(g.now.Add(-24 * time.Hour)); hour = hour.Add(time.Hour) {
			fmt.Fprintf(w, "%s,%.2f\n", hour.Format(time.RFC3339), g.intensity(hour))
		}
		return
	}
	var seconds []int64
	var values []float64
	for hour := begin; hour.Before(g.now); hour = hour.Add(time.Hour) {
		for quarter := range 4 {
			seconds, values = append(seconds, hour.Unix()+int64(quarter)*900), append(values, 2*g.intensity(hour))
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"unix_seconds": seconds, "co2eq": values, "co2eq_forecast": values})
}

// TestASecondSourceTellsWhatTheProviderTellsLate is the chain from two servers to the status of a policy.
func TestASecondSourceTellsWhatTheProviderTellsLate(t *testing.T) {
	const policy, place = "late", "DE"
	grid := late{time.Now().UTC().Truncate(time.Hour)}
	s := httptest.NewServer(grid)
	t.Cleanup(s.Close)
	cluster.Exporter(t)
	p := v1alpha1.Default()
	p.Name, p.Spec.Locations = policy, []v1alpha1.Location{{Name: place}}
	p.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "HTTP", HTTP: &v1alpha1.HTTPProvider{PastURL: s.URL + "/past"}}
	p.Spec.Forecast.Actuals = &v1alpha1.ActualsSource{Type: "EnergyCharts", BaseURL: s.URL + "/charts"}
	create(t, cluster, p)
	t.Cleanup(func() { _ = cluster.Client.Delete(t.Context(), p) })
	awaitPublished(t, cluster, policy, func(d forecast.Document) error {
		newest := grid.now.Add(-time.Hour)
		if got, ok := d.Levelled[place].At(newest); !ok || got != grid.intensity(newest) || !d.Actuals[place].End().Equal(grid.now.Add(-24*time.Hour)) {
			return fmt.Errorf("the second source has %v, %t, the provider's past ends at %s, %+v, message %q", got, ok, d.Actuals[place].End(), d.Details[place].Second, d.Message)
		}
		return nil
	})
	awaitPolicy(t, policy, func(p *v1alpha1.CarbonPolicy) error {
		if len(p.Status.Locations) != 1 {
			return fmt.Errorf("status %+v", p.Status)
		}
		l := p.Status.Locations[0]
		want := "Energy-Charts (zone DE) until " + grid.now.Format("Jan 2 15:04") + ", times 0.50"
		if l.SecondSource != want || l.ActualUntil == nil || !l.ActualUntil.Time.Equal(grid.now.Add(-24*time.Hour)) || l.UsualError == nil {
			return fmt.Errorf("status %+v, want the second source %q", l, want)
		}
		return nil
	})
}
