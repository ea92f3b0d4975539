package e2e

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// Whoever may change pods may write any name of a policy on them.
func TestWorkOfForgedPoliciesStartsAndLeavesNoSeries(t *testing.T) {
	ns := namespace(t, cluster)
	const names = 20
	dirtyThenClean(t, cluster, aWhile)
	for i := range names {
		forged := pod(ns, fmt.Sprint("forged-", i), tolerant())
		create(t, cluster, forged)
		change(t, cluster, forged, func(p *corev1.Pod) { p.Annotations[v1alpha1.PolicyAnnotation] = fmt.Sprint("no-such-", i) })
	}
	env.Eventually(t, patience, func(ctx context.Context) error {
		held, err := countHeld(ctx, cluster, ns)
		if err == nil && held > 0 {
			err = fmt.Errorf("%d pods are held", held)
		}
		return err
	})
	released := &corev1.Pod{}
	if err := cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "forged-0"}, released); err != nil {
		t.Fatal(err)
	}
	if got := released.Annotations[v1alpha1.ReasonAnnotation]; got == "" {
		t.Error("it is not told why it starts")
	}
	for _, name := range []string{"gridlatch_released_pods_total", "gridlatch_held_pods", "gridlatch_hold_seconds_count"} {
		if n, err := controller.Metric(t.Context(), name, "no-such-"); err != nil || n != 0 {
			t.Errorf("%s of forged names: %v, %v", name, n, err)
		}
	}
	if n, err := controller.Metric(t.Context(), "gridlatch_released_pods_total", `policy=""`); err != nil || n < names {
		t.Errorf("%v pods of policies that do not exist are released, %v, want %d", n, err, names)
	}
}
