package policy

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// GridLocations returns the locations of the policy, the default first. A policy
// that names none has one without a name, the only one of the forecast.
func (p *Policy) GridLocations() []v1alpha1.Location {
	if len(p.spec.Locations) == 0 {
		return []v1alpha1.Location{{}}
	}
	return slices.Clone(p.spec.Locations)
}

// Buckets returns those of the policy; there may be none.
func (p *Policy) Buckets() plan.Buckets { return p.buckets }

// HomeOf returns the location that a pod is meant for: the one that it asks for,
// or the one below whose ceilings it counts. It is empty if any will do.
func (p *Policy) HomeOf(pod metav1.Object) string {
	annotations := pod.GetAnnotations()
	if pinned := annotations[v1alpha1.LocationAnnotation]; pinned != "" || !p.Limited() {
		return pinned
	}
	return p.LocationOf(annotations)
}

// Strict reports whether a pod is to be kept off nodes of dirtier buckets, as it
// asks and as long as it has time.
func Strict(pod metav1.Object, task plan.Task, now time.Time) bool {
	return pod.GetAnnotations()[v1alpha1.PlacementAnnotation] == v1alpha1.PlacementStrict && now.Before(task.LatestStart)
}

// NodeMetadata is how nodes are cached, see CacheByObject.
func NodeMetadata() *metav1.PartialObjectMetadata { return Metadata(NodeKind()) }
