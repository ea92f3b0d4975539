package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/test/env"
)

const (
	heldPods   = 10000
	planPasses = 20
)

// measureHeld has the controller hold many pods, no two of them alike: each has its own deadline, and by a forecast that
// falls for a day each is planned for its own latest start.
func measureHeld(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.install(ctx); err != nil {
		return nil, err
	}
	log.Printf("creating %d pods that are held", heldPods)
	deadline := time.Now().Add(12 * time.Hour)
	_, err = r.create(ctx, heldPods, func(i int) *corev1.Pod {
		return waiting(newPod(podName(i)), deadline.Add(time.Duration(i)*time.Second))
	})
	if err != nil {
		return nil, err
	}
	if err := r.expectHeld(ctx, heldPods); err != nil {
		return nil, err
	}
	if err := r.awaitHeld(ctx, heldPods); err != nil {
		return nil, err
	}
	mib, err := settledMemory(ctx, r.controller.Program)
	if err != nil {
		return nil, err
	}
	milliseconds, err := r.planTime(ctx, heldPods)
	if err != nil {
		return nil, err
	}
	return []float64{mib, milliseconds}, nil
}

// settledMemory returns the resident memory of a program in MiB once it has moved by less than 2 % for 20 seconds, or
// after two minutes.
func settledMemory(ctx context.Context, of *env.Program) (float64, error) {
	log.Print("waiting for memory to settle")
	var before float64
	for range 6 {
		now, err := of.Memory("VmRSS")
		if err != nil {
			return 0, err
		}
		if now > 0.98*before && now < 1.02*before {
			break
		}
		before = now
		if err := pause(ctx, 20*time.Second); err != nil {
			return 0, err
		}
	}
	peak, err := of.Memory("VmHWM")
	if err != nil {
		return 0, err
	}
	now, err := of.Memory("VmRSS")
	log.Printf("memory of the controller: %.1f MiB, at most %.1f MiB", now, peak)
	return now, err
}

// planTime touches one held pod after another of n, each for one more pass over all of them, and returns the mean time
// of a pass in milliseconds.
func (r *rig) planTime(ctx context.Context, n int) (float64, error) {
	log.Printf("watching %d passes", planPasses)
	touched, err := r.metadata.Resource(podResource()).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: planPasses})
	if err != nil {
		return 0, fmt.Errorf("list pods: %w", err)
	}
	before, err := passes(ctx, r.controller)
	if err != nil {
		return 0, err
	}
	for i, pod := range touched.Items {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"example.com/touched":"%d of %d"}}}`, i, n) // never the same
		_, err := r.clientset.CoreV1().Pods(namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil {
			return 0, fmt.Errorf("touch a pod: %w", err)
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return 0, err
		}
	}
	after, err := passes(ctx, r.controller)
	if err != nil {
		return 0, err
	}
	count, seconds := after.n-before.n, after.seconds-before.seconds
	if count == 0 {
		return 0, errors.New("there was no pass")
	}
	log.Printf("%.0f passes, %.0f of them longer than 102 ms", count, count-(after.quick-before.quick))
	return 1000 * seconds / count, r.expectHeld(ctx, n)
}

// history is what the controller's histogram of its passes says: how many, how many of them within 102.4 ms, and how
// long all together.
type history struct{ n, quick, seconds float64 }

func passes(ctx context.Context, controller *env.Controller) (history, error) {
	const name = "gridlatch_plan_pass_seconds"
	var h history
	for _, read := range []struct {
		to     *float64
		suffix string
		parts  []string
	}{{&h.n, "_count", nil}, {&h.quick, "_bucket", []string{`le="0.1024"`}}, {&h.seconds, "_sum", nil}} {
		value, err := controller.Metric(ctx, name+read.suffix, read.parts...)
		if err != nil {
			return history{}, err
		}
		*read.to = value
	}
	return h, nil
}
