package install_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	// leavePatience is how long a leave may take, with all that Kubernetes does then.
	leavePatience = 2 * time.Minute
	// maxReplicas is what the owner of the lent object has set.
	maxReplicas = 10
)

// site is a cluster with a real node and KEDA's kinds, into which Gridlatch is installed again and again.
type site struct {
	*env.Cluster
	node *env.Node
	// kustomization is what is installed.
	kustomization string
}

// quickly is the part of a kustomization by which a namespace with pods that end is gone sooner: Kubernetes looks at
// the namespace again after half of what its pods may take to end.
const quickly = `patches:
- target: {kind: Deployment, name: gridlatch}
  patch: |
    - {op: replace, path: /spec/template/spec/terminationGracePeriodSeconds, value: 40}
`

// newSite starts a cluster whose real node has the image of Gridlatch.
func newSite(t *testing.T) *site {
	t.Helper()
	t.Parallel()
	s := &site{Cluster: env.Start(t, env.Nodes(0)), kustomization: "resources: [MANIFESTS/base]\n" + env.Components("keda") + quickly}
	s.node = s.Node(t)
	if err := errors.Join(s.node.Import(t.Context(), env.Image(t)), s.InstallKEDA(t.Context())); err != nil {
		t.Fatal(err)
	}
	return s
}

// kubectl runs kubectl.
func (s *site) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	printed, err := s.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return printed
}

// install installs Gridlatch, and returns when the leader has put its finalizer on every anchor.
func (s *site) install(t *testing.T) {
	t.Helper()
	if err := errors.Join(s.Apply(t.Context(), s.kustomization), s.AwaitInstalled(t.Context())); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, time.Minute, func(ctx context.Context) error {
		finalizers, err := s.finalizers(ctx)
		if want := 7; err == nil && len(finalizers) != want {
			err = fmt.Errorf("%d anchors have the finalizer, want %d", len(finalizers), want)
		}
		return err
	})
}

// finalizers returns the anchors that have our finalizer.
func (s *site) finalizers(ctx context.Context) (anchors []string, err error) {
	printed, err := s.Kubectl(ctx, "get", "clusterroles,clusterrolebindings,roles,rolebindings,serviceaccounts", "--all-namespaces",
		`--output=jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.finalizers}{"\n"}{end}`)
	for line := range strings.Lines(printed) {
		if strings.Contains(line, v1alpha1.ReleaseFinalizer) {
			anchors = append(anchors, strings.TrimSpace(line))
		}
	}
	return anchors, err
}

// heldWork is one piece of work of each kind that Gridlatch holds or lends.
type heldWork struct {
	site *site
	*env.HeldJob
	suspended *batchv1.Job
	scaled    *unstructured.Unstructured
}

// hold creates work of each kind, and returns when all of it is held.
func (s *site) hold(t *testing.T, dirty time.Duration) *heldWork {
	t.Helper()
	w := &heldWork{site: s, HeldJob: env.HoldJob(t, s.Cluster, dirty)}
	w.suspended = env.StoryJob(w.Namespace)
	w.suspended.Name = "suspended"
	w.suspended.Annotations[v1alpha1.HoldAnnotation] = v1alpha1.HoldBySuspend
	w.scaled = env.ScaledObject(w.Namespace, "scaled", 0, maxReplicas)
	w.scaled.SetAnnotations(map[string]string{v1alpha1.CeilingsAnnotation: "200=8,*=1"})
	for _, o := range []client.Object{w.suspended, w.scaled} {
		if err := s.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	env.Eventually(t, time.Minute, func(ctx context.Context) error {
		suspended, got, err := w.read(ctx)
		if err == nil && (!suspended || got != 1) {
			err = fmt.Errorf("the Job is suspended: %t; maxReplicaCount is %d, want 1", suspended, got)
		}
		return err
	})
	return w
}

// read returns whether the suspended Job is still suspended, and the maxReplicaCount of the lent object.
func (w *heldWork) read(ctx context.Context) (suspended bool, max int64, err error) {
	if err := w.site.Client.Get(ctx, client.ObjectKeyFromObject(w.suspended), w.suspended); err != nil {
		return false, 0, err
	}
	if err := w.site.Client.Get(ctx, client.ObjectKeyFromObject(w.scaled), w.scaled); err != nil {
		return false, 0, err
	}
	max, _, err = unstructured.NestedInt64(w.scaled.Object, "spec", "maxReplicaCount")
	return hold.HoldsJobItself(w.suspended), max, err
}

// awaitFree returns when nothing in the cluster is held or lent.
func (w *heldWork) awaitFree(t *testing.T) {
	t.Helper()
	env.Eventually(t, leavePatience, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := w.site.Client.List(ctx, &pods); err != nil {
			return err
		}
		for i := range pods.Items {
			if hold.HasGate(pods.Items[i].Spec.SchedulingGates) {
				return fmt.Errorf("pod %s/%s is gated", pods.Items[i].Namespace, pods.Items[i].Name)
			}
		}
		suspended, max, err := w.read(ctx)
		if err == nil && (suspended || max != maxReplicas) {
			err = fmt.Errorf("the Job is suspended: %t; maxReplicaCount is %d, want %d", suspended, max, maxReplicas)
		}
		return err
	})
	for key := range w.scaled.GetAnnotations() {
		if strings.HasPrefix(key, v1alpha1.Prefix) && key != v1alpha1.CeilingsAnnotation && key != v1alpha1.CeilingReleasedAnnotation {
			t.Errorf("the ScaledObject has %s still", key)
		}
	}
}

// expectReason fails the test unless kubectl describe tells of the pod of the Job why the pod was released.
func (w *heldWork) expectReason(t *testing.T, reason string) {
	t.Helper()
	described := w.site.kubectl(t, "describe", "pods", "--selector="+batchv1.JobNameLabel+"="+w.Name, "--namespace="+w.Namespace)
	for line := range strings.Lines(described) {
		if strings.Contains(line, v1alpha1.ReasonAnnotation+": ") && strings.Contains(line, reason) {
			return
		}
	}
	t.Errorf("kubectl describe does not say %q:\n%s", reason, described)
}

// leaveWithoutReplica has no replica start any more, and releases everything by the plugin, while the deletion waits.
func leaveWithoutReplica(t *testing.T, w *heldWork) {
	s := w.site
	s.kubectl(t, "patch", "deployment/gridlatch", "--namespace="+env.Namespace, "--type=json", `--patch=[
		{"op": "replace", "path": "/spec/strategy", "value": {"type": "Recreate"}},
		{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "gridlatch:gone"}]`)
	env.Eventually(t, time.Minute, func(ctx context.Context) error {
		var pods corev1.PodList
		err := s.Client.List(ctx, &pods, client.InNamespace(env.Namespace), client.MatchingLabels{"app.kubernetes.io/name": "gridlatch"})
		for i := range pods.Items {
			if image := pods.Items[i].Spec.Containers[0].Image; image != "gridlatch:gone" {
				err = errors.Join(err, fmt.Errorf("pod %s is there still, with image %s", pods.Items[i].Name, image))
			}
		}
		return err
	})
	deleting("namespace", env.Namespace)(t, w)
	deleting("clusterroles,clusterrolebindings", "--selector=app.kubernetes.io/part-of=gridlatch")(t, w)
	env.Eventually(t, time.Minute, func(ctx context.Context) error { // the lease is deleted with the namespace
		_, err := s.Plugin(ctx, "release", "--all", "--all-namespaces")
		if err == nil || !strings.Contains(err.Error(), "1 objects of KEDA still have a ceiling") {
			return fmt.Errorf("the plugin does not name the ceiling: %v", err) //nolint:errorlint // often nil
		}
		return nil
	})
	s.kubectl(t, "patch", "scaledobjects", w.scaled.GetName(), "--namespace="+w.Namespace, "--type=merge",
		fmt.Sprintf(`--patch={"spec": {"maxReplicaCount": %d}, "metadata": {"annotations": null}}`, maxReplicas))
	printed, err := s.Plugin(t.Context(), "release", "--all", "--all-namespaces")
	if err != nil || !strings.Contains(printed, "removed the finalizer of Gridlatch from 7 objects") {
		t.Errorf("the plugin lets no deletion end: %v, %s", err, printed)
	}
}

// remove deletes what is left of the installation as users do, and returns when nothing of it is there.
func (s *site) remove(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), leavePatience)
	defer cancel()
	if err := s.Delete(ctx, s.kustomization); err != nil {
		anchors, _ := s.finalizers(t.Context())
		t.Fatalf("the deletion does not end: %v; anchors with our finalizer: %v", err, anchors)
	}
	left, err := s.Kubectl(ctx, "get", "clusterroles,clusterrolebindings,roles,rolebindings,mutatingwebhookconfigurations,"+
		"validatingadmissionpolicies,validatingadmissionpolicybindings,priorityclasses,customresourcedefinitions,namespaces",
		"--all-namespaces", "--selector=app.kubernetes.io/part-of=gridlatch", "--output=name")
	if err != nil || left != "" {
		t.Errorf("this is left: %s, %v", left, err)
	}
}

// deleting returns a step that runs kubectl delete, and does not wait.
func deleting(args ...string) func(*testing.T, *heldWork) {
	return func(t *testing.T, w *heldWork) {
		t.Helper()
		w.site.kubectl(t, append([]string{"delete", "--wait=false", "--namespace=" + env.Namespace}, args...)...)
	}
}

// leaveOrder is an order in which Gridlatch is deleted.
type leaveOrder struct {
	name string
	// first deletes something before all the rest.
	first func(*testing.T, *heldWork)
	// leaves says that Gridlatch releases everything although the rest is still there.
	leaves bool
	// reason is what the released pod says.
	reason string
}

// TestGridlatchIsUpgradedAndDeletedOnARealNode has pods that the kubelet really ends, and tokens that end
// with them.
func TestGridlatchIsUpgradedAndDeletedOnARealNode(t *testing.T) {
	s := newSite(t)
	t.Run("an upgrade and a roll-back keep what is held", s.testUpgrade)
	s.testLeaving(t, []leaveOrder{
		{name: "all at once", first: func(*testing.T, *heldWork) {}},
		{name: "the ServiceAccount", leaves: true, first: deleting("serviceaccount/gridlatch")},
		{name: "nothing, but the Deployment is scaled to zero", leaves: true, first: func(t *testing.T, _ *heldWork) {
			t.Helper()
			s.kubectl(t, "scale", "deployment/gridlatch", "--replicas=0", "--namespace="+env.Namespace)
		}},
	})
}

// TestGridlatchIsDeletedPieceByPieceOnARealNode deletes a part of Gridlatch, then the rest.
func TestGridlatchIsDeletedPieceByPieceOnARealNode(t *testing.T) {
	s := newSite(t)
	s.testLeaving(t, []leaveOrder{
		{name: "the namespace", first: deleting("namespace", env.Namespace)},
		{name: "the role of a component, and then the other roles", leaves: true, first: func(t *testing.T, w *heldWork) {
			t.Helper()
			deleting("clusterrole/gridlatch-keda")(t, w)
			env.Eventually(t, time.Minute, func(ctx context.Context) error {
				suspended, got, err := w.read(ctx)
				if err == nil && (!suspended || got != maxReplicas) {
					err = fmt.Errorf("the Job is suspended: %t; maxReplicaCount is %d, want %d", suspended, got, maxReplicas)
				}
				return err
			})
			w.AwaitHeld(t)
			deleting("clusterrole/gridlatch", "role/gridlatch")(t, w)
		}},
		{name: "the Deployment, with its pods before it", leaves: true, first: deleting("deployment/gridlatch", "--cascade=foreground")},
		{name: "all at once while the image is gone, and the plugin releases", first: leaveWithoutReplica, reason: "released by hand"},
	})
}

// testLeaving deletes Gridlatch in some orders, and installs it again in between.
func (s *site) testLeaving(t *testing.T, orders []leaveOrder) {
	t.Helper()
	for _, order := range orders {
		isDone := t.Run("nothing is left when this is deleted first: "+order.name, func(t *testing.T) {
			s.install(t)
			w := s.hold(t, 30*time.Minute)
			begun := time.Now()
			order.first(t, w)
			if order.leaves {
				w.awaitFree(t)
				t.Logf("all is released after %v", time.Since(begun))
				s.kubectl(t, "delete", "deployments", "--all", "--namespace="+env.Namespace)
				s.awaitNoPods(t)
			}
			s.remove(t)
			t.Logf("all is removed after %v", time.Since(begun))
			w.awaitFree(t)
			w.CleanFrom = time.Time{} // the work is released before
			w.AwaitCompletion(t)
			w.expectReason(t, cmp.Or(order.reason, "Gridlatch is being removed: "))
		})
		if !isDone {
			t.Log(s.node.Log())
			return
		}
	}
}

// awaitNoPods returns when no pod of Gridlatch is left.
func (s *site) awaitNoPods(t *testing.T) {
	t.Helper()
	env.Eventually(t, leavePatience, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := s.Client.List(ctx, &pods, client.InNamespace(env.Namespace)); err != nil {
			return err
		}
		if left := len(pods.Items); left > 0 {
			return fmt.Errorf("%d pods are left", left)
		}
		return nil
	})
}
