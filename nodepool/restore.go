package nodepool

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/override"
)

// restorePause is how long no pool is changed again after Restore.
const restorePause = time.Hour

// Restore puts every NodePool back as it was before Gridlatch, deletes our overlays, and returns how many
// NodePools lent something or had an overlay. A controller that still runs changes none of them again for
// an hour. Restore does nothing where Karpenter is not installed, or where Gridlatch has no right to
// NodePools and NodeOverlays.
func Restore(ctx context.Context, c client.Client, now time.Time) (int, error) {
	writer, until := override.Writer{Client: c, Live: c}, now.Add(restorePause).UTC().Format(time.RFC3339)
	lent := map[string]bool{}
	restored, err := writer.Restore(ctx, poolKind(), func(_ context.Context, o *unstructured.Unstructured) (*override.Change, bool, error) {
		p := newPool(o)
		if !p.asks() && !p.asksPrice() && !p.hasNotes() && !p.IsWritten() {
			return nil, false, nil
		}
		wanted := p.restore()
		if p.asks() || p.asksPrice() {
			wanted.Annotate(releasedKey, until)
		}
		lent[p.Name] = len(p.limitLoans()) > 0 || p.weightLoan() != nil
		return wanted.Change, lent[p.Name], nil
	})
	deleted, overlayErr := deleteOverlays(ctx, c)
	for _, name := range deleted {
		if !lent[name] {
			restored++
		}
	}
	return restored, errors.Join(err, overlayErr)
}

// deleteOverlays deletes all overlays of ours, and returns the names of their pools. It does nothing where
// there are no NodeOverlays, or where we may not list them.
func deleteOverlays(ctx context.Context, c client.Client) (deleted []string, err error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(overlayKind())
	err = c.List(ctx, list, client.MatchingLabels{managedByLabel: managedBy})
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list NodeOverlays: %w", err)
	}
	var problems []error
	for i := range list.Items {
		o := &list.Items[i]
		name, isOurs := poolOf(o.GetName())
		if !isOurs {
			continue
		}
		isDeleted, err := deleteOverlay(ctx, c, name, o)
		if isDeleted {
			deleted = append(deleted, name)
		}
		problems = append(problems, err)
	}
	return deleted, errors.Join(problems...)
}
