package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
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

// TestAnExporterThatIsKilledLosesNothing kills it between two writes, when it has the forecast and a part of the past.
func TestAnExporterThatIsKilledLosesNothing(t *testing.T) {
	const policy, place = "default", "DOVER"
	c, _ := ownCluster(t)
	slow := gridserver.Slow(2 * time.Second)
	s := provider(t, gridserver.Behaviour{Failure: func(w http.ResponseWriter, r *http.Request) bool {
		_, _, isPast := askedPast(r.URL.Path)
		return isPast && slow(w, r)
	}})
	first := c.Exporter(t)
	providerPolicy(t, c, policy, inBritain(s), v1alpha1.Location{Name: place, Zone: "GB"})
	awaitPublished(t, c, policy, func(d forecast.Document) error {
		if d.Series[place].IsEmpty() || d.Actuals[place].IsEmpty() {
			return fmt.Errorf("nothing of the past is written yet")
		}
		return nil
	})
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	_, left, err := published(t.Context(), c, policy)
	if err != nil {
		t.Fatal(err)
	}
	known := left.Actuals[place].Start()
	if known.Before(killed.AddDate(0, 0, -50)) {
		t.Fatalf("the whole past since %s was there when the exporter was killed", known)
	}
	s.Change(func(b *gridserver.Behaviour) { b.Failure = nil })
	second := c.Exporter(t)
	awaitPublished(t, c, policy, wholePast(place))
	for _, r := range s.Requests(ofThePast, since(killed)) {
		if from, to, _ := askedPast(r.Path); to.After(known.AddDate(0, 0, 3)) {
			t.Errorf("asked again for %s to %s, and the past since %s was known", from, to, known)
		}
	}

	// the whole past is known now: nothing of it is asked for again
	if err := second.Kill(); err != nil {
		t.Fatal(err)
	}
	killed = time.Now()
	third := c.Exporter(t)
	awaitLeader(t, third)
	if asked := s.Requests(ofThePast, since(killed)); len(asked) > 0 {
		t.Errorf("asked again for %+v", asked)
	}
	if _, d, err := published(t.Context(), c, policy); err != nil || wholePast(place)(d) != nil {
		t.Errorf("after another restart: %v, %v", wholePast(place)(d), err)
	}
}

// awaitLeader waits until an exporter tells of a forecast, and so has read what there is.
func awaitLeader(t *testing.T, e *env.Program) {
	t.Helper()
	env.Eventually(t, exportPatience, func(ctx context.Context) error {
		age, err := e.Metric(ctx, "gridlatch_export_forecast_age_seconds")
		if err == nil && age == 0 {
			err = fmt.Errorf("it knows no forecast yet")
		}
		return err
	})
}

// TestOfTwoExportersOneWrites takes the one that writes away.
func TestOfTwoExportersOneWrites(t *testing.T) {
	const policy, place = "default", "LEEDS"
	c, _ := ownCluster(t)
	s := provider(t, gridserver.Behaviour{Failure: gridserver.Gone})
	first := c.Exporter(t)
	providerPolicy(t, c, policy, inBritain(s), v1alpha1.Location{Name: place, Zone: "GB"})
	awaitMessage(t, c, policy, "EOF") // the provider is down for a while
	second := c.Exporter(t)
	s.Change(func(b *gridserver.Behaviour) { b.Failure = nil })
	awaitPublished(t, c, policy, wholePast(place))
	writes := func(e *env.Program) float64 {
		n, err := e.Metric(t.Context(), "gridlatch_export_writes_total")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if a, b := writes(first), writes(second); a == 0 || b > 0 {
		t.Errorf("the first wrote %v times, the second %v times, want the first alone", a, b)
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitLeader(t, second)
	if _, err := c.Kubectl(t.Context(), "delete", "configmap", v1alpha1.ForecastConfigMap(policy), "-n", env.Namespace); err != nil {
		t.Fatal(err)
	}
	awaitPublished(t, c, policy, wholePast(place))
	if n := writes(second); n == 0 {
		t.Error("the second has written nothing")
	}
}

// TestTheRegionOfTheNodesIsEnough has no policy at all, only nodes with the label that clouds give them. The public
// hosts of the providers are behind a proxy, as in a company.
func TestTheRegionOfTheNodesIsEnough(t *testing.T) {
	c, _ := ownCluster(t)
	s := provider(t, gridserver.Behaviour{})
	dir := t.TempDir()
	if _, err := env.WriteCertificate(dir, gridserver.Hosts()...); err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := s.Proxy(certificate)
	if err != nil {
		t.Fatal(err)
	}
	e := c.Exporter(t, "HTTPS_PROXY="+proxy, "NO_PROXY=", "no_proxy=", "--ca-file="+filepath.Join(dir, "ca.crt"))
	awaitMessage(t, c, "", "the region \"local\" of the nodes is not in Gridlatch's table of regions")

	label := func(region string) {
		t.Helper()
		if _, err := c.Kubectl(t.Context(), "label", "nodes", "--all", "--overwrite", corev1.LabelTopologyRegion+"="+region); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ region, zone, source string }{
		{"europe-west2", "GB", "Carbon Intensity API (GB)"}, {"eu-central-1", "DE", "Energy-Charts"},
	} {
		label(tt.region)
		d := awaitPublished(t, c, "", hasForecast(tt.zone))
		if got := d.Details[tt.zone]; got.Origin.Provider != tt.source || got.Attribution == "" {
			t.Errorf("%s: details %+v, want %s", tt.region, got, tt.source)
		}
		ns := namespace(t, c)
		env.Eventually(t, exportPatience, func(ctx context.Context) error { return decidedBy(ctx, c, ns, tt.zone) })
	}
	label("us-west-2")
	awaitMessage(t, c, "", "in us-west-2: name a provider in spec.forecast.provider of the CarbonPolicy default")
	if n, err := e.Metric(t.Context(), "gridlatch_export_problem", `policy=""`); err != nil || n != 1 {
		t.Errorf("gridlatch_export_problem is %v: %v", n, err)
	}
}

// decidedBy wants a pod that may wait to be decided on by the forecast of a location.
func decidedBy(ctx context.Context, c *env.Cluster, namespace, location string) error {
	probe := pod(namespace, "probe", longTolerant())
	if err := c.Client.Create(ctx, probe, client.DryRunAll); err != nil {
		return err
	}
	if reason := probe.Annotations[v1alpha1.ReasonAnnotation]; !strings.Contains(reason, " in "+location) {
		return fmt.Errorf("reason %q, want it to name %s", reason, location)
	}
	return nil
}
