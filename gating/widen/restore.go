package widen

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/policy"
)

// Component names what gives Gridlatch the right to widen Jobs: the base, and none of the components.
const Component = "base"

// restorePause is how long no Job is widened again after Restore.
const restorePause = time.Hour

// Restore gives every Job its own width, and returns how many had lent it. A controller that still runs
// widens none of these Jobs for an hour.
func Restore(ctx context.Context, c client.Client, now time.Time) (int, error) {
	writer, until := override.Writer{Client: c, Live: c}, policy.FormatTime(now.Add(restorePause))
	return writer.Restore(ctx, hold.JobKind(), func(_ context.Context, o *unstructured.Unstructured) (*override.Change, bool, error) {
		w, err := readWork(o)
		if err != nil {
			return nil, false, err
		}
		isLent := w.loan() != nil
		if !w.asks() && !w.hasNotes() || w.isOver() && !isLent {
			return nil, false, nil
		}
		wanted := w.restore(now)
		if w.asks() && !w.isOver() && !w.isTaken() && !wanted.isTaken {
			wanted.Annotate(v1alpha1.ParallelismReleasedAnnotation, until)
		}
		return wanted.Change, isLent, nil
	})
}
