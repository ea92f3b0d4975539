package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/test/env"
)

// TestKarpenterMakesNodesForPodsOnlyOnceTheyAreReleased is on a cluster that has
// no nodes but Karpenter's.
func TestKarpenterMakesNodesForPodsOnlyOnceTheyAreReleased(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(0))
	c.Gridlatch(t)
	c.Karpenter(t)
	for _, region := range []string{"north", "south"} {
		createNodePool(t, c, env.RegionalPool(region, nil))
	}
	ns := namespace(t, c)
	for i := range 3 {
		create(t, c, podIn("north", pod(ns, fmt.Sprintf("at-once-%d", i), nil)))
	}
	awaitRunning(t, c, ns, 3)
	expectNodes(t, c, "north", 1)

	dirtyThenClean(t, c, 5*time.Minute)
	held := namespace(t, c)
	create(t, c, podIn("south", pod(held, "waits", tolerant())))
	awaitGated(t, c, held, 1)
	// Karpenter looks at all pods that wait whenever one more does: a node for the later one shows that it has.
	later := podIn("north", pod(ns, "later", nil))
	later.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("20")
	create(t, c, later)
	awaitRunning(t, c, ns, 4)
	expectNodes(t, c, "north", 2)
	expectNodes(t, c, "south", 0)

	cleanNow(t, c)
	awaitRunning(t, c, held, 1)
	expectNodes(t, c, "south", 1)
	expectNodes(t, c, "north", 2)
}

// createNodePool creates a NodePool and waits until Karpenter uses it.
func createNodePool(t *testing.T, c *env.Cluster, pool *unstructured.Unstructured) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.CreateNodePool(ctx, pool); err != nil {
		t.Fatal(err)
	}
}

// podIn has a pod of two CPUs run in one region.
func podIn(region string, p *corev1.Pod) *corev1.Pod {
	p.Spec.NodeSelector = map[string]string{corev1.LabelTopologyRegion: region}
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")}
	return p
}

// awaitRunning waits until there are as many pods in the namespace, and all run.
func awaitRunning(t *testing.T, c *env.Cluster, namespace string, want int) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		pods, err := podsOf(ctx, c, namespace)
		if err != nil {
			return err
		}
		running := 0
		for _, p := range pods {
			if p.Status.Phase == corev1.PodRunning {
				running++
			}
		}
		if running != want || len(pods) != want {
			return fmt.Errorf("%d of %d pods run, want %d", running, len(pods), want)
		}
		return nil
	})
}

// expectNodes fails the test unless Karpenter has made as many nodes for a
// NodePool, and wants no other, and all are where the NodePool says.
func expectNodes(t *testing.T, c *env.Cluster, pool string, want int) {
	t.Helper()
	claims, err := c.Claims(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	var nodes corev1.NodeList
	if err := c.Client.List(t.Context(), &nodes, client.MatchingLabels{"karpenter.sh/nodepool": pool}); err != nil {
		t.Fatal(err)
	}
	if len(claims) != want || len(nodes.Items) != want {
		t.Errorf("NodePool %s has %d NodeClaims and %d nodes, want %d", pool, len(claims), len(nodes.Items), want)
	}
	for _, node := range nodes.Items {
		if region, zone := node.Labels[corev1.LabelTopologyRegion], node.Labels[corev1.LabelTopologyZone]; region != pool || zone != "test-zone-b" {
			t.Errorf("node %s of NodePool %s is in region %q and zone %q", node.Name, pool, region, zone)
		}
	}
}
