package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

// awaitJob waits until check has nothing to say on a Job.
func awaitJob(t *testing.T, c *env.Cluster, j *batchv1.Job, timeout time.Duration, check func(*batchv1.Job) error) {
	t.Helper()
	env.Eventually(t, timeout, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(j), j); err != nil {
			return err
		}
		return check(j)
	})
}

func wantSuspended(suspended bool, state string) func(*batchv1.Job) error {
	return func(j *batchv1.Job) error {
		if is := j.Spec.Suspend != nil && *j.Spec.Suspend; is != suspended || j.Labels[v1alpha1.StateLabel] != state {
			return fmt.Errorf("suspended %v, state %q, want %v, %q", is, j.Labels[v1alpha1.StateLabel], suspended, state)
		}
		return nil
	}
}

// edit applies a merge patch, as a user would.
func edit(t *testing.T, o client.Object, patch string) {
	t.Helper()
	if err := cluster.Client.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

func suspending(ns, name string) *batchv1.Job {
	return job(ns, name, tolerant(v1alpha1.HoldAnnotation, v1alpha1.HoldBySuspend), 3)
}

func TestAJobWithAnActiveDeadlineIsSuspendedWhileItWaits(t *testing.T) {
	seconds := int64(8)
	clean := dirtyThenClean(t, cluster, 12*time.Second)
	ns := namespace(t, cluster)
	bounded := job(ns, "bounded", tolerant(), 2)
	bounded.Spec.ActiveDeadlineSeconds = &seconds
	create(t, cluster, bounded)
	if err := wantSuspended(true, v1alpha1.StateHeld)(bounded); err != nil {
		t.Fatal(err)
	}
	described, err := cluster.Kubectl(t.Context(), "describe", "job", "bounded", "-n", ns)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"waits until", v1alpha1.PlannedStartAnnotation, v1alpha1.LatestStartAnnotation} {
		if !strings.Contains(described, want) {
			t.Errorf("kubectl describe job does not say %q:\n%s", want, described)
		}
	}
	time.Sleep(16 * time.Second)
	described, _ = cluster.Kubectl(t.Context(), "describe", "job", "bounded", "-n", ns)
	t.Log(described)
	bounded = awaitComplete(t, cluster, ns, "bounded")
	if started := bounded.Status.StartTime.Time; started.Before(clean.Add(-time.Second)) {
		t.Errorf("it started at %s, and was to wait until %s", started, clean)
	}
	pods, err := podsOf(t.Context(), cluster, ns)
	if err != nil || len(pods) != 2 {
		t.Errorf("%d pods, want 2 (%v)", len(pods), err)
	}
}

func TestAJobThatIsHeldBySuspendHasNoPodsAndCountsAsHeld(t *testing.T) {
	carbonPolicy(t, "default", "")
	dirtyThenClean(t, cluster, 5*time.Minute)
	before := heldPods(t)
	ns := namespace(t, cluster)
	j := suspending(ns, "quiet")
	create(t, cluster, j)
	env.Eventually(t, patience, func(context.Context) error {
		if held := heldPods(t); held != before+3 {
			return fmt.Errorf("%v pods are held, want %v", held, before+3)
		}
		return nil
	})
	awaitJob(t, cluster, j, patience, wantSuspended(true, v1alpha1.StateHeld))
	if pods, err := podsOf(t.Context(), cluster, ns); err != nil || len(pods) > 0 {
		t.Errorf("%d pods exist while it waits (%v)", len(pods), err)
	}
	awaitEvent(t, cluster, j, v1alpha1.EventHeld)
	if err := cluster.Client.Delete(t.Context(), j, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, patience, func(context.Context) error {
		if held := heldPods(t); held != before {
			return fmt.Errorf("%v pods are held after it was deleted, want %v", held, before)
		}
		return nil
	})
}

func heldPods(t *testing.T) float64 {
	t.Helper()
	held, err := controller.Metric(t.Context(), "gridlatch_held_pods", `policy="default"`, `cause="cleaner-later"`)
	if err != nil {
		return 0 // nothing has been held yet
	}
	return held
}

func TestOnlyWhatWeSuspendedIsResumed(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	ns := namespace(t, cluster)
	yes := true
	theirs := suspending(ns, "theirs")
	theirs.Spec.Suspend = &yes
	resumed, kept, lost := suspending(ns, "resumed"), suspending(ns, "kept"), suspending(ns, "lost")
	create(t, cluster, theirs, resumed, kept, lost)
	if !strings.Contains(theirs.Annotations[v1alpha1.ReasonAnnotation], "suspended already") {
		t.Errorf("reason %q", theirs.Annotations[v1alpha1.ReasonAnnotation])
	}
	awaitEvent(t, cluster, theirs, v1alpha1.EventNotHeld)
	edit(t, resumed, `{"spec":{"suspend":false}}`)
	awaitJob(t, cluster, resumed, patience, wantSuspended(false, v1alpha1.StateReleased))
	edit(t, kept, fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, v1alpha1.HeldByAnnotation)) // somebody takes it over
	edit(t, lost, fmt.Sprintf(`{"metadata":{"labels":{%q:null}}}`, v1alpha1.StateLabel))
	awaitJob(t, cluster, lost, patience, wantSuspended(true, v1alpha1.StateHeld)) // found by the sweeper

	cleanNow(t, cluster)
	awaitJob(t, cluster, lost, patience, wantSuspended(false, v1alpha1.StateReleased))
	awaitJob(t, cluster, kept, patience, wantSuspended(true, v1alpha1.StateReleased))
	awaitJob(t, cluster, theirs, patience, wantSuspended(true, v1alpha1.StateReleased))
	edit(t, lost, `{"spec":{"suspend":true}}`) // after we have let it go, it is theirs
	time.Sleep(2 * time.Second)
	awaitJob(t, cluster, lost, patience, wantSuspended(true, v1alpha1.StateReleased))
}

func TestACopyOfASuspendedJobIsDecidedOnAnew(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	ns := namespace(t, cluster)
	original := suspending(ns, "original")
	create(t, cluster, original)
	cleanNow(t, cluster)
	awaitIntensity(t, cluster, 100)
	again := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Namespace: ns, Name: "copy", Labels: original.Labels, Annotations: original.Annotations,
	}, Spec: original.Spec}
	again.Spec.Selector, again.Spec.Template.Labels = nil, nil
	create(t, cluster, again)
	awaitJob(t, cluster, again, patience, wantSuspended(false, v1alpha1.StateReleased))
}

func TestAJobOfKueueWaitsAtItsQueueNotWithQuota(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	ns := namespace(t, cluster)
	yes := true
	j := job(ns, "queued", tolerant(hold.KueueGatesAnnotation, "example.com/other"), 1)
	j.Labels = map[string]string{hold.KueueQueueLabel: "team"}
	j.Spec.Suspend = &yes // as Kueue's own webhook makes it
	create(t, cluster, j)
	if got, want := j.Annotations[hold.KueueGatesAnnotation], "example.com/other,"+v1alpha1.Gate; got != want {
		t.Fatalf("%s is %q, want %q", hold.KueueGatesAnnotation, got, want)
	}
	cleanNow(t, cluster)
	awaitJob(t, cluster, j, patience, wantSuspended(true, v1alpha1.StateReleased)) // Kueue resumes it when it has quota
	if got := j.Annotations[hold.KueueGatesAnnotation]; got != "example.com/other" {
		t.Errorf("%s is %q, want the other's alone", hold.KueueGatesAnnotation, got)
	}
}
