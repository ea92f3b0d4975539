package main

import (
	"context"
	"errors"
	"log"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// releasedAtOnce is how many held pods gridlatch release --all releases. The pods of a namespace that is being deleted
// have a little more than a minute for that.
const releasedAtOnce = 20000

// measureReleaseAll lets gridlatch release --all and a bare client take the gates off as many pods. It returns the rate
// of the first over that of the second, and the time of the first.
func measureReleaseAll(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	var took [2]time.Duration
	for i, side := range []func(context.Context, int) (time.Duration, error){r.releaseAll, r.releaseBare} {
		if took[i], err = side(ctx, releasedAtOnce); err != nil {
			return nil, err
		}
		log.Printf("took %.2fs", took[i].Seconds())
		if err := r.clear(ctx); err != nil {
			return nil, err
		}
	}
	return []float64{took[1].Seconds() / took[0].Seconds(), took[0].Seconds()}, nil
}

// releaseAll measures how long gridlatch release --all takes to release pods after the controller is gone.
func (r *rig) releaseAll(ctx context.Context, n int) (time.Duration, error) {
	if err := r.holdDue(ctx, n); err != nil {
		return 0, err
	}
	if err := r.remove(ctx); err != nil {
		return 0, err
	}
	released := func(o metav1.Object) bool { return o.GetLabels()[v1alpha1.StateLabel] == v1alpha1.StateReleased }
	return r.watchAll(ctx, podResource(), n, released, func(ctx context.Context) error {
		_, err := r.cluster.ReleaseAll(ctx)
		return err
	})
}
