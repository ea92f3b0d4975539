package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

func TestAJobIsPausedThroughADirtyTimeAndDoneByItsDeadline(t *testing.T) {
	gridIs(t, cluster, 100, 400)
	ns := namespace(t, cluster)
	j := interruptible(ns, "training", 40*time.Second)
	create(t, cluster, j)
	awaitRunningJob(t, cluster, j)
	began := time.Now()

	gridIs(t, cluster, 430, 430, 100, 400) // the forecast has turned
	runs := awaitPaused(t, cluster, j, 1)
	if time.Since(began) > 40*time.Second {
		t.Log("the pods may have been done before the pause")
	}
	if want := j.CreationTimestamp.Add(10 * time.Hour); runs.FinishBy.After(want) || runs.FinishBy.Before(want.Add(-time.Hour)) {
		t.Errorf("it must be done by %s, want about %s", runs.FinishBy, want)
	}
	latest, err := time.Parse(time.RFC3339, j.Annotations[v1alpha1.LatestStartAnnotation])
	if want := runs.FinishBy.Add(-time.Hour - time.Minute + runs.Ran); err != nil || latest.Sub(want).Abs() > 2*time.Second {
		t.Errorf("it must be resumed by %s, want %s", latest, want)
	}
	wantDescribed(t, cluster, j, "paused until", "resumes by", v1alpha1.PausedAnnotation, v1alpha1.EventPaused)

	gridIs(t, cluster, 100, 400)
	awaitRunningJob(t, cluster, j)
	awaitComplete(t, cluster, ns, "training")
	awaitEvent(t, cluster, j, v1alpha1.EventPaused)
	awaitEvent(t, cluster, j, v1alpha1.EventResumed)
	awaitJob(t, cluster, j, patience, wantSuspended(false, v1alpha1.StateReleased))
	if after := policy.ReadRuns(j.Annotations); !after.Paused.IsZero() || after.Pauses != 1 || !after.FinishBy.Equal(runs.FinishBy) {
		t.Errorf("after the pause it says %+v, and said %+v", after, runs)
	}
}

func TestWhoResumesAPausedJobByHandIsNotPausedAgain(t *testing.T) {
	gridIs(t, cluster, 100, 400)
	ns := namespace(t, cluster)
	byField, byCommand := interruptible(ns, "by-field", time.Hour), interruptible(ns, "by-command", time.Hour)
	suspended, withdrawn := interruptible(ns, "suspended", time.Hour), interruptible(ns, "withdrawn", time.Hour)
	create(t, cluster, byField, byCommand, suspended, withdrawn)
	for _, j := range []*batchv1.Job{byField, byCommand, suspended, withdrawn} {
		awaitRunningJob(t, cluster, j)
	}
	edit(t, suspended, `{"spec":{"suspend":true}}`) // its user's, from now on
	awaitOutcome(t, cluster, suspended, v1alpha1.OutcomeTaken)
	edit(t, suspended, `{"spec":{"suspend":false}}`)
	awaitRunningJob(t, cluster, suspended)

	gridIs(t, cluster, 430, 430, 100, 400)
	for _, j := range []*batchv1.Job{byField, byCommand, withdrawn} {
		awaitPaused(t, cluster, j, 1)
	}
	edit(t, byField, `{"spec":{"suspend":false}}`)
	if output, err := cluster.Plugin(t.Context(), "release", "job", "by-command", "-n", ns); err != nil {
		t.Fatal(err, output)
	}
	for _, j := range []*batchv1.Job{byField, byCommand} {
		awaitOutcome(t, cluster, j, v1alpha1.OutcomeTaken)
		awaitRunningJob(t, cluster, j)
	}
	edit(t, withdrawn, fmt.Sprintf(`{"metadata":{"annotations":{%q:"false"}}}`, v1alpha1.InterruptibleAnnotation))
	awaitRunningJob(t, cluster, withdrawn)

	gridIs(t, cluster, 431, 431, 90, 400) // another reason to pause
	time.Sleep(5 * time.Second)
	for _, j := range []*batchv1.Job{byField, byCommand, suspended, withdrawn} {
		awaitRunningJob(t, cluster, j)
		if runs := policy.ReadRuns(j.Annotations); !runs.Paused.IsZero() || runs.Pauses > 1 {
			t.Errorf("%s was paused again: %v", j.Name, j.Annotations)
		}
	}
}

func TestADeadlineThatIsMovedForwardEndsThePause(t *testing.T) {
	gridIs(t, cluster, 100, 400)
	ns := namespace(t, cluster)
	j := interruptible(ns, "urgent", 30*time.Second)
	create(t, cluster, j)
	awaitRunningJob(t, cluster, j)
	gridIs(t, cluster, 430, 430, 100, 400)
	awaitPaused(t, cluster, j, 1)
	edit(t, j, fmt.Sprintf(`{"metadata":{"annotations":{%q:"20h"}}}`, v1alpha1.DeadlineAnnotation)) // no promise moves later
	time.Sleep(2 * time.Second)
	awaitPaused(t, cluster, j, 1)
	edit(t, j, fmt.Sprintf(`{"metadata":{"annotations":{%q:"1h4m"}}}`, v1alpha1.DeadlineAnnotation))
	awaitRunningJob(t, cluster, j)
	if reason := j.Annotations[v1alpha1.ReasonAnnotation]; !strings.Contains(reason, "no time left for a pause") {
		t.Errorf("reason %q", reason)
	}
	time.Sleep(2 * time.Second) // the grid is still dirty
	awaitComplete(t, cluster, ns, "urgent")
}

func TestAForecastThatTurnsMovesTheEndOfAPause(t *testing.T) {
	gridIs(t, cluster, 100, 400)
	ns := namespace(t, cluster)
	j := interruptible(ns, "moved", 30*time.Second)
	create(t, cluster, j)
	awaitRunningJob(t, cluster, j)
	gridIs(t, cluster, 430, 430, 430, 100, 400)
	awaitPaused(t, cluster, j, 1)
	first := j.Annotations[v1alpha1.PlannedStartAnnotation]
	gridIs(t, cluster, 431, 50, 300)
	awaitJob(t, cluster, j, patience, func(j *batchv1.Job) error {
		planned, err := time.Parse(time.RFC3339, j.Annotations[v1alpha1.PlannedStartAnnotation])
		if was, _ := time.Parse(time.RFC3339, first); err != nil || !planned.Before(was.Add(-time.Hour)) {
			return fmt.Errorf("planned for %s, and before for %s: %w", planned, was, err)
		}
		return nil
	})
	awaitPaused(t, cluster, j, 1)
	gridIs(t, cluster, 100, 400)
	awaitRunningJob(t, cluster, j)
	awaitComplete(t, cluster, ns, "moved")
}

func TestAnIndexedJobKeepsWhatItHasCompleted(t *testing.T) {
	gridIs(t, cluster, 100, 400)
	ns := namespace(t, cluster)
	j := interruptible(ns, "indexed", 25*time.Second)
	j.Spec.CompletionMode, j.Spec.Completions, j.Spec.Parallelism = ptr(batchv1.IndexedCompletion), ptr(int32(4)), ptr(int32(2))
	create(t, cluster, j)
	awaitJob(t, cluster, j, 2*patience, func(j *batchv1.Job) error {
		if j.Status.Succeeded < 2 {
			return fmt.Errorf("%d pods have succeeded, want 2", j.Status.Succeeded)
		}
		return nil
	})
	gridIs(t, cluster, 430, 430, 100, 400)
	awaitPaused(t, cluster, j, 1)
	if j.Status.CompletedIndexes != "0,1" {
		t.Errorf("completed are %q, want the first two", j.Status.CompletedIndexes)
	}
	gridIs(t, cluster, 100, 400)
	awaitComplete(t, cluster, ns, "indexed")
	pods, err := podsOf(t.Context(), cluster, ns)
	if err != nil {
		t.Fatal(err)
	}
	succeeded := map[string]int{}
	for _, p := range pods {
		if p.Status.Phase == corev1.PodSucceeded {
			succeeded[p.Labels[batchv1.JobCompletionIndexAnnotation]]++
		}
	}
	if diff := cmp.Diff(map[string]int{"0": 1, "1": 1, "2": 1, "3": 1}, succeeded); diff != "" {
		t.Error("pods that have succeeded, by index:", diff)
	}
}
