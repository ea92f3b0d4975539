package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

const (
	auditRounds = 4
	auditEach   = 2000
)

// measureAuditCreates creates ordinary pods, the same pods in a namespace that is audited whole, and pods that ask to
// wait and are held, in turn. It returns the rate of the second over those of the first and of the third.
func measureAuditCreates(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	deadline := time.Now().Add(12 * time.Hour)
	ordinaryPod := func(i int) *corev1.Pod { return newPod(podName(i)) }
	ordinary := &side{name: "ordinary", prepare: func(ctx context.Context) error { return r.audit(ctx, v1alpha1.AuditNone, "") }}
	audited := &side{name: "audited", prepare: func(ctx context.Context) error { return r.audit(ctx, v1alpha1.AuditAll, v1alpha1.StateAudited) }}
	held := &side{name: "held", holds: true, prepare: ordinary.prepare}
	sides := []*side{ordinary, audited, held}
	for range auditRounds {
		for _, s := range sides {
			// What the controller has left to do for the pods before must not be done at the expense of these.
			if err := errors.Join(r.stop(), r.install(ctx), s.prepare(ctx)); err != nil {
				return nil, err
			}
			pod, want := ordinaryPod, 0
			if s.holds {
				pod, want = func(i int) *corev1.Pod { return waiting(newPod(podName(i)), deadline) }, auditEach+createWarm
			}
			if err := r.createOnce(ctx, auditEach, pod, want, &s.rate); err != nil {
				return nil, err
			}
			log.Printf("%s pods; so far %.0f/s", s.name, s.perSecond())
			if err := r.audit(ctx, v1alpha1.AuditNone, ""); err != nil { // or nothing would be held
				return nil, err
			}
		}
		slices.Reverse(sides)
	}
	return []float64{audited.perSecond() / ordinary.perSecond(), audited.perSecond() / held.perSecond()}, nil
}

// audit labels the namespace, and returns when a pod that does not ask to wait has a state.
func (r *rig) audit(ctx context.Context, label, state string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, v1alpha1.AuditLabel, label)
	if _, err := r.clientset.CoreV1().Namespaces().Patch(ctx, namespace, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("label the namespace: %w", err)
	}
	err := poll(ctx, patience, func(ctx context.Context) error {
		got, err := r.clientset.CoreV1().Pods(namespace).Create(ctx, newPod("probe"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && got.Labels[v1alpha1.StateLabel] != state {
			err = fmt.Errorf("the state of a pod is %q, want %q", got.Labels[v1alpha1.StateLabel], state)
		}
		return err
	})
	if err != nil {
		return err
	}
	return pause(ctx, time.Second)
}
