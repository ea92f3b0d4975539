package cached

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// undefinedPoll is how often it is asked whether CarbonPolicies are defined, while
// they are not.
const undefinedPoll = 5 * time.Second

// Mapper maps kinds as the API server does, but CarbonPolicies without asking:
// their CustomResourceDefinition may come later, or go.
func Mapper(config *rest.Config, httpClient *http.Client) (meta.RESTMapper, error) {
	asking, err := apiutil.NewDynamicRESTMapper(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("map kinds: %w", err)
	}
	known := meta.NewDefaultRESTMapper(nil)
	version := v1alpha1.GroupVersion()
	known.AddSpecific(version.WithKind("CarbonPolicy"),
		version.WithResource("carbonpolicies"), version.WithResource("carbonpolicy"), meta.RESTScopeRoot)
	return meta.FirstHitRESTMapper{MultiRESTMapper: meta.MultiRESTMapper{known, asking}}, nil
}

// NewInformer makes an informer for a cache. That of CarbonPolicies has none while
// their CustomResourceDefinition is not there, where others would fail.
func NewInformer(source toolscache.ListerWatcher, object runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
	if _, ok := object.(*v1alpha1.CarbonPolicy); ok {
		source = &definedOrNone{ListerWatcherWithContext: toolscache.ToListerWatcherWithContext(source)}
	}
	return toolscache.NewSharedIndexInformer(source, object, resync, indexers)
}

// definedOrNone lists and watches CarbonPolicies. While they are not defined, the
// list is empty, and a watch tells nothing for a moment. What watches it lists
// anew once they are.
type definedOrNone struct {
	toolscache.ListerWatcherWithContext

	undefined atomic.Bool // at the last list
}

// List is ListWithContext without a context.
func (d *definedOrNone) List(options metav1.ListOptions) (runtime.Object, error) {
	return d.ListWithContext(context.Background(), options)
}

// Watch is WatchWithContext without a context.
func (d *definedOrNone) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return d.WatchWithContext(context.Background(), options)
}

// ListWithContext implements toolscache.ListerWatcherWithContext.
func (d *definedOrNone) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	list, err := d.ListerWatcherWithContext.ListWithContext(ctx, options)
	if err != nil && !apierrors.IsNotFound(err) {
		return list, err
	}
	d.undefined.Store(err != nil)
	if err != nil {
		return &v1alpha1.CarbonPolicyList{}, nil
	}
	return list, nil
}

// WatchWithContext implements toolscache.ListerWatcherWithContext.
func (d *definedOrNone) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	events, err := d.ListerWatcherWithContext.WatchWithContext(ctx, options)
	undefined := apierrors.IsNotFound(err)
	switch {
	case err != nil && !undefined, ptr.Deref(options.SendInitialEvents, false) && undefined:
		return events, err
	case ptr.Deref(options.SendInitialEvents, false): // it is a list, too
		d.undefined.Store(false)
		return events, nil
	case undefined && d.undefined.Load():
		return quietWatch(ctx), nil
	case !undefined && !d.undefined.Load():
		return events, nil
	case !undefined:
		events.Stop()
	}
	return nil, apierrors.NewResourceExpired("whether CarbonPolicies are defined has changed")
}

// quietWatch returns a watch that tells nothing, and ends after a moment.
func quietWatch(ctx context.Context) watch.Interface {
	events := make(chan watch.Event)
	go func() {
		defer close(events)
		pause := time.NewTimer(undefinedPoll)
		defer pause.Stop()
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}()
	return watch.NewProxyWatcher(events)
}
