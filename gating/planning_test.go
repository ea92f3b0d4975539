package gating

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// node is one in a grid, in a pool.
func node(name, grid, pool string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"grid": grid, "pool": pool}}}
}

// choosing is a policy of the locations, which knows of the nodes.
func choosing(t testing.TB, nodes []*corev1.Node, buckets []v1alpha1.Bucket, locations ...string) *policy.Policy {
	t.Helper()
	b := fake.NewClientBuilder()
	for _, n := range nodes {
		b = b.WithObjects(n)
	}
	object := v1alpha1.Default()
	object.Spec.Buckets = buckets
	for _, l := range locations {
		object.Spec.Locations = append(object.Spec.Locations, v1alpha1.Location{Name: l, NodeSelector: map[string]string{"grid": l}})
	}
	return policy.New(context.Background(), object, "gridlatch-system", &policy.Nodes{Reader: b.Build()}, t0)
}

// twoGrids has GPUs in the south only.
func twoGrids() []*corev1.Node {
	return []*corev1.Node{node("a", "north", "cpu"), node("b", "south", "cpu"), node("c", "south", "gpu")}
}

// grid is a snapshot of forecasts by the hour.
func grid(t testing.TB, rules *policy.Policy, hours map[string][]float64) *forecast.Snapshot {
	t.Helper()
	document := forecast.Document{Series: map[string]*forecast.Series{}, Issued: t0}
	for location, intensities := range hours {
		var slots []forecast.Slot
		for i, value := range intensities {
			start := t0.Add(time.Duration(i) * time.Hour)
			slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: value})
		}
		document.Series[location] = forecast.NewSeries(slots)
	}
	store := &forecast.Store{}
	if err := store.Offer(rules.Source, document, t0); len(hours) > 0 && err != nil {
		t.Fatal(err)
	}
	return store.Snapshot(rules.Source)
}

// waiting is a group of one pod that asks for an hour within four.
func waiting(name string, annotations map[string]string) *group {
	pod := recordOf(hold.PodKind())
	pod.isGated = true
	pod.Name, pod.UID, pod.CreationTimestamp = name, types.UID(name), metav1.NewTime(t0)
	pod.Annotations = map[string]string{v1alpha1.DurationAnnotation: "1h", v1alpha1.LatestStartAnnotation: policy.FormatTime(t0.Add(3 * time.Hour))}
	for key, value := range annotations {
		pod.Annotations[key] = value
	}
	return &group{pods: []*record{pod}}
}

func TestReleasesSayWhere(t *testing.T) {
	to := hold.ReleaseNote{Reason: "r", At: t0, Location: "north"}
	for name, held := range map[string]map[string]string{"recorded": nil, "resumed": {v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend}, "let out of its queue": {v1alpha1.HeldByAnnotation: v1alpha1.HoldByKueue, hold.KueueGatesAnnotation: v1alpha1.Gate}} {
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: held}}
		for _, r := range []hold.ReleaseNote{to, {Reason: "r", At: t0, MarksTemplate: true}} {
			data, err := r.OwnerPatches(job, hold.JobKind().GroupKind()).Full.Data(job)
			if err != nil || strings.Contains(string(data), "planned-location") != (r.Location != "") || strings.Contains(string(data), "template") {
				t.Errorf("%s: %s (%v)", name, data, err)
			}
		}
	}
}

func TestAPodIsReleasedWithAPreferenceOrWithout(t *testing.T) {
	own := corev1.PreferredSchedulingTerm{Weight: 1, Preference: corev1.NodeSelectorTerm{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "own", Operator: corev1.NodeSelectorOpExists}},
	}}
	rules := choosing(t, twoGrids(), nil, "south", "north")
	ours, _ := rules.Preference("north")
	conflict := apierrors.NewConflict(schema.GroupResource{}, "p", errors.New("it has changed"))
	invalid := apierrors.NewInvalid(schema.GroupKind{}, "p", nil)
	tests := map[string]struct {
		to     string
		before []corev1.PreferredSchedulingTerm
		get    error
		patch  []error // of one after the other; of preferences alone
		want   []corev1.PreferredSchedulingTerm
		steers bool
	}{
		"to where it was planned":               {to: "north", want: []corev1.PreferredSchedulingTerm{ours}, steers: true},
		"beside its own preferences":            {to: "north", before: []corev1.PreferredSchedulingTerm{own}, want: []corev1.PreferredSchedulingTerm{own, ours}, steers: true},
		"not twice":                             {to: "north", before: []corev1.PreferredSchedulingTerm{ours}, want: []corev1.PreferredSchedulingTerm{ours}, steers: true},
		"again, if it has changed meanwhile":    {to: "north", patch: []error{conflict, conflict}, want: []corev1.PreferredSchedulingTerm{ours}, steers: true},
		"without, if it changes all the time":   {to: "north", patch: []error{conflict, conflict, conflict, conflict, conflict, conflict}},
		"without, if the API server refuses it": {to: "north", patch: []error{invalid}},
		"without, if it cannot be read":         {to: "north", get: errors.New("no answer")},
		"without, if nobody knows where":        {},
		"without, if the location is gone":      {to: "west"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", UID: "u"},
				Spec: corev1.PodSpec{
					SchedulingGates: []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}, {Name: "other"}},
					Affinity:        &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: tt.before}},
				},
			}
			c := fake.NewClientBuilder().WithObjects(pod).WithInterceptorFuncs(interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
					if tt.get != nil {
						return tt.get
					}
					return c.Get(ctx, key, o, options...)
				},
				Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
					data, err := patch.Data(o)
					if err == nil && len(tt.patch) > 0 && strings.Contains(string(data), "affinity") {
						err, tt.patch = tt.patch[0], tt.patch[1:]
					}
					if err != nil {
						return err
					}
					return c.Patch(ctx, o, patch, options...)
				},
			}).Build()
			l := &Loop{Client: c, APIReader: c, Clock: clocktesting.NewFakePassiveClock(t0), Events: NewAnnouncer(nil), Metrics: NewMetrics(prometheus.NewRegistry())}
			l.inFlight.beginPass(rules.Name)
			cached := recordOf(hold.PodKind())
			cached.ObjectMeta = pod.ObjectMeta
			p := &pass{policy: rules, now: t0}
			if err := l.releasePod(t.Context(), p, &group{reason: "r", location: tt.to}, cached, false); err != nil {
				t.Fatal(err)
			}
			tt.get = nil
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
				t.Fatal(err)
			}
			if hold.HasGate(pod.Spec.SchedulingGates) || len(pod.Spec.SchedulingGates) != 1 || pod.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased || pod.Annotations[v1alpha1.PlannedLocationAnnotation] != tt.to {
				t.Errorf("not released: %+v, %+v", pod.Spec.SchedulingGates, pod.ObjectMeta)
			}
			want := tt.want
			if !tt.steers {
				want = tt.before
			}
			if diff := cmp.Diff(want, policy.Preferences(&pod.Spec)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAJobThatHasRunBeforeIsResumedThoughItsTemplateCannotChange(t *testing.T) {
	yes := true
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: "j", UID: "u", Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}, Annotations: map[string]string{v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend},
		},
		Spec: batchv1.JobSpec{Suspend: &yes, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.PolicyAnnotation: "default"}}}},
	}
	refused := 0
	c := fake.NewClientBuilder().WithObjects(job).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			if data, err := patch.Data(o); err != nil || strings.Contains(string(data), "/spec/template") {
				refused++
				return apierrors.NewInvalid(schema.GroupKind{}, "j", nil)
			}
			return c.Patch(ctx, o, patch, options...)
		},
	}).Build()
	l := &Loop{Client: c, APIReader: c, Clock: clocktesting.NewFakePassiveClock(t0), Events: NewAnnouncer(nil), Metrics: NewMetrics(prometheus.NewRegistry())}
	rules := choosing(t, twoGrids(), nil, "south", "north")
	l.inFlight.beginPass(rules.Name)
	cached := recordOf(hold.JobKind())
	cached.ObjectMeta, cached.isSuspended = job.ObjectMeta, true
	g := &group{owner: cached, location: "north", decision: plan.Decision{Decided: t0, Start: t0}}
	if err := l.recordRelease(t.Context(), &pass{policy: rules, now: t0}, g, false); err != nil || !g.isRecorded {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(job), job); err != nil {
		t.Fatal(err)
	}
	if *job.Spec.Suspend || job.Annotations[v1alpha1.PlannedLocationAnnotation] != "north" || job.Annotations[v1alpha1.HeldByAnnotation] != "" || refused != 1 {
		t.Errorf("refused %d times; suspended %v, %v", refused, *job.Spec.Suspend, job.Annotations)
	}
}

func TestDecideWhere(t *testing.T) {
	released := waiting("late", nil)
	released.owner = recordOf(hold.JobKind())
	released.wasReleased, released.owner.Annotations = true, map[string]string{v1alpha1.PlannedLocationAnnotation: "south"}
	ordinary := map[string][]float64{"void": {1, 1, 1, 1}, "south": {300, 300, 200, 300}, "north": {400, 100, 400, 400}}
	tests := map[string]struct {
		hours   map[string][]float64
		buckets []v1alpha1.Bucket
		running running
		groups  []*group
		want    []string
	}{
		"the cheapest location and start, of those with nodes": {
			hours: ordinary, groups: []*group{waiting("a", nil)}, want: []string{"a north 13:00"},
		},
		"the pinned one": {
			hours: ordinary, groups: []*group{waiting("a", map[string]string{v1alpha1.LocationAnnotation: "south"})}, want: []string{"a south 14:00"},
		},
		"the pinned one, though it has no nodes": {
			hours: ordinary, groups: []*group{waiting("a", map[string]string{v1alpha1.LocationAnnotation: "void"})}, want: []string{"a void 12:00"},
		},
		"those that suit the pod": {
			hours: ordinary, groups: []*group{waiting("a", map[string]string{v1alpha1.CandidateLocationsAnnotation: "south"})}, want: []string{"a south 14:00"},
		},
		"where little power is taken": {
			hours: ordinary, groups: []*group{waiting("a", map[string]string{v1alpha1.CandidateLocationsAnnotation: "south=0.25,north"})}, want: []string{"a south 14:00"},
		},
		"a pin that the policy no longer has starts": {
			hours: ordinary, groups: []*group{waiting("a", map[string]string{v1alpha1.LocationAnnotation: "west"})}, want: []string{"a  12:00"},
		},
		"the first of the policy, of those as good": {
			hours: map[string][]float64{"north": {400, 100}, "south": {300, 100}}, groups: []*group{waiting("a", nil)}, want: []string{"a south 13:00"},
		},
		"the one that was planned, of those as good": {
			hours:  map[string][]float64{"north": {400, 100}, "south": {300, 100}},
			groups: []*group{waiting("a", map[string]string{v1alpha1.PlannedLocationAnnotation: "north", v1alpha1.PlannedStartAnnotation: policy.FormatTime(t0.Add(time.Hour))})},
			want:   []string{"a north 13:00"},
		},
		"nowhere in particular, if nothing is known": {
			groups: []*group{waiting("a", nil)}, want: []string{"a  12:00"},
		},
		"where something is known": {
			hours: map[string][]float64{"north": {400, 100}}, groups: []*group{waiting("a", nil)}, want: []string{"a north 13:00"},
		},
		"pods that are left over, with their Job": {
			hours: ordinary, groups: []*group{released}, want: []string{"late south 12:00"},
		},
		"below ceilings, where there is room": {
			hours: map[string][]float64{"north": {100, 400, 400, 400}, "south": {150, 400, 400, 400}}, buckets: []v1alpha1.Bucket{{UpTo: ptr.To[int32](200), Ceiling: 2}, {UpTo: ptr.To[int32](500)}},
			running: running{byLocation: map[string][]plan.Run{"north": {{Until: t0.Add(4 * time.Hour), Pods: 1}}}},
			groups:  []*group{waiting("a", nil), waiting("b", nil), waiting("c", nil), waiting("d", nil)},
			want:    []string{"a north 12:00", "b south 12:00", "c south 12:00", "d north 15:00"},
		},
		"what was left over takes room where it goes": {
			hours: map[string][]float64{"north": {100, 400, 400, 400}, "south": {50, 400, 400, 400}}, buckets: []v1alpha1.Bucket{{UpTo: ptr.To[int32](200), Ceiling: 1}, {UpTo: ptr.To[int32](500)}},
			groups: []*group{released, waiting("a", nil)}, want: []string{"late south 12:00", "a north 12:00"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rules := choosing(t, twoGrids(), tt.buckets, "void", "south", "north")
			p := &pass{policy: rules, snapshot: grid(t, rules, tt.hours), now: t0, groups: tt.groups, running: tt.running}
			setTasks(rules, p.groups)
			for _, g := range p.groups {
				g.task.ID = "" // the cheapest, not one that is as good
			}
			p.decide()
			var got []string
			for _, g := range p.groups {
				start := g.decision.Start
				if g.wasReleased {
					start = t0
				}
				got = append(got, fmt.Sprintf("%s %s %s", g.pods[0].Name, g.location, start.Format("15:04")))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPolicyWithoutAChoiceSaysNotWhere(t *testing.T) {
	rules := choosing(t, twoGrids(), nil, "south")
	g := waiting("a", nil)
	p := &pass{policy: rules, snapshot: grid(t, rules, map[string][]float64{"south": {300, 100}, "north": {50, 50}}), now: t0, groups: []*group{g}}
	setTasks(rules, p.groups)
	p.decide()
	if g.location != "" || g.decision.Location != "south" || rules.Notes(g.decision)[v1alpha1.PlannedLocationAnnotation] != "" {
		t.Errorf("%q, %s", g.location, g.decision.Reason())
	}
	if _, ok := rules.Preference("south"); ok {
		t.Error("it would make a preference")
	}
}

// BenchmarkDecide plans what a policy holds, as every pass does, with one location
// or three.
func BenchmarkDecide(b *testing.B) {
	var nodes []*corev1.Node
	hours := map[string][]float64{}
	names := []string{"north", "south", "west"}
	for at, name := range names {
		nodes = append(nodes, node(name, name, ""))
		for hour := range 72 {
			hours[name] = append(hours[name], 300+100*math.Sin(float64(hour+5*at)/24*2*math.Pi))
		}
	}
	for _, locations := range [][]string{names[:1], names} {
		for _, buckets := range [][]v1alpha1.Bucket{nil, {{UpTo: ptr.To[int32](1000), Ceiling: 20000}}} {
			for _, count := range []int{2000, 100000} {
				rules := choosing(b, nodes, buckets, locations...)
				p := &pass{policy: rules, snapshot: grid(b, rules, hours), now: t0}
				for i := range count {
					g := waiting(fmt.Sprint(i), map[string]string{v1alpha1.LatestStartAnnotation: policy.FormatTime(t0.Add(time.Duration(i%47+1) * time.Hour)), v1alpha1.PlannedLocationAnnotation: names[i%3]})
					p.groups = append(p.groups, g)
				}
				b.Run(fmt.Sprintf("locations=%d/ceilings=%v/groups=%d", len(locations), buckets != nil, count), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						setTasks(rules, p.groups)
						p.decide()
					}
				})
			}
		}
	}
}

func TestWorkIsToldThatItsPolicyIsGone(t *testing.T) {
	for name, deadline := range map[string]map[string]string{"with a deadline": {v1alpha1.DeadlineAnnotation: "8h"}, "without": {}} {
		t.Run(name, func(t *testing.T) {
			g := waiting("a", deadline)
			delete(g.pods[0].Annotations, v1alpha1.DurationAnnotation) // which was the policy's
			p := &pass{policy: policy.Abandoned(), snapshot: &forecast.Snapshot{}, now: t0.Add(time.Hour), groups: []*group{g}}
			setTasks(p.policy, p.groups)
			p.decide()
			if d := g.decision; d.Holds() || d.Cause != plan.CauseNoForecast || !strings.HasSuffix(d.Reason(), "its policy does not exist") {
				t.Errorf("%s: %s", d.Cause, d.Reason())
			}
		})
	}
}
