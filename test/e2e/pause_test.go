package e2e

import (
	"testing"
	"time"

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
