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

// onPod decides on a pod, and marks it for the scheduler.
func (w *Webhook) onPod(ctx context.Context, req serving.Review) (verdict, error) {
	pod, err := readPod(req.Object)
	switch {
	case err != nil:
		return verdict{}, fmt.Errorf("decode pod: %w", err)
	case pod.tooLarge != nil: // its annotations may be what is not known
		v := startPod(&pod.Pod, "")
		if !vouched(req, pod) {
			strip(&pod.ObjectMeta)
			v.patch = append(pod.came.patch(pod.ObjectMeta), v.patch...)
		}
		return v.warn(notHeld + pod.tooLarge.Error()), nil
	}
	pod.CreationTimestamp = metav1.NewTime(w.Clock.Now())
	strange := policy.UnknownKeys(pod.Annotations, field.NewPath("metadata", "annotations"))
	before := written(pod.ObjectMeta)
	v, err := w.holdOrStart(ctx, req, pod)
	v = v.withRoom(pod, before)
	if v.noted {
		v.patch = append(pod.came.patch(pod.ObjectMeta), v.patch...)
	}
	if err == nil && w.Mark {
		v.patch = append(v.patch, mark(pod)...)
	}
	return v.warn(strange...), err
}

// holdOrStart decides on a pod: with its Job, where that has been decided on,
// else by itself.
func (w *Webhook) holdOrStart(ctx context.Context, req serving.Review, came *aPod) (verdict, error) {
	pod := &came.Pod
	owned := metav1.GetControllerOf(pod) != nil
	if !vouched(req, pod) {
		strip(&pod.ObjectMeta)
	}
	switch {
	case !asks(pod):
		return stripPod(pod), nil
	case owned && pod.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased: // so its Job's template says
		return w.startLater(ctx, req, pod, ""), nil
	case owned && w.Records.IsJobReleased(req.Namespace, pod):
		return w.startLater(ctx, req, pod, "its Job has been released"), nil
	case !owned:
		return w.decidePod(ctx, req, came, wantGate(pod))
	}
	return w.decidePod(ctx, req, came, nil)
}

// wantGate refuses what asks for a pod to be held other than by a gate.
func wantGate(pod *corev1.Pod) field.ErrorList {
	if how := pod.Annotations[v1alpha1.HoldAnnotation]; how == v1alpha1.HoldBySuspend {
		path := field.NewPath("metadata", "annotations").Key(v1alpha1.HoldAnnotation)
		return field.ErrorList{field.Invalid(path, how, "only a Job can be suspended")}
	}
	return nil
}

// decidePod decides on a pod by itself, or with those of its owner that wait.
func (w *Webhook) decidePod(ctx context.Context, req serving.Review, came *aPod, wrong field.ErrorList) (verdict, error) {
	pod, path := &came.Pod, field.NewPath("metadata", "annotations")
	if errs := append(checkAsk(pod, pod.CreationTimestamp.Time, field.NewPath("metadata")), wrong...); len(errs) > 0 {
		return blame(pod, errs).without(pod.Annotations, func(why string) verdict { return startPod(pod, why) }), nil
	}
	ofHeldJob := w.Records.IsJobHeld(req.Namespace, pod)
	if why := leavePodAlone(pod, ofHeldJob); why != "" {
		return startPod(pod, why).mark(pod.Annotations), nil
	}
	ask, _ := policy.ParseAsk(pod.Annotations, pod.CreationTimestamp.Time, path) // it has been checked
	chosen, err := w.choose(ctx, ask, pod, req.Namespace, path)
	if err != nil {
		return verdict{}, err
	}
	if chosen.policy == nil {
		return chosen.without(pod.Annotations, func(why string) verdict { return startPod(pod, why) }), nil
	}
	suit(ctx, chosen.policy, pod)
	promised := ofHeldJob || pod.Annotations[v1alpha1.LatestStartAnnotation] != ""
	if promised { // its Job has decided on that
		return w.holdPod(req, pod, chosen.policy, ask, promised), nil
	}
	ask.Tool = came.came.tool
	v := w.holdPod(req, pod, chosen.policy, ask, promised)
	return v.warn(toolWarning(ask)...), nil
}

// leavePodAlone says why a pod is not held whatever the grid does.
func leavePodAlone(pod *corev1.Pod, ofHeldJob bool) string {
	switch {
	case hold.OwningJob(pod) != nil && !ofHeldJob && pod.Annotations[v1alpha1.LatestStartAnnotation] == "":
		return notHeld + "its Job was not decided on at its creation, and may have started"
	case pod.Spec.NodeName != "":
		return notHeld + "it names its node, and so never waits for the scheduler"
	default:
		return ""
	}
}

// holdPod puts the gate on a pod if it is better to wait. A pod of a Job that
// is held is always gated before its latest start: the loop lets all of the
// Job go together.
func (w *Webhook) holdPod(req serving.Review, pod *corev1.Pod, rules *policy.Policy, ask policy.Ask, promised bool) verdict {
	now := pod.CreationTimestamp.Time
	task := rules.TaskOf(pod)
	ask.Limit(&task, now, task.Duration)
	task.Held = promised
	task.ID = policy.TaskID(pod, req.UID) // it has no UID of its own yet
	decision := rules.Decide(w.Store.Snapshot(rules.Source), ask.Location, now, task)
	decision.StillWaitsFor = gating.PodStillWaits(pod.Spec.SchedulingGates)
	if rules.Limited() {
		decision = decision.Queue()
	}
	if !decision.Holds() && (!promised || decision.Cause == plan.CauseLatestStart) {
		pod.Annotations[v1alpha1.PolicyAnnotation] = rules.Name // it counts for the policy
		v := startPod(pod, decision.Reason())
		if !math.IsNaN(decision.Expected) {
			v = v.steer(pod, rules, decision.Location)
		}
		return v
	}
	if why := w.unable(req.Namespace); why != "" {
		pod.Annotations[v1alpha1.PolicyAnnotation] = rules.Name // it counts for the policy
		return startPod(pod, notHeld+why).mark(pod.Annotations).warned(notHeld + why)
	}
	notes := rules.Notes(decision)
	if before, known := pod.Annotations[v1alpha1.IntensityAtCreationAnnotation]; known {
		notes[v1alpha1.IntensityAtCreationAnnotation] = before
	}
	maps.Copy(pod.Annotations, notes)
	if pod.Annotations[v1alpha1.LatestStartAnnotation] == "" { // its Job was resumed, and goes now
		pod.Annotations[v1alpha1.LatestStartAnnotation] = task.LatestStart.Format(time.RFC3339)
	}
	pod.Labels[v1alpha1.StateLabel] = v1alpha1.StateHeld
	gates := pod.Spec.SchedulingGates
	if !hold.HasGate(gates) {
		gates = append(gates, corev1.PodSchedulingGate{Name: v1alpha1.Gate})
	}
	return verdict{outcome: held, noted: true, patch: patch{}.set("/spec/schedulingGates", gates)}
}

// startPod lets a pod start at once, without our gate if it came with one,
// and notes why if there is something to say.
func startPod(pod *corev1.Pod, why string) verdict {
	v := verdict{outcome: started, patch: dropGate(pod.Spec.SchedulingGates, "/spec")}
	if why != "" {
		told := maps.Clone(pod.Annotations)
		policy.ForgetNotes(pod.Annotations)
		for _, key := range forExtender(pod) {
			if value, ok := told[key]; ok {
				pod.Annotations[key] = value
			}
		}
		pod.Annotations[v1alpha1.ReasonAnnotation] = why
		pod.Labels[v1alpha1.StateLabel] = v1alpha1.StateReleased
		v.noted = true
	}
	return v
}

// forExtender returns the annotations by which the extender knows what its Job
// has to say of a pod: how long it runs, and how long placement is strict.
func forExtender(pod *corev1.Pod) []string {
	if pod.Annotations[v1alpha1.PlacementAnnotation] == v1alpha1.PlacementStrict {
		return []string{v1alpha1.ExpectedDurationAnnotation, v1alpha1.LatestStartAnnotation}
	}
	return []string{v1alpha1.ExpectedDurationAnnotation}
}
