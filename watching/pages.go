package watching

import (
	"context"
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
)

// InPages returns a function that lists so many objects at once, where the API server cannot stream
// them, and of each page returns only what keep makes of its objects. Whole objects take several times
// the memory of what is kept of them. An object stays as it is if what is kept of it is no object of
// Kubernetes itself.
func InPages(size int64, list cache.ListWithContextFunc, keep cache.TransformFunc) cache.ListWithContextFunc {
	return func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		o.ResourceVersion, o.ResourceVersionMatch, o.Limit = "", "", size // of version 0 there are no pages
		page, err := list(ctx, o)
		if err != nil {
			return nil, err
		}
		return keepPage(page, keep)
	}
}

func keepPage(list runtime.Object, keep cache.TransformFunc) (runtime.Object, error) {
	about, err := apimeta.ListAccessor(list)
	if err != nil {
		return nil, fmt.Errorf("read a list: %w", err)
	}
	page := &internalversion.List{}
	page.ResourceVersion, page.Continue = about.GetResourceVersion(), about.GetContinue()
	err = apimeta.EachListItem(list, func(object runtime.Object) error {
		kept, err := keep(object)
		if err != nil {
			return err
		}
		if o, ok := kept.(runtime.Object); ok {
			object = o
		}
		page.Items = append(page.Items, object)
		return nil
	})
	return page, err
}
