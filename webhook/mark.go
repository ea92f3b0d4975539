package webhook

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gridlatch/gridlatch/gating"
)

// mark adds the extended resources by which the scheduler knows a pod that may
// wait, as package extender explains. What is there of them already is left, with
// whatever quantity. A pod in a queue of its own gets none: Kueue may not admit
// what its queue does not cover.
func mark(pod *corev1.Pod) patch {
	if pod.Annotations[gating.DelayTolerant] != "true" || pod.Labels[gating.KueueQueue] != "" || len(pod.Spec.Containers) == 0 {
		return nil
	}
	has := pod.Spec.Containers[0].Resources
	marks := []corev1.ResourceName{gating.PlacementMark}
	if pod.Annotations[gating.Placement] == gating.PlacementStrict {
		marks = append(marks, gating.StrictMark)
	}
	marks = slices.DeleteFunc(marks, func(name corev1.ResourceName) bool {
		_, ok := has.Limits[name]
		return ok // and so its request: those of an extended resource are equal
	})
	if len(marks) == 0 {
		return nil
	}
	const path = "/spec/containers/0/resources"
	var p patch
	if has.Limits == nil && has.Requests == nil && has.Claims == nil {
		p = p.set(path, struct{}{}) // there may be none
	}
	return p.set(path+"/limits", marked(has.Limits, marks)).set(path+"/requests", marked(has.Requests, marks))
}

func marked(resources corev1.ResourceList, marks []corev1.ResourceName) corev1.ResourceList {
	all := maps.Clone(resources)
	if all == nil {
		all = corev1.ResourceList{}
	}
	for _, name := range marks {
		all[name] = resource.Quantity{}
	}
	return all
}
