package e2e

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

// ownCluster gives a test a cluster whose controller it may break. Such tests run
// three at a time, after those that share a cluster: they wait most of the time.
func ownCluster(t *testing.T, flags ...string) (*env.Cluster, *env.Controller) {
	t.Helper()
	t.Parallel()
	c := env.Start(t, env.Nodes(2))
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	return c, c.Gridlatch(t, flags...)
}

// cleanNow makes all that is held due whose start was planned for later than in
// two minutes. Every ten seconds are dearer than those before, so that no later
// start is as good, and none is spread.
func cleanNow(t *testing.T, c *env.Cluster) {
	t.Helper()
	const step = 10 * time.Second
	now := time.Now()
	elements := env.Elements(location, now.Add(-time.Hour), time.Hour+step, 100)
	for i := range 12 {
		elements = append(elements, env.Elements(location, now.Add(time.Duration(i+1)*step), step, float64(101+i))...)
	}
	elements = append(elements, env.Elements(location, now.Add(13*step), time.Hour, 400, 400)...)
	if err := c.Forecast(t.Context(), elements...); err != nil {
		t.Fatal(err)
	}
}

func TestAControllerKilledInMidReleaseLosesNothingAndReleasesOnce(t *testing.T) {
	const jobs, each, pods = 12, 50, 600 // a Job of hundreds would have as many connections made at once
	c, first := ownCluster(t)
	dirtyThenClean(t, c, 5*time.Minute)
	ns := namespace(t, c)
	var names []string
	for i := range jobs {
		names = append(names, fmt.Sprintf("job-%d", i))
		create(t, c, job(ns, names[i], tolerant(), each))
		awaitGatedWithin(t, c, ns, each*(i+1), patience) // a busy webhook lets pods start that would wait too long
	}
	cleanNow(t, c)
	env.Eventually(t, patience, func(ctx context.Context) error { // until some are released
		held, err := countHeld(ctx, c, ns)
		if err == nil && held == pods {
			err = fmt.Errorf("nothing is released yet")
		}
		return err
	})
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	left, err := countHeld(t.Context(), c, ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("killed with %d of %d pods left to release", left, pods)
	// dirty again: a decision that was made must stand, for all pods of a Job
	dirtyThenCleanUnseen(t, c)
	second := c.Controller(t, first.Webhook)
	// the Jobs that were on record as released go on; the others may wait anew
	states := map[string]string{}
	env.Eventually(t, time.Minute, func(ctx context.Context) error {
		all, err := podsOf(ctx, c, ns)
		if err != nil {
			return err
		}
		clear(states)
		for _, name := range names {
			j := job(ns, name, nil, 1)
			if err := c.Client.Get(ctx, client.ObjectKeyFromObject(j), j); err != nil {
				return err
			}
			states[name] = j.Labels[v1alpha1.StateLabel]
		}
		for _, p := range all {
			if gated := hold.HasGate(p.Spec.SchedulingGates); gated != (states[p.Labels["job-name"]] == v1alpha1.StateHeld) {
				return fmt.Errorf("pod %s is gated: %v, its Job is %s", p.Name, gated, states[p.Labels["job-name"]])
			}
		}
		return nil
	})
	if !slices.Contains(slices.Collect(maps.Values(states)), v1alpha1.StateReleased) {
		t.Error("no Job is on record as released")
	}
	released, err := second.Metric(t.Context(), "gridlatch_released_pods_total")
	if err != nil {
		t.Fatal(err)
	}
	if int(released) > left {
		t.Errorf("the second controller released %v pods, %d were left", released, left)
	}
	cleanNow(t, c)
	for _, name := range names {
		awaitComplete(t, c, ns, name)
	}
}

func TestWorkWhoseTimeCameWhileTheControllerWasDownIsReleasedWhenItIsBack(t *testing.T) {
	c, first := ownCluster(t)
	dirtyThenClean(t, c, 5*time.Minute)
	ns := namespace(t, c)
	create(t, c, job(ns, "overdue", tolerant(v1alpha1.DeadlineAnnotation, "15s", v1alpha1.DurationAnnotation, "1s"), 2))
	// 430 now and for longer than its deadline: it has to be worth a wait
	if err := c.Forecast(t.Context(), env.Elements(location, time.Now().Add(-time.Minute), time.Minute+5*time.Second, 430, 100, 100)...); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, patience, func(ctx context.Context) error {
		return client.IgnoreAlreadyExists(c.Client.Create(ctx, pod(ns, "probe", tolerant(v1alpha1.DeadlineAnnotation, "15s", v1alpha1.DurationAnnotation, "1s"))))
	})
	held := pod(ns, "overdue-pod", tolerant(v1alpha1.DeadlineAnnotation, "15s", v1alpha1.DurationAnnotation, "1s"))
	create(t, c, held)
	if !hold.HasGate(held.Spec.SchedulingGates) {
		t.Fatalf("the pod is not held: %v", held.Annotations)
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	latest, err := time.Parse(time.RFC3339, held.Annotations[v1alpha1.LatestStartAnnotation])
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(latest.Add(time.Second)))
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(held), held); err != nil || !hold.HasGate(held.Spec.SchedulingGates) {
		t.Fatalf("nobody was there to release the pod, but it is: %v, %v", held.Spec.SchedulingGates, err)
	}
	// dirty again for an hour: only its latest start can release it, as soon as
	// the lease of the one that was killed has run out
	dirtyThenCleanUnseen(t, c)
	c.Controller(t, first.Webhook)
	env.Eventually(t, 15*time.Second, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(held), held); err != nil {
			return err
		}
		if hold.HasGate(held.Spec.SchedulingGates) || !strings.Contains(held.Annotations[v1alpha1.ReasonAnnotation], "its latest start has come") {
			return fmt.Errorf("not released: %v", held.Annotations)
		}
		return nil
	})
}

func TestWhenTheWebhookIsDownWorkIsNotHeld(t *testing.T) {
	c, g := ownCluster(t)
	dirtyThenClean(t, c, 5*time.Minute)
	ns := namespace(t, c)
	create(t, c, job(ns, "before", tolerant(), 1))
	awaitGated(t, c, ns, 1)
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	other := namespace(t, c)
	create(t, c, job(other, "unheld", tolerant(), 1), pod(other, "bare", tolerant()))
	awaitScheduled(t, c, other, 2, patience)
}

func TestAnotherReplicaTakesOverWhenTheLeaderStops(t *testing.T) {
	c, leader := ownCluster(t)
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	c.Controller(t, port) // ready as well: every replica serves
	clean := dirtyThenClean(t, c, 12*time.Second)
	ns := namespace(t, c)
	create(t, c, job(ns, "handed-over", tolerant(), 3))
	pods := awaitGated(t, c, ns, 3)
	for i := range pods {
		awaitEvent(t, c, &pods[i], v1alpha1.EventHeld) // or it may end with the leader
	}
	if err := leader.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, p := range awaitScheduled(t, c, ns, 3, 30*time.Second) {
		if start := bound(t, p); start.Before(clean) {
			t.Errorf("scheduled at %s, before the planned %s", start, clean)
		}
	}
	for _, p := range pods {
		if n, err := events(t.Context(), c, &p, v1alpha1.EventHeld); err != nil || n != 1 {
			t.Errorf("%d Events CarbonHeld on %s, %v", n, p.Name, err)
		}
	}
}

func TestNoForecastAtAllMeansStartNow(t *testing.T) {
	c, g := ownCluster(t)
	ns := namespace(t, c)
	create(t, c, job(ns, "uninformed", tolerant(), 1))
	p := awaitScheduled(t, c, ns, 1, patience)[0]
	done := awaitComplete(t, c, p.Namespace, "uninformed")
	if !strings.Contains(done.Annotations[v1alpha1.ReasonAnnotation], "no usable forecast: ConfigMap kube-system/carbon-intensity does not exist") {
		t.Errorf("reason %q", done.Annotations[v1alpha1.ReasonAnnotation])
	}
	if usable, err := g.Metric(t.Context(), "gridlatch_forecast_usable"); err != nil || usable != 0 {
		t.Errorf("gridlatch_forecast_usable is %v, %v", usable, err)
	}
}

func TestTamperingDoesNotHoldAPodForGood(t *testing.T) {
	c, g := ownCluster(t)
	dirtyThenClean(t, c, 5*time.Minute)
	ns := namespace(t, c)
	names := []string{"label-gone", "label-released", "notes-garbled"}
	for _, name := range names {
		create(t, c, pod(ns, name, tolerant()))
	}
	awaitGated(t, c, ns, 3)
	for _, args := range [][]string{
		{"label", "pod", "label-gone", v1alpha1.StateLabel + "-"},
		{"label", "pod", "label-released", v1alpha1.StateLabel + "=released", "--overwrite"},
		{"annotate", "pod", "notes-garbled", v1alpha1.DeadlineAnnotation + "=never", v1alpha1.LatestStartAnnotation + "=never", "--overwrite"},
	} {
		if _, err := c.Kubectl(t.Context(), append(args, "-n", ns)...); err != nil {
			t.Fatal(err)
		}
	}
	// what nobody can read starts now
	env.Eventually(t, patience, func(ctx context.Context) error {
		garbled := pod(ns, "notes-garbled", nil)
		err := c.Client.Get(ctx, client.ObjectKeyFromObject(garbled), garbled)
		if err == nil && hold.HasGate(garbled.Spec.SchedulingGates) {
			err = fmt.Errorf("still gated: %v", garbled.Annotations)
		}
		return err
	})
	// what lost its label is found at once, what nobody ever held by the next leader
	awaitGatedWithin(t, c, ns, 2, 2*patience)
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	gatedByHand := pod(ns, "gated-by-hand", nil) // with the webhook away
	gatedByHand.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}}
	create(t, c, gatedByHand)
	c.Controller(t, g.Webhook)
	env.Eventually(t, patience, func(ctx context.Context) error {
		var held corev1.PodList
		err := c.Client.List(ctx, &held, client.InNamespace(ns), client.MatchingLabels{v1alpha1.StateLabel: v1alpha1.StateHeld})
		if err == nil && len(held.Items) != 3 {
			err = fmt.Errorf("%d pods are held, want 3", len(held.Items))
		}
		return err
	})
	// now is the best time, also for work that does not say how long it runs: that is taken to be an hour
	dearer := env.Elements(location, time.Now().Add(10*time.Second), 10*time.Minute, 110, 120, 130, 140, 150, 160, 170, 180, 190)
	if err := c.Forecast(t.Context(), append(env.Elements(location, time.Now().Add(-time.Hour), time.Hour+10*time.Second, 100), dearer...)...); err != nil {
		t.Fatal(err)
	}
	awaitScheduled(t, c, ns, 4, patience)
}

func TestCertificatesFromADirectoryAreServedAndReloaded(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(1))
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Install(t.Context(), port); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	first := writeCertificate(t, dir)
	x, err := env.NewExtender(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c.Controller(t, port, "--cert-dir="+dir, x.Flag())
	trust(t, c, first)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.AwaitWebhook(ctx); err != nil {
		t.Fatal(err)
	}
	second := writeCertificate(t, dir)
	awaitServed(t, port, second, filepath.Join(dir, "tls.crt"))
	awaitServed(t, x.Port, second, "to the scheduler, "+filepath.Join(dir, "tls.crt"))
	trust(t, c, second)
	if err := c.AwaitWebhook(ctx); err != nil {
		t.Fatal(err)
	}
}
