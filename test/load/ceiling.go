package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	levels         = 100  // buckets of the policy, as many as one may have
	levelRatio     = 1.05 // between the bounds of two, which is more than the hysteresis
	ceilingChanges = levels
	ownMax         = 1000 // maxReplicaCount of a ScaledObject without a ceiling
)

// ceilingAt is the ceiling at a level. The first level is the cleanest.
func ceilingAt(level int) int32 { return int32(levels - level) }

// bound is the upper bound of a level, in gCO2eq/kWh.
func bound(level int) int32 { return int32(100 * math.Pow(levelRatio, float64(level))) }

// leveled is the default policy with a bucket for each level.
func leveled() *v1alpha1.CarbonPolicy {
	policy := v1alpha1.Default()
	for level := range levels {
		policy.Spec.Buckets = append(policy.Spec.Buckets, v1alpha1.Bucket{UpTo: ptr.To(bound(level)), Ceiling: ceilingAt(level)})
	}
	return policy
}

// setLevel writes a forecast that is at a level for hours.
func (r *rig) setLevel(ctx context.Context, level int) error {
	intensity := 0.97 * float64(bound(level)) // far enough below it to count at once
	return r.cluster.Forecast(ctx, env.Elements("CAISO_NORTH", time.Now().Add(-time.Hour), 6*time.Hour, intensity)...)
}

// newCeilingRig is newRig with Gridlatch, its policy at the dirtiest level, and KEDA's definitions.
func newCeilingRig(ctx context.Context) (*rig, error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.prepareCeilings(ctx); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *rig) prepareCeilings(ctx context.Context) error {
	if err := r.cluster.InstallKEDA(ctx); err != nil {
		return err
	}
	if err := r.cluster.Install(ctx, r.port); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(r.cluster.Client.Scheme()); err != nil {
		return fmt.Errorf("build scheme: %w", err)
	}
	if err := r.cluster.Client.Create(ctx, leveled()); err != nil {
		return fmt.Errorf("create policy: %w", err)
	}
	return r.setLevel(ctx, levels-1)
}

// withKEDA makes a measurement with KEDA's operator and Gridlatch at work, with further flags.
func withKEDA(ctx context.Context, measure func(context.Context, *rig) (float64, error), flags ...string) (values []float64, err error) {
	r, err := newCeilingRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.keep(ctx, "keda", r.cluster.RunKEDA); err != nil {
		return nil, err
	}
	if err := r.restart(ctx, flags...); err != nil {
		return nil, err
	}
	value, err := measure(ctx, r)
	return []float64{value}, err
}

// claimed makes a ScaledObject that asks for the policy's ceiling.
func claimed(name string) *unstructured.Unstructured {
	o := env.ScaledObject(namespace, name, 1, ownMax)
	o.SetAnnotations(map[string]string{v1alpha1.PolicyAnnotation: v1alpha1.DefaultPolicy})
	return o
}

// measureCeiling changes the forecast again and again, and each time waits for KEDA's autoscaler to follow. All but one
// of the changes are for the better: how soon a ceiling is lowered again is a matter of policy.
func measureCeiling(ctx context.Context) ([]float64, error) {
	return withKEDA(ctx, func(ctx context.Context, r *rig) (float64, error) {
		for _, o := range []client.Object{env.Deployment(namespace, "measured"), claimed("measured")} {
			if err := r.cluster.Client.Create(ctx, o); err != nil {
				return 0, fmt.Errorf("create %s: %w", o.GetName(), err)
			}
		}
		autoscalers := r.clientset.AutoscalingV2().HorizontalPodAutoscalers(namespace)
		watcher, err := autoscalers.Watch(ctx, metav1.ListOptions{})
		if err != nil {
			return 0, fmt.Errorf("watch autoscalers: %w", err)
		}
		defer watcher.Stop()
		if err := awaitMax(ctx, watcher, ceilingAt(levels-1)); err != nil {
			return 0, err
		}
		return percentile("ceilings", ceilingChanges, func(i int) (time.Duration, error) {
			level := (2*levels - 2 - i) % levels // cleaner and cleaner, and then from the start
			started := time.Now()
			if err := r.setLevel(ctx, level); err != nil {
				return 0, err
			}
			err := awaitMax(ctx, watcher, ceilingAt(level))
			return time.Since(started), err
		})
	})
}

// awaitMax reads a watch of autoscalers until one may go that far.
func awaitMax(ctx context.Context, watcher watch.Interface, want int32) error {
	return await(ctx, watcher, fmt.Sprintf("an autoscaler up to %d", want), func(hpa *autoscalingv2.HorizontalPodAutoscaler) bool {
		return hpa.Spec.MaxReplicas == want
	})
}
