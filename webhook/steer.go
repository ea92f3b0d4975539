package webhook

import (
	"context"
	"math"

	corev1 "k8s.io/api/core/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/serving"
)

// suit notes on a pod which locations suit it, as things are now.
func suit(ctx context.Context, rules *policy.Policy, pod *corev1.Pod) {
	delete(pod.Annotations, v1alpha1.CandidateLocationsAnnotation)
	if only := rules.Suiting(ctx, &pod.Spec); only != "" {
		pod.Annotations[v1alpha1.CandidateLocationsAnnotation] = only
	}
}

// startLater lets a pod start at once that comes after its Job's release, where
// its policy chooses.
func (w *Webhook) startLater(ctx context.Context, req serving.Review, pod *corev1.Pod, why string) verdict {
	name, planned := pod.Annotations[v1alpha1.PolicyAnnotation], pod.Annotations[v1alpha1.PlannedLocationAnnotation]
	if planned == "" {
		return startPod(pod, why) // its Job was not placed
	}
	rules, err := w.Policies.Get(ctx, name)
	if err != nil {
		return startPod(pod, why) // it was deleted
	}
	to := w.whereNow(ctx, req, pod, rules)
	return startPod(pod, why).steer(pod, rules, to)
}

// whereNow returns the location in which a pod of a released Job is to start;
// empty if none is known to be better. Below ceilings it is that of its Job, which
// was given room there, and else the cleanest now: hours later, for a retry, that
// may be another.
func (w *Webhook) whereNow(ctx context.Context, req serving.Review, pod *corev1.Pod, rules *policy.Policy) string {
	if rules.Limited() {
		return w.Records.PlannedLocation(req.Namespace, pod)
	}
	suit(ctx, rules, pod)
	task := rules.TaskOf(pod)
	decision := rules.Decide(w.Store.Snapshot(rules.Source), pod.Annotations[v1alpha1.LocationAnnotation], pod.CreationTimestamp.Time, task)
	if math.IsNaN(decision.ExpectedAtOnce) {
		return ""
	}
	return decision.LocationAtOnce
}

// steer adds to what was decided on a pod that the scheduler should prefer the
// nodes of a location, beside what the pod prefers itself; nothing if its policy
// does not choose, or the location is not known.
func (v verdict) steer(pod *corev1.Pod, rules *policy.Policy, location string) verdict {
	term, ok := rules.Preference(location)
	if !ok {
		return v
	}
	pod.Annotations[v1alpha1.PlannedLocationAnnotation] = location
	v.noted = true
	if policy.Prefers(&pod.Spec, term) {
		return v // decided on again
	}
	affinity, preferred := pod.Spec.Affinity, "preferredDuringSchedulingIgnoredDuringExecution"
	terms := []corev1.PreferredSchedulingTerm{term}
	switch {
	case len(policy.Preferred(&pod.Spec)) > 0:
		v.patch = v.patch.set("/spec/affinity/nodeAffinity/"+preferred+"/-", term)
	case affinity != nil && affinity.NodeAffinity != nil:
		v.patch = v.patch.set("/spec/affinity/nodeAffinity/"+preferred, terms)
	case affinity != nil:
		v.patch = v.patch.set("/spec/affinity/nodeAffinity", map[string]any{preferred: terms})
	default:
		v.patch = v.patch.set("/spec/affinity", map[string]any{"nodeAffinity": map[string]any{preferred: terms}})
	}
	return v
}
