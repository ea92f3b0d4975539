package gating

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// released makes a pod or Job that was started some time before t0.
func released(kind, name string, ago time.Duration, annotations map[string]string) *metav1.PartialObjectMetadata {
	o := metadata(podKind())
	if kind == "Job" {
		o = metadata(jobKind())
	}
	o.Namespace, o.Name, o.UID = "default", name, types.UID("uid-"+name)
	o.CreationTimestamp = metav1.NewTime(t0.Add(-9 * time.Hour))
	o.Labels = map[string]string{State: StateReleased}
	o.Annotations = map[string]string{PolicyName: "default", Duration: "2h", Started: stamp(t0.Add(-ago))}
	for key, value := range annotations {
		o.Annotations[key] = value
	}
	return o
}

// recordsOf are those of a cache with these objects.
func recordsOf(tb testing.TB, objects ...*metav1.PartialObjectMetadata) *Records {
	tb.Helper()
	r := &Records{}
	for _, of := range []*indexed{&r.pods, &r.jobs} {
		of.Indexer = toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, byPolicy())
	}
	for _, o := range objects {
		of := r.pods
		if o.Kind == jobKind().Kind {
			of = r.jobs
		}
		if err := of.Add(o); err != nil {
			tb.Fatal(err)
		}
	}
	return r
}

func TestRunning(t *testing.T) {
	policy := builtin()
	policy.spec.Locations = []v1alpha1.Location{{Name: "X"}, {Name: "Y"}}
	chooses := builtin()
	chooses.spec.Locations = []v1alpha1.Location{
		{Name: "X", NodeSelector: map[string]string{"at": "x"}}, {Name: "Y", NodeSelector: map[string]string{"at": "y"}},
	}
	ofJob := func(pod *metav1.PartialObjectMetadata, job string) *metav1.PartialObjectMetadata {
		yes := true
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: job, UID: types.UID("uid-" + job), Controller: &yes}}
		return pod
	}
	held := released("Pod", "held", 0, nil)
	held.Labels[State] = StateHeld
	hour := time.Hour
	tests := map[string]struct {
		policy  *Policy
		cached  []*metav1.PartialObjectMetadata
		leaving []freed
		want    map[string][]plan.Run
		settles int
	}{
		"nothing": {want: map[string][]plan.Run{}},
		"pods, each where it was put, to their expected end": {
			cached: []*metav1.PartialObjectMetadata{released("Pod", "a", hour, nil), released("Pod", "b", hour, map[string]string{Location: "Y", Duration: "3h"})},
			want:   map[string][]plan.Run{"X": {{Until: t0.Add(hour), Pods: 1}}, "Y": {{Until: t0.Add(2 * hour), Pods: 1}}},
		},
		"a pod that was never held, from its creation": {
			cached: []*metav1.PartialObjectMetadata{released("Pod", "a", 0, map[string]string{Started: ""})},
			want:   map[string][]plan.Run{"X": {{Until: t0.Add(-7 * hour), Pods: 1}}},
		},
		"what waits is not running": {cached: []*metav1.PartialObjectMetadata{held}, want: map[string][]plan.Run{}},
		"what has just been let go, though the cache does not know yet": {
			leaving: []freed{{held, ""}}, want: map[string][]plan.Run{"X": {{Until: t0.Add(2 * hour), Pods: 1}}},
		},
		"where it was released to, if the policy chooses": {
			policy: chooses,
			cached: []*metav1.PartialObjectMetadata{
				released("Pod", "a", hour, map[string]string{PlannedLocation: "Y"}),
				released("Job", "j", 0, map[string]string{PlannedLocation: "Y", Pods: "3"}),
				released("Pod", "b", hour, map[string]string{PlannedLocation: "one that the policy does not have"}),
				released("Pod", "c", hour, nil),
			},
			leaving: []freed{{held, "Y"}},
			want: map[string][]plan.Run{
				"X": {{Until: t0.Add(hour), Pods: 1}, {Until: t0.Add(hour), Pods: 1}},
				"Y": {{Until: t0.Add(hour), Pods: 1}, {Until: t0.Add(2 * hour), Pods: 1}, {Until: t0.Add(2 * hour), Pods: 3}},
			},
			settles: 1,
		},
		"the pods that a released Job is still to create": {
			cached: []*metav1.PartialObjectMetadata{
				released("Job", "j", 5*time.Second, map[string]string{Pods: "3"}), ofJob(released("Pod", "j-0", 5*time.Second, nil), "j"),
			},
			want: map[string][]plan.Run{"X": {
				{Until: t0.Add(2*hour - 5*time.Second), Pods: 1}, {Until: t0.Add(2*hour - 5*time.Second), Pods: 2},
			}},
			settles: 1,
		},
		"not of one that was released long ago: they are over": {
			cached: []*metav1.PartialObjectMetadata{released("Job", "j", time.Minute, map[string]string{Pods: "3"})}, want: map[string][]plan.Run{},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.policy == nil {
				tt.policy = policy
			}
			got, err := recordsOf(t, tt.cached...).running(tt.policy, tt.leaving, t0)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.at); diff != "" {
				t.Error(diff)
			}
			if len(got.settles) != tt.settles {
				t.Errorf("settles at %v, want %d times", got.settles, tt.settles)
			}
		})
	}
}
