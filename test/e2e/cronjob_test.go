package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// cronJob makes a CronJob that runs once a year: it is its turn when its
// schedule says so for a day that has been, and it is looked at.
func cronJob(namespace, name string, annotations map[string]string, policy batchv1.ConcurrencyPolicy) *batchv1.CronJob {
	return &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: batchv1.CronJobSpec{
			Schedule: yearly(-2), TimeZone: ptr("Etc/UTC"), ConcurrencyPolicy: policy, Suspend: ptr(true),
			JobTemplate: batchv1.JobTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Annotations: annotations},
				Spec:       job("", "", nil, 1).Spec,
			},
		},
	}
}

// yearly is a schedule for midnight of a day near today.
func yearly(days int) string {
	day := time.Now().UTC().AddDate(0, 0, days)
	return fmt.Sprintf("0 0 %d %d *", day.Day(), day.Month())
}

// nextRun makes it a CronJob's turn.
func nextRun(t *testing.T, c *batchv1.CronJob) {
	t.Helper()
	if *c.Spec.Suspend { // it was never looked at: it has missed its first run
		if err := cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(c), c); err != nil {
			t.Fatal(err)
		}
		before := c.DeepCopy()
		c.Status.LastScheduleTime = &metav1.Time{Time: time.Now().AddDate(0, 0, -4)}
		if err := cluster.Client.Status().Patch(t.Context(), c, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
		change(t, cluster, c, func(c *batchv1.CronJob) { c.Spec.Suspend = ptr(false) })
		return
	}
	change(t, cluster, c, func(c *batchv1.CronJob) { c.Spec.Schedule = yearly(-1) })
	change(t, cluster, c, func(c *batchv1.CronJob) { c.Annotations = map[string]string{"example.com/look": "again"} })
}

// awaitJobs waits until check has nothing to say on the Jobs of a namespace.
func awaitJobs(t *testing.T, namespace string, check func([]batchv1.Job) error) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		var jobs batchv1.JobList
		if err := cluster.Client.List(ctx, &jobs, client.InNamespace(namespace)); err != nil {
			return err
		}
		return check(jobs.Items)
	})
}

// awaitOneJob waits until there is one Job, and returns it.
func awaitOneJob(t *testing.T, namespace string, other types.UID) batchv1.Job {
	t.Helper()
	var found batchv1.Job
	awaitJobs(t, namespace, func(jobs []batchv1.Job) error {
		if len(jobs) != 1 || jobs[0].UID == other {
			return fmt.Errorf("%d Jobs, want one that is new", len(jobs))
		}
		found = jobs[0]
		return nil
	})
	return found
}

func TestAHeldJobOfACronJobCountsAsActive(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "cron")
	patient, hasty := namespace(t, cluster), namespace(t, cluster)
	forbid := cronJob(patient, "forbid", annotations, batchv1.ForbidConcurrent)
	replace := cronJob(hasty, "replace", annotations, batchv1.ReplaceConcurrent)
	create(t, cluster, forbid, replace)
	nextRun(t, forbid)
	nextRun(t, replace)
	kept, replaced := awaitOneJob(t, patient, ""), awaitOneJob(t, hasty, "")
	awaitGated(t, cluster, patient, 1)
	old := awaitGated(t, cluster, hasty, 1)[0]
	awaitHeld(t, "cron", 2, 2)

	nextRun(t, forbid)
	nextRun(t, replace)
	awaitEvent(t, cluster, forbid, "JobAlreadyActive") // skipped
	anew := awaitOneJob(t, hasty, replaced.UID)
	wantLatestStart(t, &anew, anew.CreationTimestamp.Time)
	awaitPods(t, cluster, hasty, func(pods []corev1.Pod) error {
		if len(pods) != 1 || pods[0].UID == old.UID {
			return fmt.Errorf("%d pods, want one that is new", len(pods))
		}
		return wantGated(1, 0)(pods)
	})
	if j := awaitOneJob(t, patient, ""); j.UID != kept.UID || j.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld {
		t.Errorf("the held Job was replaced, or is not held: %v", j.Labels)
	}
	awaitHeld(t, "cron", 2, 2)

	// the run that was skipped is made up for when the one that was held is done
	cleanNow(t, cluster)
	awaitComplete(t, cluster, patient, kept.Name)
	awaitComplete(t, cluster, hasty, anew.Name)
	awaitJobs(t, patient, func(jobs []batchv1.Job) error {
		if len(jobs) != 2 {
			return fmt.Errorf("%d Jobs, want the one that was held and the one after it", len(jobs))
		}
		return nil
	})
	awaitHeld(t, "cron", 0, 0)
	remove(t, cluster, forbid, metav1.DeletePropagationBackground)
	remove(t, cluster, replace, metav1.DeletePropagationBackground)
	for _, ns := range []string{patient, hasty} {
		awaitPods(t, cluster, ns, wantGated(0, 0))
	}
}
