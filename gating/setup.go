package gating

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// A pass waits for more of what caused it, so that a thousand pods that are created together
	// are one pass: at least minGatherTime, so long that planning takes at most a twentieth of the
	// time, and at most maxGatherTime. What is due does not wait for this, and is on time.
	minGatherTime = 200 * time.Millisecond
	maxGatherTime = 3 * time.Second
	// maxConcurrentPasses bounds the passes that run side by side. A storm of releases of one
	// policy must not delay another policy.
	maxConcurrentPasses = 8
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// SetupWithManager runs the loop on the leader. A pass is run for changes of held objects, policies,
// nodes and the audit labels of namespaces, and for changed, which names the forecast sources that have
// changed.
func (l *Loop) SetupWithManager(mgr ctrl.Manager, changed <-chan event.TypedGenericEvent[forecast.Source]) error {
	l.retries.SetLimit(maxRetries)
	l.unexplained.isMinor = true
	// Changes of a status cause a pass, too. A pass that compared with an old status is followed by
	// one that sees what was written.
	b := ctrl.NewControllerManagedBy(mgr).Named("gating").
		For(&v1alpha1.CarbonPolicy{}).
		Watches(&v1alpha1.CarbonPolicy{}, l.onDeleted()).
		WatchesRawSource(source.TypedChannel(changed, l.onForecast())).
		WithOptions(controller.Options{MaxConcurrentReconciles: maxConcurrentPasses})
	b = b.WatchesRawSource(source.TypedKind(mgr.GetCache(), policy.NewMetadata(policy.NodeKind()), l.onNode())).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), policy.NewMetadata(policy.NamespaceKind()), l.onNamespace()))
	for _, records := range l.Records.sources(l.onRecord()) {
		b = b.WatchesRawSource(records)
	}
	if err := b.Complete(l); err != nil {
		return fmt.Errorf("set up gating: %w", err)
	}
	return nil
}

// onRecord requests a pass of the policies that hold an object, or held it before the change.
func (l *Loop) onRecord() handler.TypedEventHandler[*record, reconcile.Request] {
	return handler.TypedFuncs[*record, reconcile.Request]{
		CreateFunc: l.onNewRecord,
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*record], q queue) {
			if lacksHeldLabel(e.ObjectNew) || len(holdingPolicy(e.ObjectOld)) > 0 && len(holdingPolicy(e.ObjectNew)) == 0 && !l.releasedByUs(e.ObjectOld) {
				l.Sweeper.Request() // somebody else has changed the label
			}
			l.enqueuePolicies(ctx, e.ObjectOld, q)
			l.enqueuePolicies(ctx, e.ObjectNew, q)
			l.enqueuePausable(ctx, e.ObjectOld, e.ObjectNew, q)
		},
		DeleteFunc: l.onGoneRecord,
	}
}

// onNewRecord requests a pass of the policies that hold a new object. If the object runs, its siblings
// that wait start at once, too.
func (l *Loop) onNewRecord(ctx context.Context, e event.TypedCreateEvent[*record], q queue) {
	if !e.IsInInitialList {
		l.Events.CreatedWork(&e.Object.PartialObjectMetadata)
	}
	l.enqueuePolicies(ctx, e.Object, q)
	l.enqueueAuditing(ctx, e.Object, q)
	l.enqueuePausable(ctx, nil, e.Object, q)
	if standingOf(e.Object).runs && l.Records.hasWaitingSiblings(e.Object) {
		for _, policy := range releasingPolicy(e.Object) {
			q.AddAfter(request(policy), l.gatherTime())
		}
	}
}

// onGoneRecord requests a pass of the policies that held an object that has gone, and of those with
// ceilings that have released the object: its end leaves room.
func (l *Loop) onGoneRecord(ctx context.Context, e event.TypedDeleteEvent[*record], q queue) {
	if !l.releasedByUs(e.Object) {
		l.Sweeper.Request() // deleted, or without its label and still gated
	}
	l.enqueuePolicies(ctx, e.Object, q)
	l.enqueueAuditing(ctx, e.Object, q)
	for _, policy := range releasingPolicy(e.Object) {
		if limited, ok := l.limitedPolicies.Load(policy); ok && limited.(bool) {
			q.AddAfter(request(policy), l.gatherTime())
		}
	}
}

// lacksHeldLabel reports whether an object is held and its label does not say so.
func lacksHeldLabel(r *record) bool {
	return len(holdingPolicy(r)) > 0 && r.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld
}

// onNode requests a pass of the policies that choose where work runs. A location may have got its
// first node, or lost its last.
func (l *Loop) onNode() handler.TypedEventHandler[*metav1.PartialObjectMetadata, reconcile.Request] {
	wake := func(ctx context.Context, q queue) {
		l.enqueueThose(ctx, (*policy.Policy).ChoosesLocation, func(r reconcile.Request) { q.AddAfter(r, l.gatherTime()) })
	}
	return handler.TypedFuncs[*metav1.PartialObjectMetadata, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*metav1.PartialObjectMetadata], q queue) {
			if !e.IsInInitialList {
				wake(ctx, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*metav1.PartialObjectMetadata], q queue) {
			if policy.IsRelabelled(e.ObjectOld, e.ObjectNew) {
				wake(ctx, q)
			}
		},
		DeleteFunc: func(ctx context.Context, _ event.TypedDeleteEvent[*metav1.PartialObjectMetadata], q queue) {
			wake(ctx, q)
		},
	}
}

// enqueueThose calls f with a request for each policy that is isWanted.
func (l *Loop) enqueueThose(ctx context.Context, isWanted func(*policy.Policy) bool, f func(reconcile.Request)) {
	policies, err := l.Policies.WithoutSites().List(ctx)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list the policies that a change is about")
		return
	}
	for _, rules := range policies {
		if isWanted(rules) {
			f(request(rules.Name))
		}
	}
}

// releasedByUs reports whether the loop has released a pod or Job that was held.
func (l *Loop) releasedByUs(o *record) bool {
	return len(holdingPolicy(o)) == 0 || l.inFlight.has(o.UID) || l.inFlight.has(releaseID(o))
}

func (l *Loop) gatherTime() time.Duration {
	return min(max(minGatherTime, 20*time.Duration(l.planningTime.Load())), maxGatherTime)
}

// onForecast requests a pass of the policies that plan with a source.
func (l *Loop) onForecast() handler.TypedEventHandler[forecast.Source, reconcile.Request] {
	return handler.TypedFuncs[forecast.Source, reconcile.Request]{
		GenericFunc: func(ctx context.Context, e event.TypedGenericEvent[forecast.Source], q queue) {
			l.enqueueThose(ctx, func(p *policy.Policy) bool { return p.Source == e.Object }, func(r reconcile.Request) { q.Add(r) })
		},
	}
}

func request(policy string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: policy}}
}
