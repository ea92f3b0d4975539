package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// Holding depends on being able to let go: without its rights, what Gridlatch
// would hold could not be released.
func TestWithoutTheRightToReleaseNothingIsHeld(t *testing.T) {
	c, g := ownCluster(t)
	dirtyThenClean(t, c, 9*time.Minute)
	ns := namespace(t, c)
	create(t, c, job(ns, "held", tolerant(v1alpha1.DeadlineAnnotation, "20m"), 2))
	awaitGated(t, c, ns, 2)

	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "gridlatch"}}
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(binding), binding); err != nil {
		t.Fatal(err)
	}
	if err := c.Client.Delete(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	gone := time.Now()
	started := awaitDecision(t, c, ns, 3*time.Minute, v1alpha1.StateReleased)
	if reason := started.Annotations[v1alpha1.ReasonAnnotation]; !strings.HasPrefix(reason, "not held: held work could not be released since ") {
		t.Errorf("reason %q", reason)
	}
	t.Logf("work starts %s after the rights have gone: %s", time.Since(gone).Round(time.Second), started.Annotations[v1alpha1.ReasonAnnotation])
	if failing, err := g.Metric(t.Context(), "gridlatch_releases_failing"); err != nil || failing != 1 {
		t.Errorf("gridlatch_releases_failing is %v, %v", failing, err)
	}
	for _, line := range []string{"is the ClusterRoleBinding gridlatch there?", "no work is held from now on"} {
		if !strings.Contains(g.Log(), line) {
			t.Errorf("the log does not say %q", line)
		}
	}

	binding.ResourceVersion, binding.UID = "", ""
	create(t, c, binding)
	back := time.Now()
	awaitDecision(t, c, ns, 2*time.Minute, v1alpha1.StateHeld)
	t.Logf("work is held %s after the rights have come back", time.Since(back).Round(time.Second))
	cleanNow(t, c)
	awaitComplete(t, c, ns, "held")
}

// awaitDecision creates Jobs, one a second, until one of them is decided on like this.
func awaitDecision(t *testing.T, c *env.Cluster, namespace string, timeout time.Duration, state string) *batchv1.Job {
	t.Helper()
	var got *batchv1.Job
	env.Eventually(t, timeout, func(ctx context.Context) error {
		time.Sleep(time.Second)
		got = job(namespace, "", tolerant(v1alpha1.DeadlineAnnotation, "20m"), 1)
		got.GenerateName = "probe-"
		if err := c.Client.Create(ctx, got, client.DryRunAll); err != nil {
			return err
		}
		if got.Labels[v1alpha1.StateLabel] != state {
			return fmt.Errorf("it is %s: %v", got.Labels[v1alpha1.StateLabel], got.Annotations)
		}
		return nil
	})
	return got
}
