package webhook

import (
	"context"
	"math"

	corev1 "k8s.io/api/core/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/serving"
)

// noteCandidates writes on a pod which locations are suitable now.
func noteCandidates(ctx context.Context, rules *policy.Policy, pod *corev1.Pod) {
	delete(pod.Annotations, v1alpha1.CandidateLocationsAnnotation)
	if only := rules.SuitableLocations(ctx, &pod.Spec); only != "" {
		pod.Annotations[v1alpha1.CandidateLocationsAnnotation] = only
	}
}

// startAfterJob lets a pod start at once whose Job has been released. If the policy chooses between
// locations, the pod also gets a preference for nodes.
func (w *Webhook) startAfterJob(ctx context.Context, req serving.Review, pod *corev1.Pod, why string) verdict {
	name, planned := pod.Annotations[v1alpha1.PolicyAnnotation], pod.Annotations[v1alpha1.PlannedLocationAnnotation]
	if planned == "" {
		return startPod(pod, why) // no location was planned for the Job
	}
	rules, err := w.Policies.Get(ctx, name)
	if err != nil {
		return startPod(pod, why) // the policy was deleted
	}
	to := w.locationNow(ctx, req, pod, rules)
	return startPod(pod, why).steer(pod, rules, to)
}

// locationNow returns the location where a pod of a released Job should start, and an empty name if
// no location is known to be better. Under a policy with buckets, this is the location of the Job,
// whose ceiling has room for the pod. Otherwise it is the cleanest location now: for a retry, hours
// later, the cleanest may be another.
func (w *Webhook) locationNow(ctx context.Context, req serving.Review, pod *corev1.Pod, rules *policy.Policy) string {
	if rules.HasBuckets() {
		return w.Records.PlannedLocation(req.Namespace, pod)
	}
	noteCandidates(ctx, rules, pod)
	task := rules.TaskOf(pod)
	decision := rules.Decide(w.Store.Snapshot(rules.Source), pod.Annotations[v1alpha1.LocationAnnotation], pod.CreationTimestamp.Time, task)
	if math.IsNaN(decision.ExpectedAtOnce) {
		return ""
	}
	return decision.LocationAtOnce
}

// steer adds to a verdict that the scheduler should prefer the nodes of a location, beside the
// preferences that the pod has. steer adds nothing if the policy does not choose between locations,
// or does not know the location.
func (v verdict) steer(pod *corev1.Pod, rules *policy.Policy, location string) verdict {
	term, ok := rules.Preference(location)
	if !ok {
		return v
	}
	pod.Annotations[v1alpha1.PlannedLocationAnnotation] = location
	v.changesMetadata = true
	if policy.HasPreference(&pod.Spec, term) {
		return v // the webhook has decided before
	}
	affinity, preferred := pod.Spec.Affinity, "preferredDuringSchedulingIgnoredDuringExecution"
	terms := []corev1.PreferredSchedulingTerm{term}
	switch {
	case len(policy.Preferences(&pod.Spec)) > 0:
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
