package gating

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// released makes a pod or Job that was started some time before t0. The pod has a
// node.
func released(kind, name string, ago time.Duration, annotations map[string]string) *record {
	o := recordOf(hold.PodKind())
	o.hasNode = true
	if kind == "Job" {
		o = recordOf(hold.JobKind())
		o.podsToRun = 3
	}
	o.Namespace, o.Name, o.UID = "default", name, types.UID("uid-"+name)
	o.CreationTimestamp = metav1.NewTime(t0.Add(-9 * time.Hour))
	o.Labels = map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}
	o.Annotations = map[string]string{v1alpha1.PolicyAnnotation: "default", v1alpha1.DurationAnnotation: "2h", v1alpha1.StartedAnnotation: policy.FormatTime(t0.Add(-ago))}
	for key, value := range annotations {
		o.Annotations[key] = value
	}
	return o
}

// releasedWhole is a JobSet of 3 pods that was started some time before t0 and takes 2 hours.
func releasedWhole(name string, ago time.Duration, isOver bool) *record {
	o := released("Job", name, ago, nil)
	o.Kind, o.APIVersion, o.isOver = "JobSet", "jobset.x-k8s.io/v1alpha2", isOver
	return o
}

// suspendedWhole is a released JobSet that somebody else keeps suspended.
func suspendedWhole(name string, ago time.Duration) *record {
	o := releasedWhole(name, ago, false)
	o.isSuspended = true
	return o
}

// ownWhole is the release of such a JobSet by the loop.
func ownWhole(ago time.Duration) ownRelease {
	return ownRelease{at: t0.Add(-ago), plannedEnd: t0.Add(2*time.Hour - ago), hadRoom: true}
}

// recordsOf are those of a cache with these objects.
func recordsOf(tb testing.TB, objects ...*record) *Records {
	tb.Helper()
	all := make([]runtime.Object, len(objects))
	for i, o := range objects {
		all[i] = o
	}
	r, err := StaticRecords(all...)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// at is a policy of locations.
func at(locations ...v1alpha1.Location) *policy.Policy {
	object := v1alpha1.Default()
	object.Spec.Locations = locations
	return policy.New(context.Background(), object, "gridlatch-system", nil, t0)
}

func TestRunning(t *testing.T) {
	rules := at(v1alpha1.Location{Name: "X"}, v1alpha1.Location{Name: "Y"})
	chooses := at(
		v1alpha1.Location{Name: "X", NodeSelector: map[string]string{"at": "x"}}, v1alpha1.Location{Name: "Y", NodeSelector: map[string]string{"at": "y"}},
	)
	ofJob := func(pod *record, job string) *record {
		yes := true
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: job, UID: types.UID("uid-" + job), Controller: &yes}}
		return pod
	}
	nodeless := func(pod *record) *record {
		pod.hasNode = false
		return pod
	}
	held := released("Pod", "held", 0, nil)
	held.Labels[v1alpha1.StateLabel], held.isGated, held.hasNode = v1alpha1.StateHeld, true, false
	hour := time.Hour
	tests := map[string]struct {
		policy  *policy.Policy
		cached  []*record
		leaving []unseenRelease
		vouched map[types.UID]ownRelease
		want    map[string][]plan.Run
		settles int
	}{
		"nothing": {want: map[string][]plan.Run{}},
		"pods, each where it was put, to their expected end": {
			cached: []*record{released("Pod", "a", hour, nil), released("Pod", "b", hour, map[string]string{v1alpha1.LocationAnnotation: "Y", v1alpha1.DurationAnnotation: "3h"})},
			want:   map[string][]plan.Run{"X": {{Until: t0.Add(hour), Pods: 1}}, "Y": {{Until: t0.Add(2 * hour), Pods: 1}}},
		},
		"a pod that was never held, from its creation": {
			cached: []*record{released("Pod", "a", 0, map[string]string{v1alpha1.StartedAnnotation: ""})},
			want:   map[string][]plan.Run{"X": {{Until: t0.Add(-7 * hour), Pods: 1}}},
		},
		"a pod that says it starts in a hundred years started now": {
			cached: []*record{released("Pod", "a", 0, map[string]string{v1alpha1.StartedAnnotation: "2126-01-01T00:00:00Z"})},
			want:   map[string][]plan.Run{"X": {{Until: t0.Add(2 * hour), Pods: 1}}},
		},
		"what waits is not running": {cached: []*record{held}, want: map[string][]plan.Run{}},
		"what has just been let go, though the cache does not know yet": {
			leaving: []unseenRelease{{held, ""}}, vouched: map[types.UID]ownRelease{held.UID: {at: t0, hadRoom: true}},
			want: map[string][]plan.Run{"X": {{Until: t0.Add(2 * hour), Pods: 1}}},
		},
		"where it was released to, if the policy chooses": {
			policy: chooses,
			cached: []*record{
				released("Pod", "a", hour, map[string]string{v1alpha1.PlannedLocationAnnotation: "Y"}),
				released("Job", "j", 0, map[string]string{v1alpha1.PlannedLocationAnnotation: "Y"}),
				released("Pod", "b", hour, map[string]string{v1alpha1.PlannedLocationAnnotation: "one that the policy does not have"}),
				released("Pod", "c", hour, nil),
			},
			leaving: []unseenRelease{{held, "Y"}},
			vouched: map[types.UID]ownRelease{held.UID: {at: t0, hadRoom: true}, "uid-j": {at: t0, hadRoom: true}},
			want: map[string][]plan.Run{
				"X": {{Until: t0.Add(hour), Pods: 1}, {Until: t0.Add(hour), Pods: 1}},
				"Y": {{Until: t0.Add(hour), Pods: 1}, {Until: t0.Add(2 * hour), Pods: 1}, {Until: t0.Add(2 * hour), Pods: 3}},
			},
			settles: 1,
		},
		"the pods that a released Job is still to create": {
			cached:  []*record{released("Job", "j", 5*time.Second, nil), ofJob(nodeless(released("Pod", "j-0", 5*time.Second, nil)), "j")},
			vouched: map[types.UID]ownRelease{"uid-j": {at: t0.Add(-5 * time.Second), hadRoom: true}},
			want: map[string][]plan.Run{"X": {
				{Until: t0.Add(2*hour - 5*time.Second), Pods: 1}, {Until: t0.Add(2*hour - 5*time.Second), Pods: 2},
			}},
			settles: 1,
		},
		"not of one that was released long ago: they are over": {
			cached: []*record{released("Job", "j", time.Minute, nil)}, vouched: map[types.UID]ownRelease{"uid-j": {at: t0.Add(-time.Minute), hadRoom: true}},
			want: map[string][]plan.Run{},
		},
		"nor of one for which there was no room: others would wait for its claim": {
			cached: []*record{released("Job", "j", 0, nil)}, vouched: map[types.UID]ownRelease{"uid-j": {at: t0, hadRoom: false}}, want: map[string][]plan.Run{},
		},
		"nor of one that nobody has let go, whatever it claims": {
			cached: []*record{released("Job", "forged", 0, map[string]string{v1alpha1.Prefix + "pods": "2000000000", v1alpha1.StartedAnnotation: "2099-01-01T00:00:00Z"})}, want: map[string][]plan.Run{},
		},
		"a JobSet counts with its pods until it is over": {
			cached:  []*record{releasedWhole("a", time.Hour, false), releasedWhole("b", time.Hour, true)},
			vouched: map[types.UID]ownRelease{"uid-a": ownWhole(time.Hour), "uid-b": ownWhole(time.Hour)},
			want:    map[string][]plan.Run{"X": {{Until: t0.Add(hour), Pods: 3}}},
			settles: 1,
		},
		"and until its planned end": {
			cached: []*record{releasedWhole("a", 2*time.Hour, false)}, vouched: map[types.UID]ownRelease{"uid-a": ownWhole(2 * time.Hour)},
			want: map[string][]plan.Run{},
		},
		"not while somebody else keeps it suspended": {
			cached: []*record{suspendedWhole("a", time.Minute)}, vouched: map[types.UID]ownRelease{"uid-a": ownWhole(time.Minute)},
			want: map[string][]plan.Run{},
		},
		"but for a moment, in which Kueue may start it": {
			cached: []*record{suspendedWhole("a", time.Second)}, vouched: map[types.UID]ownRelease{"uid-a": ownWhole(time.Second)},
			want: map[string][]plan.Run{"X": {{Until: t0.Add(2*hour - time.Second), Pods: 3}}}, settles: 1,
		},
		"not a JobSet that nobody has let go, whatever it claims": {cached: []*record{releasedWhole("forged", 0, false)}, want: map[string][]plan.Run{}},
		"a JobSet that has just been let go, though the cache does not know yet": {
			leaving: []unseenRelease{{releasedWhole("a", 0, false), ""}}, vouched: map[types.UID]ownRelease{"uid-a": ownWhole(0)},
			want: map[string][]plan.Run{"X": {{Until: t0.Add(2 * hour), Pods: 3}}}, settles: 1,
		},
		"a pod that nobody has let go counts with its node only": {
			cached: []*record{nodeless(released("Pod", "forged", 0, nil))}, want: map[string][]plan.Run{},
		},
		"one that waits for a node counts for a while": {
			cached:  []*record{nodeless(released("Pod", "a", 9*time.Minute, nil)), nodeless(released("Pod", "b", 11*time.Minute, nil))},
			vouched: map[types.UID]ownRelease{"uid-a": {at: t0.Add(-9 * time.Minute), hadRoom: true}, "uid-b": {at: t0.Add(-11 * time.Minute), hadRoom: true}},
			want:    map[string][]plan.Run{"X": {{Until: t0.Add(2*hour - 9*time.Minute), Pods: 1}}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.policy == nil {
				tt.policy = rules
			}
			got, err := recordsOf(t, tt.cached...).running(tt.policy, tt.leaving, nil, &ownReleases{byUID: tt.vouched}, t0)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.byLocation); diff != "" {
				t.Error(diff)
			}
			if len(got.changesAt) != tt.settles {
				t.Errorf("settles at %v, want %d times", got.changesAt, tt.settles)
			}
		})
	}
}

func TestOwnReleasesAreForgotten(t *testing.T) {
	var v ownReleases
	v.add("early", t0.Add(-nodeExpectedFor), time.Time{}, true)
	v.add("late", t0, time.Time{}, true)
	v.add("future", t0.Add(time.Hour), time.Time{}, true) // the clock was set back
	v.add("whole", t0.Add(-time.Hour), t0.Add(time.Second), true)
	v.add("whole-ended", t0.Add(-time.Hour), t0, true)
	v.forget(t0)
	if _, ok := v.byUID["late"]; !ok || v.byUID["whole"].at.IsZero() || len(v.byUID) != 2 {
		t.Errorf("left: %v", v.byUID)
	}
}
