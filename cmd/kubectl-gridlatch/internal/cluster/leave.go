package cluster

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/leaving"
)

// LetDeletionsEnd removes the finalizer of Gridlatch from all that has it, if no replica of Gridlatch runs,
// and returns how many objects had it. All held work must be released before. While an object of KEDA has
// a ceiling, the finalizer stays.
func (c *Cluster) LetDeletionsEnd(ctx context.Context) (int, error) {
	found, err := c.Controller(ctx)
	if err != nil || found.Problem == "" {
		return 0, err
	}
	lent, err := c.lent(ctx)
	switch {
	case err != nil:
		return 0, err
	case lent > 0:
		return 0, fmt.Errorf("no replica of Gridlatch runs, and %d objects of KEDA still have a ceiling: the third and the fourth block of "+
			"\"Leave without a replica\" in docs/operations.md remove the ceilings, and then the finalizers", lent)
	}
	return leaving.RemoveFinalizers(ctx, c.API, c.System)
}

// lent counts the objects of KEDA that have a ceiling.
func (c *Cluster) lent(ctx context.Context) (int, error) {
	lent := 0
	for _, kind := range []string{"ScaledObject", "ScaledJob"} {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(schema.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: kind + "List"})
		err := hold.Walk(ctx, c.API, list, client.ListOptions{}, func(o client.Object) {
			if _, ok := o.GetAnnotations()[v1alpha1.OriginalMaxReplicaCountAnnotation]; ok {
				lent++
			}
		})
		if err != nil && !apimeta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
			return 0, fmt.Errorf("look for ceilings: list %ss: %w", kind, err)
		}
	}
	return lent, nil
}
