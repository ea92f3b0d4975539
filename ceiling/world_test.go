package ceiling

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/watching"
)

// carbonIntensity is the source of the exporter.
var carbonIntensity = forecast.Source{Namespace: "kube-system", Name: "carbon-intensity", Key: "data"}

// world is all that a controller sees, and a record of what it does.
type world struct {
	t *testing.T
	*Controller
	client.Client
	clock   *clocktesting.FakePassiveClock
	level   plan.Level
	jobs    []batchv1.Job
	objects map[string]document // the objects that patches change, by name
	// What is answered to patches of targets, to patches of the status of scalers, to lists of
	// Jobs, to who follows forecasts, and to who asks for the level of a policy.
	refuses, refusesStatus, refusesJobs, refusesToFollow, refusesLevel error

	patched  []string // bodies of the patches of targets
	told     []string // the notes of the Events
	statuses map[string]carbonaware.CarbonAwareKedaScalerStatus
	events   []string
	followed []forecast.Source
	planned  []string          // the policies whose level was asked for
	live     metav1.ObjectMeta // of a target
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, clock: clocktesting.NewFakePassiveClock(clock(t, "2026-11-22T12:00:00Z")), statuses: map[string]carbonaware.CarbonAwareKedaScalerStatus{}, objects: map[string]document{}}
	w.Controller = &Controller{
		Client: w, Live: w, Policies: w, Store: &forecast.Store{}, Clock: w.clock, Events: w, Metrics: NewMetrics(prometheus.NewRegistry()),
		Follow: func(_ context.Context, sources []forecast.Source) error {
			w.followed = sources
			return w.refusesToFollow
		},
	}
	w.prepare(nil, nil)
	w.queue = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[ref]())
	t.Cleanup(w.queue.ShutDown)
	w.started = w.clock.Now().Add(-time.Hour)
	w.scalersChanged.Store(true)
	for _, watcher := range []*watching.Resource{w.targets[scaledObject], w.targets[scaledJob], w.scalers} {
		if err := watcher.Fill(); err != nil {
			t.Fatal(err)
		}
	}
	buckets, err := plan.ParseBuckets("200=20,*=5")
	if err != nil {
		t.Fatal(err)
	}
	w.level = plan.Level{Intensity: 300, IsKnown: true, Buckets: buckets}
	w.Store.Fail(carbonIntensity, context.Canceled)
	return w
}

// has puts an object into the cache that has it.
func (w *world) has(t *testing.T, objects ...any) {
	t.Helper()
	for _, object := range objects {
		cached := w.scalers
		if o, ok := object.(*target); ok {
			cached = w.targets[o.kind]
		}
		if err := cached.Fill(object); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) Level(_ context.Context, policy, _ string, _ time.Time) (plan.Level, forecast.Source, error) {
	w.planned = append(w.planned, policy)
	if policy == "other" {
		return w.level, forecast.Source{Namespace: "shop", Name: "other", Key: "data"}, w.refusesLevel
	}
	return w.level, carbonIntensity, w.refusesLevel
}

func (w *world) Announce(_ *metav1.PartialObjectMetadata, _, reason, _, note string) {
	w.events, w.told = append(w.events, reason), append(w.told, note)
}

func (w *world) Patch(_ context.Context, object client.Object, patch client.Patch, _ ...client.PatchOption) error {
	body, _ := patch.Data(nil)
	w.patched = append(w.patched, string(body))
	if d, ok := w.objects[object.GetName()]; ok && w.refuses == nil {
		w.set(d.patched(w.t, body))
	}
	return w.refuses
}

// set makes an object be, and lets the controller know.
func (w *world) set(d document) *target {
	w.t.Helper()
	k := kind(d["kind"].(string))
	kept, err := keepTarget(k, &triggerReader{form: w.Options.Form})((&unstructured.Unstructured{Object: d}).DeepCopy())
	if err != nil {
		w.t.Fatal(err)
	}
	t := kept.(*target)
	w.objects[t.Name] = d
	w.has(w.t, t)
	return t
}

// look has the controller look at a target.
func (w *world) look(r ref) reconcile.Result {
	w.t.Helper()
	result, err := w.Reconcile(w.t.Context(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return result
}

func (w *world) Get(_ context.Context, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	w.live.DeepCopyInto(&object.(*metav1.PartialObjectMetadata).ObjectMeta)
	return nil
}

func (w *world) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*batchv1.JobList).Items = w.jobs
	return w.refusesJobs
}

func (w *world) Status() client.SubResourceWriter { return statusWriter{world: w} }

type statusWriter struct {
	client.SubResourceWriter
	world *world
}

func (s statusWriter) Patch(_ context.Context, object client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	body, err := patch.Data(nil)
	if err != nil {
		return err
	}
	var changes []struct {
		Value carbonaware.CarbonAwareKedaScalerStatus
	}
	if err := json.Unmarshal(body, &changes); err != nil {
		return err
	}
	s.world.statuses[object.GetNamespace()+"/"+object.GetName()] = changes[0].Value
	return s.world.refusesStatus
}

// reason is that of a scaler's condition.
func (w *world) reason(name string) string {
	for _, c := range w.statuses[name].Conditions {
		return c.Reason
	}
	return ""
}

// web is a target with a maxReplicaCount of 40.
func web(k kind, annotations map[string]string) *target {
	d := scaled(map[string]any{"maxReplicaCount": int64(40), "rollout": map[string]any{"strategy": "gradual"}}, nil)
	o := &unstructured.Unstructured{Object: d}
	o.SetAnnotations(annotations)
	o.SetCreationTimestamp(metav1.Unix(1000, 0))
	return d.target(k)
}

func scaler(namespace, name string, created int64) *carbonaware.CarbonAwareKedaScaler {
	s := &carbonaware.CarbonAwareKedaScaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name), CreationTimestamp: metav1.Unix(created, 0)},
		Spec:       *three(),
	}
	s.Spec.KedaTarget, s.Spec.KedaTargetRef = carbonaware.TargetScaledObjects, carbonaware.KedaTargetRef{Namespace: "shop", Name: "web"}
	s.Spec.CarbonIntensityForecastDataSource.MockCarbonForecast = true // always in the last bucket: 10
	return s
}
