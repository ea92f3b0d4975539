package e2e

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/test/gridserver"
)

// exportPatience is for what an exporter does that has to be elected first, or that looks at a Secret again.
const exportPatience = 100 * time.Second

// usual is the intensity of a grid that is the same every day, and dirtiest at this time of the day.
func usual() func(at time.Time) float64 {
	now := time.Now().Truncate(time.Hour)
	return func(at time.Time) float64 {
		return 400 + 50*math.Cos(2*math.Pi*at.Truncate(time.Hour).Sub(now).Hours()/24)
	}
}

// cleanAt is the intensity of every zone of a grid that is clean for two seconds from an instant on.
func cleanAt(clean time.Time) gridserver.Intensity {
	otherwise := usual()
	return func(_ string, at time.Time) (float64, bool) {
		if !at.Before(clean) && at.Before(clean.Add(2*time.Second)) {
			return 120, true
		}
		return otherwise(at), true
	}
}

// inSeconds returns when slots begin that are two seconds long, for half an hour.
func inSeconds() []time.Time {
	var boundaries []time.Time
	start := time.Now().UTC().Truncate(15 * time.Minute)
	for at := start; at.Before(start.Add(30 * time.Minute)); at = at.Add(2 * time.Second) {
		boundaries = append(boundaries, at)
	}
	return boundaries
}

// inBritain is a provider without a key that may be asked once a second.
func inBritain(s *gridserver.Server) v1alpha1.ForecastProvider {
	return v1alpha1.ForecastProvider{Type: "UKCarbonIntensity", BaseURL: s.UKCarbonIntensity()}
}

// provider starts a server that answers as providers do, for as long as the test. Without an intensity, the grid is the
// same every day.
func provider(t *testing.T, b gridserver.Behaviour) *gridserver.Server {
	t.Helper()
	if b.Intensity == nil {
		b.Intensity = cleanAt(time.Time{})
	}
	s, err := gridserver.Start(b, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// providerPolicy makes a policy with a provider, for as long as the test.
func providerPolicy(t *testing.T, c *env.Cluster, name string, p v1alpha1.ForecastProvider, locations ...v1alpha1.Location) {
	t.Helper()
	policy := v1alpha1.Default()
	policy.Name, policy.Spec.Forecast.Provider, policy.Spec.Locations = name, &p, locations
	create(t, c, policy)
	t.Cleanup(func() {
		if err := client.IgnoreNotFound(c.Client.Delete(context.WithoutCancel(t.Context()), policy)); err != nil {
			t.Error(err)
		}
	})
}

// published is what the exporter has written for a policy.
func published(ctx context.Context, c *env.Cluster, policy string) (corev1.ConfigMap, forecast.Document, error) {
	var found corev1.ConfigMap
	key := client.ObjectKey{Namespace: env.Namespace, Name: v1alpha1.ForecastConfigMap(policy)}
	if err := c.Client.Get(ctx, key, &found); err != nil {
		return found, forecast.Document{}, err
	}
	document, err := forecast.FromConfigMap(found.BinaryData, found.Data, "data", time.Now())
	return found, document, err
}

// awaitPublished waits until the exporter has written what check has nothing to say on.
func awaitPublished(t *testing.T, c *env.Cluster, policy string, check func(forecast.Document) error) (document forecast.Document) {
	t.Helper()
	env.Eventually(t, exportPatience, func(ctx context.Context) (err error) {
		if _, document, err = published(ctx, c, policy); err != nil {
			return err
		}
		return check(document)
	})
	return document
}

// hasForecast wants a forecast of a location, and no message.
func hasForecast(location string) func(forecast.Document) error {
	return func(d forecast.Document) error {
		if d.Series[location].IsEmpty() || d.Message != "" {
			return fmt.Errorf("no forecast, or the message %q", d.Message)
		}
		return nil
	}
}

// wholePast wants eight weeks of the past of a location, but for a day, and no message.
func wholePast(location string) func(forecast.Document) error {
	return func(d forecast.Document) error {
		known := d.Actuals[location]
		if d.Series[location].IsEmpty() || known.IsEmpty() || known.End().Sub(known.Start()) < 55*24*time.Hour || d.Message != "" {
			return fmt.Errorf("forecast %t, past from %s to %s, message %q", !d.Series[location].IsEmpty(), known.Start(), known.End(), d.Message)
		}
		return nil
	}
}

// awaitMessage waits until the ConfigMap of a policy says something.
func awaitMessage(t *testing.T, c *env.Cluster, policy, want string) {
	t.Helper()
	env.Eventually(t, exportPatience, func(ctx context.Context) error {
		found, _, err := published(ctx, c, policy)
		if message := found.Data["message"]; want == "" && message != "" || !strings.Contains(message, want) {
			return fmt.Errorf("message %q, want %q in it (%v)", message, want, err) //nolint:errorlint // often nil
		}
		return nil
	})
}

// since holds for the requests after an instant.
func since(at time.Time) func(gridserver.Request) bool {
	return func(r gridserver.Request) bool { return r.At.After(at) }
}

// askedPast returns the part of the past that a request to the Carbon Intensity API of Great Britain is about. ok is
// false if the request is about less than what is asked for all the time.
func askedPast(path string) (from, to time.Time, ok bool) {
	const layout = "2006-01-02T15:04Z"
	parts := strings.Split(path, "/")
	from, err := time.Parse(layout, parts[len(parts)-2])
	if err == nil {
		to, err = time.Parse(layout, parts[len(parts)-1])
	}
	return from, to, err == nil && from.Before(time.Now().AddDate(0, 0, -4))
}

func ofThePast(r gridserver.Request) bool {
	_, _, ok := askedPast(r.Path)
	return ok
}
