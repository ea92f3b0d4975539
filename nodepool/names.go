package nodepool

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/nodepool/rank"
	"github.com/gridlatch/gridlatch/override"
)

// Component is the folder below manifests/components that gives Gridlatch the rights to Karpenter's
// objects.
const Component = "karpenter"

const (
	// limitsField has all limits of a pool. What is lent is below it.
	limitsField = override.Field("/spec/limits")
	weightField = override.Field("/spec/weight")
)

// limitField is the limit of one resource.
func limitField(resource string) override.Field {
	return override.FieldAt("spec", "limits", resource)
}

const (
	maxNameBytes = 253 // of the name of an object
	// Karpenter takes the pool with the highest weight first.
	leastWeight, mostWeight = rank.Least, rank.Most
)

func poolResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "karpenter.sh", Version: "v1", Resource: "nodepools"}
}

func poolKind() schema.GroupVersionKind { return poolResource().GroupVersion().WithKind("NodePool") }

// noteKeys returns the annotations that we write on a pool, and take away when the pool does not ask any
// more.
func noteKeys() []string {
	return []string{
		v1alpha1.ReasonAnnotation, v1alpha1.NodePoolByAnnotation, v1alpha1.LimitsBucketAnnotation,
		v1alpha1.OriginalLimitsAnnotation, v1alpha1.AppliedLimitsAnnotation, v1alpha1.LimitsLoweredAnnotation,
		v1alpha1.OriginalWeightAnnotation, v1alpha1.AppliedWeightAnnotation, v1alpha1.WeightChangedAnnotation,
	}
}
