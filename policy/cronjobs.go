package policy

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// OwningCronJob returns the reference to the CronJob that a Job is a run of, by its schedule or by
// hand; nil if there is none.
func OwningCronJob(job metav1.Object) *metav1.OwnerReference {
	owners := job.GetOwnerReferences()
	for i := range owners {
		if owners[i].Kind == "CronJob" && strings.HasPrefix(owners[i].APIVersion, "batch/") {
			return &owners[i]
		}
	}
	return nil
}

// CronJobOf returns the CronJob that a Job is a run of. The result is nil if the Job is a run of
// none, or if the cache does not know the CronJob: it was just created, or deleted.
func CronJobOf(ctx context.Context, reader client.Reader, namespace string, job metav1.Object) *batchv1.CronJob {
	owner := OwningCronJob(job)
	if owner == nil {
		return nil
	}
	var c batchv1.CronJob
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: owner.Name}, &c, client.UnsafeDisableDeepCopy)
	if err != nil || c.UID != owner.UID {
		return nil
	}
	return &c
}

// maxAhead is how far the clock of the CronJob controller may be ahead of ours.
const maxAhead = time.Minute

// NextRun returns when the run after a Job of a CronJob comes. The result is the zero time if the
// CronJob plans no run, or if the Job was made by hand: the CronJob does not count such a Job as
// active.
func NextRun(c *batchv1.CronJob, job metav1.Object, now time.Time) time.Time {
	if c == nil || !metav1.IsControlledBy(job, c) {
		return time.Time{}
	}
	runs := RunsOfCronJob(c)
	// Our clock may be behind, and count the run itself as the next one.
	scheduled, err := time.Parse(time.RFC3339, job.GetAnnotations()[batchv1.CronJobScheduledTimestampAnnotation])
	if err == nil && !scheduled.After(now.Add(maxAhead)) {
		if next := runs.Next(scheduled); next.After(now) {
			return next
		}
	}
	return runs.Next(now)
}

// BoundByNextRun reports whether a run of a CronJob must be done before the next run. With Replace,
// the next run deletes the run. With Forbid, the next run is skipped, which users accept who have
// written a deadline.
func BoundByNextRun(c *batchv1.CronJob, ask Ask) bool {
	return c.Spec.ConcurrencyPolicy == batchv1.ReplaceConcurrent || c.Spec.ConcurrencyPolicy == batchv1.ForbidConcurrent && ask.Deadline.IsZero()
}

// Schedule tells when the runs of a CronJob come. The zero value has no runs.
type Schedule struct {
	schedule cron.Schedule
	zone     *time.Location
}

// RunsOfCronJob returns the schedule of a CronJob. The schedule has no runs if the CronJob is
// suspended, or if the CronJob controller cannot read the schedule either. Without a time zone, the
// controller goes by its own, which is UTC as a rule.
func RunsOfCronJob(c *batchv1.CronJob) Schedule {
	text := c.Spec.Schedule
	if inZone := strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ="); inZone && !strings.Contains(text, " ") {
		return Schedule{} // the parser panics
	}
	schedule, err := cron.ParseStandard(text)
	if err != nil || ptr.Deref(c.Spec.Suspend, false) {
		return Schedule{}
	}
	zone, err := time.LoadLocation(cmp.Or(ptr.Deref(c.Spec.TimeZone, ""), "UTC"))
	if err != nil {
		return Schedule{}
	}
	return Schedule{schedule, zone}
}

// Next returns the first run after a time, and the zero time if there is none within five years.
func (s Schedule) Next(after time.Time) time.Time {
	if s.schedule == nil {
		return time.Time{}
	}
	return s.schedule.Next(after.In(s.zone)).UTC()
}

// maxGapRuns bounds the runs between which the shortest interval is looked for: at the least those
// of an hour.
const maxGapRuns = 64

// ShortestGap returns two runs after a time, of which the second comes soonest after the first of
// all runs that are near. The result is false if there are no two runs.
func (s Schedule) ShortestGap(after time.Time) (first, second time.Time, ok bool) {
	run := s.Next(after)
	for range maxGapRuns {
		next := s.Next(run)
		if run.IsZero() || next.IsZero() {
			break
		}
		if !ok || next.Sub(run) < second.Sub(first) {
			first, second, ok = run, next, true
		}
		run = next
	}
	return first, second, ok
}
