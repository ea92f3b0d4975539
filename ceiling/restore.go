package ceiling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/trigger"
)

// restorePause is how long no ceiling is set again, and no trigger is rewritten, after Restore.
const restorePause = time.Hour

// Restore puts every ScaledObject and ScaledJob back as it was before Gridlatch, and returns how
// many had a ceiling, a trigger that was rewritten, or a pause of such a trigger. A controller that
// still runs changes none of these objects again for an hour. A ScaledJob
// whose running Jobs KEDA would delete is left, and named in the error. Restore does nothing where
// KEDA is not installed, or where Gridlatch has no right to KEDA's objects.
func Restore(ctx context.Context, c client.Client, now time.Time) (int, error) {
	writer, until := override.Writer{Client: c, Live: c}, now.Add(restorePause).UTC().Format(time.RFC3339)
	total, problems := 0, []error(nil)
	for _, k := range kinds() {
		restored, err := writer.Restore(ctx, k.gvk(), func(ctx context.Context, o *unstructured.Unstructured) (*override.Change, bool, error) {
			t := newTarget(k, fieldsOf(k), o)
			triggers, wasRewritten := trigger.Restore(triggersOf(o))
			if !t.asks() && !t.hasNotes() && !t.hasTriggerNote() && !t.IsWritten() && !wasRewritten && !isVerbatim(triggers) {
				return nil, false, nil
			}
			wanted := t.restore()
			t.endTriggerPause(wanted.Change)
			if wasRewritten {
				wanted.Set(triggersField, override.ValueOf(triggers))
			}
			wanted.Annotate(v1alpha1.CeilingReleasedAnnotation, until)
			isLent := t.record() != nil || wasRewritten || t.isPausedByTrigger()
			return wanted.Change, isLent, spareJobs(ctx, c, t, wanted)
		})
		total += restored
		if err != nil {
			problems = append(problems, err)
		}
	}
	return total, errors.Join(problems...)
}

// isVerbatim reports whether a trigger is written as KEDA does not know it.
func isVerbatim(triggers []any) bool {
	return slices.ContainsFunc(triggers, func(t any) bool {
		fields, _ := t.(map[string]any)
		return fields["type"] == trigger.Type
	})
}

// spareJobs returns an error if KEDA would delete running Jobs because of a change.
func spareJobs(ctx context.Context, c client.Client, t *target, wanted *change) error {
	if !wanted.setsMax() && !wanted.Sets(triggersField) || !t.killsJobs {
		return nil
	}
	running, err := runningJobs(ctx, c, t)
	if err == nil && running > 0 {
		err = fmt.Errorf("it is left as it is while Jobs run, now %d: %s", running, killsJobsNote)
	}
	return err
}
