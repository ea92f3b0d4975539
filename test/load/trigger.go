package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/trigger"
)

const (
	triggerTurns   = 50
	triggerObjects = 1000
	triggerQuiet   = 20 * time.Second // without a write, the Events of the beginning are over: they come five a second
	triggerIdle    = time.Minute
	cleanGrid      = 100
	dirtyGrid      = 500
)

// withTriggers makes a measurement with KEDA's operator and Gridlatch at work on triggers, on a dirty grid.
func withTriggers(ctx context.Context, measure func(context.Context, *rig) ([]float64, error)) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.keep(ctx, "keda", r.cluster.RunKEDA); err != nil {
		return nil, err
	}
	port, err := env.ReservePort()
	if err != nil {
		return nil, err
	}
	// The certificate is for the name.
	r.flags = []string{
		"--scaler-bind-address=" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), "--scaler-address=localhost:" + strconv.Itoa(port),
		"--leader-elect=false", // there is no lease to renew, which is no news of anything
	}
	if err := r.cluster.Install(ctx, r.port); err != nil {
		return nil, err
	}
	if err := r.setGrid(ctx, dirtyGrid); err != nil {
		return nil, err
	}
	if err := r.restart(ctx); err != nil {
		return nil, err
	}
	if err := r.cluster.AwaitWebhook(ctx); err != nil {
		return nil, err
	}
	return measure(ctx, r)
}

// setGrid writes a forecast that has one intensity for hours.
func (r *rig) setGrid(ctx context.Context, intensity float64) error {
	return r.cluster.Forecast(ctx, env.Elements("CAISO_NORTH", time.Now().Add(-time.Hour), 6*time.Hour, intensity)...)
}

// triggered makes a ScaledObject with the trigger alone, whose replicas go as soon as KEDA looks.
func triggered(name string) *unstructured.Unstructured {
	o := env.ScaledObject(namespace, name, 0, 20)
	spec := o.Object["spec"].(map[string]any)
	spec["cooldownPeriod"] = int64(0)
	spec["triggers"] = []any{map[string]any{"type": trigger.Type, "metadata": map[string]any{"emissionThreshold": "200"}}}
	return o
}

// measureTrigger has the grid turn clean again and again, and each time waits for the first replica.
func measureTrigger(ctx context.Context) ([]float64, error) {
	return withTriggers(ctx, func(ctx context.Context, r *rig) ([]float64, error) {
		o := triggered("measured")
		o.Object["spec"].(map[string]any)["pollingInterval"] = int64(1)
		for _, o := range []client.Object{env.Deployment(namespace, "measured"), o} {
			if err := r.cluster.Client.Create(ctx, o); err != nil {
				return nil, fmt.Errorf("create %s: %w", o.GetName(), err)
			}
		}
		if err := r.awaitStreams(ctx, 1); err != nil {
			return nil, err
		}
		watcher, err := r.clientset.AppsV1().Deployments(namespace).Watch(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("watch Deployments: %w", err)
		}
		defer watcher.Stop()
		p99, err := percentile("first replicas", triggerTurns, func(int) (time.Duration, error) { return r.turn(ctx, watcher) })
		return []float64{p99}, err
	})
}

// turn returns how long the first replica took when the grid turned clean, from before the ConfigMap was written.
func (r *rig) turn(ctx context.Context, watcher watch.Interface) (time.Duration, error) {
	if err := r.setGrid(ctx, dirtyGrid); err != nil {
		return 0, err
	}
	if err := await(ctx, watcher, "no replica", func(d *appsv1.Deployment) bool { return *d.Spec.Replicas == 0 }); err != nil {
		return 0, err
	}
	if err := pause(ctx, 2*time.Second); err != nil { // KEDA has seen what it did
		return 0, err
	}
	started := time.Now()
	if err := r.setGrid(ctx, cleanGrid); err != nil {
		return 0, err
	}
	err := await(ctx, watcher, "a replica", func(d *appsv1.Deployment) bool { return *d.Spec.Replicas > 0 })
	return time.Since(started), err
}

// awaitStreams waits until KEDA has so many streams open, or more: KEDA 2.21 has two for each trigger.
func (r *rig) awaitStreams(ctx context.Context, want float64) error {
	return poll(ctx, 10*patience, func(ctx context.Context) error {
		n, err := r.controller.Metric(ctx, "gridlatch_trigger_streams")
		if err == nil && n < want {
			err = fmt.Errorf("KEDA has %v streams open, want %v", n, want)
		}
		return err
	})
}

// measureTriggers has KEDA ask about many triggers while the grid stays dirty.
func measureTriggers(ctx context.Context) ([]float64, error) {
	return withTriggers(ctx, func(ctx context.Context, r *rig) ([]float64, error) {
		before, err := settledMemory(ctx, r.controller.Program)
		if err != nil {
			return nil, err
		}
		log.Printf("creating %d ScaledObjects", triggerObjects)
		err = parallel(ctx, triggerObjects, func(ctx context.Context, i int) error {
			if err := r.cluster.Client.Create(ctx, env.Deployment(namespace, podName(i))); err != nil {
				return err
			}
			return r.cluster.Client.Create(ctx, triggered(podName(i)))
		})
		if err != nil {
			return nil, fmt.Errorf("create ScaledObjects: %w", err)
		}
		if err := r.awaitStreams(ctx, triggerObjects); err != nil {
			return nil, err
		}
		if err := r.awaitQuiet(ctx); err != nil {
			return nil, err
		}
		after, err := settledMemory(ctx, r.controller.Program)
		if err != nil {
			return nil, err
		}
		writes, err := r.writesWithin(ctx, triggerIdle)
		return []float64{after - before, writes}, err
	})
}

// awaitQuiet waits until the controller writes nothing for a while.
func (r *rig) awaitQuiet(ctx context.Context) error {
	return poll(ctx, 10*patience, func(ctx context.Context) error {
		n, err := r.writesWithin(ctx, triggerQuiet)
		if err == nil && n > 0 {
			log.Printf("%v writes in %s", n, triggerQuiet)
			err = fmt.Errorf("%v writes in %s, want none", n, triggerQuiet)
		}
		return err
	})
}
