package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	poolTurns = 50
	north     = "north"
	south     = "south"
	// poolPause is how long Karpenter has to look at its nodes after the last change.
	poolPause = 10 * time.Second
	idlePools = 100
	// rereadEach is how often the forecast comes anew while nothing changes.
	rereadEach = 10 * time.Second
)

// withKarpenter makes a measurement with Karpenter and Gridlatch at work, on a cluster whose only nodes are Karpenter's.
func withKarpenter(ctx context.Context, measure func(context.Context, *rig) (float64, error)) (values []float64, err error) {
	r, err := newRig(ctx, env.Nodes(0))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := v1alpha1.AddToScheme(r.cluster.Client.Scheme()); err != nil {
		return nil, fmt.Errorf("build scheme: %w", err)
	}
	karpenter := func(ctx context.Context, log string) (*env.Program, error) {
		return r.cluster.RunKarpenter(ctx, log, env.Overlays)
	}
	if err := r.keep(ctx, "karpenter", karpenter); err != nil {
		return nil, err
	}
	if err := r.cluster.Install(ctx, r.port); err != nil {
		return nil, err
	}
	if err := r.cluster.Client.Create(ctx, env.RegionalPolicy(north, south)); err != nil {
		return nil, fmt.Errorf("create policy: %w", err)
	}
	if err := r.setRegion(ctx, dirtyGrid); err != nil {
		return nil, err
	}
	if err := r.restart(ctx, env.PoolFlags()...); err != nil {
		return nil, err
	}
	if err := r.cluster.AwaitWebhook(ctx); err != nil {
		return nil, err
	}
	value, err := measure(ctx, r)
	return []float64{value}, err
}

// setRegion writes a forecast in which the north has one intensity for hours.
func (r *rig) setRegion(ctx context.Context, intensity float64) error {
	return r.cluster.Forecast(ctx, env.Elements(north, time.Now().Add(-time.Hour), 6*time.Hour, intensity)...)
}

// createPool creates a NodePool in a region that asks for some of what Gridlatch does.
func (r *rig) createPool(ctx context.Context, region string, wish map[string]string) (*unstructured.Unstructured, error) {
	pool := env.RegionalPool(region, wish)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return pool, r.cluster.CreateNodePool(ctx, pool)
}

// measureNodePool has the grid of a NodePool turn again and again, and each time waits for the new limit.
func measureNodePool(ctx context.Context) ([]float64, error) {
	return withKarpenter(ctx, func(ctx context.Context, r *rig) (float64, error) {
		wish := map[string]string{v1alpha1.PolicyAnnotation: env.PoolPolicy, v1alpha1.LimitsAnnotation: env.WeekLimits}
		if _, err := r.createPool(ctx, north, wish); err != nil {
			return 0, err
		}
		objects, err := dynamic.NewForConfig(r.cluster.Config)
		if err != nil {
			return 0, fmt.Errorf("connect: %w", err)
		}
		watcher, err := objects.Resource(schema.GroupVersionResource{Group: "karpenter.sh", Version: "v1", Resource: "nodepools"}).Watch(ctx, metav1.ListOptions{})
		if err != nil {
			return 0, fmt.Errorf("watch NodePools: %w", err)
		}
		defer watcher.Stop()
		awaitLimit := func(want string) error {
			return await(ctx, watcher, "a NodePool of "+want+" CPUs", func(o *unstructured.Unstructured) bool {
				limit, _, _ := unstructured.NestedString(o.Object, "spec", "limits", "cpu")
				return limit == want
			})
		}
		if err := awaitLimit("0"); err != nil {
			return 0, err
		}
		return percentile("limits", poolTurns, func(i int) (time.Duration, error) {
			intensity, want := cleanGrid, "1000"
			if i%2 == 1 {
				intensity, want = dirtyGrid, "0"
			}
			started := time.Now()
			if err := r.setRegion(ctx, float64(intensity)); err != nil {
				return 0, err
			}
			err := awaitLimit(want)
			return time.Since(started), err
		})
	})
}

// measureChurn has two NodePools with nodes follow a week of forecasts, one soon after the other.
func measureChurn(ctx context.Context) ([]float64, error) {
	return withKarpenter(ctx, func(ctx context.Context, r *rig) (float64, error) {
		pools, before := map[string]*unstructured.Unstructured{}, map[string]env.Claims{}
		if err := r.setRegion(ctx, cleanGrid); err != nil {
			return 0, err
		}
		for _, region := range []string{north, south} {
			var err error
			if pools[region], err = r.createPool(ctx, region, env.WeekWish()); err != nil {
				return 0, err
			}
			if before[region], err = r.occupy(ctx, region); err != nil {
				return 0, err
			}
		}
		most := 0
		count := func() error {
			n, err := r.churn(ctx, before)
			most = max(most, n)
			return err
		}
		for hour := range env.HoursOfWeek {
			if err := r.followHour(ctx, hour, pools); err != nil {
				return 0, err
			}
			if err := count(); err != nil {
				return 0, err
			}
		}
		if err := pause(ctx, poolPause); err != nil {
			return 0, err
		}
		err := count()
		return float64(most), err
	})
}

// measureIdlePools counts what Gridlatch writes to the API server while nothing changes, with Karpenter at work: the forecast
// is deleted and comes back as it was, as the exporter does it.
func measureIdlePools(ctx context.Context) ([]float64, error) {
	return withKarpenter(ctx, func(ctx context.Context, r *rig) (float64, error) {
		elements := slices.Concat(
			env.Elements(north, time.Now().Add(-time.Hour), 6*time.Hour, dirtyGrid),
			env.Elements(south, time.Now().Add(-time.Hour), 6*time.Hour, (cleanGrid+dirtyGrid)/2))
		if err := r.cluster.Forecast(ctx, elements...); err != nil {
			return 0, err
		}
		for i := range idlePools {
			pool := env.RegionalPool([]string{north, south}[i%2], env.WeekWish())
			pool.SetName(podName(i))
			if err := r.cluster.Client.Create(ctx, pool); err != nil {
				return 0, fmt.Errorf("create NodePool: %w", err)
			}
		}
		if err := r.awaitQuiet(ctx); err != nil {
			return 0, err
		}
		if err := r.expectIdlePools(ctx); err != nil {
			return 0, err
		}
		before, err := r.poolWrites(ctx)
		if err != nil {
			return 0, err
		}
		log.Printf("counting writes for %s", idleFor)
		for range idleFor / rereadEach {
			if err := r.cluster.Forecast(ctx, elements...); err != nil {
				return 0, err
			}
			if err := pause(ctx, rereadEach); err != nil {
				return 0, err
			}
		}
		after, err := r.poolWrites(ctx)
		return (after - before) * float64(time.Hour/idleFor), err
	})
}

// poolWrites is how many requests of the controller were to change something other than a policy: the status of the policy
// tells whenever there is no forecast.
func (r *rig) poolWrites(ctx context.Context) (float64, error) {
	all, err := r.writes(ctx)
	if err != nil {
		return 0, err
	}
	ofPolicies, err := r.served(ctx, "carbonpolicies")
	return all - ofPolicies, err
}

// expectIdlePools returns an error unless all NodePools are ranked, and each has a NodeOverlay.
func (r *rig) expectIdlePools(ctx context.Context) error {
	for i := range idlePools {
		pool, overlay := env.NodePool(podName(i), nil), env.NodeOverlay("gridlatch-"+podName(i))
		for _, o := range []*unstructured.Unstructured{pool, overlay} {
			if err := r.cluster.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
				return fmt.Errorf("get %s %s: %w", o.GetKind(), o.GetName(), err)
			}
		}
		if weight, _, _ := unstructured.NestedInt64(pool.Object, "spec", "weight"); weight == 0 {
			return fmt.Errorf("NodePool %s has no weight: %v", pool.GetName(), pool.GetAnnotations())
		}
	}
	return nil
}

// followHour has both NodePools follow an hour.
func (r *rig) followHour(ctx context.Context, hour int, pools map[string]*unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	took, err := r.cluster.FollowHour(ctx, hour, pools[north], pools[south])
	if err != nil {
		return fmt.Errorf("hour %d: %w", hour, err)
	}
	if (hour+1)%24 == 0 {
		log.Printf("day %d of the week is over, its last hour in %s", (hour+1)/24, took)
	}
	return nil
}

// occupy has Karpenter make a node in a region for a pod, and returns the NodeClaims there once the pod runs.
func (r *rig) occupy(ctx context.Context, region string) (env.Claims, error) {
	pod := newPod(region)
	pod.Spec.SchedulerName, pod.Spec.NodeSelector = "", map[string]string{corev1.LabelTopologyRegion: region}
	pod.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("20")
	pods := r.clientset.CoreV1().Pods(namespace)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("create a pod: %w", err)
	}
	err := poll(ctx, patience, func(ctx context.Context) error {
		now, err := pods.Get(ctx, region, metav1.GetOptions{})
		if err == nil && now.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("the pod in %s is %s: %v", region, now.Status.Phase, now.Status.Conditions)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	claims, err := r.cluster.Claims(ctx, region)
	if err == nil && len(claims) != 1 {
		err = fmt.Errorf("%d NodeClaims in %s, want 1", len(claims), region)
	}
	return claims, err
}

// churn counts the NodeClaims that have drifted, or are gone.
func (r *rig) churn(ctx context.Context, before map[string]env.Claims) (total int, err error) {
	for region, claims := range before {
		now, err := r.cluster.Claims(ctx, region)
		if err != nil {
			return 0, err
		}
		drifted, gone := now.Churn(claims)
		total += drifted + gone
	}
	return total, nil
}
