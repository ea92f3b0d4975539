package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestNoWorkIsLeftAtItsQueueInKueue holds a Job, a JobSet and a pod in each of four namespaces. In the first they are
// deleted, in the second they are released by hand, in the third by a controller that comes after another was
// killed, and in the last because Gridlatch leaves.
func TestNoWorkIsLeftAtItsQueueInKueue(t *testing.T) {
	t.Parallel()
	c, first := withKueue(t)
	s := &wholeSite{c: c, g: first}
	s.twoCleanTimes(t, 2*aWhile)
	awaitIntensity(t, c, 430)
	gone, byHand, work, left := holdAtQueue(t, c, muchLater), holdAtQueue(t, c, muchLater), holdAtQueue(t, c, soonEnough), holdAtQueue(t, c, muchLater)
	s.awaitHeldGroups(t, len(gone)+len(byHand)+len(work)+len(left))

	for _, o := range gone {
		remove(t, c, o, metav1.DeletePropagationForeground)
	}
	awaitNothingAtQueue(t, c, gone)
	s.awaitHeldGroups(t, len(byHand)+len(work)+len(left))

	ns := byHand[0].GetNamespace()
	for _, name := range []string{"job/job", "jobset/set", "pod/pod"} {
		if out, errs, err := pluginAs(t, c.Kubeconfig, "release", name, "-n", ns); err != nil || !strings.Contains(out, name+" released, ") {
			t.Errorf("release %s: %v: %s%s", name, err, out, errs)
		}
	}
	awaitAdmittedBecause(t, c, byHand, "released by hand at ")

	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	clean := s.twoCleanTimes(t, 20*time.Second)
	next := c.Controller(t, first.Webhook)
	awaitAdmittedBecause(t, c, work, " gCO2eq/kWh in CAISO_NORTH, no later start is cleaner")
	for _, o := range work {
		if at := admittedAt(t, c, o); at.Before(clean) {
			t.Errorf("%s was admitted at %s, before the planned %s", o.GetName(), at, clean)
		}
	}
	for _, o := range left {
		awaitState(t, c, o, v1alpha1.StateHeld, true)
	}
	noneRuns(t, c, left[0].GetNamespace())
	expectNoErrors(t, first.Log(), next.Log())

	if _, err := c.Kubectl(t.Context(), "delete", "mutatingwebhookconfiguration", "gridlatch"); err != nil {
		t.Fatal(err)
	}
	releaseAll(t, c)
	awaitAdmittedBecause(t, c, left, "released by hand: gridlatch release --all")
}

// holdAtQueue creates a Job, a JobSet and a pod with a deadline in the queue of a new namespace, and returns them when
// Kueue waits for our gate.
func holdAtQueue(t *testing.T, c *env.Cluster, deadline string) []client.Object {
	t.Helper()
	ns := namespace(t, c)
	localQueue(t, c, ns, "queue")
	work := []client.Object{inQueue(job(ns, "job", nil, 1)), inQueue(jobSet(t, ns, "set", "")), inQueue(pod(ns, "pod", nil))}
	for _, o := range work {
		o.SetAnnotations(tolerant(v1alpha1.DeadlineAnnotation, deadline))
		create(t, c, o)
	}
	for _, o := range work {
		awaitState(t, c, o, v1alpha1.StateHeld, true)
		awaitWorkload(t, c, o, isGated)
	}
	noneRuns(t, c, ns)
	return work
}

// awaitNothingAtQueue waits until work is gone with all that was made for it in its namespace, Workloads among it.
func awaitNothingAtQueue(t *testing.T, c *env.Cluster, work []client.Object) {
	t.Helper()
	for _, o := range work {
		awaitGone(t, c, o)
	}
	for version, kind := range map[string]string{"kueue.x-k8s.io/v1beta2": "Workload", "batch/v1": "Job", "v1": "Pod"} {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion(version)
		list.SetKind(kind + "List")
		env.Eventually(t, patience, func(ctx context.Context) error {
			err := c.Client.List(ctx, list, client.InNamespace(work[0].GetNamespace()))
			if err == nil && len(list.Items) > 0 {
				err = fmt.Errorf("%d objects of kind %s are left, first %s", len(list.Items), kind, list.Items[0].GetName())
			}
			return err
		})
	}
}

// awaitAdmittedBecause waits until work has none of our gates, and Kueue has admitted the work. The work says a reason
// of its release with this text.
func awaitAdmittedBecause(t *testing.T, c *env.Cluster, work []client.Object, reason string) {
	t.Helper()
	for _, o := range work {
		env.Eventually(t, 3*patience, func(ctx context.Context) error {
			if err := c.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
			gates, exists := o.GetAnnotations()[hold.KueueGatesAnnotation]
			if state := o.GetLabels()[v1alpha1.StateLabel]; state != v1alpha1.StateReleased || exists {
				return fmt.Errorf("%s is %q, its admission is gated by %q: %v", o.GetName(), state, gates, o.GetAnnotations())
			}
			return nil
		})
		if got := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.Contains(got, reason) {
			t.Errorf("%s was released because %q, want %q", o.GetName(), got, reason)
		}
		awaitWorkload(t, c, o, admitted)
		if p, isPod := o.(*corev1.Pod); isPod {
			awaitOnNode(t, c, p)
		}
	}
}

// admittedAt returns when Kueue admitted work.
func admittedAt(t *testing.T, c *env.Cluster, of client.Object) time.Time {
	t.Helper()
	w, err := workload(t.Context(), c, of)
	if err != nil || w == nil {
		t.Fatalf("no Workload for %s: %v", of.GetName(), err)
	}
	conditions, _, _ := unstructured.NestedSlice(w.Object, "status", "conditions") // none is never
	for _, condition := range conditions {
		fields, _ := condition.(map[string]any)
		if fields["type"] != "Admitted" {
			continue
		}
		at, err := time.Parse(time.RFC3339, fmt.Sprint(fields["lastTransitionTime"]))
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	t.Fatalf("%s is not admitted: %v", of.GetName(), conditions)
	return time.Time{}
}
