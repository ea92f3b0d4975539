package webhook

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/serving"
)

// isScheduledRun reports whether a CronJob has created a Job. The CronJob counts such a Job as
// active until the Job is done.
func isScheduledRun(job metav1.Object) bool {
	owner := policy.OwningCronJob(job)
	return owner != nil && ptr.Deref(owner.Controller, false)
}

// leaveTimeForNextRun notes in the ask when the next run of its CronJob comes, if a Job must be done
// before that run. Otherwise leaveTimeForNextRun returns a warning if the next run may be skipped.
func leaveTimeForNextRun(cronJob *batchv1.CronJob, job metav1.Object, ask *policy.Ask, now time.Time) []string {
	next := policy.NextRun(cronJob, job, now)
	switch {
	case next.IsZero():
	case policy.BoundByNextRun(cronJob, *ask):
		ask.NextRun = next
	case cronJob.Spec.ConcurrencyPolicy == batchv1.ForbidConcurrent && ask.Deadline.After(next):
		return []string{fmt.Sprintf("the CronJob skips runs while this run waits, the next at %s; %s", plan.FormatTime(next), makesUp(cronJob))}
	}
	return nil
}

// makesUp says which of the skipped runs a CronJob makes up for.
func makesUp(c *batchv1.CronJob) string {
	const last = "the CronJob later runs the last skipped run"
	if within := c.Spec.StartingDeadlineSeconds; within != nil {
		return fmt.Sprintf("%s, but only within %ds after that run was due (startingDeadlineSeconds)", last, *within)
	}
	return last
}

// adviseOnCronJob returns warnings for whoever writes a CronJob whose runs ask to wait: about values
// that cannot be read, and about runs that come sooner after one another than a run may wait.
func (w *Webhook) adviseOnCronJob(ctx context.Context, req serving.Review) []string {
	c, err := readCronJob(req.Object)
	asked := policy.CronJobAskAnnotations(c)
	if err != nil || asked[v1alpha1.DelayTolerantAnnotation] != "true" {
		return nil
	}
	now, path := w.Clock.Now(), field.NewPath("metadata")
	template := field.NewPath("spec", "jobTemplate")
	errs := append(checkAsk(c, now, path), checkAsk(&c.Spec.JobTemplate, now, template.Child("metadata"))...)
	errs = append(errs, checkAsk(&c.Spec.JobTemplate.Spec.Template, now, template.Child("spec", "template", "metadata"))...)
	var warnings []string
	for _, err := range errs {
		warnings = append(warnings, "the runs start at once: "+err.Error())
	}
	if len(warnings) > 0 {
		return warnings
	}
	first, second, ok := policy.RunsOfCronJob(c).ShortestGap(now)
	if !ok {
		return nil
	}
	ask, _ := policy.ParseAsk(asked, first, path) // checkAsk has seen no errors
	chosen, err := w.findPolicy(ctx, ask, req.Namespace, path)
	if err != nil || chosen.policy == nil {
		return nil // the runs say so
	}
	if audits, _ := policy.IsAuditedNamespace(ctx, w.Reader, req.Namespace); audits || chosen.policy.IsAudit() {
		return nil // no run waits
	}
	return intervalWarning(c, chosen.policy, ask, first, second)
}

// intervalWarning warns of two runs of a CronJob that come sooner after one another than the first
// may wait.
func intervalWarning(c *batchv1.CronJob, rules *policy.Policy, ask policy.Ask, first, second time.Time) []string {
	bound := ask
	bound.NextRun = second
	free, limited := rules.Task(ask, first), rules.Task(bound, first)
	if c.Spec.ConcurrencyPolicy == batchv1.AllowConcurrent || c.Spec.ConcurrencyPolicy == "" || limited.NextRun.IsZero() {
		return nil
	}
	warning := fmt.Sprintf("spec.concurrencyPolicy: %s: runs come only %s apart (%s and %s), and a run could wait for up to %s: ", c.Spec.ConcurrencyPolicy,
		plan.FormatDuration(second.Sub(first)), plan.FormatTime(first), plan.FormatTime(second), plan.FormatDuration(free.LatestStart.Sub(first)))
	switch {
	case !policy.BoundByNextRun(c, ask):
		return []string{warning + "the CronJob skips runs while a run waits; " + makesUp(c)}
	case !limited.LatestStart.After(first):
		warning += "each run starts at once, because it is expected to run for " + plan.FormatDuration(free.Duration)
	default:
		warning += "each run starts early enough to be done before the next"
	}
	if c.Spec.ConcurrencyPolicy == batchv1.ForbidConcurrent {
		warning += "; with the annotation " + v1alpha1.DeadlineAnnotation + ", a run waits longer, and the CronJob skips runs meanwhile"
	}
	return []string{warning}
}
