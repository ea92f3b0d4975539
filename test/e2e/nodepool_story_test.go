package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/nodepool"
	"github.com/gridlatch/gridlatch/test/env"
)

// archPool is a NodePool in the north whose nodes have one architecture, and whose name is that of the architecture.
func archPool(arch, weights string) *unstructured.Unstructured {
	o := env.NodePool(arch, map[string]string{
		corev1.LabelArchStable: arch, corev1.LabelTopologyRegion: "north", corev1.LabelTopologyZone: "test-zone-b",
	})
	o.SetAnnotations(map[string]string{v1alpha1.PolicyAnnotation: "pools", v1alpha1.WeightsAnnotation: weights})
	return o
}

// TestNodesOfLessPowerComeFirstWhileTheGridIsDirty has two NodePools at one location. Weights by bucket let the nodes with
// amd64 come first while the grid is clean. Weights by rank let the nodes with arm64 come first at any time.
func TestNodesOfLessPowerComeFirstWhileTheGridIsDirty(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	g := &grid{cluster: c}
	g.set(t, "north", 100)
	poolPolicy(t, c, "north")
	c.Karpenter(t)
	ns := namespace(t, c)
	amd64, arm64 := archPool("amd64", "200=60,*=10"), archPool("arm64", "*=50")
	createNodePool(t, c, amd64)
	createNodePool(t, c, arm64)
	claims := map[string]env.Claims{}
	running := 0
	next := func(name string, weights [2]int64, want string) {
		t.Helper()
		awaitSpec(t, c, amd64, "weight", weights[0])
		awaitSpec(t, c, arm64, "weight", weights[1])
		before := map[string]int{"amd64": len(claims["amd64"]), "arm64": len(claims["arm64"])}
		before[want]++
		create(t, c, large(ns, name, "north"))
		running++
		awaitRunning(t, c, ns, running)
		for pool, n := range before {
			if claims[pool] = expectStable(t, c, pool, claims[pool]); len(claims[pool]) != n {
				t.Fatalf("%s: NodePool %s has %d NodeClaims, want %d", name, pool, len(claims[pool]), n)
			}
		}
	}
	next("clean", [2]int64{60, 50}, "amd64")
	g.set(t, "north", 500)
	next("dirty", [2]int64{10, 50}, "arm64")
	g.set(t, "north", 100)
	next("clean-again", [2]int64{60, 50}, "amd64")
	amend(t, c, amd64, annotate(v1alpha1.WeightsAnnotation, v1alpha1.WeightsAuto))
	amend(t, c, arm64, annotations(t, map[string]string{v1alpha1.WeightsAnnotation: v1alpha1.WeightsAuto, v1alpha1.PowerFactorKey: "0.6"}))
	next("by-rank", [2]int64{1, 100}, "arm64")
}

// TestNodePoolsComeAndGoWithTheirDefinitions removes the CustomResourceDefinitions of Karpenter, and installs them again.
// Nobody runs Karpenter.
func TestNodePoolsComeAndGoWithTheirDefinitions(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	g := &grid{cluster: c}
	g.set(t, "north", 500)
	poolPolicy(t, c, "north")
	wish, overlay := env.WeekWish(), env.NodeOverlay("gridlatch-north")
	wish[v1alpha1.WeightsAnnotation] = "*=20"
	follows := func() *unstructured.Unstructured {
		t.Helper()
		pool := env.RegionalPool("north", wish)
		create(t, c, pool)
		awaitSpec(t, c, pool, "limits", map[string]any{"cpu": "0"})
		awaitSpec(t, c, pool, "weight", int64(20))
		awaitObject(t, c, overlay, func() error { return nil })
		return pool
	}
	for range 2 {
		if err := c.InstallKarpenter(t.Context()); err != nil {
			t.Fatal(err)
		}
		pool := follows()

		// A NodeOverlay comes back with its definition.
		removeDefinition(t, c, "nodeoverlays.karpenter.sh")
		awaitPoolEvent(t, c, pool, nodepool.EventFailed)
		if err := c.InstallKarpenter(t.Context()); err != nil {
			t.Fatal(err)
		}
		awaitObject(t, c, overlay, func() error { return nil })

		// The NodeOverlay goes with the NodePool, which goes with its definition.
		removeDefinition(t, c, "nodepools.karpenter.sh")
		awaitNoOverlay(t, c, overlay)
	}
}

// removeDefinition deletes a CustomResourceDefinition, and returns when it is gone.
func removeDefinition(t *testing.T, c *env.Cluster, name string) {
	t.Helper()
	if _, err := c.Kubectl(t.Context(), "delete", "customresourcedefinition", name, "--wait"); err != nil {
		t.Fatal(err)
	}
}
