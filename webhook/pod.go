package webhook

import (
	"context"
	"fmt"
	"maps"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/serving"
)

// admitPod decides on a pod, and marks the pod for the scheduler.
func (w *Webhook) admitPod(ctx context.Context, req serving.Review) (verdict, error) {
	pod, err := readPod(req.Object)
	switch {
	case err != nil:
		return verdict{}, fmt.Errorf("decode pod: %w", err)
	case pod.tooLarge != nil: // the annotations may be missing
		v := startPod(&pod.Pod, "")
		if !isVouchedFor(req, pod) {
			stripMetadata(&pod.ObjectMeta)
			v.patch = append(pod.original.patch(pod.ObjectMeta), v.patch...)
		}
		return v.warn(notHeld + pod.tooLarge.Error()), nil
	}
	pod.CreationTimestamp = metav1.NewTime(w.Clock.Now())
	unknown := policy.UnknownKeys(pod.Annotations, field.NewPath("metadata", "annotations"))
	if hold.OwningJob(pod) == nil && wantToWait(pod) && pod.Annotations[v1alpha1.InterruptibleAnnotation] == "true" {
		unknown = append(unknown, v1alpha1.InterruptibleAnnotation+" has no effect: only a Job can be stopped, and started again")
	}
	hold.ForgetKueueGate(pod.Annotations) // what is there was copied, or forged
	before := copyMetadata(pod.ObjectMeta)
	v, err := w.holdOrStart(ctx, req, pod)
	v = v.ifPodFits(pod, before)
	if v.changesMetadata {
		v.patch = append(pod.original.patch(pod.ObjectMeta), v.patch...)
	}
	if err == nil && w.MarkForExtender && v.outcome != audited {
		v.patch = append(v.patch, markForExtender(pod)...)
	}
	return v.warn(unknown...), err
}

// holdOrStart decides on a pod. The decision on the pod's Job counts, if there is one.
func (w *Webhook) holdOrStart(ctx context.Context, req serving.Review, came *decodedPod) (verdict, error) {
	pod := &came.Pod
	if w.isPodAudited(ctx, req, pod) {
		return w.auditPod(ctx, req, came)
	}
	owned := metav1.GetControllerOf(pod) != nil
	if !isVouchedFor(req, pod) {
		stripMetadata(&pod.ObjectMeta)
	}
	policy.AskBySelector(pod)
	switch {
	case !wantToWait(pod):
		return stripPod(pod), nil
	case owned && pod.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased: // as its template says
		return w.startAfterJob(ctx, req, pod, ""), nil
	case owned && w.Records.IsJobReleased(req.Namespace, pod):
		return w.startAfterJob(ctx, req, pod, "its Job has been released"), nil
	case isVouchedFor(req, pod) && hold.HasQuota(pod.Labels): // this replica may not know of the release yet
		return w.startAfterJob(ctx, req, pod, "Kueue has started its Job"), nil
	case !owned:
		return w.decidePod(ctx, req, came, checkHold(pod))
	}
	return w.decidePod(ctx, req, came, nil)
}

// checkHold refuses a pod that asks to be held other than by a gate.
func checkHold(pod *corev1.Pod) field.ErrorList {
	if how := pod.Annotations[v1alpha1.HoldAnnotation]; how == v1alpha1.HoldBySuspend {
		path := field.NewPath("metadata", "annotations").Key(v1alpha1.HoldAnnotation)
		return field.ErrorList{field.Invalid(path, how, "only a Job can be suspended")}
	}
	return nil
}

// decidePod decides on a pod whose Job has not been released.
func (w *Webhook) decidePod(ctx context.Context, req serving.Review, came *decodedPod, wrong field.ErrorList) (verdict, error) {
	pod, path := &came.Pod, field.NewPath("metadata", "annotations")
	if errs := append(checkAsk(pod, pod.CreationTimestamp.Time, field.NewPath("metadata")), wrong...); len(errs) > 0 {
		return refuseOrStart(pod, errs).verdict(pod.Annotations, func(why string) verdict { return startPod(pod, why) }), nil
	}
	ofHeldJob := w.Records.IsJobHeld(req.Namespace, pod)
	if why := whyPodIsNotHeld(pod, came.original.tool, ofHeldJob); why != "" {
		return startPod(pod, why).asNotHeld(pod.Annotations), nil
	}
	ask, _ := policy.ParseAsk(pod.Annotations, pod.CreationTimestamp.Time, path) // checkAsk has seen no errors
	chosen, err := w.choosePolicy(ctx, ask, pod, req.Namespace, path)
	if err != nil {
		return verdict{}, err
	}
	if chosen.policy == nil {
		return chosen.verdict(pod.Annotations, func(why string) verdict { return startPod(pod, why) }), nil
	}
	piece := w.Records.Piece(req.Namespace, pod)
	if piece.StartReason != "" {
		pod.Annotations[v1alpha1.PolicyAnnotation] = chosen.policy.Name // the pod counts for the policy
		return startPod(pod, piece.StartReason).steer(pod, chosen.policy, piece.Location), nil
	}
	noteCandidates(ctx, chosen.policy, pod)
	if ofHeldJob || pod.Annotations[v1alpha1.LatestStartAnnotation] != "" { // the tool's timeout was counted for the Job
		return w.holdPod(req, pod, chosen.policy, ask, promise{isGiven: true}), nil
	}
	ask.Tool = came.original.tool
	v := w.holdPod(req, pod, chosen.policy, ask, promiseOf(piece))
	return v.warn(toolWarning(ask)...), nil
}

// promise is what the rest of a pod's work was promised: its Job, or the pods of its piece of work that
// wait. isGiven says that there is such a promise, and latestStart is zero if the pod itself names it.
type promise struct {
	isGiven     bool
	latestStart time.Time
}

// apply makes a task start no later than promised.
func (p promise) apply(task *plan.Task) {
	task.Held = p.isGiven
	if !p.latestStart.IsZero() && p.latestStart.Before(task.LatestStart) {
		task.LatestStart = p.latestStart.UTC()
	}
}

// whyPodIsNotHeld says why a pod is not held whatever the grid does.
func whyPodIsNotHeld(pod *corev1.Pod, tool *policy.Tool, ofHeldJob bool) string {
	switch {
	case hold.OwningJob(pod) != nil && !ofHeldJob && pod.Annotations[v1alpha1.LatestStartAnnotation] == "":
		return notHeld + "Gridlatch did not decide on its Job, which may have started"
	case tool != nil && tool.WhyNeverHeld != "":
		return notHeld + tool.WhyNeverHeld
	case pod.Spec.NodeName != "":
		return notHeld + "it names its node, and so never waits for the scheduler"
	case hold.HasQuota(pod.Labels):
		return notHeld + "Kueue has given quota to the pod already: annotate the object that has the queue label"
	}
	if why := hold.WhyNotInQueue(pod); why != "" {
		return notHeld + why
	}
	return ""
}

// holdPod puts the gate on a pod if waiting pays. A pod of a held Job, or of a piece of work that
// waits, always gets the gate before its latest start, because the loop releases all of them together.
func (w *Webhook) holdPod(req serving.Review, pod *corev1.Pod, rules *policy.Policy, ask policy.Ask, promised promise) verdict {
	now := pod.CreationTimestamp.Time
	task := rules.TaskOf(pod)
	ask.LimitLatestStart(&task, now, task.Duration)
	promised.apply(&task)
	task.ID = policy.TaskID(pod, req.UID) // the object has no UID yet
	decision := rules.Decide(w.Store.Snapshot(rules.Source), ask.Location, now, task)
	decision.StillWaitsFor = gating.PodStillWaits(pod.Spec.SchedulingGates)
	if rules.HasBuckets() {
		decision = w.queue(decision)
	}
	if !decision.Holds() && (!promised.isGiven || decision.Cause == plan.CauseLatestStart) {
		pod.Annotations[v1alpha1.PolicyAnnotation] = rules.Name // the pod counts for the policy
		v := startPod(pod, decision.Reason())
		if !math.IsNaN(decision.Expected) {
			v = v.steer(pod, rules, decision.Location)
		}
		return w.note(v, rules, decision)
	}
	if why := w.whyUnable(req.Namespace); why != "" {
		pod.Annotations[v1alpha1.PolicyAnnotation] = rules.Name // the pod counts for the policy
		return startPod(pod, notHeld+why).asNotHeld(pod.Annotations).warn(notHeld + why)
	}
	notes := rules.Notes(decision)
	if before, known := pod.Annotations[v1alpha1.IntensityAtCreationAnnotation]; known {
		notes[v1alpha1.IntensityAtCreationAnnotation] = before
	}
	maps.Copy(pod.Annotations, notes)
	if pod.Annotations[v1alpha1.LatestStartAnnotation] == "" { // the Job was resumed, and is about to be released
		pod.Annotations[v1alpha1.LatestStartAnnotation] = task.LatestStart.Format(time.RFC3339)
	}
	pod.Labels[v1alpha1.StateLabel] = v1alpha1.StateHeld
	if pod.Labels[hold.KueueQueueLabel] != "" { // else the pod would take quota while it waits
		pod.Annotations[hold.KueueGatesAnnotation] = hold.AddKueueGate(pod.Annotations[hold.KueueGatesAnnotation])
	}
	gates := pod.Spec.SchedulingGates
	if !hold.HasGate(gates) {
		gates = append(gates, corev1.PodSchedulingGate{Name: v1alpha1.Gate})
	}
	v := verdict{outcome: held, changesMetadata: true, patch: patch{}.set("/spec/schedulingGates", gates)}
	return w.note(v, rules, decision)
}

// startPod lets a pod start at once, without our gate, and writes the reason on the pod unless the
// reason is empty.
func startPod(pod *corev1.Pod, why string) verdict {
	v := verdict{outcome: started, patch: dropGate(pod.Spec.SchedulingGates, "/spec")}
	if why != "" {
		told := maps.Clone(pod.Annotations)
		policy.ForgetNotes(pod.Annotations)
		for _, key := range keysForExtender(pod) {
			if value, ok := told[key]; ok {
				pod.Annotations[key] = value
			}
		}
		pod.Annotations[v1alpha1.ReasonAnnotation] = why
		pod.Labels[v1alpha1.StateLabel] = v1alpha1.StateReleased
		v.changesMetadata = true
	}
	return v
}

// keysForExtender returns the annotations that tell the extender what the pod's Job knows: how long
// the pod runs, and until when placement is strict.
func keysForExtender(pod *corev1.Pod) []string {
	if pod.Annotations[v1alpha1.PlacementAnnotation] == v1alpha1.PlacementStrict {
		return []string{v1alpha1.ExpectedDurationAnnotation, v1alpha1.LatestStartAnnotation}
	}
	return []string{v1alpha1.ExpectedDurationAnnotation}
}
