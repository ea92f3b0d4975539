package nodegroup

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
)

const (
	// Component is the folder below manifests/components that gives Gridlatch the rights to the ConfigMap.
	Component = "cluster-autoscaler"
	configMap = v1alpha1.PrioritiesConfigMap

	prioritiesKey   = "priorities"
	prioritiesField = override.Field("/data/" + prioritiesKey)
	releasedKey     = v1alpha1.PrioritiesReleasedAnnotation
)

// The reasons of the Events on the ConfigMap.
const (
	EventChanged  = "PrioritiesChanged"
	EventInvalid  = "PrioritiesInvalid"
	EventReverted = "PrioritiesReverted"
	EventFailed   = "PrioritiesFailed"
)

func mapKind() schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind("ConfigMap") }

// noteKeys returns the annotations that we write on a ConfigMap, and take away when the ConfigMap is given
// back.
func noteKeys() []string {
	return []string{
		v1alpha1.ReasonAnnotation, v1alpha1.PrioritiesByAnnotation, v1alpha1.OriginalPrioritiesAnnotation,
		v1alpha1.AppliedPrioritiesAnnotation, v1alpha1.PrioritiesChangedAnnotation,
	}
}
