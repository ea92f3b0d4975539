package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/test/env"
)

// gridIs writes a forecast with an intensity for this hour and for each that follows, the last one for
// half a day, and waits until the webhook of a cluster plans by it.
func gridIs(t *testing.T, c *env.Cluster, intensities ...float64) {
	t.Helper()
	gridIsUnseen(t, c, intensities...)
	awaitIntensity(t, c, intensities[0])
}

// gridIsUnseen is gridIs for a cluster without a controller.
func gridIsUnseen(t *testing.T, c *env.Cluster, intensities ...float64) {
	t.Helper()
	begin := time.Now().Add(-time.Minute).Truncate(time.Second)
	for range 12 {
		intensities = append(intensities, intensities[len(intensities)-1])
	}
	if err := c.Forecast(t.Context(), env.Elements(location, begin, time.Hour, intensities...)...); err != nil {
		t.Fatal(err)
	}
}

// interruptible is a Job of an hour that may be paused at once, and whose pods really run for a time, as
// long as nobody stops them.
func interruptible(namespace, name string, runFor time.Duration, more ...string) *batchv1.Job {
	annotations := tolerant(append([]string{
		v1alpha1.DurationAnnotation, "1h", v1alpha1.DeadlineAnnotation, "10h", v1alpha1.InterruptibleAnnotation, "true",
		v1alpha1.MinRunAnnotation, "0s", v1alpha1.RestartCostAnnotation, "1m",
	}, more...)...)
	j := job(namespace, name, annotations, 1)
	j.Spec.Template.Annotations = map[string]string{"kwok.gridlatch.dev/run-for": runFor.String()}
	return j
}

// awaitRunningJob waits until a Job is released and its pods are ready.
func awaitRunningJob(t *testing.T, c *env.Cluster, j *batchv1.Job) {
	t.Helper()
	awaitJob(t, c, j, 2*patience, func(j *batchv1.Job) error {
		if ready := j.Status.Ready; ready == nil || *ready == 0 {
			return fmt.Errorf("no pod is ready: %+v, annotations %v", j.Status, j.Annotations)
		}
		return wantSuspended(false, v1alpha1.StateReleased)(j)
	})
}

// awaitPaused waits until a Job is paused for the nth time, and has no pods.
func awaitPaused(t *testing.T, c *env.Cluster, j *batchv1.Job, n int) policy.Runs {
	t.Helper()
	awaitJob(t, c, j, 2*patience, func(j *batchv1.Job) error {
		if err := wantSuspended(true, v1alpha1.StateHeld)(j); err != nil {
			return fmt.Errorf("%w: %v", err, j.Annotations)
		}
		runs := policy.ReadRuns(j.Annotations)
		if runs.Paused.IsZero() || runs.Pauses != n || runs.FinishBy.IsZero() {
			return fmt.Errorf("not paused for the %d. time: %v", n, j.Annotations)
		}
		if j.Status.Active > 0 {
			return fmt.Errorf("%d pods are active", j.Status.Active)
		}
		return nil
	})
	return policy.ReadRuns(j.Annotations)
}

// awaitOutcome waits until a Job has an outcome.
func awaitOutcome(t *testing.T, c *env.Cluster, j *batchv1.Job, want string) {
	t.Helper()
	awaitJob(t, c, j, patience, func(j *batchv1.Job) error {
		if got := j.Annotations[v1alpha1.OutcomeAnnotation]; got != want {
			return fmt.Errorf("outcome %q, want %q: %v", got, want, j.Annotations)
		}
		return nil
	})
}

// wantDescribed wants kubectl describe to say some words of a Job.
func wantDescribed(t *testing.T, c *env.Cluster, j *batchv1.Job, words ...string) {
	t.Helper()
	described, err := c.Kubectl(t.Context(), "describe", "job", j.Name, "-n", j.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range words {
		if !strings.Contains(described, want) {
			t.Errorf("kubectl describe job does not say %q:\n%s", want, described)
		}
	}
}
