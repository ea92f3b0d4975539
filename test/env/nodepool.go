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
	// HoursOfWeek is how often FollowHour is called for a week.
	HoursOfWeek = 7 * 24
)

// PoolFlags let the limits and weights of NodePools follow each forecast.
func PoolFlags() []string { return []string{"--nodepool-interval=0s", "--leader-elect=false"} }

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

// FollowHour writes the forecast of an hour of a week, in which the north is as clean as the south was twelve hours ago. It
// returns how long it took until a NodePool in each had the limits and the weight of that hour.
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
		limit, weight := "200", int64(1)
		switch {
		case g.intensity <= 200:
			limit = "1000"
		case g.intensity > 350:
			limit = "0"
		}
		if g.intensity < mean {
			weight = 100
		}
		if err := c.awaitPool(ctx, g.pool, limit, weight); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// awaitPool waits until a NodePool has a limit of its CPUs, and a weight.
func (c *Cluster) awaitPool(ctx context.Context, pool *unstructured.Unstructured, wantLimit string, wantWeight int64) error {
	return Poll(ctx, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(pool), pool); err != nil {
			return fmt.Errorf("get NodePool %s: %w", pool.GetName(), err)
		}
		limit, _, _ := unstructured.NestedString(pool.Object, "spec", "limits", "cpu")
		weight, _, _ := unstructured.NestedInt64(pool.Object, "spec", "weight")
		if limit != wantLimit || weight != wantWeight {
			return fmt.Errorf("NodePool %s has %q CPUs and the weight %d, want %q and %d; annotations: %v",
				pool.GetName(), limit, weight, wantLimit, wantWeight, pool.GetAnnotations())
		}
		return nil
	})
}
