package widen

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

var t0 = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

var name = types.NamespacedName{Namespace: "park", Name: "render"}

const ownWidth = 4

// world is all that a controller sees, and a record of what it does.
type world struct {
	t *testing.T
	*Controller
	api   client.Client
	clock *clocktesting.FakePassiveClock

	refuses error // is answered to patches
	whyNot  string
	running []plan.Run // beside the Job
	patched []string
	events  []string
	elastic []types.NamespacedName
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	w := &world{t: t, clock: clocktesting.NewFakePassiveClock(t0)}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{batchv1.AddToScheme, corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	w.api = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&batchv1.Job{}).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			if w.refuses != nil {
				return w.refuses
			}
			body, _ := patch.Data(o)
			w.patched = append(w.patched, string(body))
			return c.Patch(ctx, o, patch, options...)
		},
	}).WithReturnManagedFields().Build()
	for _, o := range objects {
		status := statusOf(o)
		if err := w.api.Create(t.Context(), o, client.FieldOwner("owner")); err != nil {
			t.Fatal(err)
		}
		if j, ok := o.(*batchv1.Job); ok {
			j.Status = status
			if err := w.api.Status().Update(t.Context(), j); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.Controller = &Controller{
		Client: w.api, Live: w.api, Policies: policy.Policies{Reader: w.api, Clock: w.clock, Namespace: "gridlatch-system"}, Store: &forecast.Store{},
		Work: w, Clock: w.clock, Events: w, Metrics: NewMetrics(prometheus.NewRegistry()), Options: Options{Interval: DefaultInterval},
		WhyNot: func() string { return w.whyNot },
	}
	w.queue = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[types.NamespacedName]())
	t.Cleanup(w.queue.ShutDown)
	w.started = t0.Add(-time.Hour)
	return w
}

func statusOf(o client.Object) batchv1.JobStatus {
	if j, ok := o.(*batchv1.Job); ok {
		return *j.Status.DeepCopy()
	}
	return batchv1.JobStatus{}
}

func (w *world) Elastic(string) []types.NamespacedName              { return w.elastic }
func (w *world) WatchElastic(wake func(types.NamespacedName)) error { wake(name); return nil }
func (w *world) Beside(*policy.Policy, string, types.UID, map[types.UID]int) ([]plan.Run, error) {
	return w.running, nil
}

func (w *world) Announce(_ *metav1.PartialObjectMetadata, _, reason, _, note string) {
	w.events = append(w.events, reason+": "+note)
}

// turn gives the default policy a forecast of hours from the hour of now on. The last value holds for two days.
func (w *world) turn(values ...float64) {
	w.t.Helper()
	from := w.clock.Now().Truncate(time.Hour)
	var elements []map[string]any
	for i := range 48 {
		elements = append(elements, map[string]any{
			"location": "DE", "timestamp": from.Add(time.Duration(i) * time.Hour).Format(time.RFC3339), "duration": 60, "value": values[min(i, len(values)-1)],
		})
	}
	data, err := json.Marshal(elements)
	if err != nil {
		w.t.Fatal(err)
	}
	document, err := forecast.Parse(data)
	if err != nil {
		w.t.Fatal(err)
	}
	rules, err := w.Policies.Get(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.Store.Offer(rules.Source, document, w.clock.Now()); err != nil {
		w.t.Fatal(err)
	}
}

// look lets the controller look at the Job at a time.
func (w *world) look(at time.Time) reconcile.Result {
	w.t.Helper()
	w.clock.SetTime(at)
	result, err := w.Reconcile(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return result
}

// job returns the Job as the API server has it.
func (w *world) job() *batchv1.Job {
	w.t.Helper()
	j := &batchv1.Job{}
	if err := w.api.Get(w.t.Context(), name, j); err != nil {
		w.t.Fatal(err)
	}
	return j
}

func (w *world) width() int { return int(*w.job().Spec.Parallelism) }

// edit patches the Job, as a user does.
func (w *world) edit(patch string) {
	w.t.Helper()
	o := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	if err := w.api.Patch(w.t.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("kubectl-edit")); err != nil {
		w.t.Fatal(err)
	}
	w.patched = w.patched[:len(w.patched)-1]
}

// succeed lets so many completions of the Job have succeeded.
func (w *world) succeed(completions int) {
	w.t.Helper()
	j := w.job()
	j.Status.Succeeded = int32(completions)
	if err := w.api.Status().Update(w.t.Context(), j); err != nil {
		w.t.Fatal(err)
	}
}

// widths returns how many patches had a parallelism.
func (w *world) widths() int {
	n := 0
	for _, patch := range w.patched {
		if strings.Contains(patch, `"parallelism":`) {
			n++
		}
	}
	return n
}

// expectWidth fails the test if the Job has another width.
func (w *world) expectWidth(want int) {
	w.t.Helper()
	if got := w.width(); got != want {
		w.t.Errorf("at %s the Job has a width of %d, want %d; %v; %q", w.clock.Now().Format(time.TimeOnly), got, want, w.job().Annotations, w.events)
	}
}

// running returns a Job that was released at t0, and that takes ten hours with two pods. It has a day for that.
func running(annotations ...string) *batchv1.Job {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: name.Namespace, Name: name.Name, UID: "uid", CreationTimestamp: metav1.NewTime(t0),
			Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased},
			Annotations: map[string]string{
				v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.ParallelismAnnotation: "2-10", v1alpha1.DurationAnnotation: "10h", v1alpha1.DeadlineAnnotation: "24h",
				v1alpha1.ReasonAnnotation: "started",
			},
		},
		Spec: batchv1.JobSpec{
			Parallelism: ptr.To(int32(ownWidth)), Completions: ptr.To(int32(200)),
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "work", Image: "work"}}}},
		},
	}
	for i := 0; i < len(annotations); i += 2 {
		j.Annotations[annotations[i]] = annotations[i+1]
	}
	return j
}

func keyPatch(key string, value any) string {
	text, _ := json.Marshal(value)
	return fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, key, text)
}
