package webhook

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gridlatch/gridlatch/gating"
)

// mark adds the extended resource by which the scheduler knows a pod that may
// wait, as package extender explains. What is there of it already is left, with
// whatever quantity. A pod in a queue of its own gets none: Kueue may not admit
// what its queue does not cover.
func mark(pod *corev1.Pod) patch {
	if pod.Annotations[gating.DelayTolerant] != "true" || pod.Labels[gating.KueueQueue] != "" || len(pod.Spec.Containers) == 0 {
		return nil
	}
	has := pod.Spec.Containers[0].Resources
	if _, ok := has.Limits[gating.Placement]; ok {
		return nil // and so its request: those of an extended resource are equal
	}
	const path = "/spec/containers/0/resources"
	var p patch
	if has.Limits == nil && has.Requests == nil && has.Claims == nil {
		p = p.set(path, struct{}{}) // there may be none
	}
	return p.set(path+"/limits", marked(has.Limits)).set(path+"/requests", marked(has.Requests))
}

func marked(resources corev1.ResourceList) corev1.ResourceList {
	all := corev1.ResourceList{gating.Placement: resource.Quantity{}}
	maps.Copy(all, resources)
	return all
}
