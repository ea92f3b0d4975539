package keep

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/pages"
	"github.com/gridlatch/gridlatch/policy"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const home = "gridlatch-system"

// clock is a clock that a test sets.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// rig is a cluster with a policy, and counts what is written to it.
type rig struct {
	*clock
	api    client.WithWatch
	store  *forecast.Store
	writes []time.Time
	refuse error // what the API server says to each write
	// refuseOne is what it says to the write of one object. It may be nil.
	refuseOne func(client.Object) error
}

func newRig(t testing.TB) *rig {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{clock: &clock{t0}, store: &forecast.Store{}}
	note := func(o client.Object) error {
		if r.refuseOne != nil && r.refuse == nil {
			if err := r.refuseOne(o); err != nil {
				return err
			}
		}
		if r.refuse == nil {
			r.writes = append(r.writes, r.now)
		}
		return r.refuse
	}
	r.api = fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := note(o); err != nil {
				return err
			}
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if err := note(o); err != nil {
				return err
			}
			return c.Update(ctx, o, opts...)
		},
	}).Build()
	return r
}

// source is the source of the built-in default policy.
func (r *rig) source(t testing.TB) forecast.Source {
	t.Helper()
	p, err := r.policies().Get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return p.Source
}

// hours returns so many intensities that a provider could have.
func hours(n int) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = 200 + 10*float64(i%12)
	}
	return all
}

// offer makes the actual intensities from a time on known, by hours.
func (r *rig) offer(t testing.TB, from time.Time, hours ...float64) {
	t.Helper()
	var slots []forecast.Slot
	for i, intensity := range hours {
		start := from.Add(time.Duration(i) * time.Hour)
		slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: intensity})
	}
	series := forecast.NewSeries(slots)
	d := forecast.Document{Issued: r.now, Actuals: map[string]*forecast.Series{"X": series}}
	if err := r.store.Offer(r.source(t), d, r.now); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) policies() policy.Policies {
	return policy.Policies{Reader: r.api, Clock: r.clock, Namespace: home}
}

// keeper returns a keeper that has become the leader.
func (r *rig) keeper(t testing.TB) *Keeper {
	t.Helper()
	k := &Keeper{
		Store: r.store, Policies: r.policies(), Clock: r.clock, Metrics: NewMetrics(prometheus.NewRegistry()),
		Pages: pages.Store{Reader: r.api, Writer: r.api, Namespace: home},
	}
	k.prepare()
	if err := k.load(t.Context(), r.now); err != nil {
		t.Fatal(err)
	}
	return k
}

// pass runs a pass at a time.
func (r *rig) pass(t testing.TB, k *Keeper, at time.Time) {
	t.Helper()
	r.now = at
	if err := k.pass(t.Context(), at); err != nil {
		t.Fatal(err)
	}
}

// booked returns the groups on all pages, by their names. A group that is there twice is a failure.
func (r *rig) booked(t testing.TB) map[string]ledger.Group {
	t.Helper()
	all, err := pages.Read(t.Context(), pages.Store{Reader: r.api, Namespace: home}, t0.AddDate(-2, 0, 0), t0.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]ledger.Group{}
	for _, page := range all {
		for _, g := range page.Groups() {
			if _, again := found[g.Name]; again {
				t.Errorf("%s is booked twice", g.Name)
			}
			found[g.Name] = g
		}
	}
	return found
}

// list makes a keeper know these Jobs and pods, and no others, as after the start of its watches.
func (k *Keeper) list(t testing.TB, objects ...client.Object) {
	t.Helper()
	var jobs, pods []any
	for _, o := range objects {
		if _, isJob := o.(*batchv1.Job); isJob {
			jobs = append(jobs, o)
		} else {
			pods = append(pods, o)
		}
	}
	if err := k.jobSink().Replace(jobs, ""); err != nil {
		t.Fatal(err)
	}
	if err := k.podSink(watchPods).Replace(pods, ""); err != nil {
		t.Fatal(err)
	}
}

// see tells a keeper at a time of an object that is new or has changed; gone of one that has gone.
func (k *Keeper) see(t testing.TB, at time.Time, o client.Object) { k.tell(t, at, o, (*sink).Add) }

func (k *Keeper) gone(t testing.TB, at time.Time, o client.Object) {
	k.tell(t, at, o, (*sink).Delete)
}

func (k *Keeper) tell(t testing.TB, at time.Time, o client.Object, how func(*sink, any) error) {
	t.Helper()
	k.Clock.(*clock).now = at
	s := k.podSink(watchPods)
	if _, isJob := o.(*batchv1.Job); isJob {
		s = k.jobSink()
	}
	if err := how(s, o); err != nil {
		t.Fatal(err)
	}
}

// released is a Job that was released a while after its creation.
func released(name string, created time.Time, waited time.Duration) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Namespace: "n", Name: name, UID: types.UID("job-" + name), CreationTimestamp: metav1.NewTime(created),
		Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased},
		Annotations: map[string]string{
			v1alpha1.PolicyAnnotation: v1alpha1.DefaultPolicy, v1alpha1.StartedAnnotation: created.Add(waited).Format(time.RFC3339),
			v1alpha1.LatestStartAnnotation: created.Add(8 * time.Hour).Format(time.RFC3339),
		},
	}, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: twoCores()}}}
}

func twoCores() corev1.PodSpec {
	return corev1.PodSpec{NodeName: "node", Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("4Gi")},
	}}}}
}

// complete completes a Job.
func complete(j *batchv1.Job, at time.Time) *batchv1.Job {
	j = j.DeepCopy()
	j.Status.Succeeded, j.Status.CompletionTime = 1, ptr.To(metav1.NewTime(at))
	j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(at)}}
	return j
}

// running is a pod of a Job that runs.
func running(j *batchv1.Job, number int, start time.Time) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: j.Namespace, Name: fmt.Sprintf("%s-%d", j.Name, number), UID: types.UID(fmt.Sprintf("pod-%s-%d", j.Name, number)),
			CreationTimestamp: metav1.NewTime(start), Labels: j.Labels, Annotations: j.Annotations,
			OwnerReferences: []metav1.OwnerReference{{Kind: "Job", Name: j.Name, UID: j.UID, Controller: ptr.To(true)}},
		},
		Spec:   twoCores(),
		Status: corev1.PodStatus{Phase: corev1.PodRunning, StartTime: ptr.To(metav1.NewTime(start))},
	}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(start)}}}}
	return p
}

// ended ends a pod.
func ended(p *corev1.Pod, phase corev1.PodPhase, at time.Time) *corev1.Pod {
	p = p.DeepCopy()
	p.Status.Phase = phase
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{StartedAt: *p.Status.StartTime, FinishedAt: metav1.NewTime(at)}}
	return p
}

// done returns a Job that is complete, and its pod.
func done(name string, created time.Time, waited, took time.Duration) (*batchv1.Job, *corev1.Pod) {
	j := released(name, created, waited)
	start := created.Add(waited)
	return complete(j, start.Add(took)), ended(running(j, 0, start), corev1.PodSucceeded, start.Add(took))
}
