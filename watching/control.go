package watching

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
)

const (
	// A look at an object that fails is repeated after firstRetryPause, then after twice as long each
	// time, up to longestRetryPause.
	firstRetryPause   = 50 * time.Millisecond
	longestRetryPause = time.Minute
)

// Connect returns clients for the objects of others, and for what defines these objects.
func Connect(config *rest.Config) (dynamic.Interface, metadata.Interface, error) {
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	definitions, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	return objects, definitions, nil
}

// NewController begins a controller of objects of others. Its log has the object that is looked at by
// the key what.
func NewController[R comparable](mgr ctrl.Manager, name, what string, workers int) *builder.TypedBuilder[R] {
	return builder.TypedControllerManagedBy[R](mgr).Named(name).
		WithLogConstructor(func(r *R) logr.Logger {
			log := mgr.GetLogger().WithValues("controller", name)
			if r != nil {
				log = log.WithValues(what, fmt.Sprint(*r))
			}
			return log
		}).
		WithOptions(controller.TypedOptions[R]{
			MaxConcurrentReconciles: workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[R](firstRetryPause, longestRetryPause),
		})
}

// OnChange handles a change by what was kept of the object, before and after.
func OnChange[T any](add func(T)) toolscache.ResourceEventHandler {
	about := func(object any) {
		if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		if o, ok := object.(T); ok {
			add(o)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    about,
		UpdateFunc: func(before, after any) { about(before); about(after) },
		DeleteFunc: about,
	}
}

// OnEvent handles every event about an object in the same way.
func OnEvent[T client.Object, R comparable](about func(T, workqueue.TypedRateLimitingInterface[R])) handler.TypedEventHandler[T, R] {
	type queue = workqueue.TypedRateLimitingInterface[R]
	return handler.TypedFuncs[T, R]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[T], q queue) { about(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[T], q queue) { about(e.ObjectNew, q) },
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[T], q queue) { about(e.Object, q) },
	}
}
