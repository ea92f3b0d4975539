package gating

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

const (
	// A pass waits for more of what woke it, so that a thousand pods that are
	// created together are one pass: at least for gatherLeast, and so long
	// that planning takes no more than a twentieth of the time, but never
	// longer than gatherMost. What is due is not woken by this, and is on time.
	gatherLeast = 200 * time.Millisecond
	gatherMost  = 3 * time.Second
	// policiesAtOnce bounds the passes that run side by side: a storm of
	// releases of one policy must not make another late.
	policiesAtOnce = 8
)

type (
	held  = *metav1.PartialObjectMetadata
	queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
)

// SetupWithManager runs the loop on the leader, woken by what it holds, by
// policies, and by changed, which names forecast sources that have changed.
func (l *Loop) SetupWithManager(mgr ctrl.Manager, changed <-chan event.TypedGenericEvent[string]) error {
	// changes of a status wake it too: a pass that compared with a status that
	// was out of date is followed by one that sees what was written
	b := ctrl.NewControllerManagedBy(mgr).Named("gating").
		For(&v1alpha1.CarbonPolicy{}).
		WatchesRawSource(source.TypedChannel(changed, l.onForecast())).
		WithOptions(controller.Options{MaxConcurrentReconciles: policiesAtOnce})
	for _, kind := range []schema.GroupVersionKind{podKind(), jobKind()} {
		b = b.WatchesRawSource(source.TypedKind(mgr.GetCache(), metadata(kind), l.onHeld()))
	}
	if err := b.Complete(l); err != nil {
		return fmt.Errorf("set up gating: %w", err)
	}
	return nil
}

// onHeld wakes the policies that hold an object, or did before it changed.
func (l *Loop) onHeld() handler.TypedEventHandler[held, reconcile.Request] {
	wake := func(o client.Object, q queue) {
		for _, policy := range heldBy(o) {
			q.AddAfter(request(policy), l.gather())
		}
	}
	return handler.TypedFuncs[held, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[held], q queue) {
			if !e.IsInInitialList {
				l.Events.Created(e.Object)
			}
			wake(e.Object, q)
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[held], q queue) {
			wake(e.ObjectOld, q)
			wake(e.ObjectNew, q)
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[held], q queue) {
			if !l.released(e.Object) {
				l.Sweeper.Ask() // it is deleted, or has lost its label, and may still be gated
			}
			wake(e.Object, q)
		},
	}
}

func (l *Loop) released(o client.Object) bool {
	for _, policy := range heldBy(o) {
		if !l.done.has(policy, o.GetUID()) {
			return false
		}
	}
	return true
}

func (l *Loop) gather() time.Duration {
	return min(max(gatherLeast, 20*time.Duration(l.effort.Load())), gatherMost)
}

// onForecast wakes the policies that plan with a source.
func (l *Loop) onForecast() handler.TypedEventHandler[string, reconcile.Request] {
	return handler.TypedFuncs[string, reconcile.Request]{
		GenericFunc: func(ctx context.Context, e event.TypedGenericEvent[string], q queue) {
			policies, err := l.Policies.List(ctx)
			if err != nil {
				ctrl.LoggerFrom(ctx).Error(err, "cannot tell which policies a forecast is for")
				return
			}
			for _, policy := range policies {
				if policy.Source == e.Object {
					q.Add(request(policy.Name))
				}
			}
		},
	}
}

func request(policy string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: policy}}
}
