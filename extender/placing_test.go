package extender_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/extender"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/policy"
)

func TestTermsAreThoseOfThePodsPolicy(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Hour)
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), metav1.AddMetaToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	two := v1alpha1.Default()
	two.Name = "two"
	two.Spec.Buckets = []v1alpha1.Bucket{{UpTo: ptr.To[int32](200), Ceiling: 3}, {UpTo: ptr.To[int32](900), Ceiling: 1}}
	two.Spec.Locations = []v1alpha1.Location{{Name: "a", NodeSelector: map[string]string{"zone": "a"}}, {Name: "b", NodeSelector: map[string]string{"zone": "b"}}}
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(two).Build()
	p := extender.Placing{Policies: policy.Policies{Reader: reader, Clock: clock.RealClock{}}, Store: &forecast.Store{}}
	series := forecast.NewSeries([]forecast.Slot{{Start: now, End: now.Add(9 * time.Hour), Intensity: 120}})
	if err := p.Store.Offer(forecast.ParseSource("kube-system/carbon-intensity/data"), forecast.Document{Series: map[string]*forecast.Series{"a": series}, Issued: now}, now); err != nil {
		t.Fatal(err)
	}
	pod := func(annotations map[string]string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "default", CreationTimestamp: metav1.NewTime(now), Annotations: annotations}}
	}
	got, err := p.Terms(t.Context(), pod(map[string]string{
		v1alpha1.PolicyAnnotation: "two", v1alpha1.DurationAnnotation: "2h", v1alpha1.PlannedLocationAnnotation: "b", v1alpha1.PlacementAnnotation: v1alpha1.PlacementStrict,
	}), now)
	if err != nil {
		t.Fatal(err)
	}
	if mean, _ := got.Locations[0].Expected.Mean(now, now.Add(time.Hour)); mean != 120 || !got.Locations[1].Expected.IsEmpty() {
		t.Errorf("expected %v in a, and %v in b", got.Locations[0].Expected.Slots(), got.Locations[1].Expected.Slots())
	}
	if diff := cmp.Diff("200=3,900=1", got.Buckets.String()); diff != "" {
		t.Error(diff)
	}
	for i := range got.Locations {
		got.Locations[i].Expected = nil
	}
	want := extender.Terms{
		Policy: "two", Duration: 2 * time.Hour, Home: "b", Strict: true, Buckets: got.Buckets,
		Locations: []extender.Location{{Name: "a", NodeSelector: map[string]string{"zone": "a"}}, {Name: "b", NodeSelector: map[string]string{"zone": "b"}}},
	}
	if diff := cmp.Diff(want.Locations, got.Locations); diff != "" {
		t.Error(diff)
	}
	if got.Policy != want.Policy || got.Duration != want.Duration || got.Home != want.Home || got.Strict != want.Strict {
		t.Errorf("got %+v, want %+v", got, want)
	}
	two.Spec.Mode = v1alpha1.ModeAudit
	audited := p
	audited.Policies.Reader = fake.NewClientBuilder().WithScheme(scheme).WithObjects(two).Build()
	strict := pod(map[string]string{v1alpha1.PolicyAnnotation: "two", v1alpha1.PlacementAnnotation: v1alpha1.PlacementStrict})
	if got, err := audited.Terms(t.Context(), strict, now); err != nil || got.Strict || len(got.Locations) != 0 {
		t.Errorf("of a policy that audits: %+v, %v", got, err)
	}
	if got, err := p.Terms(t.Context(), pod(nil), now); err != nil || got.Policy != v1alpha1.DefaultPolicy || len(got.Locations) != 1 {
		t.Errorf("by default: %+v, %v", got, err)
	}
	if got, err := p.Terms(t.Context(), pod(map[string]string{v1alpha1.PolicyAnnotation: "gone"}), now); !errors.Is(err, extender.ErrNoPolicy) || got.Policy != "gone" {
		t.Errorf("of a policy that is gone: %+v, %v", got, err)
	}
}

func TestNodesAreNotComparedByTwoSignals(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Hour)
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), metav1.AddMetaToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	two := v1alpha1.Default()
	two.Spec.Locations = []v1alpha1.Location{{Name: "unknown", NodeSelector: map[string]string{"zone": "u"}}, {Name: "a", NodeSelector: map[string]string{"zone": "a"}}, {Name: "b", NodeSelector: map[string]string{"zone": "b"}}}
	p := extender.Placing{Policies: policy.Policies{Reader: fake.NewClientBuilder().WithScheme(scheme).WithObjects(two).Build(), Clock: clock.RealClock{}}, Store: &forecast.Store{}}
	series := forecast.NewSeries([]forecast.Slot{{Start: now, End: now.Add(9 * time.Hour), Intensity: 120}})
	for name, tt := range map[string]struct {
		b       forecast.Kind
		isKnown bool
	}{"of one signal": {forecast.Average, true}, "of two": {forecast.Marginal, false}} {
		t.Run(name, func(t *testing.T) {
			details := func(kind forecast.Kind) forecast.Details {
				return forecast.Details{Issued: now, Origin: forecast.Origin{Provider: "P", Signal: forecast.Signal{Kind: kind}}}
			}
			document := forecast.Document{
				Series:  map[string]*forecast.Series{"a": series, "b": series},
				Details: map[string]forecast.Details{"a": details(forecast.Average), "b": details(tt.b)},
			}
			if err := p.Store.Offer(forecast.ParseSource("kube-system/carbon-intensity/data"), document, now); err != nil {
				t.Fatal(err)
			}
			got, err := p.Terms(t.Context(), &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "default", CreationTimestamp: metav1.NewTime(now)}}, now)
			if err != nil || len(got.Locations) != 3 || got.Locations[1].Expected.IsEmpty() || got.Locations[2].Expected.IsEmpty() == tt.isKnown {
				t.Errorf("%+v (%v)", got.Locations, err)
			}
		})
	}
}
