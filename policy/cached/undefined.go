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

// undefinedPollInterval is how often the API server is asked for CarbonPolicies while they are not
// defined.
const undefinedPollInterval = 5 * time.Second

// Mapper maps kinds as the API server does, and CarbonPolicies without asking the API server. The
// CustomResourceDefinition of CarbonPolicies may come later, or go.
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

// NewInformer makes an informer for a cache. The informer of CarbonPolicies is empty while their
// CustomResourceDefinition does not exist. Any other informer fails then.
func NewInformer(source toolscache.ListerWatcher, object runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
	if _, ok := object.(*v1alpha1.CarbonPolicy); ok {
		source = &optionalPolicies{ListerWatcherWithContext: toolscache.ToListerWatcherWithContext(source)}
	}
	return toolscache.NewSharedIndexInformer(source, object, resync, indexers)
}

// optionalPolicies lists and watches CarbonPolicies. While CarbonPolicies are not defined, the list
// is empty and a watch has no events. Once they are defined, a watch ends, so that the reflector
// lists again.
type optionalPolicies struct {
	toolscache.ListerWatcherWithContext

	// undefined says that CarbonPolicies were not defined at the last list.
	undefined atomic.Bool
}

// List calls ListWithContext without a context.
func (d *optionalPolicies) List(options metav1.ListOptions) (runtime.Object, error) {
	return d.ListWithContext(context.Background(), options)
}

// Watch calls WatchWithContext without a context.
func (d *optionalPolicies) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return d.WatchWithContext(context.Background(), options)
}

// ListWithContext implements toolscache.ListerWatcherWithContext.
func (d *optionalPolicies) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
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
func (d *optionalPolicies) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
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

// quietWatch returns a watch without events, which ends after a moment.
func quietWatch(ctx context.Context) watch.Interface {
	events := make(chan watch.Event)
	go func() {
		defer close(events)
		pause := time.NewTimer(undefinedPollInterval)
		defer pause.Stop()
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}()
	return watch.NewProxyWatcher(events)
}
