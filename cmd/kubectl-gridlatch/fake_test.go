package main

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
)

// fakeCluster returns a cluster with the forecast of testdata, a controller that leads, and objects; and
// what has the commands use that cluster.
func fakeCluster(t *testing.T, objects ...client.Object) (func(*env), client.Client) {
	t.Helper()
	scheme, err := cluster.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	array, err := os.ReadFile("testdata/forecast.json")
	if err != nil {
		t.Fatal(err)
	}
	renewed := metav1.NewMicroTime(parse(t, evening).Add(-5 * time.Second))
	objects = append(objects,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "batch"}},
		&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "gridlatch-system", Name: "gridlatch"}, Spec: coordinationv1.LeaseSpec{RenewTime: &renewed},
		},
		&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "kube-system", Name: "carbon-intensity", CreationTimestamp: metav1.NewTime(parse(t, "2026-11-21T19:00:00Z")),
			},
			BinaryData: map[string][]byte{"data": array},
		})
	field := func(name string, value func(*corev1.Pod) string) client.IndexerFunc {
		return func(o client.Object) []string {
			if pod, ok := o.(*corev1.Pod); ok {
				return []string{value(pod)}
			}
			return []string{o.GetLabels()[name]} // of metadata alone, the fake knows no more
		}
	}
	c := paged{fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithIndex(&corev1.Pod{}, "status.phase", field("phase", func(pod *corev1.Pod) string { return string(pod.Status.Phase) })).
		WithIndex(&corev1.Pod{}, "spec.nodeName", field("node", func(pod *corev1.Pod) string { return pod.Spec.NodeName })).
		WithIndex(&corev1.ConfigMap{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).
		WithIndex(&corev1.Event{}, "involvedObject.uid", func(o client.Object) []string {
			event, _ := o.(*corev1.Event)
			return []string{string(event.InvolvedObject.UID)}
		}).
		Build()}
	return func(e *env) {
		e.cluster = func(n connection) (*rest.Config, string, error) {
			namespace := n.overrides.Context.Namespace
			if namespace == "" {
				namespace = "batch"
			}
			return &rest.Config{}, namespace, nil
		}
		e.dial = func(*rest.Config) (client.Client, error) { return c, nil }
	}, c
}

// paged lists metadata page by page, as an API server does, and the fake does not.
type paged struct{ client.Client }

func (p paged) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if err := p.Client.List(ctx, list, options...); err != nil {
		return err
	}
	all, ok := list.(*metav1.PartialObjectMetadataList)
	asked := (&client.ListOptions{}).ApplyOptions(options)
	if !ok || asked.Limit == 0 {
		return nil
	}
	from := 0
	if asked.Continue != "" {
		from, _ = strconv.Atoi(asked.Continue)
	}
	to := min(from+int(asked.Limit), len(all.Items))
	if to < len(all.Items) {
		all.Continue = strconv.Itoa(to)
	}
	all.Items = all.Items[from:to]
	return nil
}

const heldReason = "waits until Nov 22 05:00 UTC: 152 gCO2eq/kWh in CAISO_NORTH, 64 % less than the 420 at Nov 21 20:30; latest start Nov 22 07:08"

// heldAnnotations returns the annotations of held work, with more keys and values.
func heldAnnotations(more ...string) map[string]string {
	annotations := map[string]string{
		v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "2h", v1alpha1.PolicyAnnotation: "default",
		v1alpha1.ReasonAnnotation: heldReason, v1alpha1.PlannedStartAnnotation: "2026-11-22T05:00:00Z", v1alpha1.LatestStartAnnotation: "2026-11-22T07:08:00Z",
		v1alpha1.IntensityAtCreationAnnotation: "420.0",
	}
	for i := 0; i < len(more); i += 2 {
		annotations[more[i]] = more[i+1]
	}
	return annotations
}

func named(name, state string, annotations map[string]string) metav1.ObjectMeta {
	created, _ := time.Parse(time.RFC3339, "2026-11-21T20:30:00Z")
	m := metav1.ObjectMeta{
		Namespace: "batch", Name: name, UID: types.UID("uid-of-" + name), Annotations: annotations, CreationTimestamp: metav1.NewTime(created),
		Labels: map[string]string{"app": name},
	}
	if state != "" {
		m.Labels[v1alpha1.StateLabel] = state
	}
	return m
}

func jobOf(name, state string, annotations map[string]string, pods int32) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: named(name, state, annotations), Spec: batchv1.JobSpec{
		Parallelism: &pods, Completions: &pods, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
	}}
	return j
}

func podOf(name, state string, annotations map[string]string, owner *batchv1.Job) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: named(name, state, annotations), Status: corev1.PodStatus{Phase: corev1.PodPending}}
	if state == v1alpha1.StateHeld {
		p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/other"}, {Name: v1alpha1.Gate}}
	}
	if owner != nil {
		p.Labels["app"] = owner.Name
		p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, batchv1.SchemeGroupVersion.WithKind("Job"))}
	}
	return p
}

// workInEachState returns work in each state.
func workInEachState() []client.Object {
	gated := jobOf("nightly-report", v1alpha1.StateHeld, heldAnnotations(v1alpha1.DeadlineAnnotation, "12h44m"), 2)
	whole := jobOf("bounded", v1alpha1.StateHeld, heldAnnotations(v1alpha1.HeldByAnnotation, v1alpha1.HoldBySuspend, v1alpha1.PlannedStartAnnotation, "2026-11-22T03:20:00Z"), 7)
	suspend := true
	whole.Spec.Suspend = &suspend
	started := podOf("started", v1alpha1.StateReleased, heldAnnotations(v1alpha1.PlannedStartAnnotation, "",
		v1alpha1.ReasonAnnotation, "started Nov 21 21:00 UTC: 401 gCO2eq/kWh in CAISO_NORTH, no later start is cleaner; 5 % less than the 420 at its creation"), nil)
	started.Status.Phase, started.Labels["phase"] = corev1.PodRunning, "Running"
	started.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(started.CreationTimestamp.Add(30 * time.Minute)),
	}}
	done := jobOf("done", "", nil, 1)
	done.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
	working := jobOf("working", "", nil, 1)
	runs := podOf("working-1", "", nil, working)
	runs.Spec.NodeName, runs.Status.Phase = "node-0", corev1.PodRunning
	asleep := jobOf("asleep", "", nil, 1)
	asleep.Spec.Suspend = &suspend
	return []client.Object{
		gated, podOf("nightly-report-a", v1alpha1.StateHeld, heldAnnotations(), gated), podOf("nightly-report-b", v1alpha1.StateHeld, heldAnnotations(), gated),
		whole, started, podOf("backup", v1alpha1.StateHeld, heldAnnotations(), nil), jobOf("ordinary", "", nil, 1), done, working, runs, asleep,
		jobOf("unseen", "", map[string]string{v1alpha1.DelayTolerantAnnotation: "true"}, 1),
		jobOf("managed", v1alpha1.StateReleased, heldAnnotations(v1alpha1.ReasonAnnotation, "not held: it is managed by example.com/other", v1alpha1.OutcomeAnnotation, v1alpha1.OutcomeNotHeld), 1),
	}
}

func read[T client.Object](t *testing.T, c client.Client, name string, o T) T {
	t.Helper()
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "batch", Name: name}, o); err != nil {
		t.Fatal(err)
	}
	return o
}
