package e2e

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

// newPyTorchJob makes an object of a kind that Gridlatch does not know. The test makes its pods, as the
// training operator would.
func newPyTorchJob(t *testing.T, c *env.Cluster, ns, name string) *unstructured.Unstructured {
	t.Helper()
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "pytorchjobs.kubeflow.org"},
		"spec": map[string]any{
			"group": "kubeflow.org", "scope": "Namespaced", "names": map[string]any{"kind": "PyTorchJob", "plural": "pytorchjobs", "singular": "pytorchjob", "listKind": "PyTorchJobList"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
			}}},
		},
	}}
	if err := c.Client.Create(t.Context(), definition); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	env.Eventually(t, patience, func(ctx context.Context) error { // until the kind is served
		o = &unstructured.Unstructured{Object: map[string]any{}}
		o.SetAPIVersion("kubeflow.org/v1")
		o.SetKind("PyTorchJob")
		o.SetNamespace(ns)
		o.SetName(name)
		return c.Client.Create(ctx, o)
	})
	return o
}

// memberOf is a pod whose controller is an object: a pod, or one that knows its kind.
func memberOf(owner client.Object, name string, annotations map[string]string) *corev1.Pod {
	p, kind := pod(owner.GetNamespace(), name, annotations), owner.GetObjectKind().GroupVersionKind()
	if kind.Empty() {
		kind = hold.PodKind()
	}
	p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)}
	return p
}

// startsAtOnce wants a new pod to start at once, for a reason.
func startsAtOnce(t *testing.T, c *env.Cluster, p *corev1.Pod, reason string) {
	t.Helper()
	create(t, c, p)
	if got := p.Annotations[v1alpha1.ReasonAnnotation]; hold.HasGate(p.Spec.SchedulingGates) || got != reason {
		t.Errorf("pod %s: gates %v, reason %q, want none and %q", p.Name, p.Spec.SchedulingGates, got, reason)
	}
}

// awaitStarted waits until a pod has a node.
func awaitStarted(t *testing.T, c *env.Cluster, p *corev1.Pod) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		if p.Spec.NodeName == "" {
			return fmt.Errorf("pod %s has no node: %v", p.Name, p.Annotations)
		}
		return nil
	})
}

func TestPodsOfOneOwnerAreHeldAndReleasedTogether(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "pieces")
	ns := namespace(t, cluster)
	owner := newPyTorchJob(t, cluster, ns, "bert")
	create(t, cluster, memberOf(owner, "master", annotations), memberOf(owner, "worker-0", annotations))
	var first string
	for _, p := range awaitGated(t, cluster, ns, 2) {
		if latest := p.Annotations[v1alpha1.LatestStartAnnotation]; first == "" || latest < first {
			first = latest
		}
	}
	awaitHeld(t, "pieces", 1, 2)

	// "06:00" of a pod that comes a minute later is a day later
	annotations[v1alpha1.DeadlineAnnotation] = "1d"
	late := memberOf(owner, "worker-1", annotations)
	create(t, cluster, late)
	if latest := late.Annotations[v1alpha1.LatestStartAnnotation]; !hold.HasGate(late.Spec.SchedulingGates) || latest != first {
		t.Errorf("a pod that comes later: gates %v, latest start %s, want %s as the others", late.Spec.SchedulingGates, latest, first)
	}
	awaitHeld(t, "pieces", 1, 3)
	cleanNow(t, cluster)
	awaitPods(t, cluster, ns, wantGated(0, 3))

	dirtyThenClean(t, cluster, aWhile) // work that came now would wait
	remove(t, cluster, late, metav1.DeletePropagationBackground)
	awaitGone(t, cluster, late)
	startsAtOnce(t, cluster, memberOf(owner, "worker-1", annotations), "its PyTorchJob bert runs already")
	another := memberOf(newPyTorchJob(t, cluster, ns, "gpt"), "another", annotations)
	create(t, cluster, another)
	if !hold.HasGate(another.Spec.SchedulingGates) {
		t.Errorf("a pod of another owner does not wait: %v", another.Annotations)
	}
}

func TestAPodOfAPieceOfWorkThatRunsIsReleasedAtOnce(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "joined")
	ns := namespace(t, cluster)
	owner := newPyTorchJob(t, cluster, ns, "bert")
	waits := memberOf(owner, "worker-0", annotations)
	create(t, cluster, waits)
	awaitGated(t, cluster, ns, 1)
	annotations[v1alpha1.DeadlineAnnotation] = "1s" // so that it starts at once
	create(t, cluster, memberOf(owner, "master", annotations))
	awaitStarted(t, cluster, waits)
	if reason := waits.Annotations[v1alpha1.ReasonAnnotation]; reason != "its PyTorchJob bert runs already" {
		t.Errorf("it was released for %q", reason)
	}
	if n, err := controller.Metric(t.Context(), "gridlatch_released_pods_total", `cause="joined"`, `policy="joined"`); err != nil || n != 1 {
		t.Errorf("%v pods were released as joined, want 1: %v", n, err)
	}
}

func TestExecutorsOfSparkNeverWait(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	ns := namespace(t, cluster)
	driver := pod(ns, "driver", nil)
	create(t, cluster, driver)
	startsAtOnce(t, cluster, memberOf(driver, "exec-1", tolerant()), "its Pod driver runs already")
	elsewhere := pod(ns, "exec-2", tolerant())
	elsewhere.Labels = map[string]string{door.SparkRoleLabel: door.SparkExecutor}
	startsAtOnce(t, cluster, elsewhere, "it is an executor of Spark, whose driver runs already")

	waiting := pod(ns, "waiting-driver", tolerant())
	create(t, cluster, waiting)
	create(t, cluster, memberOf(waiting, "exec-3", tolerant(v1alpha1.DeadlineAnnotation, "1d")))
	cleanNow(t, cluster)
	awaitPods(t, cluster, ns, wantGated(0, 5))
}

// TestALateMemberNeverWaitsNotEvenAfterARestart kills the controller between the release of a piece of
// work and its late pod.
func TestALateMemberNeverWaitsNotEvenAfterARestart(t *testing.T) {
	c, g := ownCluster(t)
	dirtyThenClean(t, c, aWhile)
	ns := namespace(t, c)
	owner := newPyTorchJob(t, c, ns, "bert")
	create(t, c, memberOf(owner, "master", tolerant()), memberOf(owner, "worker-0", tolerant()))
	awaitGated(t, c, ns, 2)
	cleanNow(t, c)
	awaitPods(t, c, ns, wantGated(0, 2))
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	dirtyThenCleanUnseen(t, c)
	c.Controller(t, g.Webhook)
	awaitIntensity(t, c, 430)
	startsAtOnce(t, c, memberOf(owner, "worker-1", tolerant()), "its PyTorchJob bert runs already")
}
