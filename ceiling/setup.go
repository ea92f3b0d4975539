package ceiling

import (
	"context"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	scalers "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/watching"
)

// The reasons of the Events on ScaledObjects and ScaledJobs.
const (
	EventChanged  = "CeilingChanged"
	EventReverted = "CeilingReverted"
	EventWaits    = "CeilingWaits"
	EventRefused  = "CeilingRefused"
	EventFailed   = "CeilingFailed"
	EventInvalid  = "CeilingInvalid"
)

// The reasons of the Events on the triggers of ScaledObjects and ScaledJobs.
const (
	EventTriggerRewritten = "TriggerRewritten"
	EventTriggerInvalid   = "TriggerInvalid"
	EventTriggerClean     = "TriggerClean"
	EventTriggerDirty     = "TriggerDirty"
	EventTriggerUnknown   = "TriggerUnknown"
	EventTriggerPaused    = "TriggerPaused"
	EventTriggerResumed   = "TriggerResumed"
	EventTriggerReverted  = "TriggerReverted"
	EventTriggerWaits     = "TriggerWaits"
	EventTriggerFailed    = "TriggerFailed"
)

const (
	// eventsPerSecond and eventsBurst bound the Events about changes that are made.
	eventsPerSecond = 2
	eventsBurst     = 10
)

type queue = workqueue.TypedRateLimitingInterface[ref]

// SetupWithManager runs the controller on the leader. The objects of KEDA, CarbonAwareKedaScalers
// and policies wake the controller, and so does changed, which names the forecast sources that have
// changed. Where KEDA is not installed, the controller sleeps until it is.
func (c *Controller) SetupWithManager(mgr ctrl.Manager, config *rest.Config, changed <-chan event.TypedGenericEvent[forecast.Source]) error {
	return watching.Controller[ref, forecast.Source]{
		Name: "ceiling", What: "target", Workers: c.Options.Workers, Prepare: c.prepare, Watch: c.watch, OnPolicy: c.onPolicy(),
		Changed: changed, OnChanged: c.onForecast(),
	}.Add(mgr, config, c)
}

// prepare makes the watchers. They sleep until they run.
func (c *Controller) prepare(objects dynamic.Interface, definitions metadata.Interface) {
	c.targets, c.changesPace = map[kind]*watching.Resource{}, rate.NewLimiter(eventsPerSecond, eventsBurst)
	c.levels.Of = c.Policies.Level
	triggers := &triggerReader{form: c.Options.Form}
	for _, k := range kinds() {
		c.targets[k] = &watching.Resource{Objects: objects, Definitions: definitions, Name: k.resource(), Keep: keepTarget(k, triggers), Changed: c.wakeAll}
		c.targets[k].AddHandler(c.onTarget())
	}
	c.scalers = &watching.Resource{
		Objects: objects, Definitions: definitions, Name: scalerResource(), Keep: keepScaler,
		Indexers: toolscache.Indexers{byTarget: indexByTarget}, Changed: c.wakeAll,
	}
	c.scalers.AddHandler(watching.OnChange(func(s *scalers.CarbonAwareKedaScaler) {
		c.scalersChanged.Store(true)
		c.queue.Add(targetOf(s))
	}))
}

// onTarget wakes a target that has changed.
func (c *Controller) onTarget() toolscache.ResourceEventHandler {
	return watching.OnChange(func(t *target) { c.queue.Add(t.ref()) })
}

// watch runs the watchers until the context ends.
func (c *Controller) watch(ctx context.Context, q queue) error {
	c.queue, c.started = q, c.Clock.Now()
	for _, k := range kinds() {
		go c.targets[k].Run(ctx)
	}
	go c.scalers.Run(ctx)
	return nil
}

func scalerResource() schema.GroupVersionResource {
	return scalers.GroupVersion().WithResource("carbonawarekedascalers")
}

// wakeAll looks at every target that exists, and at every target that a scaler names.
func (c *Controller) wakeAll() {
	for _, w := range c.targets {
		for _, object := range w.List() {
			if t, ok := object.(*target); ok {
				c.queue.Add(t.ref())
			}
		}
	}
	for _, s := range c.allScalers() {
		c.queue.Add(targetOf(s))
	}
	c.scalersChanged.Store(true)
}

// onForecast wakes the targets whose ceiling comes from a source.
func (c *Controller) onForecast() handler.TypedEventHandler[forecast.Source, ref] {
	return handler.TypedFuncs[forecast.Source, ref]{
		GenericFunc: func(_ context.Context, e event.TypedGenericEvent[forecast.Source], _ queue) {
			c.levels.Forget(func(_ string, source forecast.Source) bool { return source == e.Object })
			c.wakeSources(func(source forecast.Source) bool { return source == e.Object })
		},
	}
}

// onPolicy wakes the targets that name a policy.
func (c *Controller) onPolicy() handler.TypedEventHandler[*v1alpha1.CarbonPolicy, ref] {
	changed := func(name string, q queue) {
		c.levels.Forget(func(policy string, _ forecast.Source) bool { return policy == name })
		for _, w := range c.targets {
			for _, object := range w.List() {
				if t, ok := object.(*target); ok && (t.asks() && t.policy() == name || t.carbon.isOfPolicy(name)) {
					q.Add(t.ref())
				}
			}
		}
	}
	return watching.OnEvent(func(p *v1alpha1.CarbonPolicy, q queue) { changed(p.Name, q) })
}
