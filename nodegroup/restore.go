package nodegroup

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/override"
)

// Restore gives every ConfigMap its own priorities back, deletes those that Gridlatch has made, and returns how
// many had priorities of Gridlatch. A controller that still runs changes none of them again for an hour.
// Restore does nothing where Gridlatch has no right to these ConfigMaps.
func Restore(ctx context.Context, c client.Client, now time.Time) (int, error) {
	writer, until := override.Writer{Client: c, Live: c}, now.Add(restorePause).UTC().Format(time.RFC3339)
	deleted := map[types.UID]bool{}
	restored, err := writer.Restore(ctx, mapKind(), func(ctx context.Context, o *unstructured.Unstructured) (*override.Change, bool, error) {
		there := newExpander(o)
		if there.Name != configMap || !there.hasNotes() && !there.IsWritten() {
			return nil, false, nil
		}
		isLent, wanted := there.loan() != nil, there.restore()
		if wanted.deletes {
			err := deleteMade(ctx, c, there)
			deleted[there.UID] = err == nil
			return nil, isLent, err
		}
		if there.hasNotes() {
			wanted.Annotate(releasedKey, until)
		}
		return wanted.Change, isLent, nil
	}, client.MatchingFields{"metadata.name": configMap})
	for _, isDeleted := range deleted {
		if isDeleted {
			restored++
		}
	}
	return restored, err
}
