package gating

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	clientretry "k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// walkPage is how many objects are listed at once.
	walkPage = 500
	// walkAnew bounds how often a list is begun anew. The API server forgets a list
	// after some minutes.
	walkAnew = 100
)

// Walk calls f for each object of a list, once, page by page. It goes on where the API
// server forgets the list or is away for a moment.
func Walk(ctx context.Context, reader client.Reader, list client.ObjectList, options client.ListOptions, f func(client.Object)) error {
	type which struct {
		types.NamespacedName
		types.UID
	}
	seen, anew := map[which]bool{}, 0
	options.Limit = walkPage
	each := func(item runtime.Object) error {
		o, ok := item.(client.Object)
		if !ok {
			return fmt.Errorf("%T: want an object", item)
		}
		it := which{client.ObjectKeyFromObject(o), o.GetUID()}
		if anew == 0 || !seen[it] {
			seen[it] = true
			f(o)
		}
		return nil
	}
	for {
		page, ok := list.DeepCopyObject().(client.ObjectList)
		if !ok {
			return fmt.Errorf("cannot list %T", list)
		}
		err := Persist(func() error { return reader.List(ctx, page, &options) })
		switch {
		case apierrors.IsResourceExpired(err) && options.Continue != "" && anew < walkAnew:
			anew++
			options.Continue = ""
			continue
		case err != nil:
			return err
		}
		if err := apimeta.EachListItem(page, each); err != nil {
			return fmt.Errorf("read a list: %w", err)
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

// persist tries a request several times where the API server is busy, or away for a
// moment.
func Persist(request func() error) error {
	pace := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 3, Steps: 5, Jitter: 0.2}
	return clientretry.OnError(pace, func(err error) bool {
		return apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err)
	}, request)
}
