package nodegroup

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/watching"
)

type queue = workqueue.TypedRateLimitingInterface[string]

// SetupWithManager runs the controller on the leader. The ConfigMaps and policies wake the controller, and so
// does changed, which names the forecast sources that have changed.
func (c *Controller) SetupWithManager(mgr ctrl.Manager, config *rest.Config, changed <-chan event.TypedGenericEvent[forecast.Source]) error {
	return watching.Controller[string, forecast.Source]{
		Name: "nodegroup", What: "namespace", Workers: 1, Prepare: c.prepare, Watch: c.watch, OnPolicy: watching.OnEvent(c.onPolicy),
		Changed: changed, OnChanged: handler.TypedFuncs[forecast.Source, string]{
			GenericFunc: func(_ context.Context, e event.TypedGenericEvent[forecast.Source], _ queue) { c.onForecast(e.Object) },
		},
	}.Add(mgr, config, c)
}

// prepare makes the watcher. It sleeps until it runs.
func (c *Controller) prepare(objects dynamic.Interface, definitions metadata.Interface) {
	c.levels.Of = c.Policies.Level
	c.maps = &watching.Resource{
		Objects: objects, Definitions: definitions, Name: corev1.SchemeGroupVersion.WithResource("configmaps"),
		Only: configMap, IsBuiltIn: true, Keep: keepExpander, Changed: c.wakeAll,
	}
	c.maps.AddHandler(watching.OnChange(func(e *expander) { c.queue.Add(e.Namespace) }))
}

// watch runs the watcher until the context ends.
func (c *Controller) watch(ctx context.Context, q queue) error {
	c.queue, c.started = q, c.Clock.Now()
	go c.maps.Run(ctx)
	return nil
}

// wakeAll looks at each namespace that has a ConfigMap, or that a policy has named. There are few.
func (c *Controller) wakeAll() {
	for _, object := range c.maps.List() {
		if e, ok := object.(*expander); ok {
			c.queue.Add(e.Namespace)
		}
	}
	c.named.Range(func(namespace, _ any) bool {
		c.queue.Add(namespace.(string))
		return true
	})
}

// onForecast looks at all, because a source of a forecast has changed.
func (c *Controller) onForecast(changed forecast.Source) {
	c.levels.Forget(func(_ string, source forecast.Source) bool { return source == changed })
	c.wakeAll()
}

// onPolicy looks at all, because a policy has changed.
func (c *Controller) onPolicy(changed *v1alpha1.CarbonPolicy, _ queue) {
	c.levels.Forget(func(policy string, _ forecast.Source) bool { return policy == changed.Name })
	if spec := changed.Spec.ClusterAutoscaler; spec != nil {
		namespace := spec.Namespace
		if namespace == "" {
			namespace = v1alpha1.DefaultAutoscalerNamespace
		}
		c.named.Store(namespace, true)
	}
	c.wakeAll()
}
