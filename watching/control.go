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
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

const (
	// A look at an object that fails is repeated after firstRetryPause, then after twice as long each
	// time, up to longestRetryPause.
	firstRetryPause   = 50 * time.Millisecond
	longestRetryPause = time.Minute
)

// Controller looks at objects of others, which R names, whenever they, a CarbonPolicy or something of the
// type S changes. All fields are required.
type Controller[R comparable, S any] struct {
	// Name is the name of the controller, and What the key of the object that is looked at in its log.
	Name, What string
	// Workers is how many objects are looked at at the same time.
	Workers int
	// Prepare makes what Watch needs of clients for the objects, and for what defines the objects.
	Prepare func(objects dynamic.Interface, definitions metadata.Interface)
	// Watch starts to watch the objects. It must not block. It runs before OnPolicy and OnChanged hear anything.
	Watch    func(ctx context.Context, q workqueue.TypedRateLimitingInterface[R]) error
	OnPolicy handler.TypedEventHandler[*v1alpha1.CarbonPolicy, R]
	// Changed has what has changed, and OnChanged wakes the objects.
	Changed   <-chan event.TypedGenericEvent[S]
	OnChanged handler.TypedEventHandler[S, R]
}

// Add adds the controller to a manager, for its leader. config is for the clients of the objects.
func (c Controller[R, S]) Add(mgr ctrl.Manager, config *rest.Config, reconciler reconcile.TypedReconciler[R]) error {
	objects, definitions, err := connect(config)
	if err != nil {
		return fmt.Errorf("set up the controller %s: %w", c.Name, err)
	}
	c.Prepare(objects, definitions)
	err = builder.TypedControllerManagedBy[R](mgr).Named(c.Name).
		WatchesRawSource(inOrder[R]{
			source.TypedFunc[R](c.Watch),
			source.TypedChannel(c.Changed, c.OnChanged),
			source.TypedKind(mgr.GetCache(), &v1alpha1.CarbonPolicy{}, c.OnPolicy,
				predicate.TypedGenerationChangedPredicate[*v1alpha1.CarbonPolicy]{}),
		}).
		WithLogConstructor(func(r *R) logr.Logger {
			log := mgr.GetLogger().WithValues("controller", c.Name)
			if r != nil {
				log = log.WithValues(c.What, fmt.Sprint(*r))
			}
			return log
		}).
		WithOptions(controller.TypedOptions[R]{
			MaxConcurrentReconciles: c.Workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[R](firstRetryPause, longestRetryPause),
		}).Complete(reconciler)
	if err != nil {
		return fmt.Errorf("set up the controller %s: %w", c.Name, err)
	}
	return nil
}

// inOrder starts sources one after the other. A manager starts the sources of a controller all at once, and a
// policy would reach OnPolicy before Watch has run.
type inOrder[R comparable] []source.TypedSource[R]

// Start starts the sources in their order, up to the first one that cannot start.
func (s inOrder[R]) Start(ctx context.Context, q workqueue.TypedRateLimitingInterface[R]) error {
	for _, one := range s {
		if err := one.Start(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// WaitForSync waits until the sources that need a cache have it.
func (s inOrder[R]) WaitForSync(ctx context.Context) error {
	for _, one := range s {
		syncing, ok := one.(source.TypedSyncingSource[R])
		if !ok {
			continue
		}
		if err := syncing.WaitForSync(ctx); err != nil {
			return fmt.Errorf("wait for the cache: %w", err)
		}
	}
	return nil
}

// connect returns clients for the objects of others, and for what defines these objects.
func connect(config *rest.Config) (dynamic.Interface, metadata.Interface, error) {
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
