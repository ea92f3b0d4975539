package nodepool

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/override"
)

// restorePause is how long no pool is changed again after Restore.
const restorePause = time.Hour

// Restore puts every NodePool back as it was before Gridlatch, and returns how many lent something. A
// controller that still runs changes none of them again for an hour. Restore does nothing where Karpenter
// is not installed, or where Gridlatch has no right to NodePools.
func Restore(ctx context.Context, c client.Client, now time.Time) (int, error) {
	writer, until := override.Writer{Client: c, Live: c}, now.Add(restorePause).UTC().Format(time.RFC3339)
	return writer.Restore(ctx, poolKind(), func(_ context.Context, o *unstructured.Unstructured) (*override.Change, bool, error) {
		p := newPool(o)
		if !p.asks() && !p.hasNotes() && !p.IsWritten() {
			return nil, false, nil
		}
		wanted := p.restore()
		if p.asks() {
			wanted.Annotate(releasedKey, until)
		}
		return wanted.Change, len(p.limitLoans()) > 0 || p.weightLoan() != nil, nil
	})
}
