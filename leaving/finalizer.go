package leaving

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// These patches add and remove our finalizer, and keep the finalizers of others.
const (
	addPatch    = `{"metadata":{"finalizers":["` + v1alpha1.ReleaseFinalizer + `"]}}`
	removePatch = `{"metadata":{"$deleteFromPrimitiveList/finalizers":["` + v1alpha1.ReleaseFinalizer + `"]}}`
)

// protect adds the finalizer to anchors.
func (i *Installation) protect(ctx context.Context, anchors []anchor) error {
	var problems []error
	for _, a := range anchors {
		err := i.Client.Patch(ctx, a.metadata(), client.RawPatch(types.StrategicMergePatchType, []byte(addPatch)))
		if client.IgnoreNotFound(err) != nil {
			problems = append(problems, fmt.Errorf("add the finalizer to %s: %w", a, err))
		}
	}
	return errors.Join(problems...)
}

// unprotect removes the finalizer from anchors, also while the process is ending. Some anchors may give the
// right to remove the finalizer from others, so the removal must not be broken off half-way.
func unprotect(ctx context.Context, config *rest.Config, anchors []anchor) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unprotectTime)
	defer cancel()
	paths := make([]string, len(anchors))
	for n, a := range anchors {
		paths[n] = a.path()
	}
	results, err := patchTogether(ctx, config, paths, types.StrategicMergePatchType, []byte(removePatch))
	if err != nil {
		return err
	}
	var problems []error
	for n, err := range results {
		if err != nil && !apierrors.IsNotFound(err) {
			problems = append(problems, fmt.Errorf("remove the finalizer from %s: %w", anchors[n], err))
		}
	}
	return errors.Join(problems...)
}

// RemoveFinalizers removes the finalizer from all anchors of the Gridlatch in a namespace that have it, and
// returns how many there are. It is for a user whose rights do not come from the anchors, when no
// replica runs any more.
func RemoveFinalizers(ctx context.Context, c client.Client, namespace string) (int, error) {
	var protected []anchor
	problems := []error(nil)
	for _, a := range baseAnchors(namespace) {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(a.kind.GroupVersion().WithKind(a.kind.Kind + "List"))
		err := hold.Walk(ctx, c, list, client.ListOptions{Namespace: a.namespace}, func(o client.Object) {
			if slices.Contains(o.GetFinalizers(), v1alpha1.ReleaseFinalizer) {
				protected = append(protected, anchor{kind: a.kind, namespace: o.GetNamespace(), name: o.GetName()})
			}
		})
		if err != nil {
			problems = append(problems, fmt.Errorf("list %s: %w", a.resource, err))
		}
	}
	removed := 0
	for _, a := range protected {
		err := c.Patch(ctx, a.metadata(), client.RawPatch(types.StrategicMergePatchType, []byte(removePatch)))
		switch {
		case err == nil:
			removed++
		case !apierrors.IsNotFound(err):
			problems = append(problems, fmt.Errorf("remove the finalizer from %s: %w", a, err))
		}
	}
	return removed, errors.Join(problems...)
}

// path returns the path of the anchor in the API.
func (a anchor) path() string {
	root := path.Join("/apis", a.kind.Group, a.kind.Version)
	if a.kind.Group == "" {
		root = path.Join("/api", a.kind.Version)
	}
	if a.namespace != "" {
		root = path.Join(root, "namespaces", a.namespace)
	}
	return path.Join(root, a.resource, a.name)
}
