package e2e

import (
	"context"
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

// A windyOperator is the operator of a windy grid, in the format of Elexon. The weather of its grid is always the
// same, so that only the operator knows when the wind comes.
type windyOperator struct{ windy }

// ServeHTTP answers with the past of the grid, with its weather, and with what the operator expects.
func (g windyOperator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const load = 40_000
	quantity := func(time.Time) float64 { return load }
	switch {
	case strings.HasPrefix(r.URL.Path, "/weather"):
		fmt.Fprintf(w, "timestamp,wind_speed_10m\n%s,5\n%s,5\n", g.now.Format(time.RFC3339), g.now.Add(time.Hour).Format(time.RFC3339))
		return
	case strings.HasPrefix(r.URL.Path, "/elexon/forecast/generation"):
		quantity = func(hour time.Time) float64 { return load * g.wind(hour) / 40 }
	case !strings.HasPrefix(r.URL.Path, "/elexon"):
		g.windy.ServeHTTP(w, r)
		return
	}
	from, _ := time.Parse("2006-01-02T15:04Z", r.URL.Query().Get("from"))
	rows := []string{}
	for hour := from.Truncate(time.Hour); hour.Before(from.Add(7*24*time.Hour)) && hour.Before(g.now.Add(48*time.Hour)); hour = hour.Add(time.Hour) {
		rows = append(rows, fmt.Sprintf(`{"startTime":%q,"psrType":"Wind Onshore","quantity":%.1f}`, hour.Format(time.RFC3339), quantity(hour)))
	}
	fmt.Fprintf(w, `{"data":[%s]}`, strings.Join(rows, ","))
}

// TestAJobWaitsForWhatTheOperatorExpects is the chain from the operator of a grid to a Job: the weather says
// nothing, and the Job waits for the hour in which the operator expects the most wind.
func TestAJobWaitsForWhatTheOperatorExpects(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Hour)
	operator := windyOperator{windy{now: now, gale: now.Add(7 * time.Hour)}}
	s := httptest.NewServer(operator)
	t.Cleanup(s.Close)
	p := v1alpha1.Default()
	p.Name, p.Spec.Locations = "operated", []v1alpha1.Location{{Name: "GB"}}
	p.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "HTTP", HTTP: &v1alpha1.HTTPProvider{PastURL: s.URL + "/past"}}
	p.Spec.Forecast.Weather = &v1alpha1.WeatherSource{Type: "HTTP", URL: s.URL + "/weather"}
	p.Spec.Forecast.Renewables = &v1alpha1.RenewablesSource{Type: "Elexon", BaseURL: s.URL + "/elexon"}
	isHeard := func(hour forecast.WeatherHour) bool { return hour.WindShare > 0 }
	checkThatAJobWaits(t, p, operator.gale, isHeard)
}

// TestAJobWaitsForTheWind is the whole chain without any forecast of a provider: a server tells how the
// intensity was, another tells the weather, and the Job waits for the hour with the strongest wind.
func TestAJobWaitsForTheWind(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Hour)
	grid := windy{now: now, gale: now.Add(7 * time.Hour)}
	s := httptest.NewServer(grid)
	t.Cleanup(s.Close)
	p := v1alpha1.Default()
	p.Name, p.Spec.Locations = "windy", []v1alpha1.Location{{Name: "WINDLAND"}}
	p.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "HTTP", HTTP: &v1alpha1.HTTPProvider{PastURL: s.URL + "/past"}}
	p.Spec.Forecast.Weather = &v1alpha1.WeatherSource{Type: "HTTP", URL: s.URL + "/weather"}
	checkThatAJobWaits(t, p, grid.gale, func(forecast.WeatherHour) bool { return true })
}

// checkThatAJobWaits creates a policy and a Job. Once enough weather that counts is known, the Job must wait for
// the gale.
func checkThatAJobWaits(t *testing.T, p *v1alpha1.CarbonPolicy, gale time.Time, counts func(forecast.WeatherHour) bool) {
	t.Helper()
	place := p.Spec.Locations[0].Name
	cluster.Exporter(t)
	create(t, cluster, p)
	t.Cleanup(func() { _ = cluster.Client.Delete(context.WithoutCancel(t.Context()), p) })
	awaitPublished(t, cluster, p.Name, func(d forecast.Document) error {
		known, heard := d.Actuals[place], 0
		for _, hour := range d.Weather[place] {
			if counts(hour) {
				heard++
			}
		}
		if known.IsEmpty() || known.End().Sub(known.Start()) < 40*24*time.Hour || heard < 40*24 {
			return fmt.Errorf("past from %s to %s, %d hours of weather, message %q", known.Start(), known.End(), heard, d.Message)
		}
		return nil
	})
	awaitPolicy(t, p.Name, func(p *v1alpha1.CarbonPolicy) error {
		if len(p.Status.Locations) != 1 || p.Status.Locations[0].UsualError == nil {
			return fmt.Errorf("status %+v", p.Status)
		}
		return nil
	})
	ns := namespace(t, cluster)
	create(t, cluster, job(ns, "sailor", map[string]string{
		v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "50m", v1alpha1.PolicyAnnotation: p.Name,
	}, 1))
	held := awaitGated(t, cluster, ns, 1)[0]
	planned, err := time.Parse(time.RFC3339, held.Annotations[v1alpha1.PlannedStartAnnotation])
	reason := held.Annotations[v1alpha1.ReasonAnnotation]
	if err != nil || planned.Sub(gale).Abs() > 10*time.Minute || !strings.Contains(reason, "by weather") {
		t.Errorf("planned for %s, the gale is at %s: %v: %s", planned, gale, err, reason)
	}
}
