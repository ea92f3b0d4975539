package webhook

import (
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// markForExtender adds the extended resources by which kube-scheduler knows that the extender must
// be asked about a pod, as package extender explains. A resource that is there stays as it is,
// because requests and limits must be equal. A pod in a queue gets no resource: Kueue may not admit
// what its queue does not cover.
func markForExtender(pod *decodedPod) patch {
	if wish, _ := policy.Wish(pod); wish != "true" || pod.Labels[hold.KueueQueueLabel] != "" || !pod.hasContainer {
		return nil
	}
	has := pod.resources
	marks := map[string]resource.Quantity{}
	if !has.havePlacement {
		marks[v1alpha1.PlacementResource] = resource.Quantity{}
	}
	if !has.haveStrictPlacement && pod.Annotations[v1alpha1.PlacementAnnotation] == v1alpha1.PlacementStrict {
		marks[v1alpha1.StrictPlacementResource] = resource.Quantity{}
	}
	if len(marks) == 0 {
		return nil
	}
	const path = "/spec/containers/0/resources"
	var p patch
	if !has.exist {
		p = p.set(path, struct{}{})
	}
	return p.addMembers(path+"/limits", has.haveLimits, marks).addMembers(path+"/requests", has.haveRequests, marks)
}
