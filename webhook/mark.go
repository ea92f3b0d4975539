package webhook

import (
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// mark adds the extended resources by which the scheduler knows a pod that may
// wait, as package extender explains. What is there of them already is left, with
// whatever quantity: there is as much of a request as of a limit. A pod in a queue
// of its own gets none: Kueue may not admit what its queue does not cover.
func mark(pod *aPod) patch {
	if wish, _ := policy.Wish(pod); wish != "true" || pod.Labels[hold.KueueQueueLabel] != "" || !pod.containers {
		return nil
	}
	has := pod.resources
	marks := map[string]resource.Quantity{}
	if !has.marked {
		marks[v1alpha1.PlacementResource] = resource.Quantity{}
	}
	if !has.strict && pod.Annotations[v1alpha1.PlacementAnnotation] == v1alpha1.PlacementStrict {
		marks[v1alpha1.StrictPlacementResource] = resource.Quantity{}
	}
	if len(marks) == 0 {
		return nil
	}
	const path = "/spec/containers/0/resources"
	var p patch
	if !has.there {
		p = p.set(path, struct{}{})
	}
	return p.add(path+"/limits", has.limits, marks).add(path+"/requests", has.requests, marks)
}
