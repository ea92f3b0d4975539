package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/leaving"
)

// LetDeletionsEnd removes the finalizer of Gridlatch from all that has it, if no replica of Gridlatch runs,
// and returns how many objects had it. All held work must be released before. While an object of KEDA has
// a ceiling, a NodePool has limits, a weight or a NodeOverlay of Gridlatch, node groups have priorities of
// Gridlatch, or a Job has a parallelism of Gridlatch, the finalizer stays.
func (c *Cluster) LetDeletionsEnd(ctx context.Context) (int, error) {
	found, err := c.Controller(ctx)
	if err != nil || found.Problem == "" {
		return 0, err
	}
	lent, err := c.lent(ctx)
	switch {
	case err != nil:
		return 0, err
	case lent != "":
		return 0, fmt.Errorf("no replica of Gridlatch runs, and %s: the third block of \"Leave without a replica\" in docs/operations.md "+
			"and those after it give back what is lent, and then remove the finalizers", lent)
	}
	return leaving.RemoveFinalizers(ctx, c.API, c.System)
}

// loan is what Gridlatch has borrowed of the objects of one kind, and the annotations that show that.
type loan struct {
	kind        schema.GroupVersionKind
	annotations []string
	// words say so of a number of objects.
	words string
	// only selects the objects of the kind that can be lent, nil if all can.
	only fields.Selector
}

func loans() []loan {
	keda := schema.GroupVersion{Group: "keda.sh", Version: "v1alpha1"}
	ceiling, words := []string{v1alpha1.OriginalMaxReplicaCountAnnotation}, "%d objects of KEDA still have a ceiling"
	return []loan{
		{kind: keda.WithKind("ScaledObject"), annotations: ceiling, words: words},
		{kind: keda.WithKind("ScaledJob"), annotations: ceiling, words: words},
		{
			kind:        nodePoolKind(),
			annotations: []string{v1alpha1.OriginalLimitsAnnotation, v1alpha1.OriginalWeightAnnotation},
			words:       "%d NodePools of Karpenter still have limits or a weight of Gridlatch",
		},
		{
			kind: hold.JobKind(), annotations: []string{v1alpha1.OriginalParallelismAnnotation},
			words: "%d Jobs still have a parallelism of Gridlatch",
		},
		{
			kind:        schema.GroupVersionKind{Group: "karpenter.sh", Version: "v1alpha1", Kind: "NodeOverlay"},
			annotations: []string{v1alpha1.ReasonAnnotation},
			words:       "%d NodeOverlays of Gridlatch are still there",
		},
		{
			kind:        configMapKind(),
			annotations: []string{v1alpha1.OriginalPrioritiesAnnotation},
			words:       "%d ConfigMaps of Cluster Autoscaler still have priorities of Gridlatch",
			only:        prioritiesSelector(),
		},
	}
}

// lent says what of other objects is still lent, empty if nothing is.
func (c *Cluster) lent(ctx context.Context) (string, error) {
	var words []string
	count := map[string]int{}
	for _, l := range loans() {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(l.kind.GroupVersion().WithKind(l.kind.Kind + "List"))
		err := hold.Walk(ctx, c.API, list, client.ListOptions{FieldSelector: l.only}, func(o client.Object) {
			if slices.ContainsFunc(l.annotations, func(key string) bool { _, ok := o.GetAnnotations()[key]; return ok }) {
				count[l.words]++
			}
		})
		if err != nil && !apimeta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
			return "", fmt.Errorf("look for what is lent: list %ss: %w", l.kind.Kind, err)
		}
	}
	for text, n := range count {
		words = append(words, fmt.Sprintf(text, n))
	}
	slices.Sort(words)
	return strings.Join(words, ", and "), nil
}
