package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/nodepool"
	"github.com/gridlatch/gridlatch/test/env"
)

// awaitOverlay waits until Karpenter uses a NodeOverlay that lets nodes with amd64 look dearer by as much.
func awaitOverlay(t *testing.T, c *env.Cluster, o *unstructured.Unstructured, pool, adjustment string) {
	t.Helper()
	want := map[string]any{"weight": int64(1), "priceAdjustment": adjustment, "requirements": []any{
		map[string]any{"key": "karpenter.sh/nodepool", "operator": "In", "values": []any{pool}},
		map[string]any{"key": "kubernetes.io/arch", "operator": "In", "values": []any{"amd64"}},
	}}
	awaitObject(t, c, o, func() error {
		if diff := cmp.Diff(want, o.Object["spec"]); diff != "" {
			return fmt.Errorf("%s: %s", o.GetName(), diff)
		}
		conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
		for _, condition := range conditions {
			if is, ok := condition.(map[string]any); ok && is["type"] == "Ready" && is["status"] == "True" && is["observedGeneration"] == o.GetGeneration() {
				return nil
			}
		}
		return fmt.Errorf("Karpenter does not use %s: %v", o.GetName(), conditions)
	})
}

// awaitNoOverlay waits until a NodeOverlay is gone.
func awaitNoOverlay(t *testing.T, c *env.Cluster, o *unstructured.Unstructured) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			return fmt.Errorf("NodeOverlay %s is there: %w", o.GetName(), err)
		}
		return nil
	})
}

// TestNodesThatTakeMorePowerLookDearerWhileTheGridIsDirty shows what Karpenter says of the NodeOverlays. Its simulated
// cloud chooses nodes without them.
func TestNodesThatTakeMorePowerLookDearerWhileTheGridIsDirty(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	g := &grid{cluster: c}
	g.set(t, "north", 500)
	poolPolicy(t, c, "north")
	c.Karpenter(t, env.Overlays)
	asks := map[string]string{
		v1alpha1.PolicyAnnotation: "pools", v1alpha1.CarbonPriceAnnotation: env.WeekPrices, v1alpha1.PowerFactorKey: env.WeekPowers,
	}
	pool, overlay := env.RegionalPool("north", asks), env.NodeOverlay("gridlatch-north")
	createNodePool(t, c, pool)
	awaitOverlay(t, c, overlay, "north", "+25%")
	generation := generationOf(t, c, pool)

	g.set(t, "north", 300)
	awaitOverlay(t, c, overlay, "north", "+10%")
	g.set(t, "north", 100)
	awaitNoOverlay(t, c, overlay)
	g.set(t, "north", 500)
	awaitOverlay(t, c, overlay, "north", "+25%")
	if got := generationOf(t, c, pool); got != generation {
		t.Errorf("the NodePool itself has changed: generation %d, was %d", got, generation)
	}

	// A NodeOverlay of somebody else stays as it is.
	foreign := env.NodeOverlay("gridlatch-other")
	foreign.Object["spec"] = map[string]any{"requirements": []any{
		map[string]any{"key": "karpenter.sh/nodepool", "operator": "In", "values": []any{"other"}},
	}, "priceAdjustment": "+1%"}
	create(t, c, foreign)
	version := foreign.GetGeneration()
	other := env.NodePool("other", nil)
	other.SetAnnotations(asks)
	create(t, c, other)
	awaitPoolEvent(t, c, other, nodepool.EventOverlayTaken)

	amend(t, c, pool, annotate(v1alpha1.CarbonPriceAnnotation, ""))
	awaitNoOverlay(t, c, overlay)
	amend(t, c, pool, annotate(v1alpha1.CarbonPriceAnnotation, "*=25%"))
	awaitOverlay(t, c, overlay, "north", "+25%")
	releaseAll(t, c)
	awaitNoOverlay(t, c, overlay)
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(foreign), foreign); err != nil || foreign.GetGeneration() != version || len(foreign.GetAnnotations()) > 0 {
		t.Errorf("the NodeOverlay of somebody else: %v, %v", foreign.Object, err)
	}
}

// awaitPoolEvent waits until an Event on a NodePool has a reason.
func awaitPoolEvent(t *testing.T, c *env.Cluster, o *unstructured.Unstructured, reason string) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		var list corev1.EventList
		if err := c.Client.List(ctx, &list); err != nil {
			return err
		}
		var reasons []string
		for _, e := range list.Items {
			if e.InvolvedObject.UID == o.GetUID() {
				reasons = append(reasons, e.Reason)
			}
		}
		if !slices.Contains(reasons, reason) {
			return fmt.Errorf("no Event %s on %s, only %v", reason, o.GetName(), reasons)
		}
		return nil
	})
}
