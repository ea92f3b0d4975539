package ceiling

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

const (
	// page is how many objects are read at a time.
	page = 500
	// byHand is how long no ceiling is set again after Restore.
	byHand = time.Hour
)

// Restore puts every ScaledObject and ScaledJob back as it was before Gridlatch,
// and returns how many that are. A controller that still runs sets no ceiling
// again for an hour. A ScaledJob whose running Jobs KEDA would delete is left,
// and named in the error. Where KEDA is not installed, or Gridlatch has no right
// to its objects, there is nothing to restore.
func Restore(ctx context.Context, c client.Client, now time.Time) (int, error) {
	restored, problems := 0, []error(nil)
	for _, k := range kinds() {
		n, err := restoreKind(ctx, c, k, now)
		restored += n
		if err != nil {
			problems = append(problems, err)
		}
	}
	return restored, errors.Join(problems...)
}

func restoreKind(ctx context.Context, c client.Client, k kind, now time.Time) (restored int, err error) {
	var problems []error
	for next := ""; ; {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(k.gvk())
		err := c.List(ctx, list, client.Limit(page), client.Continue(next))
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			return restored, errors.Join(problems...)
		}
		if apierrors.IsResourceExpired(err) && next != "" {
			next = "" // what is restored is passed by
			continue
		}
		if err != nil {
			return restored, errors.Join(append(problems, fmt.Errorf("list %ss: %w", k, err))...)
		}
		for i := range list.Items {
			switch done, err := restoreOne(ctx, c, newTarget(k, &list.Items[i]), now); {
			case err != nil:
				problems = append(problems, err)
			case done:
				restored++
			}
		}
		if next = list.GetContinue(); next == "" {
			return restored, errors.Join(problems...)
		}
	}
}

// restoreOne reports whether the target had a ceiling. It reads the target again
// if that changes meanwhile: KEDA writes its status.
func restoreOne(ctx context.Context, c client.Client, t *target, now time.Time) (bool, error) {
	if !t.asks() && !t.noted() && !t.hands.any {
		return false, nil
	}
	done, until := false, now.Add(byHand).UTC().Format(time.RFC3339)
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		wanted := t.restore()
		t.set(wanted, v1alpha1.CeilingReleasedAnnotation, until)
		if err := spare(ctx, c, t, wanted); err != nil {
			return err
		}
		object := t.about()
		err := c.Patch(ctx, object, t.patch(wanted), client.FieldOwner(Manager))
		done = done || err == nil && t.record() != nil
		if err == nil {
			err = c.Patch(ctx, t.about(), disowned(object, nil, true), client.FieldOwner(Manager))
		}
		if apierrors.IsConflict(err) {
			fresh := &unstructured.Unstructured{}
			fresh.SetGroupVersionKind(t.kind.gvk())
			if err := c.Get(ctx, client.ObjectKeyFromObject(t.about()), fresh); err != nil {
				return err
			}
			t = newTarget(t.kind, fresh)
		}
		return err
	})
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("restore %s: %w", t.ref(), err)
	}
	return done, nil
}

// spare returns an error if a change would have KEDA delete running Jobs.
func spare(ctx context.Context, c client.Client, t *target, wanted *change) error {
	if !wanted.spec || !t.kills {
		return nil
	}
	running, err := runningJobs(ctx, c, t)
	if err == nil && running > 0 {
		err = fmt.Errorf("it is left as it is: %s (%d now)", killing, running)
	}
	return err
}
