package nodegroup

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/watching"
)

const namespace = "kube-system"

var source = forecast.Source{Namespace: "gridlatch-system", Name: "carbon-intensity", Key: "data"}

// world is all that a controller sees, and a record of what it does. A policy names the node groups north and
// south, each at a location of this name.
type world struct {
	t *testing.T
	*Controller
	api     client.Client
	clock   *clocktesting.FakePassiveClock
	grid    map[string]plan.Level
	groups  []policy.NodeGroups
	refuses error // is answered to writes
	events  []string
	writes  int
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	start := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	w := &world{t: t, clock: clocktesting.NewFakePassiveClock(start), grid: map[string]plan.Level{}}
	w.groups = []policy.NodeGroups{{Policy: "default", Namespace: namespace, Groups: []policy.NodeGroup{
		{Pattern: "^north-", Location: "north", Power: 1}, {Pattern: "^south-", Location: "south", Power: 1},
	}}}
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(mapKind(), &unstructured.Unstructured{})
	scheme.AddKnownTypeWithName(mapKind().GroupVersion().WithKind("ConfigMapList"), &unstructured.UnstructuredList{})
	w.api = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithIndex(prioritiesMap("", "", nil), "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).
		WithInterceptorFuncs(interceptor.Funcs{
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
				w.writes++
				if w.refuses != nil {
					return w.refuses
				}
				return c.Patch(ctx, o, patch, options...)
			},
			Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
				w.writes++
				if w.refuses != nil {
					return w.refuses
				}
				return c.Create(ctx, o, options...)
			},
		}).Build()
	w.Controller = &Controller{
		Client: w.api, Live: w.api, Policies: w, Store: &forecast.Store{}, Clock: w.clock, Events: w,
		Metrics: NewMetrics(prometheus.NewRegistry()), Options: Options{Interval: 30 * time.Minute, Hysteresis: 0.02},
	}
	w.prepare(nil, nil)
	w.queue = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	t.Cleanup(w.queue.ShutDown)
	w.started = start.Add(-time.Hour)
	w.Store.Fail(source, context.Canceled)
	w.turnTo("north", 100)
	w.turnTo("south", 300)
	return w
}

func (w *world) Level(_ context.Context, _, location string, _ time.Time) (plan.Level, forecast.Source, error) {
	level, ok := w.grid[location]
	if !ok {
		level = plan.Level{HasNoLocation: true, UnknownReason: "no location " + location}
	}
	return level, source, nil
}

func (w *world) NodeGroups(context.Context) ([]policy.NodeGroups, error) { return w.groups, nil }

func (w *world) Announce(_ *metav1.PartialObjectMetadata, _, reason, _, _ string) {
	w.events = append(w.events, reason)
}

// turnTo sets the intensity at a location, and lets the controller know.
func (w *world) turnTo(location string, intensity float64) {
	w.change(location, func(l *plan.Level) { l.Intensity, l.IsKnown = intensity, true })
}

// change changes what is known of a location, and lets the controller know.
func (w *world) change(location string, with func(*plan.Level)) {
	level := w.grid[location]
	level.Location = location
	with(&level)
	w.grid[location] = level
	w.onForecast(source)
}

func (w *world) later(by time.Duration) { w.clock.SetTime(w.clock.Now().Add(by)) }

// prioritiesMap is a ConfigMap of Cluster Autoscaler.
func prioritiesMap(in, priorities string, more map[string]any) *unstructured.Unstructured {
	data := map[string]any{}
	if priorities != "" {
		data[prioritiesKey] = priorities
	}
	for key, value := range more {
		data[key] = value
	}
	o := &unstructured.Unstructured{Object: map[string]any{"data": data}}
	o.SetGroupVersionKind(mapKind())
	o.SetNamespace(in)
	o.SetName(configMap)
	o.SetUID("uid-of-a-map")
	return o
}

// get returns the ConfigMap as the API server has it, nil if there is none.
func (w *world) get() *unstructured.Unstructured {
	w.t.Helper()
	o := prioritiesMap(namespace, "", nil)
	err := w.api.Get(w.t.Context(), client.ObjectKeyFromObject(o), o)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// know lets the controller know the ConfigMap as the API server has it.
func (w *world) know() {
	w.t.Helper()
	w.maps = &watching.Resource{}
	var kept []any
	if o := w.get(); o != nil {
		kept = append(kept, newExpander(o))
	}
	if err := w.maps.Fill(kept...); err != nil {
		w.t.Fatal(err)
	}
}

// owner changes the ConfigMap as its owner does.
func (w *world) owner(change func(data map[string]any)) {
	w.t.Helper()
	o := w.get()
	data, _, _ := unstructured.NestedMap(o.Object, "data")
	change(data)
	_ = unstructured.SetNestedMap(o.Object, data, "data")
	if err := w.api.Update(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

// look has the controller look at the ConfigMap, and returns when it looks again.
func (w *world) look() (again time.Duration) {
	w.t.Helper()
	w.know()
	result, err := w.Reconcile(w.t.Context(), namespace)
	if err != nil {
		w.t.Fatal(err)
	}
	w.know()
	return result.RequeueAfter
}

// priorities returns those that are there.
func (w *world) priorities() string {
	w.t.Helper()
	o := w.get()
	if o == nil {
		return "no ConfigMap"
	}
	text, _, _ := unstructured.NestedString(o.Object, "data", prioritiesKey)
	return text
}

func (w *world) expect(when, want string) {
	w.t.Helper()
	if got := w.priorities(); got != want {
		w.t.Errorf("%s: priorities\n%s, want\n%s", when, got, want)
	}
}
