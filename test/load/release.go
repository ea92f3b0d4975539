package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// A storm is how many pods become due at once, and how often each side lets that many go.
type storm struct{ pods, rounds int }

// measure lets Gridlatch and a bare client take the gates off as many pods, in turn.
func (s storm) measure(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	var ours, bare rate
	for half := range 2 * s.rounds {
		side, to := r.releaseBare, &bare
		if alternate(half) {
			side, to = r.releaseOurs, &ours
		}
		took, err := side(ctx, s.pods)
		if err != nil {
			return nil, err
		}
		to.add(s.pods-1, took) // the first starts the clock
		log.Printf("took %.2fs; so far Gridlatch %.0f/s, bare client %.0f/s", took.Seconds(), ours.perSecond(), bare.perSecond())
		if err := r.clear(ctx); err != nil {
			return nil, err
		}
	}
	return []float64{ours.perSecond() / bare.perSecond()}, nil
}

// releaseOurs measures how long Gridlatch takes to release pods that become due because the forecast changes.
func (r *rig) releaseOurs(ctx context.Context, n int) (time.Duration, error) {
	if err := r.holdDue(ctx, n); err != nil {
		return 0, err
	}
	// Work that falls due at night has been announced as held long before.
	if err := r.restart(ctx); err != nil {
		return 0, err
	}
	if err := r.awaitHeld(ctx, n); err != nil {
		return 0, err
	}
	released := func(o metav1.Object) bool { return o.GetLabels()[v1alpha1.StateLabel] == v1alpha1.StateReleased }
	return r.watchAll(ctx, podResource(), n, released, func(ctx context.Context) error {
		return r.cluster.Forecast(ctx, rising(time.Now())...)
	})
}

// releaseBare measures how long a client takes that does nothing but remove the gate, from the same pods.
func (r *rig) releaseBare(ctx context.Context, n int) (time.Duration, error) {
	if err := r.holdDue(ctx, n); err != nil {
		return 0, err
	}
	if err := r.remove(ctx); err != nil {
		return 0, err
	}
	pods := r.metadata.Resource(podResource()).Namespace(namespace)
	patch := fmt.Appendf(nil, `{"spec":{"schedulingGates":[{"$patch":"delete","name":%q}]}}`, v1alpha1.Gate)
	any := func(metav1.Object) bool { return true }
	return r.watchAll(ctx, podResource(), n, any, func(ctx context.Context) error {
		return parallel(ctx, n, func(ctx context.Context, i int) error {
			_, err := pods.Patch(ctx, podName(i), types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		})
	})
}

// holdDue installs Gridlatch and has it hold n pods that would all start at the same moment.
func (r *rig) holdDue(ctx context.Context, n int) error {
	if err := r.stop(); err != nil {
		return err
	}
	if err := r.install(ctx); err != nil {
		return err
	}
	log.Printf("creating %d pods that are held", n)
	deadline := time.Now().Add(12 * time.Hour)
	_, err := r.create(ctx, n, func(i int) *corev1.Pod { return waiting(newPod(podName(i)), deadline) })
	if err != nil {
		return err
	}
	return r.expectHeld(ctx, n)
}

// awaitHeld waits until the controller says that it has planned for so many pods, and for a moment more.
func (r *rig) awaitHeld(ctx context.Context, want int) error {
	err := poll(ctx, patience, func(ctx context.Context) error {
		held, err := r.controller.Metric(ctx, "gridlatch_held_pods")
		if err == nil && int(held) != want {
			err = fmt.Errorf("the controller holds %.0f pods, want %d", held, want)
		}
		return err
	})
	if err != nil {
		return err
	}
	return pause(ctx, 2*time.Second)
}

// watchAll returns the time from the first to the n-th object of a resource that changes so that counts is true, once
// act has begun.
func (r *rig) watchAll(ctx context.Context, resource schema.GroupVersionResource, n int, counts func(metav1.Object) bool, act func(context.Context) error) (took time.Duration, err error) {
	objects := r.metadata.Resource(resource).Namespace(namespace)
	list, err := objects.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return 0, fmt.Errorf("list %s: %w", resource.Resource, err)
	}
	// the API server ends a watch whose reader is late, as it may be on a busy machine
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return objects.Watch(ctx, o) },
	})
	if err != nil {
		return 0, fmt.Errorf("watch %s: %w", resource.Resource, err)
	}
	return during(ctx, watcher, n, counts, act)
}

// during counts what a watch sees while something is done.
func during(ctx context.Context, watcher watch.Interface, n int, counts func(metav1.Object) bool, act func(context.Context) error) (took time.Duration, err error) {
	defer watcher.Stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return act(ctx) })
	group.Go(func() (err error) {
		took, err = count(ctx, watcher, n, counts)
		return err
	})
	return took, group.Wait()
}

// count returns the time from the first to the n-th object of a watch for which counts is true.
func count(ctx context.Context, watcher watch.Interface, n int, counts func(metav1.Object) bool) (time.Duration, error) {
	seen := make(map[types.UID]bool, n)
	var first time.Time
	for len(seen) < n {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(patience):
			return 0, fmt.Errorf("%d of %d objects were changed, and then none for %s", len(seen), n, patience)
		case event, open := <-watcher.ResultChan():
			object, ok := event.Object.(metav1.Object)
			if !open || !ok {
				return 0, fmt.Errorf("the watch has ended: %v", event.Object)
			}
			if event.Type != watch.Modified || !counts(object) {
				continue
			}
			if first.IsZero() {
				first = time.Now()
			}
			seen[object.GetUID()] = true
		}
	}
	return time.Since(first), nil
}
