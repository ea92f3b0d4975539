package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/test/env"
)

// objectIn makes an object of an engine's kind in a namespace.
func objectIn(t *testing.T, namespace, manifest string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
		t.Fatal(err)
	}
	o.SetNamespace(namespace)
	return o
}

// awaitSeen waits until an engine says what is wanted, in a field of an object or in a condition's reason.
func awaitSeen(t *testing.T, c *env.Cluster, o *unstructured.Unstructured, want string, field ...string) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		said := reasons(o)
		if value, _, _ := unstructured.NestedString(o.Object, field...); len(field) > 0 {
			said = []string{value}
		}
		if !slices.Contains(said, want) {
			return fmt.Errorf("the %s says %q, want %q: %v", o.GetKind(), said, want, o.Object["status"])
		}
		return nil
	})
}

// reasons are those of an object's conditions that are not false.
func reasons(o *unstructured.Unstructured) []string {
	var all []string
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if condition, ok := c.(map[string]any); ok && condition["status"] != "False" {
			all = append(all, fmt.Sprint(condition["reason"]))
		}
	}
	return all
}

// open changes an object by a merge patch, as the one who held it would.
func open(t *testing.T, c *env.Cluster, o *unstructured.Unstructured, patch string) {
	t.Helper()
	if err := c.Client.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

// expectNoPods fails if there are pods in a namespace.
func expectNoPods(t *testing.T, c *env.Cluster, namespace string) {
	t.Helper()
	pods, err := podsOf(t.Context(), c, namespace)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		t.Errorf("there is a pod, %s", p.Name)
	}
}

// awaitPodCount waits until there are so many pods in a namespace, or more, and returns them.
func awaitPodCount(t *testing.T, c *env.Cluster, namespace string, want int) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	env.Eventually(t, patience, func(ctx context.Context) error {
		var err error
		if pods, err = podsOf(ctx, c, namespace); err == nil && len(pods) < want {
			err = fmt.Errorf("there are %d pods, want %d", len(pods), want)
		}
		return err
	})
	return pods
}
