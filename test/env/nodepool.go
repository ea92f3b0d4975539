package env

import (
	"context"
	"fmt"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

const (
	// PoolPolicy is the name of the policy that RegionalPolicy makes.
	PoolPolicy = "pools"
	// WeekLimits are the limits of NodePools that FollowHour has follow their grids.
	WeekLimits = "200=cpu:1000,350=cpu:200,*=cpu:0"
	// WeekPrices are by how much dearer nodes look that take more power, by WeekPowers.
	WeekPrices = "200=0%,350=10%,*=25%"
	// WeekPowers are the power factors of the architectures.
	WeekPowers = "amd64=1,arm64=0.6"
	// Overlays is the flag of Karpenter by which it uses NodeOverlays.
	Overlays = "--feature-gates=NodeOverlay=true"
	// HoursOfWeek is how often FollowHour is called for a week.
	HoursOfWeek = 7 * 24
)

// PoolFlags let the limits and weights of NodePools follow each forecast.
func PoolFlags() []string { return []string{"--nodepool-interval=0s", "--leader-elect=false"} }

// WeekWish asks for all that Gridlatch can do for a NodePool: limits, a weight by rank, and prices.
func WeekWish() map[string]string {
	return map[string]string{
		v1alpha1.PolicyAnnotation: PoolPolicy, v1alpha1.LimitsAnnotation: WeekLimits, v1alpha1.WeightsAnnotation: v1alpha1.WeightsAuto,
		v1alpha1.CarbonPriceAnnotation: WeekPrices, v1alpha1.PowerFactorKey: WeekPowers,
	}
}

// RegionalPolicy makes a policy with a location for each region of NodePools.
func RegionalPolicy(regions ...string) *v1alpha1.CarbonPolicy {
	p := &v1alpha1.CarbonPolicy{ObjectMeta: metav1.ObjectMeta{Name: PoolPolicy}}
	for _, region := range regions {
		p.Spec.Locations = append(p.Spec.Locations, v1alpha1.Location{Name: region, NodeSelector: map[string]string{corev1.LabelTopologyRegion: region}})
	}
	return p
}

// RegionalPool makes a NodePool in a region, which has the region's name and asks Gridlatch for something.
func RegionalPool(region string, annotations map[string]string) *unstructured.Unstructured {
	o := NodePool(region, map[string]string{corev1.LabelTopologyRegion: region, corev1.LabelTopologyZone: "test-zone-b"})
	o.SetAnnotations(annotations)
	return o
}

// CreateNodePool creates a NodePool and returns when Karpenter uses it: pods that find no NodePool wait ten seconds before
// Karpenter looks at them again.
func (c *Cluster) CreateNodePool(ctx context.Context, pool *unstructured.Unstructured) error {
	if err := c.Client.Create(ctx, pool); err != nil {
		return fmt.Errorf("create NodePool %s: %w", pool.GetName(), err)
	}
	return Poll(ctx, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(pool), pool); err != nil {
			return fmt.Errorf("get NodePool %s: %w", pool.GetName(), err)
		}
		if !hasCondition(pool, "Ready", "True") {
			return fmt.Errorf("NodePool %s is not ready: %v", pool.GetName(), pool.Object["status"])
		}
		return nil
	})
}

// hasCondition reports whether a condition of an object has one of some states.
func hasCondition(o *unstructured.Unstructured, kind string, states ...string) bool {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions") // none at first
	for _, condition := range conditions {
		is, _ := condition.(map[string]any)
		for _, state := range states {
			if is["type"] == kind && is["status"] == state {
				return true
			}
		}
	}
	return false
}

// Claims are the NodeClaims of a NodePool, and whether each has drifted.
type Claims map[types.UID]bool

// Claims returns the NodeClaims of a NodePool.
func (c *Cluster) Claims(ctx context.Context, pool string) (Claims, error) {
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("karpenter.sh/v1")
	list.SetKind("NodeClaimList")
	if err := c.Client.List(ctx, list, client.MatchingLabels{"karpenter.sh/nodepool": pool}); err != nil {
		return nil, fmt.Errorf("list NodeClaims: %w", err)
	}
	claims := Claims{}
	for i := range list.Items {
		claims[list.Items[i].GetUID()] = hasCondition(&list.Items[i], "Drifted", "True", "False", "Unknown")
	}
	return claims, nil
}

// Churn counts the claims that have drifted, and those of before that are gone.
func (c Claims) Churn(before Claims) (drifted, gone int) {
	for _, hasDrifted := range c {
		if hasDrifted {
			drifted++
		}
	}
	for uid := range before {
		if _, isThere := c[uid]; !isThere {
			gone++
		}
	}
	return drifted, gone
}

// hourWish is what is to be in force on a NodePool that asks for WeekWish.
type hourWish struct {
	pool   *unstructured.Unstructured
	limit  string
	weight int64
	// price is by how much dearer some nodes look, empty if there is to be no NodeOverlay.
	price string
}

// wishAt returns what is to be in force at an intensity. isFirst says that no other NodePool is cleaner.
func wishAt(pool *unstructured.Unstructured, intensity float64, isFirst bool) hourWish {
	w := hourWish{pool, "200", 1, "+10%"}
	switch {
	case intensity <= 200:
		w.limit, w.price = "1000", ""
	case intensity > 350:
		w.limit, w.price = "0", "+25%"
	}
	if isFirst {
		w.weight = 100
	}
	return w
}

// FollowHour writes the forecast of an hour of a week, in which the north is as clean as the south was twelve hours ago. It
// returns how long it took until a NodePool in each, which asks for WeekWish, had the limits, the weight and the prices of
// that hour.
func (c *Cluster) FollowHour(ctx context.Context, hour int, north, south *unstructured.Unstructured) (time.Duration, error) {
	const mean, swing = 280, 200
	wave := swing * math.Sin(2*math.Pi*(float64(hour)+0.5)/24)
	grids := []struct {
		pool      *unstructured.Unstructured
		intensity float64
	}{{north, mean + wave}, {south, mean - wave}}
	var elements []Element
	for _, g := range grids {
		elements = append(elements, Elements(g.pool.GetName(), time.Now().Add(-time.Hour), 6*time.Hour, g.intensity)...)
	}
	if err := c.Forecast(ctx, elements...); err != nil {
		return 0, err
	}
	began := time.Now()
	for _, g := range grids {
		w := wishAt(g.pool, g.intensity, g.intensity < mean)
		if err := c.awaitPool(ctx, w); err != nil {
			return 0, err
		}
		if err := c.awaitPrice(ctx, w); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// awaitPool waits until a NodePool has a limit of its CPUs, and a weight.
func (c *Cluster) awaitPool(ctx context.Context, w hourWish) error {
	return Poll(ctx, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(w.pool), w.pool); err != nil {
			return fmt.Errorf("get NodePool %s: %w", w.pool.GetName(), err)
		}
		limit, _, _ := unstructured.NestedString(w.pool.Object, "spec", "limits", "cpu")
		weight, _, _ := unstructured.NestedInt64(w.pool.Object, "spec", "weight")
		if limit != w.limit || weight != w.weight {
			return fmt.Errorf("NodePool %s has %q CPUs and the weight %d, want %q and %d; annotations: %v",
				w.pool.GetName(), limit, weight, w.limit, w.weight, w.pool.GetAnnotations())
		}
		return nil
	})
}

// awaitPrice waits until the NodeOverlay of a NodePool has a price, or is gone.
func (c *Cluster) awaitPrice(ctx context.Context, w hourWish) error {
	return Poll(ctx, func(ctx context.Context) error {
		overlay := NodeOverlay("gridlatch-" + w.pool.GetName())
		err := c.Client.Get(ctx, client.ObjectKeyFromObject(overlay), overlay)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("get NodeOverlay %s: %w", overlay.GetName(), err)
		}
		if price, _, _ := unstructured.NestedString(overlay.Object, "spec", "priceAdjustment"); price != w.price {
			return fmt.Errorf("NodeOverlay %s has the price %q, want %q", overlay.GetName(), price, w.price)
		}
		return nil
	})
}

// NodeOverlay makes a NodeOverlay with a name alone.
func NodeOverlay(name string) *unstructured.Unstructured {
	return karpenterObject("karpenter.sh/v1alpha1", "NodeOverlay", name, nil)
}
