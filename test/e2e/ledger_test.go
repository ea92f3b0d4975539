package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
	"github.com/gridlatch/gridlatch/ledger/pages"
	"github.com/gridlatch/gridlatch/test/env"
)

// atOnce are the annotations of work that asks to wait, and cannot: its deadline is too near.
func atOnce() map[string]string { return tolerant(v1alpha1.DeadlineAnnotation, "2s") }

// requesting gives the pods of a Job requests of two cores, and so long a run.
func requesting(j *batchv1.Job, run string) *batchv1.Job {
	j.Spec.Template.Annotations = map[string]string{"kwok.gridlatch.dev/run-for": run}
	j.Spec.Template.Spec.Containers[0].Resources.Requests = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("1Gi"),
	}
	return j
}

// booked returns the groups of a namespace on all pages, by their names. A group that is there twice is an
// error.
func booked(ctx context.Context, c *env.Cluster, ns string) (map[string]ledger.Group, error) {
	store := pages.Store{Reader: c.Client, Namespace: env.Namespace}
	all, err := pages.Read(ctx, store, time.Now().AddDate(0, 0, -2), time.Now().AddDate(0, 0, 1))
	if err != nil {
		return nil, err
	}
	found := map[string]ledger.Group{}
	for _, page := range all {
		for _, g := range page.Groups() {
			if _, again := found[g.Name]; again {
				return nil, fmt.Errorf("%s is booked twice", g.Name)
			}
			if g.Namespace == ns {
				found[g.Name] = g
			}
		}
	}
	return found, nil
}

// awaitBooked waits until groups are booked, and returns all that is booked of their namespace.
func awaitBooked(t *testing.T, c *env.Cluster, ns string, names ...string) (found map[string]ledger.Group) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) (err error) {
		if found, err = booked(ctx, c, ns); err != nil {
			return err
		}
		for _, name := range names {
			if _, ok := found[name]; !ok {
				return fmt.Errorf("%s is not booked, only %d others", name, len(found))
			}
		}
		return nil
	})
	return found
}

// isOpen reports whether the keeper has written what has not ended.
func isOpen(ctx context.Context, c *env.Cluster) (bool, error) {
	var all corev1.ConfigMapList
	err := c.Client.List(ctx, &all, client.InNamespace(env.Namespace), client.HasLabels{pages.Label})
	for _, one := range all.Items {
		if len(one.BinaryData[pages.OpenKey]) > 0 {
			return true, err
		}
	}
	return false, err
}

func deleteJob(t *testing.T, c *env.Cluster, j *batchv1.Job) time.Time {
	t.Helper()
	if err := c.Client.Delete(t.Context(), j, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	env.Eventually(t, patience, func(ctx context.Context) error {
		var pods corev1.PodList
		err := c.Client.List(ctx, &pods, client.InNamespace(j.Namespace), client.MatchingLabels{batchv1.JobNameLabel: j.Name})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%d pods are left", len(pods.Items))
		}
		return err
	})
	return at
}

// failFirst makes the first pod of a Job fail. The Job makes another.
func failFirst(t *testing.T, c *env.Cluster, j *batchv1.Job) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := c.Client.List(ctx, &pods, client.InNamespace(j.Namespace), client.MatchingLabels{batchv1.JobNameLabel: j.Name}); err != nil {
			return err
		}
		if len(pods.Items) != 1 || pods.Items[0].Status.Phase != corev1.PodRunning {
			return fmt.Errorf("%d pods", len(pods.Items))
		}
		first := &pods.Items[0]
		patch := client.MergeFrom(first.DeepCopy())
		first.Annotations["kwok.gridlatch.dev/fail"] = "true"
		return c.Client.Patch(ctx, first, patch)
	})
}

// near reports whether two instants are close to each other.
func near(a, b time.Time) bool { return a.Sub(b).Abs() < 4*time.Second }

func TestTheLedgerHasWhatEnded(t *testing.T) {
	c, g := ownCluster(t, "--ledger-interval=2s")
	ns := namespace(t, c)
	clean := dirtyThenClean(t, c, 45*time.Second)
	held := requesting(job(ns, "held", tolerant(), 2), "3s")
	soon, retried := requesting(job(ns, "soon", atOnce(), 1), "2s"), requesting(job(ns, "retried", atOnce(), 1), "4s")
	removed, lost := requesting(job(ns, "removed", atOnce(), 1), "1h"), requesting(job(ns, "lost", atOnce(), 1), "1h")
	failed := requesting(job(ns, "failed", atOnce(), 1), "2s")
	failed.Spec.BackoffLimit = ptr(int32(0))
	failed.Spec.Template.Annotations["kwok.gridlatch.dev/fail"] = "true"
	bare := pod(ns, "bare", atOnce())
	bare.Annotations["kwok.gridlatch.dev/run-for"], bare.Annotations[v1alpha1.PowerWattsAnnotation] = "2s", "100"
	bare.Spec.RestartPolicy = corev1.RestartPolicyNever
	ordinary := requesting(job(ns, "ordinary", nil, 1), "1s")
	create(t, c, held, soon, retried, removed, lost, failed, bare, ordinary)
	failFirst(t, c, retried)
	removedAt := deleteJob(t, c, removed)
	found := awaitBooked(t, c, ns, "soon", "retried", "removed", "failed", "bare")
	if g := found["soon"]; g.Wait != 0 || !near(g.Ended, g.Arrived.Add(3*time.Second)) || g.Energy != energy.Modelled || g.Units != 1 || g.Owner != "Job/soon" ||
		g.Mode != ledger.Enforce || g.Policy != "default" || g.Location != location || !g.SeenEnd || len(g.Steps) != 1 || g.CoreHours <= 0 {
		t.Errorf("what started at once is booked as %+v", g)
	}
	if g := found["retried"]; g.Failed || g.Units != 1 || len(g.Steps) < 2 || g.Steps[0].FailedWatts == 0 || g.Steps[len(g.Steps)-1].FailedWatts != 0 {
		t.Errorf("what was retried is booked as %+v", g)
	}
	if g := found["removed"]; !g.Failed || g.Units != 0 || !g.SeenEnd || !near(g.Ended, removedAt) {
		t.Errorf("what was deleted at %v is booked as %+v", removedAt, g)
	}
	if g := found["failed"]; !g.Failed || g.Units != 0 || !g.SeenEnd {
		t.Errorf("what failed is booked as %+v", g)
	}
	if g := found["bare"]; g.Kind != "Pod" || g.Owner != "Pod/bare" || g.Units != 1 || g.Energy != energy.Stated || len(g.Steps) != 1 || g.Steps[0].Watts != 100 {
		t.Errorf("a pod without an owner is booked as %+v", g)
	}
	env.Eventually(t, patience, func(ctx context.Context) error {
		ok, err := isOpen(ctx, c)
		if err == nil && !ok {
			err = fmt.Errorf("nothing is open")
		}
		return err
	})

	// The leader dies. One Job goes meanwhile, and the next leader books it by what the first has written.
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	deleteJob(t, c, lost)
	c.Controller(t, g.Webhook, "--ledger-interval=2s")
	done := awaitComplete(t, c, ns, "held")
	found = awaitBooked(t, c, ns, "held", "lost")
	if g := found["lost"]; g.SeenEnd || g.Failed || g.Units != 0 || g.Ended.After(killed.Add(time.Second)) || killed.Sub(g.Ended) > 6*time.Second || len(g.Steps) != 1 {
		t.Errorf("what went while nobody led, after %v, is booked as %+v", killed, g)
	}
	if g := found["held"]; g.Released.Before(clean.Add(-time.Second)) || g.Wait != g.Released.Sub(held.CreationTimestamp.Time) || g.LatestStart.IsZero() ||
		!g.Ended.Equal(done.Status.CompletionTime.Time) || g.Units != 2 || g.Failed || len(g.Steps) == 0 || g.Steps[0].Start.Before(g.Released.Add(-time.Second)) {
		t.Errorf("what was held until %v is booked as %+v", clean, g)
	}
	time.Sleep(5 * time.Second) // another pass or two
	again, err := booked(t.Context(), c, ns)
	if err != nil || len(again) != 7 {
		t.Errorf("%d groups are booked, want 7: %v", len(again), err)
	}
}

func TestTheLedgerHasAJobSetAndAuditedWork(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(2))
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	c.JobSet(t)
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Install(t.Context(), port, "jobset"); err != nil {
		t.Fatal(err)
	}
	c.Controller(t, port, "--ledger-interval=2s")
	if err := c.AwaitWebhook(t.Context()); err != nil {
		t.Fatal(err)
	}
	ns := namespace(t, c)
	clean := dirtyThenClean(t, c, 40*time.Second)
	const template = `{spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: work, image: work, resources: {requests: {cpu: "2"}}}]}}}}`
	set := object(t, fmt.Sprintf(`
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata: {namespace: %s, name: set}
spec: {replicatedJobs: [{name: first, template: %s}, {name: second, template: %s}]}
`, ns, template, template))
	set.SetAnnotations(tolerant())
	create(t, c, set)
	label := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"`+v1alpha1.AuditLabel+`":"true"}}}`))
	audited := namespace(t, c)
	if err := c.Client.Patch(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: audited}}, label); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, patience, func(ctx context.Context) error {
		probe := pod(audited, "probe", tolerant())
		if err := c.Client.Create(ctx, probe, client.DryRunAll); err != nil || probe.Labels[v1alpha1.StateLabel] != v1alpha1.StateAudited {
			return fmt.Errorf("not audited: %v, %w", probe.Labels, err)
		}
		return nil
	})
	create(t, c, requesting(job(audited, "audited", tolerant(), 2), "3s"))
	if g := awaitBooked(t, c, audited, "audited")["audited"]; g.Mode != ledger.Audit || g.Wait <= 0 || !g.Released.Equal(g.Arrived) || g.Units != 2 || g.Energy != energy.Modelled || len(g.Steps) == 0 {
		t.Errorf("audited work is booked as %+v", g)
	}
	found := awaitBooked(t, c, ns, "set")
	if g := found["set"]; len(found) != 1 || g.Kind != "JobSet" || !near(g.Released, clean) || g.Units != 1 || g.Failed || g.Energy != energy.Modelled || g.CoreHours < 4*0.5/3600 || len(g.Steps) == 0 {
		t.Errorf("a JobSet is booked as %+v, beside %d others", g, len(found)-1)
	}
}
