package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"path/filepath"
	"slices"
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
	operator, err := r.cluster.RunKEDA(ctx, filepath.Join(r.dir, "keda.log"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, operator.Stop()) }()
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
		took, err := r.turns(ctx)
		if err != nil {
			return nil, err
		}
		slices.Sort(took)
		p99 := took[(len(took)*99+99)/100-1]
		log.Printf("first replicas: median %s, 99th percentile %s, most %s", took[len(took)/2], p99, took[len(took)-1])
		return []float64{p99.Seconds()}, nil
	})
}

// turns returns how long the first replica took each time, from before the ConfigMap was written.
func (r *rig) turns(ctx context.Context) (took []time.Duration, err error) {
	watcher, err := r.clientset.AppsV1().Deployments(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("watch Deployments: %w", err)
	}
	defer watcher.Stop()
	for range triggerTurns {
		if err := r.setGrid(ctx, dirtyGrid); err != nil {
			return nil, err
		}
		if err := awaitScale(ctx, watcher, false); err != nil {
			return nil, err
		}
		if err := pause(ctx, 2*time.Second); err != nil { // KEDA has seen what it did
			return nil, err
		}
		started := time.Now()
		if err := r.setGrid(ctx, cleanGrid); err != nil {
			return nil, err
		}
		if err := awaitScale(ctx, watcher, true); err != nil {
			return nil, err
		}
		took = append(took, time.Since(started))
		if len(took)%10 == 0 {
			log.Printf("%d of %d turns, the last one in %s", len(took), triggerTurns, took[len(took)-1])
		}
	}
	return took, nil
}

// awaitScale reads a watch of Deployments until one is to have replicas, or none.
func awaitScale(ctx context.Context, watcher watch.Interface, wantAny bool) error {
	timeout := time.After(patience)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout:
			return fmt.Errorf("the Deployment has not come to have replicas (%t) within %s", wantAny, patience)
		case event, open := <-watcher.ResultChan():
			d, ok := event.Object.(*appsv1.Deployment)
			if !open || !ok {
				return fmt.Errorf("the watch of Deployments has ended: %v", event.Object)
			}
			if *d.Spec.Replicas > 0 == wantAny {
				return nil
			}
		}
	}
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

// writesWithin counts the controller's writes for so long.
func (r *rig) writesWithin(ctx context.Context, during time.Duration) (float64, error) {
	before, err := r.writes(ctx)
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, during); err != nil {
		return 0, err
	}
	after, err := r.writes(ctx)
	return after - before, err
}
