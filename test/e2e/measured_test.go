package e2e

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
	"github.com/gridlatch/gridlatch/test/env"
)

// The ledger asks for the energy of work five minutes after the end of the work, because samples may come late. Here
// they come within a second. So the clock of Gridlatch is ahead by most of the five minutes: the ledger asks
// askedAfter after the end.
const (
	askedAfter = 20 * time.Second
	clockAhead = 5*time.Minute - askedAfter
)

// policyWithMeter is the policy default with a Prometheus at an address.
const policyWithMeter = `
apiVersion: gridlatch.dev/v1alpha1
kind: CarbonPolicy
metadata: {name: default}
spec: {accounting: {pue: "1.5", prometheus: {address: "http://%s"}}}
`

// TestMeasuredEnergyIsBooked has a real Prometheus scrape what Kepler would serve. Then the Prometheus cannot be
// reached for a while.
func TestMeasuredEnergyIsBooked(t *testing.T) {
	env.RequirePrometheus(t)
	t.Parallel()
	c := env.Start(t, env.Nodes(2))
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	g := c.ShiftedGridlatch(t, clockAhead, "--ledger-interval=2s")
	k := startKepler(t, c, func(job string, i int) bool { return job != "unknown" && (job != "half-known" || i == 0) })
	prometheus := env.PrometheusOf(t, k.target())
	link, err := env.NewLink("127.0.0.1:0", strings.TrimPrefix(prometheus.Metrics, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = link.Close() })
	if _, err := c.KubectlInput(t.Context(), fmt.Sprintf(policyWithMeter, link.Address), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	if err := c.Forecast(t.Context(), env.Elements(location, time.Now().Add(-time.Hour), 3*time.Hour, 300)...); err != nil {
		t.Fatal(err)
	}
	awaitIntensity(t, c, 300)

	ns := namespace(t, c)
	retried := requesting(job(ns, "retried", atOnce(), 1), "8s")
	create(t, c, retried, requesting(job(ns, "known", atOnce(), 2), "15s"), requesting(job(ns, jobOfOldKepler, atOnce(), 1), "12s"),
		requesting(job(ns, "unknown", atOnce(), 1), "8s"), requesting(job(ns, "half-known", atOnce(), 2), "8s"))
	failFirst(t, c, retried)
	found := awaitBooked(t, c, ns, "retried", "known", jobOfOldKepler, "unknown", "half-known")
	for _, name := range []string{"retried", "known", jobOfOldKepler} {
		isMeasured(t, found[name], k.truth(name))
	}
	if joules, failed := joulesOf(found["retried"]); failed <= 0 || failed >= joules {
		t.Errorf("of %v J of what was retried, %v J failed", joules, failed)
	}
	for _, name := range []string{"unknown", "half-known"} {
		if joules, _ := joulesOf(found[name]); found[name].Energy != energy.Modelled || joules <= 0 || joules > 0.8*k.truth(name) {
			t.Errorf("what Kepler does not know whole has %v J, %s, and used %v J: %+v", joules, found[name].Energy, k.truth(name), found[name])
		}
	}

	create(t, c, requesting(job(ns, "late", atOnce(), 1), "12s"))
	ended := awaitComplete(t, c, ns, "late").Status.CompletionTime.Time
	awaitScraped(t, prometheus, "late")
	link.SetEnds()
	link.Drop()
	waitsForMeter(t, c, g, ns, ended)
	link.SetEnds(strings.TrimPrefix(prometheus.Metrics, "http://"))
	isMeasured(t, awaitBooked(t, c, ns, "late")["late"], k.truth("late"))
}

// waitsForMeter waits until the ledger has asked for the Job late, and fails the test if it books the Job without an
// answer. The ledger would book it as modelled after a day.
func waitsForMeter(t *testing.T, c *env.Cluster, g *env.Controller, ns string, ended time.Time) {
	t.Helper()
	before, err := g.Metric(t.Context(), "gridlatch_ledger_failures_total")
	if err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, patience, func(ctx context.Context) error {
		failures, err := g.Metric(ctx, "gridlatch_ledger_failures_total")
		if err == nil && failures < before+3 {
			err = fmt.Errorf("%v attempts have failed, and %v before", failures, before)
		}
		return err
	})
	if after := time.Since(ended); after < askedAfter {
		t.Errorf("the ledger has asked %v after the end: the test shows nothing of the margin", after)
	}
	found, err := booked(t.Context(), c, ns)
	if _, isBooked := found["late"]; isBooked || err != nil {
		t.Errorf("%+v is booked without an answer of the meter: %v", found["late"], err)
	}
	if !strings.Contains(g.Log(), "ask Prometheus for measured energy") {
		t.Error("the log does not tell that Prometheus cannot be reached")
	}
}

// isMeasured fails the test unless a group is measured, and has 1.5 times the joules that its pods used, within 5 %.
func isMeasured(t *testing.T, g ledger.Group, used float64) {
	t.Helper()
	joules, _ := joulesOf(g)
	want := 1.5 * used
	t.Logf("%s has %.1f J; it used %.1f J, times 1.5", g.Name, joules, used)
	if g.Energy != energy.Measured || !(math.Abs(joules-want) <= 0.05*want) || want == 0 {
		t.Errorf("%s is booked with %v J, %s, want %v J, Measured", g.Name, joules, g.Energy, want)
	}
}

// joulesOf returns the energy of a group, and the part that failed.
func joulesOf(g ledger.Group) (joules, failed float64) {
	for _, s := range g.Steps {
		joules += s.Watts * s.End.Sub(s.Start).Seconds()
		failed += s.FailedWatts * s.End.Sub(s.Start).Seconds()
	}
	return joules, failed
}
