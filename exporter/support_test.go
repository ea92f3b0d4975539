package exporter

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
)

const (
	namespace = "gridlatch-system"
	hour      = time.Hour
	day       = 24 * hour
)

func start() time.Time { return time.Date(2026, 11, 26, 10, 20, 0, 0, time.UTC) }

// world is an exporter with its API server and its clock. Pauses of a provider's client take the time
// of the clock, and no other.
type world struct {
	*Exporter

	t     *testing.T
	clock *clocktesting.FakeClock

	mu       sync.Mutex
	writes   []string // such as "update carbon-intensity-try"
	attempts int      // to update
	forbid   string   // the write that the API server refuses, in the same form
}

// written returns the writes.
func (w *world) written() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.writes)
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, clock: clocktesting.NewFakeClock(start())}
	note := func(verb string, o client.Object, err error) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if err == nil {
			w.writes = append(w.writes, verb+" "+o.GetName())
		}
		return err
	}
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return note("create", o, c.Create(ctx, o, opts...))
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			w.attempts++
			if w.forbid == "update "+o.GetName() {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, o.GetName(), nil)
			}
			return note("update", o, c.Update(ctx, o, opts...))
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if w.forbid == "delete "+o.GetName() {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, o.GetName(), nil)
			}
			return note("delete", o, c.Delete(ctx, o, opts...))
		},
	}).Build()
	w.Exporter = w.exporter(api, api)
	return w
}

// exporter returns another exporter in the same world, as after a restart.
func (w *world) exporter(c client.Client, reader client.Reader) *Exporter {
	return &Exporter{
		Client: c, APIReader: reader, Namespace: namespace, Clock: w.clock, Metrics: NewMetrics(prometheus.NewRegistry()), IsManual: true,
		Options: provider.Options{
			Jitter: func() float64 { return 0 },
			Sleep: func(ctx context.Context, d time.Duration) error {
				w.clock.Step(d)
				return ctx.Err()
			},
		},
	}
}

// asker returns the asker of the only target, which nobody runs.
func (w *world) asker(e *Exporter) *asker {
	w.t.Helper()
	targets, err := e.targets(w.t.Context())
	if err != nil || len(targets) != 1 {
		w.t.Fatalf("%d targets, %v; want 1", len(targets), err)
	}
	a := newAsker(e, targets[0].source)
	a.assign(targets)
	return a
}

// runUntil makes an asker do what is due until nothing is for a while.
func (w *world) runUntil(a *asker, end time.Time) {
	w.t.Helper()
	for range 10_000 {
		next := a.step(w.t.Context())
		if next.After(end) {
			if w.clock.Now().Before(end) {
				w.clock.SetTime(end)
			}
			return
		}
		if next.After(w.clock.Now()) {
			w.clock.SetTime(next)
		}
	}
	w.t.Fatal("the asker does not come to rest")
}

func (w *world) configMap(name string) *corev1.ConfigMap {
	w.t.Helper()
	var found corev1.ConfigMap
	if err := w.APIReader.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &found); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		w.t.Fatal(err)
	}
	return &found
}

// document returns what readers of the ConfigMap of the policy try read.
func (w *world) document() forecast.Document {
	w.t.Helper()
	found := w.configMap("carbon-intensity-try")
	if found == nil {
		w.t.Fatal("there is no ConfigMap")
	}
	d, err := forecast.FromConfigMap(found.BinaryData, found.Data, "data", w.clock.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) message() string {
	w.t.Helper()
	if found := w.configMap("carbon-intensity-try"); found != nil {
		return found.Data["message"]
	}
	return "there is no ConfigMap"
}

// grid is the server of a provider of one's own. It answers as the exporter's format has it.
type grid struct {
	*httptest.Server

	mu       sync.Mutex
	now      func() time.Time
	requests []string // such as "forecast DE"
	// fail answers in place of the grid, if it returns true.
	fail func(w http.ResponseWriter, r *http.Request) bool
	// slot is how long slots are, and past how much of the past there is.
	slot, past time.Duration
	// late is how long after an hour its intensity is known.
	late time.Duration
	// shift is added to all values of the forecasts.
	shift float64
}

func newGrid(t *testing.T, now func() time.Time) *grid {
	t.Helper()
	g := &grid{now: now, slot: hour, past: retention}
	g.Server = httptest.NewServer(http.HandlerFunc(g.answer))
	t.Cleanup(g.Close)
	return g
}

func (g *grid) answer(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	what, query := r.URL.Path[1:], r.URL.Query()
	g.requests = append(g.requests, what+" "+query.Get("zone"))
	if g.fail != nil && g.fail(w, r) {
		return
	}
	now := g.now()
	from, to, shift := now.Truncate(day), now.Truncate(day).Add(2*day), g.shift
	if what == "past" {
		shift = 0
		from, _ = time.Parse(time.RFC3339, query.Get("from"))
		to, _ = time.Parse(time.RFC3339, query.Get("to"))
		from, to = later(from, now.Add(-g.past)), earlier(to, now.Add(-g.late).Truncate(g.slot)) // the current slot is not known yet
	}
	type element struct {
		Location  string    `json:"location"`
		Timestamp time.Time `json:"timestamp"`
		Duration  float64   `json:"duration"`
		Value     float64   `json:"value"`
	}
	elements := []element{}
	for at := from.Truncate(g.slot); at.Before(to); at = at.Add(g.slot) {
		elements = append(elements, element{query.Get("zone"), at, g.slot.Minutes(), intensity(at) + shift})
	}
	_ = json.NewEncoder(w).Encode(elements)
}

// intensity is the same in all slots of an hour.
func intensity(at time.Time) float64 { return 200 + float64(at.Truncate(hour).Unix()/3600%17) }

// asked returns the requests since the last call.
func (g *grid) asked() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	requests := g.requests
	g.requests = nil
	return requests
}

// setFail makes the server fail, or succeed again.
func (g *grid) setFail(fail func(w http.ResponseWriter, r *http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail = fail
}

func status(code int, text string) func(http.ResponseWriter, *http.Request) bool {
	n := 0
	return func(w http.ResponseWriter, _ *http.Request) bool {
		n++
		http.Error(w, fmt.Sprintf("%s %d", text, n), code)
		return true
	}
}

// policy returns a policy that asks a grid.
func policy(g *grid, zones ...string) *v1alpha1.CarbonPolicy {
	p := &v1alpha1.CarbonPolicy{ObjectMeta: metav1.ObjectMeta{Name: "try"}, Spec: v1alpha1.Default().Spec}
	p.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "HTTP", HTTP: &v1alpha1.HTTPProvider{
		ForecastURL: g.URL + "/forecast?zone={zone}", PastURL: g.URL + "/past?zone={zone}&from={from}&to={to}",
	}}
	for _, zone := range zones {
		p.Spec.Locations = append(p.Spec.Locations, v1alpha1.Location{Name: zone})
	}
	return p
}
