package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestARunIsDoneBeforeTheNext has CronJobs that run each minute, of which a while is clean.
func TestARunIsDoneBeforeTheNext(t *testing.T) {
	var minutes []env.Element
	for i := range 10 {
		from := time.Now().Truncate(time.Minute).Add(time.Duration(i) * time.Minute)
		minutes = append(minutes, env.Elements(location, from, 20*time.Second, 430, 120, 430)...)
	}
	if err := cluster.Forecast(t.Context(), minutes...); err != nil {
		t.Fatal(err)
	}
	annotations := ownPolicy(t, "bound")
	free := tolerant(v1alpha1.PolicyAnnotation, "bound", v1alpha1.DeadlineAnnotation, "")
	for name, tt := range map[string]struct {
		policy      batchv1.ConcurrencyPolicy
		annotations map[string]string
		isBound     bool
	}{
		"replace":                {batchv1.ReplaceConcurrent, annotations, true},
		"forbid":                 {batchv1.ForbidConcurrent, free, true},
		"forbid-with-a-deadline": {batchv1.ForbidConcurrent, annotations, false},
		"allow":                  {batchv1.AllowConcurrent, free, false},
		"forbid-in-own-metadata": {batchv1.ForbidConcurrent, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := namespace(t, cluster)
			every := cronJob(ns, name, tt.annotations, tt.policy)
			every.Spec.Schedule, every.Spec.Suspend = "* * * * *", ptr(false)
			if tt.annotations == nil {
				every.Annotations = free
			}
			create(t, cluster, every)
			first := awaitRuns(t, ns, 1)[0]
			next := first.CreationTimestamp.Truncate(time.Minute).Add(time.Minute)
			latest, err := time.Parse(time.RFC3339, first.Annotations[v1alpha1.LatestStartAnnotation])
			if err != nil || latest.Before(next) != tt.isBound {
				t.Errorf("latest start %v, %v, next run %s, %v", latest, err, next, first.Annotations)
			}
			noted, told := first.Annotations[v1alpha1.NextRunAnnotation], first.Annotations[v1alpha1.ReasonAnnotation]
			if tt.isBound != (noted == next.UTC().Format(time.RFC3339)) || tt.isBound != strings.Contains(told, "(next run "+next.UTC().Format("15:04")+")") {
				t.Errorf("next run %s, noted %q, told %q", next, noted, told)
			}
			if tt.isBound {
				awaitComplete(t, cluster, ns, first.Name)
				if runs := awaitRuns(t, ns, 2); !runs[1].CreationTimestamp.Time.Before(next.Add(20 * time.Second)) {
					t.Errorf("the next run came at %s, want %s", runs[1].CreationTimestamp, next)
				}
			}
			remove(t, cluster, every, metav1.DeletePropagationBackground)
		})
	}
}

// awaitRuns waits for so many runs of the CronJob in a namespace, and returns them in order.
func awaitRuns(t *testing.T, namespace string, n int) []batchv1.Job {
	t.Helper()
	var runs []batchv1.Job
	env.Eventually(t, 2*time.Minute+patience, func(ctx context.Context) error {
		var jobs batchv1.JobList
		if err := cluster.Client.List(ctx, &jobs, client.InNamespace(namespace)); err != nil || len(jobs.Items) < n {
			return fmt.Errorf("%d runs, want %d: %w", len(jobs.Items), n, err)
		}
		runs = jobs.Items // the names end in the time
		return nil
	})
	return runs
}

// TestACronJobAsksForItsRuns has CronJobs with annotations or a label in their own metadata.
func TestACronJobAsksForItsRuns(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "cron-asks")
	for name, tt := range map[string]struct {
		labels, annotations, ofRun map[string]string
		held                       int
	}{
		"by annotations":       {nil, annotations, nil, 1},
		"by a label":           {wish("true"), tolerant(v1alpha1.PolicyAnnotation, "cron-asks", v1alpha1.DelayTolerantAnnotation, ""), nil, 1},
		"but its run declines": {nil, annotations, wish("false"), 0},
		"not at all":           {nil, nil, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ns := namespace(t, cluster)
			c := cronJob(ns, "own", tt.ofRun, batchv1.ForbidConcurrent)
			c.Labels, c.Annotations = tt.labels, tt.annotations
			create(t, cluster, c)
			nextRun(t, c)
			run := awaitOneJob(t, ns, "")
			awaitPods(t, cluster, ns, wantGated(tt.held, 1-tt.held))
			if tt.held == 0 {
				for _, o := range []metav1.ObjectMeta{run.ObjectMeta, run.Spec.Template.ObjectMeta} {
					if o.Labels[v1alpha1.StateLabel] != "" || o.Annotations[v1alpha1.ReasonAnnotation] != "" {
						t.Errorf("what does not wait is changed: %v, %v", o.Labels, o.Annotations)
					}
				}
				return
			}
			awaitHeld(t, "cron-asks", 1, 1)
			if run.Annotations[v1alpha1.DeadlineAnnotation] != "10m" || !strings.HasPrefix(run.Annotations[v1alpha1.ReasonAnnotation], "waits until ") {
				t.Errorf("the run says %v", run.Annotations)
			}
			if _, err := cluster.Kubectl(t.Context(), "create", "job", "by-hand", "--from=cronjob/own", "-n", ns); err != nil {
				t.Fatal(err)
			}
			awaitGated(t, cluster, ns, 2)
			for _, name := range []string{run.Name, "by-hand"} {
				edit(t, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}, `{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":"false"}}}`)
			}
			awaitPods(t, cluster, ns, wantGated(0, 2))
			remove(t, cluster, c, metav1.DeletePropagationBackground)
		})
	}
}

// TestStartingDeadlineSecondsLimitWhichRunIsMadeUpFor has a run held beyond the next one.
func TestStartingDeadlineSecondsLimitWhichRunIsMadeUpFor(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "cron-late")
	ns := namespace(t, cluster)
	c := cronJob(ns, "late", annotations, batchv1.ForbidConcurrent)
	create(t, cluster, c)
	nextRun(t, c)
	run := awaitOneJob(t, ns, "")
	awaitGated(t, cluster, ns, 1)
	nextRun(t, c)
	awaitEvent(t, cluster, c, "JobAlreadyActive") // skipped
	change(t, cluster, c, func(c *batchv1.CronJob) { c.Spec.StartingDeadlineSeconds = ptr(int64(60)) })
	cleanNow(t, cluster)
	awaitComplete(t, cluster, ns, run.Name)
	awaitEvent(t, cluster, c, "SawCompletedJob")
	if j := awaitOneJob(t, ns, ""); j.UID != run.UID {
		t.Errorf("%s was made up for", j.Name)
	}
	remove(t, cluster, c, metav1.DeletePropagationBackground)
}

func TestWhoAppliesACronJobIsWarnedOfRunsThatComeTooSoon(t *testing.T) {
	ns := namespace(t, cluster)
	hourly := func(name string, policy batchv1.ConcurrencyPolicy, change func(*batchv1.CronJob)) *batchv1.CronJob {
		c := cronJob(ns, name, tolerant(v1alpha1.DeadlineAnnotation, "8h"), policy)
		c.Spec.Schedule, c.Spec.Suspend = "0 * * * *", ptr(false)
		change(c)
		return c
	}
	same := func(*batchv1.CronJob) {}
	const apart = ": runs come only 1h apart ("
	for name, tt := range map[string]struct {
		c    *batchv1.CronJob
		want []string // nothing, if there is none
	}{
		"with Forbid": {hourly("forbid", batchv1.ForbidConcurrent, same), []string{"Forbid" + apart, "the CronJob skips runs while a run waits; the CronJob later runs the last skipped run"}},
		"with startingDeadlineSeconds": {hourly("late", batchv1.ForbidConcurrent, func(c *batchv1.CronJob) { c.Spec.StartingDeadlineSeconds = ptr(int64(200)) }), []string{
			"the CronJob later runs the last skipped run, but only within 200s after that run was due (startingDeadlineSeconds)",
		}},
		"with Replace": {hourly("replace", batchv1.ReplaceConcurrent, same), []string{"Replace" + apart, "each run starts early enough to be done before the next"}},
		"by its own metadata": {hourly("own", batchv1.ForbidConcurrent, func(c *batchv1.CronJob) {
			c.Annotations, c.Spec.JobTemplate.Annotations = tolerant(v1alpha1.DeadlineAnnotation, ""), nil
		}), []string{"Forbid" + apart, "with the annotation gridlatch.dev/deadline, a run waits longer"}},
		"with Allow":       {hourly("allow", batchv1.AllowConcurrent, same), nil},
		"of a day apart":   {hourly("daily", batchv1.ForbidConcurrent, func(c *batchv1.CronJob) { c.Spec.Schedule = "0 1 * * *" }), nil},
		"if nothing waits": {hourly("idle", batchv1.ForbidConcurrent, func(c *batchv1.CronJob) { c.Spec.JobTemplate.Annotations = nil }), nil},
	} {
		t.Run(name, func(t *testing.T) {
			expect := func(did, got string) {
				t.Helper()
				if (got == "") != (len(tt.want) == 0) {
					t.Errorf("%s: warned of %q, want %q", did, got, tt.want)
				}
				for _, want := range tt.want {
					if !strings.Contains(got, want) {
						t.Errorf("%s: warned of %q, want %q", did, got, want)
					}
				}
			}
			expect("created", createWarned(t, cluster, tt.c))
			warned, warnings := warnedClient(t, cluster)
			if err := warned.Patch(t.Context(), tt.c, client.RawPatch(merge, []byte(`{"metadata":{"annotations":{"example.com/look":"again"}}}`))); err != nil {
				t.Fatal(err)
			}
			expect("updated", warnings.String())
		})
	}
}
