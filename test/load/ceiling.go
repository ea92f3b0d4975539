package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"path/filepath"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ceiling"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	levels         = 100  // buckets of the policy, as many as one may have
	levelRatio     = 1.05 // between the bounds of two, which is more than the hysteresis
	ceilingChanges = levels
	ownMax         = 1000 // maxReplicaCount of a ScaledObject without a ceiling
	recapRounds    = 4
	recapEach      = 1000
	idleObjects    = 100
	idleFor        = 3 * time.Minute
)

// ceilingAt is the ceiling at a level. The first level is the cleanest.
func ceilingAt(level int) int32 { return int32(levels - level) }

// bound is the upper bound of a level, in gCO2eq/kWh.
func bound(level int) int32 { return int32(100 * math.Pow(levelRatio, float64(level))) }

// leveled is the default policy with a bucket for each level.
func leveled() *v1alpha1.CarbonPolicy {
	policy := v1alpha1.Default()
	for level := range levels {
		policy.Spec.Buckets = append(policy.Spec.Buckets, v1alpha1.Bucket{UpTo: bound(level), Ceiling: ceilingAt(level)})
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

// keda runs KEDA's operator until the function that it returns is called.
func (r *rig) keda(ctx context.Context) (stop func() error, err error) {
	operator, err := r.cluster.RunKEDA(ctx, filepath.Join(r.dir, "keda.log"))
	if err != nil {
		return nil, err
	}
	return operator.Stop, nil
}

// claimed makes a ScaledObject that asks for the policy's ceiling.
func claimed(name string) *unstructured.Unstructured {
	o := env.ScaledObject(namespace, name, 1, ownMax)
	o.SetAnnotations(map[string]string{ceiling.PolicyName: v1alpha1.DefaultPolicy})
	return o
}

// measureCeiling changes the forecast again and again, and each time waits for KEDA's autoscaler to follow. All but one
// of the changes are for the better: how soon a ceiling is lowered again is a matter of policy.
func measureCeiling(ctx context.Context) (values []float64, err error) {
	r, err := newCeilingRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	stop, err := r.keda(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := r.restart(ctx); err != nil {
		return nil, err
	}
	if err := r.cluster.Client.Create(ctx, env.Deployment(namespace, "measured")); err != nil {
		return nil, fmt.Errorf("create Deployment: %w", err)
	}
	if err := r.cluster.Client.Create(ctx, claimed("measured")); err != nil {
		return nil, fmt.Errorf("create ScaledObject: %w", err)
	}
	took, err := r.changes(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(took)
	p99 := took[(len(took)*99+99)/100-1]
	log.Printf("ceilings: median %s, 99th percentile %s, most %s", took[len(took)/2], p99, took[len(took)-1])
	return []float64{p99.Seconds()}, nil
}

// changes returns how long KEDA's autoscaler took to follow each change of the forecast, from before the ConfigMap was
// written.
func (r *rig) changes(ctx context.Context) (took []time.Duration, err error) {
	autoscalers := r.clientset.AutoscalingV2().HorizontalPodAutoscalers(namespace)
	watcher, err := autoscalers.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("watch autoscalers: %w", err)
	}
	defer watcher.Stop()
	if err := awaitMax(ctx, watcher, ceilingAt(levels-1)); err != nil {
		return nil, err
	}
	for i := range ceilingChanges {
		level := (2*levels - 2 - i) % levels // cleaner and cleaner, and then from the start
		started := time.Now()
		if err := r.setLevel(ctx, level); err != nil {
			return nil, err
		}
		if err := awaitMax(ctx, watcher, ceilingAt(level)); err != nil {
			return nil, err
		}
		took = append(took, time.Since(started))
		if len(took)%20 == 0 {
			log.Printf("%d of %d changes, the last one in %s", len(took), ceilingChanges, took[len(took)-1])
		}
	}
	return took, nil
}

// awaitMax reads a watch of autoscalers until one may go that far.
func awaitMax(ctx context.Context, watcher watch.Interface, want int32) error {
	timeout := time.After(patience)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout:
			return fmt.Errorf("no autoscaler has come to %d within %s", want, patience)
		case event, open := <-watcher.ResultChan():
			hpa, ok := event.Object.(*autoscalingv2.HorizontalPodAutoscaler)
			if !open || !ok {
				return fmt.Errorf("the watch of autoscalers has ended: %v", event.Object)
			}
			if event.Type != watch.Deleted && hpa.Spec.MaxReplicas == want {
				return nil
			}
		}
	}
}

// measureRecap lets Gridlatch and a bare client set maxReplicaCount of as many ScaledObjects, in turn. KEDA's operator
// does not run: what it does about each change would be measured, too.
func measureRecap(ctx context.Context) (values []float64, err error) {
	r, err := newCeilingRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	var ours, bare rate
	for half := range 2 * recapRounds {
		side, to := r.recapBare, &bare
		if alternate(half) {
			side, to = r.recapOurs, &ours
		}
		took, err := side(ctx)
		if err != nil {
			return nil, err
		}
		to.add(recapEach-1, took) // the first starts the clock
		log.Printf("took %.2fs; so far Gridlatch %.0f/s, bare client %.0f/s", took.Seconds(), ours.perSecond(), bare.perSecond())
		if err := r.stop(); err != nil {
			return nil, err
		}
		if err := r.deleteScaled(ctx); err != nil {
			return nil, err
		}
	}
	return []float64{ours.perSecond() / bare.perSecond()}, nil
}

// recapOurs measures how long Gridlatch takes to raise the ceiling of all objects when the forecast changes.
func (r *rig) recapOurs(ctx context.Context) (time.Duration, error) {
	if err := r.setLevel(ctx, levels-1); err != nil {
		return 0, err
	}
	if err := r.restart(ctx); err != nil {
		return 0, err
	}
	if err := r.createScaled(ctx, recapEach); err != nil {
		return 0, err
	}
	if err := r.awaitCapped(ctx, recapEach, ceilingAt(levels-1)); err != nil {
		return 0, err
	}
	changed := func(o metav1.Object) bool { return o.GetGeneration() == 3 } // created, capped, and capped again
	return r.watchAll(ctx, scaledObjects(), recapEach, changed, func(ctx context.Context) error { return r.setLevel(ctx, 0) })
}

// recapBare measures how long a client takes that does nothing but set the one field.
func (r *rig) recapBare(ctx context.Context) (time.Duration, error) {
	if err := r.createScaled(ctx, recapEach); err != nil {
		return 0, err
	}
	objects := r.metadata.Resource(scaledObjects()).Namespace(namespace)
	patch := fmt.Appendf(nil, `{"spec":{"maxReplicaCount":%d}}`, ceilingAt(0))
	changed := func(o metav1.Object) bool { return o.GetGeneration() == 2 }
	return r.watchAll(ctx, scaledObjects(), recapEach, changed, func(ctx context.Context) error {
		return parallel(ctx, recapEach, func(ctx context.Context, i int) error {
			_, err := objects.Patch(ctx, podName(i), types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		})
	})
}

// createScaled creates so many ScaledObjects that ask for the policy's ceiling.
func (r *rig) createScaled(ctx context.Context, n int) error {
	log.Printf("creating %d ScaledObjects", n)
	err := parallel(ctx, n, func(ctx context.Context, i int) error { return r.cluster.Client.Create(ctx, claimed(podName(i))) })
	if err != nil {
		return fmt.Errorf("create ScaledObjects: %w", err)
	}
	return nil
}

// awaitCapped waits until so many ScaledObjects have a ceiling, and for a moment more.
func (r *rig) awaitCapped(ctx context.Context, n int, want int32) error {
	err := poll(ctx, patience, func(ctx context.Context) error {
		list, err := r.metadata.Resource(scaledObjects()).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list ScaledObjects: %w", err)
		}
		capped := 0
		for i := range list.Items {
			if list.Items[i].Annotations[ceiling.Ceiling] == fmt.Sprint(want) {
				capped++
			}
		}
		if capped != n {
			return fmt.Errorf("%d ScaledObjects have the ceiling %d, want %d", capped, want, n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return pause(ctx, 2*time.Second)
}

func (r *rig) deleteScaled(ctx context.Context) error {
	err := r.metadata.Resource(scaledObjects()).Namespace(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("delete ScaledObjects: %w", err)
	}
	return pause(ctx, time.Second)
}

func scaledObjects() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"}
}

// measureIdle counts what Gridlatch writes to the API server while nothing changes: the forecast stays as it is, and so
// do the objects, with KEDA at work on them.
func measureIdle(ctx context.Context) (values []float64, err error) {
	r, err := newCeilingRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	stop, err := r.keda(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	// Without a lease, whose renewal every two seconds is no news of anything.
	if err := r.restart(ctx, "--leader-elect=false"); err != nil {
		return nil, err
	}
	if err := r.createScaled(ctx, idleObjects); err != nil {
		return nil, err
	}
	if err := r.awaitCapped(ctx, idleObjects, ceilingAt(levels-1)); err != nil {
		return nil, err
	}
	if err := pause(ctx, 20*time.Second); err != nil { // for Events, and the status of the policy
		return nil, err
	}
	log.Printf("counting writes for %s", idleFor)
	before, err := r.writes(ctx)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, idleFor); err != nil {
		return nil, err
	}
	after, err := r.writes(ctx)
	if err != nil {
		return nil, err
	}
	return []float64{(after - before) * float64(time.Hour/idleFor)}, nil
}

// writes is how many requests of the controller were to change something, as its own client counts them.
func (r *rig) writes(ctx context.Context) (total float64, err error) {
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		n, err := r.controller.Metric(ctx, "rest_client_requests_total", `method="`+method+`"`)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
