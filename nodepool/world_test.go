package nodepool

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

var errDown = errors.New("the server is down")

// carbonIntensity is the source of the exporter.
var carbonIntensity = forecast.Source{Namespace: "gridlatch-system", Name: "carbon-intensity", Key: "data"}

const region = "topology.kubernetes.io/region"

// world is all that a controller sees, and a record of what it does. Its policies have the locations of
// grid, which are named like their regions.
type world struct {
	t testing.TB
	*Controller
	api   client.Client
	clock *clocktesting.FakePassiveClock
	grid  map[string]plan.Level
	// refuses is answered to patches and deletions, refusesLevel to who asks for a level.
	refuses, refusesLevel error

	events  []string // reasons
	told    []string // notes
	patched []string
	planned int
}

func newWorld(t testing.TB) *world {
	start := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	w := &world{t: t, clock: clocktesting.NewFakePassiveClock(start), grid: map[string]plan.Level{}}
	w.api = server(t, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			body, _ := patch.Data(o)
			w.patched = append(w.patched, string(body))
			if w.refuses != nil {
				return w.refuses
			}
			return c.Patch(ctx, o, patch, options...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			if w.refuses != nil {
				return w.refuses
			}
			return c.Delete(ctx, o, options...)
		},
	})
	w.Controller = &Controller{
		Client: w.api, Live: w.api, Policies: w, Store: &forecast.Store{}, Clock: w.clock, Events: w,
		Metrics: NewMetrics(prometheus.NewRegistry()), Options: Options{Interval: 30 * time.Minute, Hysteresis: 0.02},
	}
	w.prepare(nil, nil)
	w.queue = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	t.Cleanup(w.queue.ShutDown)
	w.started = start.Add(-time.Hour)
	if err := errors.Join(w.pools.Fill(), w.overlays.Fill()); err != nil {
		t.Fatal(err)
	}
	w.Store.Fail(carbonIntensity, context.Canceled)
	w.turnTo("DE", 300)
	return w
}

// server is an API server with NodePools.
func server(t testing.TB, calls interceptor.Funcs, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(poolKind(), &unstructured.Unstructured{})
	scheme.AddKnownTypeWithName(poolKind().GroupVersion().WithKind("NodePoolList"), &unstructured.UnstructuredList{})
	scheme.AddKnownTypeWithName(overlayKind(), &unstructured.Unstructured{})
	scheme.AddKnownTypeWithName(overlayKind().GroupVersion().WithKind("NodeOverlayList"), &unstructured.UnstructuredList{})
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(calls).Build()
}

// Level is that of the grid. The policy gone does not exist.
func (w *world) Level(_ context.Context, name, location string, _ time.Time) (plan.Level, forecast.Source, error) {
	w.planned++
	if name == "gone" {
		return plan.Level{}, forecast.Source{}, apierrors.NewNotFound(schema.GroupResource{}, name)
	}
	if location == "" {
		location = "DE"
	}
	level, ok := w.grid[location]
	if !ok {
		level = plan.Level{HasNoLocation: true, UnknownReason: "no location " + location}
	}
	return level, carbonIntensity, w.refusesLevel
}

func (w *world) Place(_ context.Context, _ string, labels map[string][]string) (string, error) {
	switch at := labels[region]; len(at) {
	case 0:
		return "", nil
	case 1:
		return at[0], nil
	default:
		return "", policy.ErrScattered
	}
}

func (w *world) Announce(_ *metav1.PartialObjectMetadata, _, reason, _, note string) {
	w.events, w.told = append(w.events, reason), append(w.told, note)
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
	w.onForecast(carbonIntensity)
}

// later lets time go by.
func (w *world) later(by time.Duration) { w.clock.SetTime(w.clock.Now().Add(by)) }

// nodePool is a NodePool with some annotations and a spec.
func nodePool(name string, annotations map[string]string, spec map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetGroupVersionKind(poolKind())
	o.SetName(name)
	o.SetUID("uid-of-a-pool")
	if len(annotations) > 0 {
		o.SetAnnotations(annotations)
	}
	if spec != nil {
		o.Object["spec"] = spec
	}
	return o
}

// in returns a spec whose nodes are in some regions.
func in(regions ...any) map[string]any {
	return map[string]any{"template": map[string]any{"spec": map[string]any{"requirements": []any{
		map[string]any{"key": region, "operator": "In", "values": regions},
	}}}}
}

// has creates NodePools, and lets the controller know.
func (w *world) has(pools ...*unstructured.Unstructured) {
	w.t.Helper()
	for _, o := range pools {
		if err := w.api.Create(w.t.Context(), o); err != nil {
			w.t.Fatal(err)
		}
		w.know(o.GetName())
	}
}

// get returns a NodePool as the API server has it.
func (w *world) get(name string) *unstructured.Unstructured {
	w.t.Helper()
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(poolKind())
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Name: name}, o); err != nil {
		w.t.Fatal(err)
	}
	return o
}

// know lets the controller know a NodePool as the API server has it.
func (w *world) know(name string) {
	w.t.Helper()
	before, after := w.pool(name), newPool(w.get(name))
	if err := w.pools.Fill(after); err != nil {
		w.t.Fatal(err)
	}
	if before == nil {
		w.onPool().OnAdd(after, false)
		return
	}
	w.onPool().OnUpdate(before, after)
}

// owner changes a NodePool as its owner does, and lets the controller know.
func (w *world) owner(name string, change func(*unstructured.Unstructured)) {
	w.t.Helper()
	o := w.get(name)
	change(o)
	if err := w.api.Update(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
	w.know(name)
}

// look has the controller look at pools, and lets it know of its own changes. It returns when the last
// one is to be looked at again.
func (w *world) look(names ...string) (again time.Duration) {
	w.t.Helper()
	for _, name := range names {
		result, err := w.Reconcile(w.t.Context(), name)
		if err != nil {
			w.t.Fatal(err)
		}
		again = result.RequeueAfter
		w.know(name)
	}
	return again
}

// spec returns a field of a NodePool's spec.
func (w *world) spec(name string, field string) any {
	w.t.Helper()
	value, _, _ := unstructured.NestedFieldCopy(w.get(name).Object, "spec", field)
	return value
}

// note returns an annotation of a NodePool.
func (w *world) note(name, key string) string { return w.get(name).GetAnnotations()[key] }

// asking has annotations that ask for limits, and more.
func asking(more map[string]string) map[string]string {
	all := map[string]string{v1alpha1.LimitsAnnotation: "200=cpu:1000,350=cpu:200,*=cpu:0"}
	maps.Copy(all, more)
	return all
}
