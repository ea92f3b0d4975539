package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/nodepool"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/test/env"
)

// poolPolicy makes a policy with a location for each region of a cluster's NodePools.
func poolPolicy(t *testing.T, c *env.Cluster, regions ...string) {
	t.Helper()
	create(t, c, env.RegionalPolicy(regions...))
}

// emptyCluster starts a cluster without nodes, and Gridlatch, whose NodePools follow each forecast.
func emptyCluster(t *testing.T) *env.Cluster {
	t.Helper()
	c := env.Start(t, env.Nodes(0))
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	c.Gridlatch(t, env.PoolFlags()...)
	return c
}

// large is a pod that needs a node of its own, in a region or anywhere.
func large(ns, name, region string) *corev1.Pod {
	p := podIn(region, pod(ns, name, nil))
	if region == "" {
		p.Spec.NodeSelector = nil
	}
	p.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("20")
	return p
}

// awaitSpec waits until a field of a NodePool's spec is as wanted.
func awaitSpec(t *testing.T, c *env.Cluster, o *unstructured.Unstructured, field string, want any) {
	t.Helper()
	awaitObject(t, c, o, func() error {
		got, _, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", field)
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("%s of %s: %s; annotations: %v", field, o.GetName(), diff, o.GetAnnotations())
		}
		return nil
	})
}

// awaitReturned waits until nothing on a NodePool is Gridlatch's but what its owner, or a release by hand, has written.
func awaitReturned(t *testing.T, c *env.Cluster, o *unstructured.Unstructured, allowed ...string) {
	t.Helper()
	awaitObject(t, c, o, func() error {
		for key := range o.GetAnnotations() {
			if strings.HasPrefix(key, v1alpha1.Prefix) && !slices.Contains(allowed, key) {
				return fmt.Errorf("annotations left: %v", o.GetAnnotations())
			}
		}
		for _, e := range o.GetManagedFields() {
			if e.Manager == override.Manager {
				return fmt.Errorf("%s owns %s", e.Manager, e.FieldsV1)
			}
		}
		return nil
	})
}

// expectStable fails the test if a NodeClaim of a NodePool has drifted, or one of these is gone. It returns those of now.
func expectStable(t *testing.T, c *env.Cluster, pool string, before env.Claims) env.Claims {
	t.Helper()
	claims, err := c.Claims(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	if drifted, gone := claims.Churn(before); drifted > 0 || gone > 0 {
		t.Errorf("of the NodeClaims of %s, %d have drifted and %d are gone", pool, drifted, gone)
	}
	return claims
}

// TestNodePoolsFollowTheGridWithoutChurn installs Karpenter after Gridlatch.
func TestNodePoolsFollowTheGridWithoutChurn(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	g := &grid{cluster: c}
	g.set(t, "north", 100)
	g.set(t, "south", 400)
	poolPolicy(t, c, "north", "south")
	c.Karpenter(t)
	ns := namespace(t, c)

	t.Run("Rights", func(t *testing.T) { needsTheRight(t, c) })
	t.Run("Limits", func(t *testing.T) { limitsFollow(t, c, g, ns) })
	t.Run("Weights", func(t *testing.T) { weightsFollow(t, c, g, ns) })
}

// needsTheRight limits the right to patch to one NodePool, as the page of the component shows.
func needsTheRight(t *testing.T, c *env.Cluster) {
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "gridlatch-karpenter"}}
	restrict := func(op string) {
		t.Helper()
		patch := fmt.Sprintf(`[{"op":%q,"path":"/rules/1/resourceNames","value":["batch"]}]`, op)
		if err := c.Client.Patch(t.Context(), role, client.RawPatch(types.JSONPatchType, []byte(patch))); err != nil {
			t.Fatal(err)
		}
	}
	restrict("add")
	asks := map[string]string{v1alpha1.PolicyAnnotation: "pools", v1alpha1.WeightsAnnotation: "*=20"}
	batch, other := env.NodePool("batch", nil), env.NodePool("other", nil)
	env.Eventually(t, patience, func(ctx context.Context) error { // the API server knows of the change
		listed := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + env.Namespace + ":gridlatch",
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "patch", Group: "karpenter.sh", Resource: "nodepools", Name: "other"},
		}}
		if err := c.Client.Create(ctx, listed); err != nil || listed.Status.Allowed {
			return fmt.Errorf("Gridlatch may patch every NodePool still: %w", err)
		}
		return nil
	})
	for _, o := range []*unstructured.Unstructured{batch, other} {
		o.SetAnnotations(asks)
		create(t, c, o)
	}
	awaitSpec(t, c, batch, "weight", int64(20))
	env.Eventually(t, patience, func(ctx context.Context) error {
		var list corev1.EventList
		if err := c.Client.List(ctx, &list); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.InvolvedObject.UID == other.GetUID() && e.Reason == nodepool.EventFailed && strings.Contains(e.Message, "forbidden") {
				return nil
			}
		}
		return fmt.Errorf("no Event tells that NodePool other may not be changed")
	})
	awaitSpec(t, c, other, "weight", nil)
	restrict("remove")
	awaitSpec(t, c, other, "weight", int64(20))
	for _, o := range []*unstructured.Unstructured{batch, other} {
		if err := c.Client.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// limitsFollow has the only NodePool of a region follow its grid.
func limitsFollow(t *testing.T, c *env.Cluster, g *grid, ns string) {
	o := env.RegionalPool("north", map[string]string{v1alpha1.PolicyAnnotation: "pools", v1alpha1.LimitsAnnotation: "200=cpu:1000,*=cpu:0"})
	createNodePool(t, c, o)
	awaitSpec(t, c, o, "limits", map[string]any{"cpu": "1000"})
	create(t, c, large(ns, "clean", "north"))
	awaitRunning(t, c, ns, 1)
	claims := expectStable(t, c, "north", nil)

	began := time.Now()
	g.set(t, "north", 500)
	awaitSpec(t, c, o, "limits", map[string]any{"cpu": "0"})
	t.Logf("a new forecast was a new limit after %v", time.Since(began).Round(time.Millisecond))
	create(t, c, large(ns, "dirty", "north"))
	waits := large(ns, "dirty", "north")
	stays(t, c, waits, 5*time.Second, func() error {
		if waits.Spec.NodeName != "" {
			return fmt.Errorf("the pod runs on %s", waits.Spec.NodeName)
		}
		return nil
	})
	claims = expectStable(t, c, "north", claims)

	g.set(t, "north", 100)
	awaitRunning(t, c, ns, 2) // the running one has stayed
	claims = expectStable(t, c, "north", claims)
	if len(claims) != 2 {
		t.Errorf("%d NodeClaims", len(claims))
	}

	// What the owner writes last wins.
	amend(t, c, o, `{"spec":{"limits":{"cpu":"300","memory":"10Ti"}}}`)
	awaitObject(t, c, o, wantAnnotation(o, v1alpha1.OriginalLimitsAnnotation, `{"cpu":"300"}`))
	g.set(t, "north", 500)
	awaitSpec(t, c, o, "limits", map[string]any{"cpu": "0", "memory": "10Ti"})
	amend(t, c, o, annotate(v1alpha1.LimitsAnnotation, ""))
	awaitSpec(t, c, o, "limits", map[string]any{"cpu": "300", "memory": "10Ti"})
	awaitReturned(t, c, o, v1alpha1.PolicyAnnotation)
	expectStable(t, c, "north", claims)
}

// weightsFollow has two regions swap.
func weightsFollow(t *testing.T, c *env.Cluster, g *grid, ns string) {
	g.set(t, "north", 100)
	auto := map[string]string{v1alpha1.PolicyAnnotation: "pools", v1alpha1.WeightsAnnotation: v1alpha1.WeightsAuto}
	north, south := env.RegionalPool("north", nil), env.RegionalPool("south", auto)
	createNodePool(t, c, south)
	amend(t, c, north, annotate(v1alpha1.WeightsAnnotation, v1alpha1.WeightsAuto))
	awaitSpec(t, c, north, "weight", int64(100))
	awaitSpec(t, c, south, "weight", int64(1))
	before := len(expectStable(t, c, "north", nil))
	create(t, c, large(ns, "north-first", ""))
	awaitRunning(t, c, ns, 3)
	claims := expectStable(t, c, "north", nil)
	if len(claims) != before+1 {
		t.Errorf("%d NodeClaims in the clean region, want %d", len(claims), before+1)
	}

	g.set(t, "north", 600)
	awaitSpec(t, c, north, "weight", int64(1))
	awaitSpec(t, c, south, "weight", int64(100))
	create(t, c, large(ns, "south-first", ""))
	awaitRunning(t, c, ns, 4)
	if got := len(expectStable(t, c, "south", nil)); got != 1 {
		t.Errorf("%d NodeClaims in the region that has become clean", got)
	}
	expectStable(t, c, "north", claims)

	// As soon as one of the two is given back, the controller gives the other back, too.
	if said := releaseAll(t, c); !strings.Contains(said, "NodePools of Karpenter their limits, weights and prices back") {
		t.Errorf("said %q", said)
	}
	for _, o := range []*unstructured.Unstructured{north, south} {
		awaitSpec(t, c, o, "weight", nil)
		awaitReturned(t, c, o, v1alpha1.PolicyAnnotation, v1alpha1.WeightsAnnotation, v1alpha1.NodePoolReleasedAnnotation)
	}
	expectStable(t, c, "north", claims)
}

// TestAWeekOfForecastsReplacesNoNode has a forecast for each hour of a week, one soon after the other. Two NodePools follow
// their grids, and their nodes stay.
func TestAWeekOfForecastsReplacesNoNode(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	poolPolicy(t, c, "north", "south")
	c.Karpenter(t, env.Overlays)
	ns, pools, claims := namespace(t, c), map[string]*unstructured.Unstructured{}, map[string]env.Claims{}
	for i, region := range []string{"north", "south"} {
		pools[region] = env.RegionalPool(region, nil)
		createNodePool(t, c, pools[region])
		create(t, c, large(ns, region, region))
		awaitRunning(t, c, ns, i+1)
		claims[region] = expectStable(t, c, region, nil)
		amend(t, c, pools[region], annotations(t, env.WeekWish()))
	}
	var delays []time.Duration
	for hour := range env.HoursOfWeek {
		delays = append(delays, followHour(t, c, hour, pools["north"], pools["south"]))
	}
	slices.Sort(delays)
	t.Logf("limits, weights and prices followed a forecast after %v at most, and %v in 99 of 100 cases", delays[len(delays)-1], delays[len(delays)*99/100])
	for region, o := range pools {
		expectStable(t, c, region, claims[region])
		changes := generationOf(t, c, o)
		stays(t, c, o, 3*time.Second, func() error {
			if o.GetGeneration() != changes {
				return fmt.Errorf("NodePool %s changes although nothing else does", region)
			}
			return nil
		})
		t.Logf("NodePool %s was changed %d times, and its %d nodes have stayed", region, changes-1, len(claims[region]))
		for _, key := range []string{v1alpha1.LimitsAnnotation, v1alpha1.WeightsAnnotation, v1alpha1.CarbonPriceAnnotation} {
			amend(t, c, o, annotate(key, ""))
		}
		awaitSpec(t, c, o, "limits", nil)
		awaitSpec(t, c, o, "weight", nil)
		awaitReturned(t, c, o, v1alpha1.PolicyAnnotation, v1alpha1.PowerFactorKey)
		awaitNoOverlay(t, c, env.NodeOverlay("gridlatch-"+region))
	}
}

// annotations returns a patch that adds annotations.
func annotations(t *testing.T, add map[string]string) string {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": add}})
	if err != nil {
		t.Fatal(err)
	}
	return string(patch)
}

// followHour has both NodePools follow the forecast of an hour, and returns how long that took.
func followHour(t *testing.T, c *env.Cluster, hour int, north, south *unstructured.Unstructured) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	took, err := c.FollowHour(ctx, hour, north, south)
	if err != nil {
		t.Fatalf("hour %d: %v", hour, err)
	}
	return took
}

// TestAControllerKilledWhileItSetsNodePoolsForgetsNothing kills it again and again while it changes many NodePools, and
// then leaves while all are changed. Nobody runs Karpenter.
func TestAControllerKilledWhileItSetsNodePoolsForgetsNothing(t *testing.T) {
	const pools = 100
	c, g := ownCluster(t, env.PoolFlags()...)
	if err := c.InstallKarpenter(t.Context()); err != nil {
		t.Fatal(err)
	}
	forecasts := &grid{cluster: c}
	poolPolicy(t, c, "north")
	var all []*unstructured.Unstructured
	for i := range pools {
		o := env.NodePool(fmt.Sprint("pool-", i), nil)
		o.SetAnnotations(map[string]string{
			v1alpha1.PolicyAnnotation: "pools", v1alpha1.LimitsAnnotation: "200=cpu:50,300=cpu:20,400=cpu:10,*=cpu:0", v1alpha1.WeightsAnnotation: "200=90,300=50,*=10",
			v1alpha1.CarbonPriceAnnotation: env.WeekPrices,
		})
		spec := o.Object["spec"].(map[string]any)
		spec["limits"], spec["weight"] = map[string]any{"cpu": fmt.Sprint(100 + i)}, int64(1+i%100)
		create(t, c, o)
		all = append(all, o)
	}
	for _, intensity := range []float64{100, 500, 350, 100} {
		forecasts.set(t, "north", intensity)
		awaitSomeChanged(t, c, all)
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		g = c.Controller(t, g.Webhook, env.PoolFlags()...)
	}
	forecasts.set(t, "north", 500)
	for i, o := range all {
		awaitSpec(t, c, o, "limits", map[string]any{"cpu": "0"})
		awaitSpec(t, c, o, "weight", int64(10))
		want := fmt.Sprintf(`{"cpu":"%d"}`, 100+i)
		if got := o.GetAnnotations()[v1alpha1.OriginalLimitsAnnotation]; got != want {
			t.Fatalf("remembered %q of %s, want %q", got, o.GetName(), want)
		}
	}
	awaitOverlays(t, c, pools, "+25%")
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	releaseAll(t, c)
	awaitOverlays(t, c, 0, "")
	for i, o := range all {
		awaitSpec(t, c, o, "limits", map[string]any{"cpu": fmt.Sprint(100 + i)})
		awaitSpec(t, c, o, "weight", int64(1+i%100))
		awaitReturned(t, c, o, v1alpha1.PolicyAnnotation, v1alpha1.LimitsAnnotation, v1alpha1.WeightsAnnotation,
			v1alpha1.CarbonPriceAnnotation, v1alpha1.NodePoolReleasedAnnotation)
	}
}

// awaitOverlays waits until there are as many NodeOverlays, and all have one price.
func awaitOverlays(t *testing.T, c *env.Cluster, want int, price string) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(env.NodeOverlay("").GroupVersionKind())
		if err := c.Client.List(ctx, list); err != nil {
			return err
		}
		if len(list.Items) != want {
			return fmt.Errorf("%d NodeOverlays, want %d", len(list.Items), want)
		}
		for _, o := range list.Items {
			if got, _, _ := unstructured.NestedString(o.Object, "spec", "priceAdjustment"); got != price {
				return fmt.Errorf("NodeOverlay %s has the price %q, want %q", o.GetName(), got, price)
			}
		}
		return nil
	})
}
