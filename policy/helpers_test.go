package policy

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func builtin() *Policy {
	return New(context.Background(), v1alpha1.Default(), "gridlatch-system", nil, t0)
}

// node is one in a grid, in a pool.
func node(name, grid, pool string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"grid": grid, "pool": pool}}}
}

// choosing is a policy of the locations, which knows of the nodes.
func choosing(t testing.TB, nodes []*corev1.Node, locations ...string) *Policy {
	t.Helper()
	b := fake.NewClientBuilder()
	for _, n := range nodes {
		b = b.WithObjects(n)
	}
	object := v1alpha1.Default()
	for _, l := range locations {
		object.Spec.Locations = append(object.Spec.Locations, v1alpha1.Location{Name: l, NodeSelector: map[string]string{"grid": l}})
	}
	return New(context.Background(), object, "gridlatch-system", &Nodes{Reader: b.Build()}, t0)
}

// twoGrids has GPUs in the south only.
func twoGrids() []*corev1.Node {
	return []*corev1.Node{node("a", "north", "cpu"), node("b", "south", "cpu"), node("c", "south", "gpu")}
}
