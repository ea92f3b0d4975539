package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

const (
	recapRounds = 4
	recapEach   = 1000
)

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
	if err := r.capScaled(ctx); err != nil {
		return 0, err
	}
	return r.watchAll(ctx, scaledObjects(), recapEach, recapped, func(ctx context.Context) error { return r.setLevel(ctx, 0) })
}

// recapBare measures how long a client takes that does nothing but set the one field, of the same objects.
func (r *rig) recapBare(ctx context.Context) (time.Duration, error) {
	if err := r.capScaled(ctx); err != nil {
		return 0, err
	}
	if err := r.stop(); err != nil {
		return 0, err
	}
	objects := r.metadata.Resource(scaledObjects()).Namespace(namespace)
	patch := fmt.Appendf(nil, `{"spec":{"maxReplicaCount":%d}}`, ceilingAt(0))
	return r.watchAll(ctx, scaledObjects(), recapEach, recapped, func(ctx context.Context) error {
		return parallel(ctx, recapEach, func(ctx context.Context, i int) error {
			_, err := objects.Patch(ctx, podName(i), types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		})
	})
}

// recapped tells that an object has been created, capped, and capped again.
func recapped(o metav1.Object) bool { return o.GetGeneration() == 3 }

// capScaled runs Gridlatch, and creates objects to which it gives a low ceiling.
func (r *rig) capScaled(ctx context.Context) error {
	if err := r.setLevel(ctx, levels-1); err != nil {
		return err
	}
	if err := r.restart(ctx); err != nil {
		return err
	}
	if err := r.createScaled(ctx, recapEach); err != nil {
		return err
	}
	return r.awaitCapped(ctx, recapEach, ceilingAt(levels-1))
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
			if list.Items[i].Annotations[v1alpha1.CeilingAnnotation] == fmt.Sprint(want) {
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
