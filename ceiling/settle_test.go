package ceiling

import (
	"context"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
)

const (
	byPolicy   = "CarbonPolicy/default"
	bothPauses = pausedReplicas + "," + paused
)

// document is an object of KEDA as the API server has it.
type document map[string]any

func scaled(spec map[string]any, annotations map[string]any) document {
	spec["scaleTargetRef"] = map[string]any{"name": "web"}
	return document{
		"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
		"metadata": map[string]any{"namespace": "shop", "name": "web", "uid": "u", "resourceVersion": "7", "annotations": annotations},
		"spec":     spec,
	}
}

func (d document) target(k kind) *target {
	copied := (&unstructured.Unstructured{Object: d}).DeepCopy()
	copied.SetKind(string(k))
	return newTarget(k, fieldsOf(k), copied)
}

func (d document) max() *int32 {
	return count(&unstructured.Unstructured{Object: d}, "maxReplicaCount")
}

// after returns the document with a change made, as the API server does it.
func (d document) after(t testing.TB, c *change) document {
	t.Helper()
	after := d
	write := func(_ client.Object, patch client.Patch) error {
		body, err := patch.Data(nil)
		if err != nil {
			return err
		}
		after = d.patched(t, body)
		return nil
	}
	if outcome, err := (override.Writer{Client: patcher{patch: write}}).Write(t.Context(), c.Change); err != nil || outcome != override.Written {
		t.Fatal(outcome, err)
	}
	return after
}

// patched returns the document with a merge patch made.
func (d document) patched(t testing.TB, patch []byte) document {
	t.Helper()
	before, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := jsonpatch.MergePatch(before, patch)
	if err != nil {
		t.Fatal(err)
	}
	result := &unstructured.Unstructured{}
	if err := result.UnmarshalJSON(merged); err != nil {
		t.Fatal(err)
	}
	return result.Object
}

// patcher is a client that can patch objects and read the metadata of one.
type patcher struct {
	client.Client
	patch func(client.Object, client.Patch) error
	live  *unstructured.Unstructured
}

func (p patcher) Get(_ context.Context, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	metadata := object.(*metav1.PartialObjectMetadata)
	metadata.ResourceVersion, metadata.ManagedFields = p.live.GetResourceVersion(), p.live.GetManagedFields()
	return nil
}

func (p patcher) Patch(_ context.Context, object client.Object, patch client.Patch, _ ...client.PatchOption) error {
	return p.patch(object, patch)
}

func (d document) annotations() map[string]string {
	return (&unstructured.Unstructured{Object: d}).GetAnnotations()
}

func ceilingOf(n int32) verdict {
	return verdict{ceiling: &n, followsIntensity: true, reason: "because", detail: "now"}
}

func TestCeilingComesAndGoes(t *testing.T) {
	now := clock(t, "2026-11-22T12:00:00Z")
	before := scaled(map[string]any{"maxReplicaCount": int64(40)}, map[string]any{"team": "shop"})
	object := before.after(t, before.target(scaledObject).settle(byPolicy, ceilingOf(10), pace{}, now))
	want := scaled(map[string]any{"maxReplicaCount": int64(10)}, map[string]any{
		"team": "shop", v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.ReasonAnnotation: "because; now",
	})
	if diff := cmp.Diff(want, object); diff != "" {
		t.Error("with a ceiling: ", diff)
	}
	if again := object.target(scaledObject).settle(byPolicy, ceilingOf(10), pace{}, now.Add(time.Hour)); !again.IsEmpty() {
		t.Errorf("nothing has changed, and yet: %+v", again)
	}
	object = object.after(t, object.target(scaledObject).restore())
	if diff := cmp.Diff(before, object); diff != "" {
		t.Error("restored: ", diff)
	}
}

func TestSettle(t *testing.T) {
	now := clock(t, "2026-11-22T12:00:00Z")
	capped := func(v verdict) verdict { v.isCapped = true; return v }
	cautious := func(v verdict, n int32) verdict { v.cautious = &n; return v }
	inForce := func(max int64, notes map[string]any) document {
		all := map[string]any{v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.ReasonAnnotation: "because; then"}
		for key, value := range notes {
			all[key] = value
		}
		return scaled(map[string]any{"maxReplicaCount": max}, all)
	}
	tests := []struct {
		name   string
		object document
		kind   kind
		v      verdict
		pace   pace
		max    *int32 // after
		notes  map[string]string
		again  time.Time
		undone bool
	}{
		{
			name: "a maxReplicaCount that is not set is remembered as that", object: scaled(map[string]any{}, nil), v: ceilingOf(10),
			max: ptr.To[int32](10), notes: map[string]string{v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: v1alpha1.MaxReplicaCountUnset},
		},
		{
			name: "a policy never gives more than the object has by itself", object: scaled(map[string]any{"maxReplicaCount": int64(8)}, nil), v: capped(ceilingOf(110)),
			max: ptr.To[int32](8), notes: map[string]string{v1alpha1.CeilingAnnotation: "8", v1alpha1.OriginalMaxReplicaCountAnnotation: "8"},
		},
		{
			name: "a scaler does", object: scaled(map[string]any{"maxReplicaCount": int64(8)}, nil), v: ceilingOf(110),
			max: ptr.To[int32](110), notes: map[string]string{v1alpha1.CeilingAnnotation: "110", v1alpha1.OriginalMaxReplicaCountAnnotation: "8"},
		},
		{
			name: "no less than the minimum", object: scaled(map[string]any{"minReplicaCount": int64(3), "maxReplicaCount": int64(40)}, nil), v: ceilingOf(1),
			max: ptr.To[int32](3), notes: map[string]string{v1alpha1.CeilingAnnotation: "3", v1alpha1.OriginalMaxReplicaCountAnnotation: "40"},
		},
		{
			name: "0 is a pause, and leaves the spec alone", object: scaled(map[string]any{"maxReplicaCount": int64(40)}, nil), v: ceilingOf(0),
			max: ptr.To[int32](40), notes: map[string]string{v1alpha1.CeilingAnnotation: "0", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.AppliedMaxReplicaCountAnnotation: "40", v1alpha1.CeilingPausedWithAnnotation: bothPauses, pausedReplicas: "0", paused: "true"},
		},
		{
			name: "0 pauses a ScaledJob so that running Jobs go on", kind: scaledJob, object: scaled(map[string]any{"maxReplicaCount": int64(40)}, nil), v: ceilingOf(0),
			max: ptr.To[int32](40), notes: map[string]string{v1alpha1.CeilingAnnotation: "0", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.AppliedMaxReplicaCountAnnotation: "40", v1alpha1.CeilingPausedWithAnnotation: paused, paused: "true"},
		},
		{
			name: "0 is the minimum where there is one", object: scaled(map[string]any{"minReplicaCount": int64(2)}, nil), v: ceilingOf(0),
			max: ptr.To[int32](2), notes: map[string]string{v1alpha1.CeilingAnnotation: "2", v1alpha1.OriginalMaxReplicaCountAnnotation: v1alpha1.MaxReplicaCountUnset},
		},
		{
			name: "a pause of the owner's is left alone", object: scaled(map[string]any{}, map[string]any{paused: "true"}), v: ceilingOf(0),
			notes: map[string]string{v1alpha1.CeilingAnnotation: "0", v1alpha1.OriginalMaxReplicaCountAnnotation: v1alpha1.MaxReplicaCountUnset, v1alpha1.AppliedMaxReplicaCountAnnotation: v1alpha1.MaxReplicaCountUnset, paused: "true"},
		},
		{
			name:   "a pause of the owner's outlives the ceiling of 0",
			object: scaled(map[string]any{"maxReplicaCount": int64(40)}, map[string]any{paused: "true", v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "0", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.AppliedMaxReplicaCountAnnotation: "40", v1alpha1.ReasonAnnotation: "x"}),
			v:      ceilingOf(10),
			max:    ptr.To[int32](10), notes: map[string]string{v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", paused: "true"},
		},
		{
			name: "our pause ends with it",
			object: scaled(map[string]any{"maxReplicaCount": int64(40)}, map[string]any{
				pausedReplicas: "0", v1alpha1.CeilingPausedWithAnnotation: pausedReplicas, v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "0", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.AppliedMaxReplicaCountAnnotation: "40", v1alpha1.ReasonAnnotation: "x",
			}),
			v:   ceilingOf(10),
			max: ptr.To[int32](10), notes: map[string]string{v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: "40"},
		},
		{
			name: "no ceiling is the object's own maximum", object: inForce(10, nil), v: verdict{reason: "no ceiling"},
			max: ptr.To[int32](40), notes: map[string]string{v1alpha1.ReasonAnnotation: "no ceiling"},
		},
		{
			name: "a ceiling that goes up", object: inForce(10, nil), v: ceilingOf(20), pace: pace{interval: 5 * time.Minute, followsIntensity: true},
			max: ptr.To[int32](20), notes: map[string]string{v1alpha1.CeilingAnnotation: "20", v1alpha1.OriginalMaxReplicaCountAnnotation: "40"},
		},
		{
			name: "a ceiling that goes down is timed", object: inForce(10, nil), v: ceilingOf(5), pace: pace{interval: 5 * time.Minute, followsIntensity: true},
			max: ptr.To[int32](5), notes: map[string]string{v1alpha1.CeilingAnnotation: "5", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.CeilingLoweredAnnotation: "2026-11-22T12:00:00Z"},
		},
		{
			name: "and does not go down again at once", object: inForce(10, map[string]any{v1alpha1.CeilingLoweredAnnotation: "2026-11-22T11:56:00Z"}), v: ceilingOf(5), pace: pace{interval: 5 * time.Minute, followsIntensity: true},
			max: ptr.To[int32](10), notes: map[string]string{v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.CeilingLoweredAnnotation: "2026-11-22T11:56:00Z", v1alpha1.ReasonAnnotation: "because; then"},
			again: now.Add(time.Minute),
		},
		{
			name: "but by a schedule it does", object: inForce(10, map[string]any{v1alpha1.CeilingLoweredAnnotation: "2026-11-22T11:56:00Z"}), v: verdict{ceiling: ptr.To[int32](5), reason: "eco"}, pace: pace{interval: 5 * time.Minute, followsIntensity: true},
			max: ptr.To[int32](5), notes: map[string]string{v1alpha1.CeilingAnnotation: "5", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.CeilingLoweredAnnotation: "2026-11-22T11:56:00Z"},
		},
		{
			name: "and by a clock that was ahead", object: inForce(10, map[string]any{v1alpha1.CeilingLoweredAnnotation: "2999-01-01T00:00:00Z"}), v: ceilingOf(5), pace: pace{interval: 5 * time.Minute, followsIntensity: true},
			max: ptr.To[int32](5), notes: map[string]string{v1alpha1.CeilingAnnotation: "5", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.CeilingLoweredAnnotation: "2026-11-22T12:00:00Z"},
		},
		{
			name: "and when the interval is over", object: inForce(10, map[string]any{v1alpha1.CeilingLoweredAnnotation: "2026-11-22T11:55:00Z"}), v: ceilingOf(5), pace: pace{interval: 5 * time.Minute, followsIntensity: true},
			max: ptr.To[int32](5), notes: map[string]string{v1alpha1.CeilingAnnotation: "5", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.CeilingLoweredAnnotation: "2026-11-22T12:00:00Z"},
		},
		{
			name: "a bound that is only just met raises nothing", object: inForce(10, nil), v: cautious(ceilingOf(20), 10),
			max: ptr.To[int32](10), notes: map[string]string{v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.ReasonAnnotation: "because; then"},
		},
		{
			name: "one that is clearly met does", object: inForce(10, nil), v: cautious(ceilingOf(20), 20),
			max: ptr.To[int32](20), notes: map[string]string{v1alpha1.CeilingAnnotation: "20", v1alpha1.OriginalMaxReplicaCountAnnotation: "40"},
		},
		{
			name: "and caution lowers nothing", object: inForce(10, nil), v: cautious(ceilingOf(10), 1),
			max: ptr.To[int32](10), notes: map[string]string{v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: "40"},
		},
		{
			name: "a revert is set again", object: inForce(40, nil), v: ceilingOf(10), undone: true,
			max: ptr.To[int32](10), notes: map[string]string{v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: "40"},
		},
		{
			name: "another maximum is what its owner wants from now on", object: inForce(50, nil), v: ceilingOf(10), undone: true,
			max: ptr.To[int32](10), notes: map[string]string{v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: "50"},
		},
		{
			name: "whoever knows the original better may say so", object: inForce(10, map[string]any{v1alpha1.OriginalMaxReplicaCountAnnotation: "60"}), v: verdict{reason: "no ceiling"},
			max: ptr.To[int32](60), notes: map[string]string{},
		},
		{
			name:   "the original outlives the note of the ceiling",
			object: scaled(map[string]any{"maxReplicaCount": int64(10)}, map[string]any{v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.OriginalMaxReplicaCountAnnotation: "40"}), v: ceilingOf(5),
			max: ptr.To[int32](5), notes: map[string]string{v1alpha1.CeilingAnnotation: "5", v1alpha1.OriginalMaxReplicaCountAnnotation: "40"},
		},
		{
			name: "and comes back without it", object: inForce(10, map[string]any{v1alpha1.CeilingAnnotation: "ten"}), v: verdict{reason: "no ceiling"},
			max: ptr.To[int32](40), notes: map[string]string{},
		},
		{
			name: "an original that cannot be read does not count", object: inForce(10, map[string]any{v1alpha1.OriginalMaxReplicaCountAnnotation: "many"}), v: ceilingOf(5),
			max: ptr.To[int32](5), notes: map[string]string{v1alpha1.CeilingAnnotation: "5", v1alpha1.OriginalMaxReplicaCountAnnotation: "10"},
		},
		{
			name: "nothing is done while it is too early to tell", object: inForce(10, nil), v: verdict{isPending: true},
			max: ptr.To[int32](10), notes: map[string]string{v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.ReasonAnnotation: "because; then"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.kind == "" {
				tt.kind = scaledObject
			}
			c := tt.object.target(tt.kind).settle(byPolicy, tt.v, tt.pace, now)
			after := tt.object.after(t, c)
			if diff := cmp.Diff(tt.max, after.max()); diff != "" {
				t.Error("maxReplicaCount: ", diff)
			}
			got := after.annotations()
			delete(got, v1alpha1.CeilingByAnnotation)
			if tt.notes[v1alpha1.ReasonAnnotation] == "" {
				delete(got, v1alpha1.ReasonAnnotation)
			}
			if diff := cmp.Diff(tt.notes, got); diff != "" {
				t.Error("annotations: ", diff)
			}
			if !c.again.Equal(tt.again) || c.standing.IsUndone != tt.undone {
				t.Errorf("got again at %v, undone %v", c.again, c.standing.IsUndone)
			}
		})
	}
}

func TestRestoreBringsTheOriginalBackWhateverTheOtherNotesSay(t *testing.T) {
	for name, notes := range map[string]map[string]any{
		"no other note":                    {},
		"a ceiling that cannot be read":    {v1alpha1.CeilingAnnotation: "ten"},
		"a pause without a ceiling":        {v1alpha1.AppliedMaxReplicaCountAnnotation: "10", v1alpha1.CeilingPausedWithAnnotation: pausedReplicas, pausedReplicas: "0"},
		"a pause of nobody knows how many": {v1alpha1.CeilingAnnotation: "0", v1alpha1.CeilingPausedWithAnnotation: pausedReplicas, pausedReplicas: "0"},
	} {
		t.Run(name, func(t *testing.T) {
			notes[v1alpha1.OriginalMaxReplicaCountAnnotation] = "40"
			object := scaled(map[string]any{"maxReplicaCount": int64(10)}, notes)
			after := object.after(t, object.target(scaledObject).restore())
			want := scaled(map[string]any{"maxReplicaCount": int64(40)}, nil)
			if diff := cmp.Diff(want.target(scaledObject), after.target(scaledObject), cmp.Exporter(func(reflect.Type) bool { return true }), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRestoreLeavesAloneWhatSomebodyElseHasSet(t *testing.T) {
	notes := map[string]any{v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "0", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.AppliedMaxReplicaCountAnnotation: "10", v1alpha1.CeilingPausedWithAnnotation: pausedReplicas, pausedReplicas: "3", v1alpha1.ReasonAnnotation: "x", v1alpha1.CeilingLoweredAnnotation: "x"}
	object := scaled(map[string]any{"maxReplicaCount": int64(50)}, notes)
	after := object.after(t, object.target(scaledObject).restore())
	want := scaled(map[string]any{"maxReplicaCount": int64(50)}, map[string]any{pausedReplicas: "3"})
	if diff := cmp.Diff(want, after); diff != "" {
		t.Error(diff)
	}
}

func TestOnlyGradualScaledJobsKeepTheirJobs(t *testing.T) {
	tests := []struct {
		name  string
		spec  map[string]any
		kills bool
	}{
		{"nothing said", map[string]any{}, true},
		{"immediate", map[string]any{"rollout": map[string]any{"strategy": "immediate"}}, true},
		{"gradual", map[string]any{"rollout": map[string]any{"strategy": "gradual"}}, false},
		{"gradual by the old field", map[string]any{"rolloutStrategy": "gradual"}, false},
		{"the old field counts first", map[string]any{"rolloutStrategy": "immediate", "rollout": map[string]any{"strategy": "gradual"}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := scaled(tt.spec, nil).target(scaledJob).killsJobs; got != tt.kills {
				t.Errorf("got %v, want %v", got, tt.kills)
			}
		})
	}
}

// FuzzSettle: whatever is written on an object, a ceiling that was set needs nothing more to be
// done, is within what KEDA allows, and leaves no trace when it goes.
func FuzzSettle(f *testing.F) {
	f.Add(int64(40), int64(2), "10", "40", "10", "", "", int32(5), false)
	f.Add(int64(-1), int64(0), "0", "unset", "unset", pausedReplicas, "0", int32(0), true)
	f.Add(int64(1<<40), int64(1<<31-1), "-1", "x", "", "y", "0", int32(math.MaxInt32), true)
	f.Fuzz(func(t *testing.T, most, least int64, ceiling, original, applied, with, pause string, limit int32, isCapped bool) {
		now := clock(t, "2026-11-22T12:00:00Z")
		for _, text := range []string{ceiling, original, applied, with, pause} {
			if strings.ToValidUTF8(text, "") != text {
				t.Skip("no JSON has this")
			}
		}
		object := scaled(map[string]any{"maxReplicaCount": most, "minReplicaCount": least}, map[string]any{
			v1alpha1.CeilingAnnotation: ceiling, v1alpha1.OriginalMaxReplicaCountAnnotation: original, v1alpha1.AppliedMaxReplicaCountAnnotation: applied, v1alpha1.CeilingPausedWithAnnotation: with, pausedReplicas: pause, v1alpha1.CeilingByAnnotation: byPolicy,
		})
		v := verdict{ceiling: &limit, isCapped: isCapped, reason: "because"}
		once := object.after(t, object.target(scaledObject).settle(byPolicy, v, pace{}, now))
		settled := once.target(scaledObject)
		if again := settled.settle(byPolicy, v, pace{}, now); !again.IsEmpty() {
			t.Fatalf("not settled: %+v", again)
		}
		if r := settled.record(); r == nil || r.ceiling > 0 && (settled.maxReplicas() != r.ceiling || settled.Value(maxReplicaCount) == override.Unset || settled.maxReplicas() < settled.minCeiling) {
			t.Fatalf("got %+v of %+v", r, settled)
		}
		if left := once.after(t, settled.restore()).target(scaledObject); left.hasNotes() {
			t.Fatalf("left over: %v", left.Annotations)
		}
	})
}

func TestJudge(t *testing.T) {
	now := clock(t, "2026-11-22T12:05:00Z")
	buckets, err := plan.ParseBuckets("200=20,350=5,*=1")
	if err != nil {
		t.Fatal(err)
	}
	expected := forecast.NewSeries([]forecast.Slot{
		{Start: now.Add(-time.Hour), End: now.Add(time.Hour), Intensity: 180}, {Start: now.Add(time.Hour), End: now.Add(2 * time.Hour), Intensity: 300},
	})
	tests := []struct {
		name            string
		level           plan.Level
		buckets         plan.Buckets
		limit, cautious *int32
		sentence        string
	}{
		{"by the intensity", plan.Level{Location: "X", Intensity: 180, IsKnown: true, Expected: expected}, buckets, ptr.To[int32](20), ptr.To[int32](20),
			"the intensity at X is in the bucket <=200 of CarbonPolicy default; 180 gCO2eq/kWh at 2026-11-22 12:05 UTC, expected to change at 2026-11-22 13:05 UTC"},
		{"just below a bound", plan.Level{Intensity: 199, IsKnown: true}, buckets, ptr.To[int32](20), ptr.To[int32](5),
			"the intensity is in the bucket <=200 of CarbonPolicy default; 199 gCO2eq/kWh at 2026-11-22 12:05 UTC"},
		{"no forecast", plan.Level{UnknownReason: "it is over"}, buckets, nil, nil, "no ceiling: there is no usable forecast; it is over"},
		{"exempt", plan.Level{Intensity: 180, IsKnown: true, IsExempt: true}, buckets, nil, nil,
			"no ceiling: carbon does not count, by an exemption of the policy; since 2026-11-22 12:05 UTC"},
		{"audited", plan.Level{Location: "X", Intensity: 180, IsKnown: true, IsAudited: true, Expected: expected}, buckets, nil, nil,
			"no ceiling: the policy has the mode Audit; it would be 20: 180 gCO2eq/kWh at 2026-11-22 12:05 UTC, expected to change at 2026-11-22 13:05 UTC"},
		{"no buckets", plan.Level{Intensity: 180, IsKnown: true}, plan.Buckets{}, nil, nil, "no ceiling: CarbonPolicy default has no buckets"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var v verdict
			v.judge(tt.level, tt.buckets, "CarbonPolicy default", 0.02, now)
			if diff := cmp.Diff([]*int32{tt.limit, tt.cautious}, []*int32{v.ceiling, v.cautious}); diff != "" {
				t.Error(diff)
			}
			if got := v.sentence(""); got != tt.sentence {
				t.Errorf("got  %s\nwant %s", got, tt.sentence)
			}
			if present := v.reason + "; 190 gCO2eq/kWh an hour ago"; v.sentence(present) != present {
				t.Errorf("a reason that is still true is written anew: %s", v.sentence(present))
			}
		})
	}
}
