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
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/serving"
)

// admitJob decides on a Job. The ask of the pod template counts where the Job itself asks for
// nothing else.
func (w *Webhook) admitJob(ctx context.Context, req serving.Review) (verdict, error) {
	job, err := readJob(req.Object)
	if err != nil {
		return verdict{}, fmt.Errorf("decode job: %w", err)
	}
	forgetMarks(job)
	job.CreationTimestamp = metav1.NewTime(w.Clock.Now())
	before, template, suspended := copyMetadata(job.ObjectMeta), copyMetadata(job.Spec.Template.ObjectMeta), ptr.Deref(job.Spec.Suspend, false)
	v, err := w.askAndDecideJob(ctx, req, job)
	if err != nil {
		return verdict{}, err
	}
	v = v.ifJobFits(job, before, template, suspended)
	v = job.mark.leaveClosed(v, &job.ObjectMeta, &job.original, job.CreationTimestamp.Time, w.whyUnable(req.Namespace), patch{}.set("/spec/suspend", false))
	if v.changesMetadata {
		v.patch = append(job.patch(), v.patch...)
	}
	if v.outcome == stripped && len(v.patch) == 0 {
		v.outcome = unasked
	}
	if job.tooLarge == nil {
		v = v.warn(policy.UnknownKeys(job.Annotations, field.NewPath("metadata", "annotations"))...)
		v = v.warn(policy.UnknownKeys(job.Spec.Template.Annotations, field.NewPath("spec", "template", "metadata", "annotations"))...)
	}
	return v, nil
}

// askAndDecideJob reads what a Job asks for, and decides on the Job.
func (w *Webhook) askAndDecideJob(ctx context.Context, req serving.Review, came *decodedJob) (verdict, error) {
	job, template := &came.Job, &came.Spec.Template
	cronJob := policy.CronJobOf(ctx, w.Reader, req.Namespace, job)
	if came.tooLarge == nil && w.isJobAudited(ctx, req, job, cronJob) {
		return w.auditJob(ctx, req, came)
	}
	if came.tooLarge == nil {
		policy.JobAsksBySelector(job, cronJob)
	}
	if cronJob != nil {
		policy.InheritAsk(job, cronJob)
	}
	switch {
	case came.tooLarge != nil: // the annotations may be missing
		v := stripJob(job)
		v.outcome = started
		return v.warn(notHeld + came.tooLarge.Error()), nil
	case !wantToWait(job, template):
		return stripJob(job), nil
	}
	created := job.CreationTimestamp.Time
	errs := append(checkAsk(job, created, field.NewPath("metadata")), checkAsk(template, created, field.NewPath("spec", "template", "metadata"))...)
	if len(errs) > 0 {
		return refuseOrStart(job, errs).verdict(job.Annotations, func(why string) verdict { return startJob(job, why) }), nil
	}
	asked := policy.JobAskAnnotations(job)
	ask, _ := policy.ParseAsk(asked, created, field.NewPath("metadata", "annotations")) // checkAsk has seen no errors
	if !ask.WantsToWait {
		return w.decideJob(ctx, req, came, ask, asked)
	}
	if errs := append(ask.CheckTogether(field.NewPath("metadata", "annotations")), checkWidths(job, ask)...); len(errs) > 0 {
		return refuseOrStart(job, errs).verdict(job.Annotations, func(why string) verdict { return startJob(job, why) }), nil
	}
	labelRuns(job)
	ask.EarlierRuns = w.Runs.Times(req.Namespace, job)
	ask.Tool = cmp.Or(came.original.tool, came.originalTemplate.tool)
	if cronJob == nil && isScheduledRun(job) {
		return startJob(job, notHeld+"Gridlatch does not know its CronJob yet, and so does not know when the next run comes").asNotHeld(job.Annotations), nil
	}
	warnings := append(toolWarning(ask), leaveTimeForNextRun(cronJob, job, &ask, created)...)
	warnings = append(warnings, leaveUninterrupted(&ask, whyNeverPaused(job))...)
	v, err := w.decideJob(ctx, req, came, ask, asked)
	return v.warn(warnings...), err
}

// checkAsk returns what is wrong with the ask of an object whose metadata is at path.
func checkAsk(o metav1.Object, created time.Time, path *field.Path) field.ErrorList {
	_, errs := policy.ParseAsk(o.GetAnnotations(), created, path.Child("annotations"))
	_, alsoSaid := o.GetAnnotations()[v1alpha1.DelayTolerantAnnotation]
	if wish, ok := o.GetLabels()[v1alpha1.DelayTolerantAnnotation]; ok && !alsoSaid {
		_, more := policy.ParseAsk(map[string]string{v1alpha1.DelayTolerantAnnotation: wish}, created, path.Child("labels"))
		errs = append(errs, more...)
	}
	return errs
}

// toolWarning returns a warning about the timeout of the tool that has created the work, if the
// tool is known.
func toolWarning(ask policy.Ask) []string {
	if ask.Tool == nil || ask.Tool.WhyNeverHeld != "" {
		return nil
	}
	return []string{ask.Tool.Warning(ask.Deadline)}
}

// decideJob decides on a Job whose ask can be read.
func (w *Webhook) decideJob(ctx context.Context, req serving.Review, came *decodedJob, ask policy.Ask, asked map[string]string) (verdict, error) {
	job := &came.Job
	piece := w.Records.Piece(req.Namespace, job)
	switch why := whyJobIsNotHeld(came, ask); {
	case piece.StartReason != "": // the decision on the piece of work counts
	case came.mark.opened:
		return startJob(job, hold.ReasonTaken), nil
	case why != "":
		return startJob(job, notHeld+why).asNotHeld(job.Annotations), nil
	}
	chosen, err := w.choosePolicy(ctx, ask, job, req.Namespace, field.NewPath("metadata", "annotations"))
	if err != nil {
		return verdict{}, err
	}
	if chosen.policy == nil {
		return chosen.verdict(job.Annotations, func(why string) verdict { return startJob(job, why) }), nil
	}
	if piece.StartReason != "" { // its pods count for the policy
		job.Annotations[v1alpha1.PolicyAnnotation], job.Spec.Template.Annotations[v1alpha1.PolicyAnnotation] = chosen.policy.Name, chosen.policy.Name
		return startJob(job, piece.StartReason), nil
	}
	ask.Candidates = chosen.policy.SuitableLocations(ctx, &job.Spec.Template.Spec)
	v := w.holdJob(req, came, chosen.policy, ask, asked, piece)
	return v.warn(warnOfWidths(job, ask, chosen.policy.Task(ask, job.CreationTimestamp.Time).Duration)...), nil
}

// labelRuns gives a Job of a CronJob the CronJob's name as the label of its runs, unless the Job
// has the label. The schedule or a user may have created the Job.
func labelRuns(job *batchv1.Job) {
	if _, ok := job.Labels[v1alpha1.RunsOfLabel]; ok {
		return
	}
	if cronJob := policy.OwningCronJob(job); cronJob != nil && len(content.IsLabelValue(cronJob.Name)) == 0 {
		job.Labels[v1alpha1.RunsOfLabel] = cronJob.Name
	}
}

// forgetMarks removes what Gridlatch has written on a Job and its template before the Job came here.
// A Job that Gridlatch had suspended is decided on like a Job that is not suspended.
func forgetMarks(job *decodedJob) {
	policy.ForgetNotes(job.Spec.Template.Annotations)
	job.mark = forgetMark(&job.ObjectMeta, &job.original, ptr.Deref(job.Spec.Suspend, false))
	if job.mark.closed {
		job.Spec.Suspend = ptr.To(false)
	}
}

// whyJobIsNotHeld says why a Job is not held whatever the grid does.
func whyJobIsNotHeld(job *decodedJob, ask policy.Ask) string {
	manager, owner := job.Spec.ManagedBy, door.OfController(job)
	bySuspend := howHeldWhole(job, ask) == v1alpha1.HoldBySuspend
	switch {
	case !ask.WantsToWait:
		return "it does not ask to wait"
	case ask.Tool != nil && ask.Tool.WhyNeverHeld != "":
		return ask.Tool.WhyNeverHeld
	case owner != nil && whyOwnerNeedsJob(owner, bySuspend) != "":
		return whyOwnerNeedsJob(owner, bySuspend)
	case manager != nil && *manager != batchv1.JobControllerName:
		return "it is managed by " + *manager
	case bySuspend && ptr.Deref(job.Spec.Suspend, false):
		return "it is suspended already, by somebody else"
	default:
		return hold.WhyNotInQueue(&job.Job)
	}
}

// whyOwnerNeedsJob says why a Job is not held, given the door of its controller. bySuspend says that
// the Job would be held by its spec.suspend.
func whyOwnerNeedsJob(owner *door.Door, bySuspend bool) string {
	switch {
	case owner.HasServingPods:
		return annotateOwner(owner, "runs other pods, which would wait for it")
	case owner.WritesChildren && bySuspend:
		return annotateOwner(owner, "writes its spec.suspend")
	default:
		return ""
	}
}

// howHeldWhole says how the Job itself is held. The result is empty if only its pods are held. The
// activeDeadlineSeconds of a Job would run while its pods are gated, and gated pods take the quota
// that a queue gives. A Job that may be paused is held as it will be paused. A Job that Gridlatch had
// suspended before stays suspended.
func howHeldWhole(job *decodedJob, ask policy.Ask) string {
	switch {
	case job.Labels[hold.KueueQueueLabel] != "":
		return v1alpha1.HoldByKueue
	case job.Spec.ActiveDeadlineSeconds != nil || ask.Hold == v1alpha1.HoldBySuspend || ask.Interruptible || job.mark.closed:
		return v1alpha1.HoldBySuspend
	default:
		return ""
	}
}

// holdJob writes on a Job that the Job is held, if waiting pays, and writes in its template what
// its pods must know. The pods get the gate when they are created (see package gating).
func (w *Webhook) holdJob(req serving.Review, came *decodedJob, rules *policy.Policy, ask policy.Ask, asked map[string]string, piece gating.Piece) verdict {
	job := &came.Job
	now := job.CreationTimestamp.Time
	task := rules.Task(ask, now)
	task.ID = policy.TaskID(job, req.UID) // the object has no UID yet
	promiseOf(piece).apply(&task)
	decision := rules.Decide(w.Store.Snapshot(rules.Source), ask.Location, now, task)
	decision.StillWaitsFor = gating.JobStillWaits(job)
	if rules.HasBuckets() || !piece.LatestStart.IsZero() { // planned with the others
		decision = w.queue(decision)
	}
	// the pods count for the policy, whenever they come
	job.Annotations[v1alpha1.PolicyAnnotation], job.Spec.Template.Annotations[v1alpha1.PolicyAnnotation] = rules.Name, rules.Name
	noteDuration(job, ask)
	noteWidths(job, asked)
	if w.MarkForExtender || rules.ChoosesLocation() { // the pods must come here, too
		writeToTemplate(job, asked)
	}
	if ptr.Deref(job.Spec.Suspend, false) && howHeldWhole(came, ask) == "" {
		return holdSuspended(job, rules, ask, asked)
	}
	if asked[v1alpha1.PlacementAnnotation] == v1alpha1.PlacementStrict { // strict placement ends at the latest start, also for the last pod
		job.Spec.Template.Annotations[v1alpha1.LatestStartAnnotation] = task.LatestStart.UTC().Format(time.RFC3339)
	}
	if rules.ChoosesLocation() {
		noteLocation(job, decision.Location, ask.Candidates)
	}
	if !decision.Holds() {
		noteInterruptible(job, ask, asked, decision)
		return w.note(startJob(job, decision.Reason()), rules, decision)
	}
	if why := w.whyUnable(req.Namespace); why != "" {
		return startJob(job, notHeld+why).asNotHeld(job.Annotations).warn(notHeld + why)
	}
	notes := rules.Notes(decision)
	noteAsk(job, asked)
	maps.Copy(job.Annotations, notes)
	job.Labels[v1alpha1.StateLabel] = v1alpha1.StateHeld
	promise := policy.PromiseNotes(asked, notes)
	if how := howHeldWhole(came, ask); how != "" {
		return w.note(holdWhole(came, how, promise), rules, decision)
	}
	return w.note(holdPodsOf(job, promise), rules, decision)
}

// holdPodsOf makes the pods of a Job be held as they come, with the promise of the Job.
func holdPodsOf(job *batchv1.Job, promise map[string]string) verdict {
	writeToTemplate(job, promise)
	delete(job.Spec.Template.Labels, v1alpha1.StateLabel)
	return verdict{outcome: held, changesMetadata: true}
}

// noteAsk writes on a Job what its template asks for, so that users change the ask on the Job. A
// wish that is a label stays a label.
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

// writeToTemplate makes the pods of a Job carry these annotations and come to the webhook. A wish
// that is a label becomes a label of the pods.
func writeToTemplate(job *batchv1.Job, annotations map[string]string) {
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

// holdSuspended holds a Job that its user has created suspended, for example until somebody
// approves the Job. The Job and its pods are planned from when the Job is resumed.
func holdSuspended(job *batchv1.Job, rules *policy.Policy, ask policy.Ask, asked map[string]string) verdict {
	template := &job.Spec.Template
	reason := hold.ReasonAwaitsResume
	if owner := door.OfController(job); owner != nil && owner.WritesChildren {
		reason = fmt.Sprintf("waits for its %s to resume it; its start is planned after that", owner.Kind.Kind)
	}
	notes := map[string]string{v1alpha1.PolicyAnnotation: rules.Name, v1alpha1.ReasonAnnotation: reason}
	if !ask.NextRun.IsZero() {
		notes[v1alpha1.NextRunAnnotation] = policy.FormatTime(ask.NextRun)
	}
	if ask.Candidates != "" {
		notes[v1alpha1.CandidateLocationsAnnotation] = ask.Candidates
		template.Annotations[v1alpha1.CandidateLocationsAnnotation] = ask.Candidates
	}
	noteAsk(job, asked)
	maps.Copy(job.Annotations, notes)
	writeToTemplate(job, policy.PromiseNotes(asked, notes))
	job.Labels[v1alpha1.StateLabel] = v1alpha1.StateHeld
	delete(template.Labels, v1alpha1.StateLabel)
	return verdict{outcome: held, changesMetadata: true}
}

// noteDuration writes on a Job with what duration the Job is planned, if the Job asks for none, and
// on its pods how long they are expected to run.
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

// noteLocation writes on a Job and in its template where the pods are to run.
func noteLocation(job *batchv1.Job, planned, only string) {
	for _, annotations := range []map[string]string{job.Annotations, job.Spec.Template.Annotations} {
		annotations[v1alpha1.PlannedLocationAnnotation] = planned
		if only != "" {
			annotations[v1alpha1.CandidateLocationsAnnotation] = only
		}
	}
}

// holdWhole holds a Job so that the Job makes no pods. Pods that come after the release start at
// once. A Job in a queue of Kueue makes no pods if Kueue manages the Job. Otherwise the Job makes pods,
// which are held. A Job that Gridlatch had suspended before the Job came into a queue stays suspended,
// and keeps the mark of that, so that the release resumes the Job.
func holdWhole(job *decodedJob, how string, promise map[string]string) verdict {
	v := verdict{outcome: held, changesMetadata: true}
	job.Annotations[v1alpha1.HeldByAnnotation] = how
	job.Spec.Template.Labels[v1alpha1.StateLabel] = v1alpha1.StateReleased
	if how == v1alpha1.HoldByKueue {
		job.Annotations[hold.KueueGatesAnnotation] = hold.AddKueueGate(job.Annotations[hold.KueueGatesAnnotation])
	}
	if how == v1alpha1.HoldByKueue && !job.mark.closed {
		return holdPodsOf(&job.Job, promise)
	}
	if how == v1alpha1.HoldBySuspend || job.mark.closed {
		job.Annotations[v1alpha1.HeldByAnnotation] = v1alpha1.HoldBySuspend
		job.Spec.Suspend, v.patch = ptr.To(true), v.patch.set("/spec/suspend", true)
	}
	return v
}

// startJob lets a Job and its pods start at once.
func startJob(job *batchv1.Job, why string) verdict {
	job.Annotations[v1alpha1.ReasonAnnotation] = why
	job.Labels[v1alpha1.StateLabel] = v1alpha1.StateReleased
	job.Spec.Template.Labels[v1alpha1.StateLabel] = v1alpha1.StateReleased
	return verdict{outcome: started, changesMetadata: true}
}

// patch returns the patch that writes the labels and annotations of the Job and its template, and
// removes our gate from the template.
func (job *decodedJob) patch() patch {
	template := job.Spec.Template
	p := append(job.original.patch(job.ObjectMeta), job.originalTemplate.patch(template.ObjectMeta)...)
	return append(p, dropGate(template.Spec.SchedulingGates, "/spec/template/spec")...)
}
