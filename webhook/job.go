package webhook

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/serving"
)

// onJob decides on a Job. What its pod template asks for holds too, where the
// Job itself says nothing else.
func (w *Webhook) onJob(ctx context.Context, req serving.Review) (verdict, error) {
	job, err := readJob(req.Object)
	switch {
	case err != nil:
		return verdict{}, fmt.Errorf("decode job: %w", err)
	case job.tooLarge != nil: // its annotations may be what is not known
		v := stripJob(&job.Job)
		v.outcome, v.patch = started, job.patch()
		return v.warn(notHeld + job.tooLarge.Error()), nil
	}
	copied := forget(&job.Job)
	job.CreationTimestamp = metav1.NewTime(w.Clock.Now())
	strange := append(policy.UnknownKeys(job.Annotations, field.NewPath("metadata", "annotations")),
		policy.UnknownKeys(job.Spec.Template.Annotations, field.NewPath("spec", "template").Child("metadata", "annotations"))...)
	before, template, suspended := written(job.ObjectMeta), written(job.Spec.Template.ObjectMeta), ptr.Deref(job.Spec.Suspend, false)
	v, err := w.askAndDecideJob(ctx, req, job)
	v = v.jobWithRoom(job, before, template, suspended)
	if v.noted {
		v.patch = append(job.patch(), v.patch...)
	}
	if copied && len(v.errs) == 0 && err == nil {
		v.patch = v.patch.set("/spec/suspend", ptr.Deref(job.Spec.Suspend, false))
	}
	return v.warn(strange...), err
}

// askAndDecideJob reads what a Job asks for, and decides on it.
func (w *Webhook) askAndDecideJob(ctx context.Context, req serving.Review, came *aJob) (verdict, error) {
	job, template := &came.Job, &came.Spec.Template
	if !asks(job, template) {
		return stripJob(job), nil
	}
	created := job.CreationTimestamp.Time
	errs := append(checkAsk(job, created, field.NewPath("metadata")), checkAsk(template, created, field.NewPath("spec", "template", "metadata"))...)
	if len(errs) > 0 {
		return blame(job, errs).without(job.Annotations, func(why string) verdict { return startJob(job, why) }), nil
	}
	asked := policy.JobAsk(template, job)
	ask, _ := policy.ParseAsk(asked, created, field.NewPath("metadata", "annotations")) // its parts have been checked
	if !ask.Wanted {
		return w.decideJob(ctx, req, job, ask, asked)
	}
	nameRuns(job)
	ask.Earlier = w.Runs.Times(req.Namespace, job)
	ask.ReplacedAt = policy.ReplacedAt(ctx, w.Reader, req.Namespace, job, created)
	ask.Tool = cmp.Or(came.came.tool, came.template.tool)
	v, err := w.decideJob(ctx, req, job, ask, asked)
	return v.warn(toolWarning(ask)...), err
}

// checkAsk tells what is wrong with what an object asks for, whose metadata is at path.
func checkAsk(o metav1.Object, created time.Time, path *field.Path) field.ErrorList {
	_, errs := policy.ParseAsk(o.GetAnnotations(), created, path.Child("annotations"))
	_, alsoSaid := o.GetAnnotations()[v1alpha1.DelayTolerantAnnotation]
	if wish, ok := o.GetLabels()[v1alpha1.DelayTolerantAnnotation]; ok && !alsoSaid {
		_, more := policy.ParseAsk(map[string]string{v1alpha1.DelayTolerantAnnotation: wish}, created, path.Child("labels"))
		errs = append(errs, more...)
	}
	return errs
}

// toolWarning tells of the time-out of the tool that work is of, if one is known.
func toolWarning(ask policy.Ask) []string {
	if ask.Tool == nil {
		return nil
	}
	return []string{ask.Tool.Warning(ask.Deadline.IsZero())}
}

// decideJob decides on a Job that asks for what can be read.
func (w *Webhook) decideJob(ctx context.Context, req serving.Review, job *batchv1.Job, ask policy.Ask, asked map[string]string) (verdict, error) {
	if why := leaveJobAlone(job, ask); why != "" {
		return startJob(job, notHeld+why).mark(job.Annotations), nil
	}
	chosen, err := w.choose(ctx, ask, job, req.Namespace, field.NewPath("metadata", "annotations"))
	if err != nil {
		return verdict{}, err
	}
	if chosen.policy == nil {
		return chosen.without(job.Annotations, func(why string) verdict { return startJob(job, why) }), nil
	}
	ask.Only = chosen.policy.Suiting(ctx, &job.Spec.Template.Spec)
	return w.holdJob(req, job, chosen.policy, ask, asked), nil
}

// nameRuns gives a Job of a CronJob, run by its schedule or by hand, the
// CronJob's name as the label of its runs, unless it has one.
func nameRuns(job *batchv1.Job) {
	if _, ok := job.Labels[v1alpha1.RunsOfLabel]; ok {
		return
	}
	if cronJob := gating.CronJobOf(job); cronJob != nil && len(content.IsLabelValue(cronJob.Name)) == 0 {
		job.Labels[v1alpha1.RunsOfLabel] = cronJob.Name
	}
}

// forget removes from a Job what we had written on another, of which it is a
// copy, and reports whether that one was suspended by us.
func forget(job *batchv1.Job) (suspended bool) {
	suspended = job.Annotations[v1alpha1.HeldByAnnotation] == v1alpha1.HoldBySuspend
	if suspended {
		job.Spec.Suspend = ptr.To(false)
	}
	if job.Annotations[v1alpha1.HeldByAnnotation] == v1alpha1.HoldByKueue {
		job.Annotations[hold.KueueGatesAnnotation] = hold.RemoveKueueGate(job.Annotations[hold.KueueGatesAnnotation])
	}
	policy.ForgetNotes(job.Annotations)
	policy.ForgetNotes(job.Spec.Template.Annotations)
	return suspended
}

// leaveJobAlone says why a Job is not held whatever the grid does.
func leaveJobAlone(job *batchv1.Job, ask policy.Ask) string {
	manager := job.Spec.ManagedBy
	switch {
	case !ask.Wanted:
		return "it does not ask for it"
	case manager != nil && *manager != batchv1.JobControllerName:
		return "it is managed by " + *manager
	case byItself(job, ask) == v1alpha1.HoldBySuspend && job.Spec.Suspend != nil && *job.Spec.Suspend:
		return "it is suspended already, by somebody else"
	default:
		return ""
	}
}

// byItself says how a Job is held itself; empty if its pods are. A Job's
// activeDeadlineSeconds would run while its pods are gated, and gated pods hold
// the quota that a queue gives.
func byItself(job *batchv1.Job, ask policy.Ask) string {
	switch {
	case job.Labels[hold.KueueQueueLabel] != "":
		return v1alpha1.HoldByKueue
	case job.Spec.ActiveDeadlineSeconds != nil || ask.Hold == v1alpha1.HoldBySuspend:
		return v1alpha1.HoldBySuspend
	default:
		return ""
	}
}

// holdJob records on a Job that it is held, if it is better to wait, and in
// its template what its pods must know. The gate is put on the pods as they
// come (see package gating).
func (w *Webhook) holdJob(req serving.Review, job *batchv1.Job, rules *policy.Policy, ask policy.Ask, asked map[string]string) verdict {
	now := job.CreationTimestamp.Time
	task := rules.Task(ask, now)
	task.ID = policy.TaskID(job, req.UID) // it has no UID of its own yet
	decision := rules.Decide(w.Store.Snapshot(rules.Source), ask.Location, now, task)
	decision.StillWaitsFor = gating.JobStillWaits(job)
	if rules.Limited() {
		decision = decision.Queue()
	}
	// its pods count for the policy, whenever they come
	job.Annotations[v1alpha1.PolicyAnnotation], job.Spec.Template.Annotations[v1alpha1.PolicyAnnotation] = rules.Name, rules.Name
	noteDuration(job, ask)
	if w.Mark || rules.Movable() { // so that its pods come here, too, however it is held
		bringPods(job, asked)
	}
	if ptr.Deref(job.Spec.Suspend, false) && byItself(job, ask) == "" {
		return parkJob(job, rules, ask, asked)
	}
	if asked[v1alpha1.PlacementAnnotation] == v1alpha1.PlacementStrict { // which ends then, for its last pod, too
		job.Spec.Template.Annotations[v1alpha1.LatestStartAnnotation] = task.LatestStart.UTC().Format(time.RFC3339)
	}
	if rules.Movable() {
		noteLocation(job, decision.Location, ask.Only)
	}
	if !decision.Holds() {
		return startJob(job, decision.Reason())
	}
	if why := w.unable(req.Namespace); why != "" {
		return startJob(job, notHeld+why).mark(job.Annotations).warned(notHeld + why)
	}
	notes := rules.Notes(decision)
	noteAsk(job, asked)
	maps.Copy(job.Annotations, notes)
	job.Labels[v1alpha1.StateLabel] = v1alpha1.StateHeld
	if how := byItself(job, ask); how != "" {
		return holdWhole(job, how)
	}
	bringPods(job, policy.PromiseNotes(asked, notes))
	delete(job.Spec.Template.Labels, v1alpha1.StateLabel)
	return verdict{outcome: held, noted: true}
}

// noteAsk notes on a Job what its template asks for, so that it is there that the user
// changes it. A wish that is a label stays one.
func noteAsk(job *batchv1.Job, asked map[string]string) {
	wish := asked[v1alpha1.DelayTolerantAnnotation]
	_, said := policy.Wish(job)
	_, annotated := job.Spec.Template.Annotations[v1alpha1.DelayTolerantAnnotation]
	for key, value := range asked {
		if key != v1alpha1.DelayTolerantAnnotation {
			job.Annotations[key] = value
		}
	}
	switch {
	case said:
	case annotated:
		job.Annotations[v1alpha1.DelayTolerantAnnotation] = wish
	default:
		job.Labels[v1alpha1.DelayTolerantAnnotation] = wish
	}
}

// bringPods has the pods of a Job carry these annotations, and come to the webhook. A
// wish that is a label is one on them, too.
func bringPods(job *batchv1.Job, annotations map[string]string) {
	template, wish := &job.Spec.Template, annotations[v1alpha1.DelayTolerantAnnotation]
	_, labelled := job.Labels[v1alpha1.DelayTolerantAnnotation]
	_, alsoThere := template.Labels[v1alpha1.DelayTolerantAnnotation]
	_, annotated := template.Annotations[v1alpha1.DelayTolerantAnnotation]
	maps.Copy(template.Annotations, annotations)
	if labelled || alsoThere {
		template.Labels[v1alpha1.DelayTolerantAnnotation] = wish
		if !annotated {
			delete(template.Annotations, v1alpha1.DelayTolerantAnnotation)
		}
	}
}

// parkJob holds a Job that its user has created suspended, for approval, say: it is
// planned from when it is resumed, as are its pods.
func parkJob(job *batchv1.Job, rules *policy.Policy, ask policy.Ask, asked map[string]string) verdict {
	template := &job.Spec.Template
	notes := map[string]string{v1alpha1.PolicyAnnotation: rules.Name, v1alpha1.ReasonAnnotation: hold.ReasonAwaitsResume}
	if ask.Only != "" {
		notes[v1alpha1.CandidateLocationsAnnotation] = ask.Only
		template.Annotations[v1alpha1.CandidateLocationsAnnotation] = ask.Only
	}
	noteAsk(job, asked)
	maps.Copy(job.Annotations, notes)
	bringPods(job, policy.PromiseNotes(asked, notes))
	job.Labels[v1alpha1.StateLabel] = v1alpha1.StateHeld
	delete(template.Labels, v1alpha1.StateLabel)
	return verdict{outcome: held, noted: true}
}

// noteDuration notes on a Job with what duration it is planned, if it does not
// say, and on its pods how long they are expected to run.
func noteDuration(job *batchv1.Job, ask policy.Ask) {
	guess := policy.DurationNotes(ask)
	maps.Copy(job.Annotations, guess)
	expected, ok := guess[v1alpha1.ExpectedDurationAnnotation]
	if ask.Duration > 0 {
		expected, ok = plan.FormatDuration(ask.Duration), true
	}
	if ok {
		job.Spec.Template.Annotations[v1alpha1.ExpectedDurationAnnotation] = expected
	}
}

// noteLocation notes on a Job and on its pods where they are to run.
func noteLocation(job *batchv1.Job, planned, only string) {
	for _, annotations := range []map[string]string{job.Annotations, job.Spec.Template.Annotations} {
		annotations[v1alpha1.PlannedLocationAnnotation] = planned
		if only != "" {
			annotations[v1alpha1.CandidateLocationsAnnotation] = only
		}
	}
}

// holdWhole holds a Job so that it makes no pods. Those that come once it is
// let go start at once.
func holdWhole(job *batchv1.Job, how string) verdict {
	job.Annotations[v1alpha1.HeldByAnnotation] = how
	job.Spec.Template.Labels[v1alpha1.StateLabel] = v1alpha1.StateReleased
	if how == v1alpha1.HoldByKueue {
		job.Annotations[hold.KueueGatesAnnotation] = hold.AddKueueGate(job.Annotations[hold.KueueGatesAnnotation])
		return verdict{outcome: held, noted: true}
	}
	job.Spec.Suspend = ptr.To(true)
	return verdict{outcome: held, noted: true, patch: patch{}.set("/spec/suspend", true)}
}

// startJob lets a Job start at once, and its pods with it whenever they come.
func startJob(job *batchv1.Job, why string) verdict {
	job.Annotations[v1alpha1.ReasonAnnotation] = why
	job.Labels[v1alpha1.StateLabel] = v1alpha1.StateReleased
	job.Spec.Template.Labels[v1alpha1.StateLabel] = v1alpha1.StateReleased
	return verdict{outcome: started, noted: true}
}

// patch makes of a Job as it came what it is to be, and takes our gate off its
// template.
func (job *aJob) patch() patch {
	template := job.Spec.Template
	p := append(job.came.patch(job.ObjectMeta), job.template.patch(template.ObjectMeta)...)
	return append(p, dropGate(template.Spec.SchedulingGates, "/spec/template/spec")...)
}
