package nodepool

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/watching"
)

// The reasons of the Events on NodePools.
const (
	EventLimitsChanged = "LimitsChanged"
	EventWeightChanged = "WeightChanged"
	EventInvalid       = "NodePoolInvalid"
	EventReverted      = "NodePoolReverted"
	EventFailed        = "NodePoolFailed"

	EventPriceChanged   = "CarbonPriceChanged"
	EventOverlayTaken   = "NodeOverlayTaken"
	EventOverlayIgnored = "NodeOverlayIgnored"
)

const releasedKey = v1alpha1.NodePoolReleasedAnnotation

type queue = workqueue.TypedRateLimitingInterface[string]

// SetupWithManager runs the controller on the leader. NodePools and policies wake the controller, and so
// does changed, which names the forecast sources that have changed. Where Karpenter is not installed, the
// controller sleeps until it is.
func (c *Controller) SetupWithManager(mgr ctrl.Manager, config *rest.Config, changed <-chan event.TypedGenericEvent[forecast.Source]) error {
	return watching.Controller[string, forecast.Source]{
		Name: "nodepool", What: "nodepool", Workers: c.Options.Workers, Prepare: c.prepare, Watch: c.watch, OnPolicy: watching.OnEvent(c.onPolicy),
		Changed: changed, OnChanged: handler.TypedFuncs[forecast.Source, string]{
			GenericFunc: func(_ context.Context, e event.TypedGenericEvent[forecast.Source], _ queue) { c.onForecast(e.Object) },
		},
	}.Add(mgr, config, c)
}

// prepare makes the watchers. They sleep until they run.
func (c *Controller) prepare(objects dynamic.Interface, definitions metadata.Interface) {
	c.levels.Of = c.Policies.Level
	c.pools = &watching.Resource{Objects: objects, Definitions: definitions, Name: poolResource(), Keep: keepPool, Changed: c.wakeAll}
	c.pools.AddHandler(c.onPool())
	c.overlays = &watching.Resource{Objects: objects, Definitions: definitions, Name: overlayResource(), Keep: keepOverlay, Changed: c.wakeAll}
	c.overlays.AddHandler(c.onOverlay())
}

// watch runs the watchers until the context ends.
func (c *Controller) watch(ctx context.Context, q queue) error {
	c.queue, c.started = q, c.Clock.Now()
	go c.pools.Run(ctx)
	go c.overlays.Run(ctx)
	return nil
}

// keepPool turns an object into what is kept of it.
func keepPool(object any) (any, error) {
	if o, ok := object.(*unstructured.Unstructured); ok {
		return newPool(o), nil
	}
	return object, nil
}

// onPool wakes a pool that has changed. It wakes all pools that are ranked if the order may have changed.
func (c *Controller) onPool() toolscache.ResourceEventHandler {
	about := func(before, after *pool) {
		for _, p := range []*pool{before, after} {
			if p != nil {
				c.queue.Add(p.Name)
			}
		}
		if !isRankedAlike(before, after) {
			c.orders.forget()
			c.wake(func(p *pool) bool { return p.isAuto })
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { about(nil, asPool(object)) },
		UpdateFunc: func(before, after any) {
			about(asPool(before), asPool(after))
		},
		DeleteFunc: func(object any) { about(asPool(object), nil) },
	}
}

// isRankedAlike reports whether a change of a pool leaves all ranks as they are.
func isRankedAlike(before, after *pool) bool {
	isRanked := func(p *pool) bool { return p != nil && p.isAuto }
	if !isRanked(before) || !isRanked(after) {
		return isRanked(before) == isRanked(after)
	}
	isSame := before.power == after.power && len(before.labels) == len(after.labels)
	for _, key := range []string{v1alpha1.PolicyAnnotation, v1alpha1.LocationAnnotation, releasedKey} {
		isSame = isSame && before.Annotations[key] == after.Annotations[key]
	}
	for key, values := range before.labels {
		isSame = isSame && slices.Equal(values, after.labels[key])
	}
	return isSame
}

// asPool returns what was kept of an object, nil if nothing was.
func asPool(object any) *pool {
	if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	p, _ := object.(*pool)
	return p
}

// wake looks at the pools that a change concerns.
func (c *Controller) wake(concerns func(*pool) bool) {
	for _, p := range c.all() {
		if concerns(p) {
			c.queue.Add(p.Name)
		}
	}
}

func (c *Controller) wakeAll() { c.wake(func(*pool) bool { return true }) }

// onForecast wakes the pools whose intensity comes from a source, and all that are ranked with them.
func (c *Controller) onForecast(changed forecast.Source) {
	c.levels.Forget(func(_ string, source forecast.Source) bool { return source == changed })
	c.orders.forget()
	c.wakeWith(func(p *pool) bool {
		source, ok := c.sources.Load(p.Name)
		price, hasPrice := c.priceSources.Load(p.Name)
		return ok && source == changed || hasPrice && price == changed
	})
}

// onPolicy wakes the pools that name a policy, and all that are ranked with them.
func (c *Controller) onPolicy(changed *v1alpha1.CarbonPolicy, _ queue) {
	c.levels.Forget(func(policy string, _ forecast.Source) bool { return policy == changed.Name })
	c.orders.forget()
	c.wakeWith(func(p *pool) bool { return (p.asks() || p.asksPrice()) && p.policy() == changed.Name })
}

// wakeWith looks at the pools that a change concerns, and at all that are ranked if one of these is.
func (c *Controller) wakeWith(concerns func(*pool) bool) {
	isRanked := false
	c.wake(func(p *pool) bool {
		is := concerns(p)
		isRanked = isRanked || is && p.isAuto
		return is
	})
	if isRanked {
		c.wake(func(p *pool) bool { return p.isAuto })
	}
}
