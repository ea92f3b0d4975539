package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// written are the annotations that only Gridlatch writes, each forged.
func written() map[string]string {
	return map[string]string{
		v1alpha1.PlannedStartAnnotation: "2099-01-01T00:00:00Z", v1alpha1.LatestStartAnnotation: "2000-01-01T00:00:00Z", v1alpha1.ReasonAnnotation: "forged",
		v1alpha1.IntensityAtCreationAnnotation: "9", v1alpha1.HeldByAnnotation: v1alpha1.HoldByKueue, v1alpha1.StartedAnnotation: "2099-01-01T00:00:00Z",
		v1alpha1.ExpectedDurationAnnotation: "1s", v1alpha1.DurationSourceAnnotation: "forged", v1alpha1.PlannedLocationAnnotation: "forged", v1alpha1.CandidateLocationsAnnotation: "forged",
	}
}

// clientOf returns a client of a service account of the shared cluster, and the
// kubeconfig of the same.
func clientOf(t *testing.T, namespace, account string) (client.Client, string) {
	t.Helper()
	return clientAt(t, cluster, namespace, account)
}

// clientAt is clientOf for any cluster.
func clientAt(t *testing.T, at *env.Cluster, namespace, account string) (client.Client, string) {
	t.Helper()
	config, err := at.ServiceAccountConfig(t.Context(), namespace, account)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: at.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(config, kubeconfig); err != nil {
		t.Fatal(err)
	}
	return c, kubeconfig
}

// tenant makes a service account that may do anything with the pods and Jobs of
// some namespaces, of which the first is its own, and may read policies.
func tenant(t *testing.T, namespaces ...string) (client.Client, string) {
	t.Helper()
	const account = "tenant"
	own := namespaces[0]
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: own, Name: account}}
	create(t, cluster, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: own, Name: account}})
	for _, ns := range namespaces {
		meta := metav1.ObjectMeta{Namespace: ns, Name: own + "-" + account}
		role := &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"*"}},
			{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"*"}},
		}}
		binding := &rbacv1.RoleBinding{ObjectMeta: *meta.DeepCopy(), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name}, Subjects: subjects}
		view := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: own + "-" + ns},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "gridlatch-view"}, Subjects: subjects,
		}
		for _, o := range []client.Object{role, binding, view} {
			create(t, cluster, o)
			t.Cleanup(func() { _ = cluster.Client.Delete(context.WithoutCancel(t.Context()), o) }) // the cluster goes anyhow
		}
	}
	c, kubeconfig := clientOf(t, own, account)
	for _, ns := range namespaces {
		env.Eventually(t, patience, func(ctx context.Context) error { // until the authorizer knows
			return c.List(ctx, &corev1.PodList{}, client.InNamespace(ns))
		})
	}
	return c, kubeconfig
}

// awaitPolicies waits until the API server goes by both policies, which takes it
// some seconds from when they are there.
func awaitPolicies(t *testing.T) {
	t.Helper()
	ns := namespace(t, cluster)
	ordinary := pod(ns, "ordinary", nil)
	create(t, cluster, ordinary)
	self, _ := clientOf(t, env.Namespace, "gridlatch")
	other, _ := tenant(t, ns)
	for name, c := range map[string]client.Client{"gridlatch-confined": self, "gridlatch-keys": other} {
		patch := fmt.Sprintf(`{"metadata":{"labels":{"foreign":"x"},"annotations":{%q:"x"}}}`, v1alpha1.ReasonAnnotation)
		env.Eventually(t, patience, func(ctx context.Context) error {
			err := c.Patch(ctx, ordinary.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)), client.DryRunAll)
			if err == nil || !strings.Contains(err.Error(), name) {
				err = fmt.Errorf("%s does not refuse yet: %w", name, err)
				return err
			}
			return nil
		})
	}
}

// try applies a patch in a dry run. The object is not touched.
func try(t *testing.T, c client.Client, o client.Object, kind types.PatchType, patch string, options ...client.PatchOption) error {
	t.Helper()
	target, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		t.Fatalf("%T", o)
	}
	return c.Patch(t.Context(), target, client.RawPatch(kind, []byte(patch)), append(options, client.DryRunAll)...)
}

// expectRefused wants an error that says all of this.
func expectRefused(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Error("it is allowed")
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("refused with %v\nwant %q in it", err, part)
		}
	}
}

// expectForbidden wants that there is no right to it at all.
func expectForbidden(t *testing.T, what string, err error) {
	t.Helper()
	if !apierrors.IsForbidden(err) || strings.Contains(fmt.Sprint(err), "ValidatingAdmissionPolicy") {
		t.Errorf("%s: got %v, want that there is no right to it", what, err)
	}
}

// metaPatch is a merge patch of labels or annotations.
func metaPatch(t *testing.T, field, key, value string) string {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"metadata": map[string]any{field: map[string]string{key: value}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
