package webhook

import (
	"context"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// spacious is a cache with a default policy of two locations, a node in each, and
// perhaps a Job.
type spacious struct {
	policy *v1alpha1.CarbonPolicy
	job    *batchv1.Job
}

func (s spacious) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	if o, ok := o.(*v1alpha1.CarbonPolicy); ok {
		s.policy.DeepCopyInto(o)
		return nil
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (s spacious) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	var chosen client.ListOptions
	for _, o := range options {
		o.ApplyToList(&chosen)
	}
	nodes, ok := list.(*metav1.PartialObjectMetadataList)
	if !ok || nodes.Kind != "Node" {
		return nil
	}
	for _, grid := range []string{"north", "south"} {
		n := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: grid, Labels: map[string]string{"grid": grid}}}
		if chosen.LabelSelector.Matches(labels.Set(n.Labels)) {
			nodes.Items = append(nodes.Items, n)
		}
	}
	return nil
}

// twoGrids makes a webhook that knows a forecast, by the hour, of a north and a
// south.
func twoGrids(t *testing.T, north, south []float64, change func(*spacious)) *Webhook {
	t.Helper()
	cache := spacious{policy: v1alpha1.Default()}
	for _, l := range []string{"north", "south"} {
		cache.policy.Spec.Locations = append(cache.policy.Spec.Locations, v1alpha1.Location{Name: l, NodeSelector: map[string]string{"grid": l}})
	}
	if change != nil {
		change(&cache)
	}
	clock := clocktesting.NewFakePassiveClock(t0)
	policies := policy.Policies{Reader: cache, Clock: clock, Nodes: &policy.Nodes{Reader: cache}}
	rules, err := policies.Get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	issue := forecast.Document{Series: map[string]*forecast.Series{}, Issued: t0}
	for name, hours := range map[string][]float64{"north": north, "south": south} {
		var slots []forecast.Slot
		for i, value := range hours {
			start := t0.Add(time.Duration(i) * time.Hour)
			slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: value})
		}
		issue.Series[name] = forecast.NewSeries(slots)
	}
	store := &forecast.Store{}
	if err := store.Offer(rules.Source, issue, t0); err != nil {
		t.Fatal(err)
	}
	var jobs []runtime.Object
	if cache.job != nil {
		jobs = append(jobs, cache.job)
	}
	records, err := gating.StaticRecords(jobs...)
	if err != nil {
		t.Fatal(err)
	}
	return &Webhook{Reader: cache, Records: records, Policies: policies, Store: store, Runs: &gating.Runs{}, Clock: clock, Metrics: NewMetrics(prometheus.NewRegistry())}
}

// limited is a policy with ceilings.
func limited(s *spacious) {
	s.policy.Spec.Buckets = []v1alpha1.Bucket{{UpTo: ptr.To[int32](1000), Ceiling: 9}}
}

// admitPod returns a pod as the API server would have it after the webhook, which
// must not change it any more.
func admitPod(t *testing.T, w *Webhook, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	raw, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	patched, response := admit(t, w, "Pod", raw)
	if !response.Allowed {
		t.Fatalf("refused: %+v", response.Result)
	}
	var once, twice corev1.Pod
	again, _ := admit(t, w, "Pod", patched)
	if json.Unmarshal(patched, &once) != nil || json.Unmarshal(again, &twice) != nil {
		t.Fatal("not JSON")
	}
	if diff := cmp.Diff(once, twice); diff != "" {
		t.Error("the second time", diff)
	}
	return &once
}

// inGrid is the preference for a location.
func inGrid(location string) corev1.PreferredSchedulingTerm {
	return corev1.PreferredSchedulingTerm{Weight: 100, Preference: corev1.NodeSelectorTerm{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "grid", Operator: corev1.NodeSelectorOpIn, Values: []string{location}}},
	}}
}

func ofJob(pod *corev1.Pod) *corev1.Pod {
	yes := true
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "u", Controller: &yes}}
	return pod
}

func TestAPodThatStartsAtOncePrefersTheCleanestNow(t *testing.T) {
	own := corev1.PreferredSchedulingTerm{Weight: 1, Preference: corev1.NodeSelectorTerm{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "own", Operator: corev1.NodeSelectorOpExists}},
	}}
	type terms = []corev1.PreferredSchedulingTerm
	preferring := func(preferred ...corev1.PreferredSchedulingTerm) *corev1.Affinity {
		return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: preferred}}
	}
	record := func(location string) func(*spacious) {
		return func(s *spacious) {
			limited(s)
			s.job = &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
				Namespace: "default", Name: "j", UID: "u", Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}, Annotations: map[string]string{v1alpha1.PlannedLocationAnnotation: location},
			}}
		}
	}
	pod := func(annotations map[string]string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(annotations)}}
	}
	with := func(p *corev1.Pod, change func(*corev1.Pod)) *corev1.Pod { change(p); return p }
	late := func(planned string) *corev1.Pod {
		p := ofJob(pod(map[string]string{v1alpha1.PolicyAnnotation: "default", v1alpha1.PlannedLocationAnnotation: planned}))
		p.Labels = map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}
		return p
	}
	clean := []float64{100, 400, 400}
	dirty := []float64{300, 400, 400}
	tests := map[string]struct {
		pod          *corev1.Pod
		north, south []float64
		change       func(*spacious)
		want         terms
		planned      string
	}{
		"of its policy":                 {pod: pod(nil), north: dirty, south: clean, want: terms{inGrid("south")}, planned: "south"},
		"the first of those as clean":   {pod: pod(nil), north: clean, south: clean, want: terms{inGrid("north")}, planned: "north"},
		"of one, if it is pinned":       {pod: pod(map[string]string{v1alpha1.LocationAnnotation: "north"}), north: dirty, south: clean, want: terms{inGrid("north")}, planned: "north"},
		"of those that suit it":         {pod: with(pod(nil), func(p *corev1.Pod) { p.Spec.NodeSelector = inNorth() }), north: dirty, south: clean, want: terms{inGrid("north")}, planned: "north"},
		"beside what it prefers itself": {pod: with(pod(nil), func(p *corev1.Pod) { p.Spec.Affinity = preferring(own) }), north: clean, south: dirty, want: terms{own, inGrid("north")}, planned: "north"},
		"once":                          {pod: with(pod(nil), func(p *corev1.Pod) { p.Spec.Affinity = preferring(inGrid("north")) }), north: clean, south: dirty, want: terms{inGrid("north")}, planned: "north"},
		"beside other affinity":         {pod: with(pod(nil), func(p *corev1.Pod) { p.Spec.Affinity = &corev1.Affinity{} }), north: clean, south: dirty, want: terms{inGrid("north")}, planned: "north"},
		"beside an empty list":          {pod: with(pod(nil), func(p *corev1.Pod) { p.Spec.Affinity = preferring() }), north: clean, south: dirty, want: terms{inGrid("north")}, planned: "north"},
		"a later pod of a Job":          {pod: late("north"), north: dirty, south: clean, want: terms{inGrid("south")}, planned: "south"},
		"a later one, below ceilings, with its Job": {
			pod: late("north"), north: dirty, south: clean, change: record("south"), want: terms{inGrid("south")}, planned: "south",
		},
		"a later one, below ceilings, of a Job that is not known yet": {
			pod: late("north"), north: dirty, south: clean, change: limited, want: terms{inGrid("north")}, planned: "north",
		},
		"not one that asks for nothing":        {pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}}}, north: dirty, south: clean},
		"not one whose Job was never placed":   {pod: with(late(""), func(p *corev1.Pod) { delete(p.Annotations, v1alpha1.PlannedLocationAnnotation) }), north: dirty, south: clean},
		"not where there is nothing to choose": {pod: pod(nil), north: clean, south: clean, change: func(s *spacious) { s.policy.Spec.Locations = s.policy.Spec.Locations[:1] }},
		"not where nothing is known": {pod: pod(nil), north: clean, south: clean, change: func(s *spacious) {
			s.policy.Spec.Forecast.MaxAge = "1ns"
			s.policy.Spec.Locations[0].Name, s.policy.Spec.Locations[1].Name = "west", "east"
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := admitPod(t, twoGrids(t, tt.north, tt.south, tt.change), tt.pod)
			if diff := cmp.Diff(tt.want, policy.Preferences(&got.Spec)); diff != "" {
				t.Error(diff)
			}
			if planned := got.Annotations[v1alpha1.PlannedLocationAnnotation]; planned != tt.planned || hold.HasGate(got.Spec.SchedulingGates) {
				t.Errorf("planned for %q, want %q; gates %v", planned, tt.planned, got.Spec.SchedulingGates)
			}
		})
	}
}

func inNorth() map[string]string { return map[string]string{"grid": "north"} }

func TestHeldWorkIsPlannedForALocation(t *testing.T) {
	north, south := []float64{400, 100, 400, 400, 400}, []float64{300, 300, 200, 300, 300}
	for name, tt := range map[string]struct {
		annotations   map[string]string
		selector      map[string]string
		planned, only string
	}{
		"the cleanest at any time":  {planned: "north"},
		"the one it is pinned to":   {annotations: map[string]string{v1alpha1.LocationAnnotation: "south"}, planned: "south"},
		"one that suits its pods":   {selector: map[string]string{"grid": "south"}, planned: "south", only: "south"},
		"held by suspend, likewise": {annotations: map[string]string{v1alpha1.HoldAnnotation: v1alpha1.HoldBySuspend}, planned: "north"},
	} {
		t.Run(name, func(t *testing.T) {
			w := twoGrids(t, north, south, nil)
			job := admitJob(t, w, &batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(tt.annotations)},
				Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{NodeSelector: tt.selector}}},
			})
			for _, got := range []map[string]string{job.Annotations, job.Spec.Template.Annotations} {
				if job.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld || got[v1alpha1.PlannedLocationAnnotation] != tt.planned || got[v1alpha1.CandidateLocationsAnnotation] != tt.only || got[v1alpha1.DelayTolerantAnnotation] != "true" {
					t.Errorf("labels %v, annotations %v", job.Labels, got)
				}
			}
			pod := ofJob(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: maps.Clone(job.Spec.Template.Annotations)}, Spec: job.Spec.Template.Spec})
			if tt.annotations[v1alpha1.HoldAnnotation] != "" {
				return // it has none yet
			}
			got := admitPod(t, w, pod)
			if !hold.HasGate(got.Spec.SchedulingGates) || got.Annotations[v1alpha1.PlannedLocationAnnotation] != tt.planned || got.Annotations[v1alpha1.CandidateLocationsAnnotation] != tt.only || got.Spec.Affinity != nil {
				t.Errorf("its pod: %+v, %v", got.Spec, got.Annotations)
			}
		})
	}
}

func TestAJobThatStartsAtOnceHasItsPodsComeBack(t *testing.T) {
	w := twoGrids(t, []float64{300, 400, 400}, []float64{100, 400, 400}, nil)
	job := admitJob(t, w, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil)}})
	template := job.Spec.Template
	if job.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased || template.Annotations[v1alpha1.DelayTolerantAnnotation] != "true" || template.Annotations[v1alpha1.PlannedLocationAnnotation] != "south" {
		t.Fatalf("labels %v, pods %v", job.Labels, template.Annotations)
	}
	pod := admitPod(t, w, ofJob(&corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}))
	if diff := cmp.Diff([]corev1.PreferredSchedulingTerm{inGrid("south")}, policy.Preferences(&pod.Spec)); diff != "" {
		t.Error(diff)
	}
}
