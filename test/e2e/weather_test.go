package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// windy is a grid whose intensity follows the wind, which nobody can tell from the hour of the day. The
// hour gale is the windiest of the time to come.
type windy struct{ now, gale time.Time }

// wind returns the wind of an hour in m/s.
func (g windy) wind(hour time.Time) float64 {
	mixed := uint64(hour.Unix()/3600) * 0x9e3779b97f4a7c15
	mixed = (mixed ^ mixed>>29) * 0xbf58476d1ce4e5b9
	scattered := float64(mixed>>40) / (1 << 24)
	switch {
	case hour.Equal(g.gale):
		return 20
	case hour.Before(g.now) && scattered > 0.85:
		return 3 + 17*scattered
	default:
		return 3 + 2*scattered
	}
}

// ServeHTTP answers with the past of the grid, and with its weather.
func (g windy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	isWeather := strings.HasPrefix(r.URL.Path, "/weather")
	until := g.now
	if isWeather {
		until = g.now.Add(48 * time.Hour)
		fmt.Fprintln(w, "timestamp,wind_speed_10m")
	} else {
		fmt.Fprintln(w, "timestamp,intensity")
	}
	for hour := g.now.Add(-50 * 24 * time.Hour); hour.Before(until); hour = hour.Add(time.Hour) {
		value := g.wind(hour)
		if !isWeather {
			value = 500 - 20*value
		}
		fmt.Fprintf(w, "%s,%.2f\n", hour.Format(time.RFC3339), value)
	}
}

// TestAJobWaitsForTheWind is the whole chain without any forecast of a provider: a server tells how the
// intensity was, another tells the weather, and the Job waits for the hour with the strongest wind.
func TestAJobWaitsForTheWind(t *testing.T) {
	const policy, place = "windy", "WINDLAND"
	now := time.Now().UTC().Truncate(time.Hour)
	grid := windy{now: now, gale: now.Add(7 * time.Hour)}
	s := httptest.NewServer(grid)
	t.Cleanup(s.Close)
	cluster.Exporter(t)
	p := v1alpha1.Default()
	p.Name, p.Spec.Locations = policy, []v1alpha1.Location{{Name: place}}
	p.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "HTTP", HTTP: &v1alpha1.HTTPProvider{PastURL: s.URL + "/past"}}
	p.Spec.Forecast.Weather = &v1alpha1.WeatherSource{Type: "HTTP", URL: s.URL + "/weather"}
	create(t, cluster, p)
	t.Cleanup(func() { _ = cluster.Client.Delete(t.Context(), p) })
	awaitPublished(t, cluster, policy, func(d forecast.Document) error {
		if known := d.Actuals[place]; known.IsEmpty() || known.End().Sub(known.Start()) < 40*24*time.Hour || len(d.Weather[place]) < 40*24 {
			return fmt.Errorf("past from %s to %s, %d hours of weather, message %q", known.Start(), known.End(), len(d.Weather[place]), d.Message)
		}
		return nil
	})
	awaitPolicy(t, policy, func(p *v1alpha1.CarbonPolicy) error {
		if len(p.Status.Locations) != 1 || p.Status.Locations[0].UsualError == nil {
			return fmt.Errorf("status %+v", p.Status)
		}
		return nil
	})
	ns := namespace(t, cluster)
	create(t, cluster, job(ns, "sailor", map[string]string{
		v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "50m", v1alpha1.PolicyAnnotation: policy,
	}, 1))
	held := awaitGated(t, cluster, ns, 1)[0]
	planned, err := time.Parse(time.RFC3339, held.Annotations[v1alpha1.PlannedStartAnnotation])
	reason := held.Annotations[v1alpha1.ReasonAnnotation]
	if err != nil || planned.Sub(grid.gale).Abs() > 10*time.Minute || !strings.Contains(reason, "by weather") {
		t.Errorf("planned for %s, the gale is at %s: %v: %s", planned, grid.gale, err, reason)
	}
}
