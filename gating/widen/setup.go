package widen

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
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

type queue = workqueue.TypedRateLimitingInterface[types.NamespacedName]

// SetupWithManager runs the controller on the leader. Jobs and policies wake the controller, and so does
// changed, which names the forecast sources that have changed.
func (c *Controller) SetupWithManager(mgr ctrl.Manager, config *rest.Config, changed <-chan event.TypedGenericEvent[forecast.Source]) error {
	return watching.Controller[types.NamespacedName, forecast.Source]{
		Name: "widen", What: "job", Workers: c.Options.Workers,
		Prepare:  func(dynamic.Interface, metadata.Interface) {}, // the Jobs are known to the loop
		Watch:    c.watch,
		OnPolicy: watching.OnEvent(c.onPolicy),
		Changed:  changed, OnChanged: handler.TypedFuncs[forecast.Source, types.NamespacedName]{
			GenericFunc: func(_ context.Context, e event.TypedGenericEvent[forecast.Source], _ queue) { c.onForecast(e.Object) },
		},
	}.Add(mgr, config, c)
}

// watch follows the Jobs.
func (c *Controller) watch(_ context.Context, q queue) error {
	c.queue, c.started = q, c.Clock.Now()
	return c.Work.WatchElastic(func(job types.NamespacedName) { q.Add(job) })
}

// onForecast wakes the Jobs whose intensity comes from a source.
func (c *Controller) onForecast(changed forecast.Source) {
	c.sources.Range(func(name, source any) bool {
		if source == changed {
			c.queue.Add(name.(types.NamespacedName))
		}
		return true
	})
}

// onPolicy wakes the Jobs of a policy.
func (c *Controller) onPolicy(changed *v1alpha1.CarbonPolicy, q queue) {
	for _, name := range c.Work.Elastic(changed.Name) {
		q.Add(name)
	}
}
