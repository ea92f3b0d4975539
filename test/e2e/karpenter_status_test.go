package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

const statusPool = "low-intensity"

// guide returns the NodePool and the Deployment that docs/karpenter.md shows.
func guide(t *testing.T) (*unstructured.Unstructured, *appsv1.Deployment) {
	t.Helper()
	page, err := os.ReadFile("../../docs/karpenter.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, isThere := strings.Cut(string(page), "```yaml\n")
	block, _, isWhole := strings.Cut(block, "```\n")
	first, second, hasTwo := strings.Cut(block, "\n---\n")
	if !isThere || !isWhole || !hasTwo {
		t.Fatalf("the page shows no two objects:\n%s", block)
	}
	pool, d := &unstructured.Unstructured{}, &appsv1.Deployment{}
	if err := errors.Join(yaml.UnmarshalStrict([]byte(first), &pool.Object), yaml.UnmarshalStrict([]byte(second), d)); err != nil {
		t.Fatal(err)
	}
	return pool, d
}

// poolForCleanTimes is the NodePool of the guide, with simulated nodes.
func poolForCleanTimes(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	pool, _ := guide(t)
	template, _, err := unstructured.NestedMap(env.NodePool("", nil).Object, "spec", "template")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range [][]string{{"metadata", "labels"}, {"spec", "nodeClassRef"}} {
		value, _, err := unstructured.NestedMap(template, path...)
		if err != nil {
			t.Fatal(err)
		}
		if err := unstructured.SetNestedMap(pool.Object, value, append([]string{"spec", "template"}, path...)...); err != nil {
			t.Fatal(err)
		}
	}
	return pool
}

// forCleanTimes is the Deployment of the guide, with a short run. Its pod needs a node of its own, and is created again if
// Kubernetes evicts the pod from a node whose taint for new nodes has just gone.
func forCleanTimes(t *testing.T, ns string) *appsv1.Deployment {
	t.Helper()
	_, d := guide(t)
	d.Namespace = ns
	d.Spec.Template.Annotations[v1alpha1.DurationAnnotation] = "2s"
	d.Spec.Template.Spec.Containers = large(ns, "", "").Spec.Containers
	return d
}

// TestWorkThatSelectsCleanNodesGetsANodeOnceTheGridIsClean has the shape of the articles, in which nodes have the state of the
// grid as a label, as docs/karpenter.md shows it. Gridlatch holds the work, and changes neither the NodePool nor a node.
func TestWorkThatSelectsCleanNodesGetsANodeOnceTheGridIsClean(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(0))
	c.Gridlatch(t)
	c.Karpenter(t)
	pool := poolForCleanTimes(t)
	createNodePool(t, c, pool)
	createNodePool(t, c, env.RegionalPool("north", nil))
	spec := pool.DeepCopy().Object["spec"]

	dirtyThenClean(t, c, aWhile)
	ns, others := namespace(t, c), namespace(t, c)
	create(t, c, forCleanTimes(t, ns))
	awaitGated(t, c, ns, 1)
	// Karpenter looks at all pods that wait whenever one more does: a node for the later one shows that it has.
	create(t, c, podIn("north", pod(others, "later", nil)))
	awaitRunning(t, c, others, 1)
	statusNodes(t, c, 0)

	cleanNow(t, c)
	awaitRunning(t, c, ns, 1)
	node := statusNodes(t, c, 1)[0]
	claims := expectStable(t, c, statusPool, nil)

	dirtyThenClean(t, c, aWhile)
	later := namespace(t, c)
	create(t, c, forCleanTimes(t, later))
	awaitGated(t, c, later, 1)
	create(t, c, large(others, "next", "north"))
	awaitRunning(t, c, others, 2)
	stays(t, c, pool, 15*time.Second, func() error { // Karpenter finds what has drifted within this time
		if diff := cmp.Diff(spec, pool.Object["spec"]); diff != "" {
			return fmt.Errorf("the NodePool has changed: %s", diff)
		}
		return nil
	})
	awaitGated(t, c, later, 1)
	awaitRunning(t, c, ns, 1)
	if after := statusNodes(t, c, 1)[0]; after.UID != node.UID {
		t.Errorf("node %s was replaced by %s", node.Name, after.Name)
	}
	expectStable(t, c, statusPool, claims)

	cleanNow(t, c)
	awaitRunning(t, c, later, 1)
	statusNodes(t, c, 2)
	expectStable(t, c, statusPool, claims)
	awaitDriftByRequirements(t, c, pool)
}

// statusNodes returns the nodes of the NodePool, each with the label. It fails the test if there are more or fewer.
func statusNodes(t *testing.T, c *env.Cluster, want int) []corev1.Node {
	t.Helper()
	var nodes corev1.NodeList
	if err := c.Client.List(t.Context(), &nodes, client.MatchingLabels{"karpenter.sh/nodepool": statusPool}); err != nil {
		t.Fatal(err)
	}
	claims, err := c.Claims(t.Context(), statusPool)
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes.Items) != want || len(claims) != want {
		t.Fatalf("NodePool %s has %d NodeClaims and %d nodes, want %d", statusPool, len(claims), len(nodes.Items), want)
	}
	for _, node := range nodes.Items {
		if got := node.Labels[v1alpha1.CarbonStatusKey]; got != v1alpha1.LowIntensity {
			t.Errorf("node %s has the status %q", node.Name, got)
		}
	}
	return nodes.Items
}

// awaitDriftByRequirements does what the controllers of the articles do when the grid turns. Karpenter wants to replace the
// nodes.
func awaitDriftByRequirements(t *testing.T, c *env.Cluster, pool *unstructured.Unstructured) {
	t.Helper()
	change(t, c, pool, func(pool *unstructured.Unstructured) {
		requirements, _, err := unstructured.NestedSlice(pool.Object, "spec", "template", "spec", "requirements")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range requirements {
			if r, _ := r.(map[string]any); r["key"] == v1alpha1.CarbonStatusKey {
				r["values"] = []any{"high-intensity"}
			}
		}
		if err := unstructured.SetNestedSlice(pool.Object, requirements, "spec", "template", "spec", "requirements"); err != nil {
			t.Fatal(err)
		}
	})
	before, err := c.Claims(t.Context(), statusPool)
	if err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, patience, func(ctx context.Context) error {
		claims, err := c.Claims(ctx, statusPool)
		if err != nil {
			return err
		}
		if drifted, gone := claims.Churn(before); drifted == 0 && gone == 0 {
			return errors.New("no node has drifted")
		}
		return nil
	})
}
