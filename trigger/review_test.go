package trigger

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/serving"
)

const scalerAddress = "gridlatch-scaler.gridlatch-system.svc:9446"

func reviewTime() time.Time { return time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC) }

// oneGrid knows the policies default and nightly, and of both the location DE. It cannot say anything about
// the policy unread.
type oneGrid struct{}

// Level implements Levels.
func (oneGrid) Level(_ context.Context, policy, region string, _ time.Time) (plan.Level, forecast.Source, error) {
	switch {
	case policy == "unread":
		return plan.Level{}, forecast.Source{}, fmt.Errorf("the cache is not filled")
	case policy != "default" && policy != "nightly":
		return plan.Level{}, forecast.Source{}, apierrors.NewNotFound(schema.GroupResource{Resource: "carbonpolicies"}, policy)
	case region != "" && region != "DE":
		return plan.Level{HasNoLocation: true, UnknownReason: "want a location of policy " + policy + ": DE"}, forecast.Source{}, nil
	}
	return plan.Level{}, forecast.Source{}, nil // no intensity: this is no mistake
}

func newAdmission() Admission {
	form := Form{Address: scalerAddress, Authentication: "gridlatch"}
	return Admission{Form: form, Levels: oneGrid{}, Clock: clocktesting.NewFakePassiveClock(reviewTime())}
}

func reviewOf(object string) serving.Review {
	return serving.Review{
		Operation: admissionv1.Create, Kind: metav1.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: "ScaledObject"},
		Name: "web", Object: []byte(object),
	}
}

const written = `{"type":"carbon-intensity","metadata":{"region":"DE","emissionThreshold":"200"}}`

func withTriggers(triggers ...string) string {
	return `{"metadata":{"name":"web"},"spec":{"scaleTargetRef":{"name":"web"},"triggers":[` + strings.Join(triggers, ",") + `]}}`
}

func TestOnlyTheCarbonTriggerIsReplaced(t *testing.T) {
	const (
		alone = `{"type":"external-push","name":"grid","authenticationRef":{"kind":"ClusterTriggerAuthentication","name":"gridlatch"},` +
			`"metadata":{"region":"DE","emissionThreshold":"200","writtenAs":"carbon-intensity","scalerAddress":"` + scalerAddress + `","enableTLS":"true"}}`
		kafka = `{"type":"kafka","metadata":{"lagThreshold":5}}`
	)
	named := strings.Replace(written, `"metadata"`, `"name":"grid","metadata"`, 1)
	beside := strings.Replace(alone, `"region"`, `"effect":"ceiling","region"`, 1)
	for name, tt := range map[string]struct{ before, after string }{
		"alone":                          {withTriggers(named), withTriggers(alone)},
		"beside another":                 {withTriggers(kafka, named), withTriggers(kafka, beside)},
		"another came beside a replaced": {withTriggers(alone, kafka), withTriggers(beside, kafka)},
		"the other one went":             {withTriggers(beside), withTriggers(alone)},
		"replaced before":                {withTriggers(alone), withTriggers(alone)},
		"none of ours":                   {withTriggers(kafka), withTriggers(kafka)},
	} {
		t.Run(name, func(t *testing.T) {
			req := reviewOf(tt.before)
			response := newAdmission().Handle(t.Context(), req)
			if !response.Allowed || len(response.Warnings) > 0 {
				t.Fatalf("got %+v", response)
			}
			if got := patched(t, req.Object, response); !jsonpatch.Equal([]byte(tt.after), got) {
				t.Errorf("got %s\nwant %s", got, tt.after)
			}
			if hasPatch := len(response.Patch) > 0; hasPatch != (tt.before != tt.after) {
				t.Errorf("the patch is %q", response.Patch)
			}
		})
	}
}

// patched returns an object after the patch of a response.
func patched(t *testing.T, object []byte, response *admissionv1.AdmissionResponse) []byte {
	t.Helper()
	if len(response.Patch) == 0 {
		return object
	}
	patch, err := jsonpatch.DecodePatch(response.Patch)
	if err != nil {
		t.Fatal(err)
	}
	after, err := patch.Apply(object)
	if err != nil {
		t.Fatalf("%v: %s", err, response.Patch)
	}
	return after
}

func TestWhatIsNotOurBusinessPasses(t *testing.T) {
	for name, change := range map[string]func(*serving.Review){
		"a status":      func(r *serving.Review) { r.SubResource = "status" },
		"a deletion":    func(r *serving.Review) { r.Operation = admissionv1.Delete },
		"another kind":  func(r *serving.Review) { r.Kind.Kind = "TriggerAuthentication" },
		"another group": func(r *serving.Review) { r.Kind.Group = "example.com" },
		"no object":     func(r *serving.Review) { r.Object = nil },
		"no JSON":       func(r *serving.Review) { r.Object = []byte(`nothing`) },
		"no list":       func(r *serving.Review) { r.Object = []byte(`{"spec":{"triggers":{"type":"carbon-intensity"}}}`) },
		"no triggers":   func(r *serving.Review) { r.Object = []byte(`{"spec":{}}`) },
		"triggers of all sorts": func(r *serving.Review) {
			r.Object = []byte(withTriggers(`null`, `1`, `[]`, `{"type":{}}`, `{"metadata":[]}`))
		},
		"on its way out": func(r *serving.Review) { r.Object = withMeta(`"deletionTimestamp":"2026-11-27T11:00:00Z"`) },
		"given back lately": func(r *serving.Review) {
			r.Object = withMeta(`"annotations":{"x":"y","` + v1alpha1.CeilingReleasedAnnotation + `":"2026-11-27T12:30:00Z"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			req := reviewOf(withTriggers(written))
			change(&req)
			if got := newAdmission().Handle(t.Context(), req); !reflect.DeepEqual(got, &admissionv1.AdmissionResponse{Allowed: true}) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func withMeta(member string) []byte {
	return []byte(`{"metadata":{` + member + `},"spec":{"triggers":[` + written + `]}}`)
}

func TestWhatWasGivenBackLongAgoIsReplacedAgain(t *testing.T) {
	for _, until := range []string{"2026-11-27T12:00:00Z", "soon", strings.Repeat("9", 1000)} {
		object := withMeta(`"annotations":{"` + v1alpha1.CeilingReleasedAnnotation + `":"` + until + `"}`)
		if got := newAdmission().Handle(t.Context(), reviewOf(string(object))); len(got.Patch) == 0 {
			t.Errorf("%.30s: got %+v", until, got)
		}
	}
}

func TestAFormulaIsSeenInAReview(t *testing.T) {
	other := `{"type":"cron"}`
	for name, tt := range map[string]struct {
		advanced  string
		isCeiling bool
	}{
		"a formula":        {`{"scalingModifiers":{"target":"5","formula":"carbon > 0 ? queue : 0"}}`, false},
		"an empty formula": {`{"scalingModifiers":{"formula":""}}`, true},
		"no formula":       {`{"scalingModifiers":{"formula":null}}`, true},
		"other settings":   {`{"restoreToOriginalReplicaCount":true}`, true},
	} {
		object := strings.Replace(withTriggers(written, other), `"triggers"`, `"advanced":`+tt.advanced+`,"triggers"`, 1)
		got := newAdmission().Handle(t.Context(), reviewOf(object))
		if strings.Contains(string(got.Patch), `"effect":"ceiling"`) != tt.isCeiling || len(got.Patch) == 0 {
			t.Errorf("%s: %s", name, got.Patch)
		}
	}
}

func TestALongListIsToldOfAndPasses(t *testing.T) {
	got := newAdmission().Handle(t.Context(), reviewOf(withTriggers(written, `"`+strings.Repeat("x", maxTriggersBytes)+`"`)))
	want := []string{"Gridlatch replaces no trigger now: spec.triggers: want at most 128 KiB"}
	if diff := cmp.Diff(want, got.Warnings); diff != "" || !got.Allowed || len(got.Patch) > 0 {
		t.Errorf("got %+v (-want +got):\n%s", got, diff)
	}
}

func TestMistakesAreRefusedWithTheirPath(t *testing.T) {
	metadata := func(text string) string { return withTriggers(`{"type":"carbon-intensity","metadata":` + text + `}`) }
	for name, tt := range map[string]struct {
		object string
		want   []string
	}{
		"a number": {metadata(`{"emissionThreshold":200}`), []string{
			`spec.triggers[0].metadata.emissionThreshold: Invalid value: 200: want it in quotes: "200"`,
		}},
		"a number with a fraction, and a boolean": {metadata(`{"gradual":true,"emissionThreshold":0.5,"region":"DE"}`), []string{
			`spec.triggers[0].metadata.emissionThreshold: Invalid value: 0.5: want it in quotes: "0.5"`,
			`spec.triggers[0].metadata.gradual: Invalid value: true: want it in quotes: "true"`,
		}},
		"null and an object": {metadata(`{"emissionThreshold":null,"region":{"name":"DE"},"a\u0007":[]}`), []string{
			`spec.triggers[0].metadata["a\a"]: Invalid value: "array": want a text in quotes`,
			`spec.triggers[0].metadata.emissionThreshold: Invalid value: "null": want a text in quotes`,
			`spec.triggers[0].metadata.region: Invalid value: "object": want a text in quotes`,
		}},
		"no number": {metadata(`{"emissionThreshold":"low"}`), []string{
			`spec.triggers[0].metadata.emissionThreshold: Invalid value: "low": `,
		}},
		"an unknown handler": {metadata(`{"emissionThreshold":"200","handler":"stop"}`), []string{
			`spec.triggers[0].metadata.handler: Invalid value: "stop": want scaleDown or pause`,
		}},
		"an unknown region": {metadata(`{"emissionThreshold":"200","region":"us-west-2"}`), []string{
			`spec.triggers[0].metadata.region: Invalid value: "us-west-2": want a location of policy default: DE`,
		}},
		"an unknown policy, beside another trigger": {withTriggers(`{"type":"cron"}`, `{"type":"carbon-intensity","metadata":{"emissionThreshold":"200","policy":"gone"}}`), []string{
			`spec.triggers[1].metadata.policy: Invalid value: "gone": want the name of a CarbonPolicy`,
		}},
		"two": {withTriggers(written, written), []string{`spec.triggers[1]: Forbidden: `}},
		"an authentication": {withTriggers(strings.Replace(written, `"metadata"`, `"authenticationRef":{"name":"x"},"metadata"`, 1)), []string{
			`spec.triggers[0].authenticationRef: Forbidden: `,
		}},
		"an unquoted value in a replaced trigger": {withTriggers(`{"type":"external-push","metadata":{"writtenAs":"carbon-intensity","emissionThreshold":200}}`), []string{
			`spec.triggers[0].metadata.emissionThreshold: Invalid value: 200: want it in quotes: "200"`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := newAdmission().Handle(t.Context(), reviewOf(tt.object))
			if got.Allowed || len(got.Patch) > 0 || got.Result.Code != 422 || got.Result.Reason != metav1.StatusReasonInvalid {
				t.Fatalf("got %+v", got)
			}
			causes := got.Result.Details.Causes
			if len(causes) != len(tt.want) {
				t.Fatalf("got %q", got.Result.Message)
			}
			for i, want := range tt.want {
				if text := causes[i].Field + ": " + causes[i].Message; !strings.HasPrefix(text, want) {
					t.Errorf("got  %s\nwant %s", text, want)
				}
			}
		})
	}
}

func TestWhatIsNotKnownYetPasses(t *testing.T) {
	object := withTriggers(`{"type":"carbon-intensity","metadata":{"emissionThreshold":"200","region":"X","policy":"unread"}}`)
	if got := newAdmission().Handle(t.Context(), reviewOf(object)); !got.Allowed || len(got.Patch) == 0 {
		t.Errorf("got %+v", got)
	}
}

func TestWithoutAScalerNothingIsReplacedOrRefused(t *testing.T) {
	a := newAdmission()
	a.Form = Form{}
	for _, object := range []string{withTriggers(written), withTriggers(`{"type":"carbon-intensity","metadata":{"emissionThreshold":200}}`)} {
		if got := a.Handle(t.Context(), reviewOf(object)); !reflect.DeepEqual(got, &admissionv1.AdmissionResponse{Allowed: true}) {
			t.Errorf("got %+v", got)
		}
	}
}

// FuzzTheDoorChangesNothingButOurTrigger also shows that a second look changes nothing, and that what was
// written can be restored.
func FuzzTheDoorChangesNothingButOurTrigger(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"spec":null}`, withTriggers(written), withTriggers(`{"type":"kafka"}`, written), withTriggers(written, written), withTriggers(`null`, written),
		withTriggers(`{"type":"external-push","metadata":{"writtenAs":"carbon-intensity","emissionThreshold":"1e9","effect":"ceiling"}}`, `{"type":"cron","metadata":{"start":1}}`),
		withTriggers(`{"type":"external","metadata":{"scalerAddress":"` + scalerAddress + `","emissionThreshold":"NaN"}}`),
		withTriggers(`{"type":"carbon-intensity","metadata":{"emissionThreshold":-1e400,"gradual":true}}`),
		string(withMeta(`"annotations":{"` + v1alpha1.CeilingReleasedAnnotation + `":null}`)), string(withMeta(`"deletionTimestamp":1`)),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var before map[string]any
		if json.Unmarshal(text, &before) == nil { // without what comes twice, as the API server sends it
			text, _ = json.Marshal(before)
		}
		req := reviewOf(string(text))
		response := newAdmission().Handle(t.Context(), req)
		if !response.Allowed && (len(response.Patch) > 0 || response.Result == nil || response.Result.Message == "") {
			t.Fatalf("got %+v", response)
		}
		if len(response.Patch) == 0 {
			return
		}
		raw := patched(t, text, response)
		var after map[string]any
		if err := json.Unmarshal(raw, &after); err != nil {
			t.Fatal(err)
		}
		old, changed := triggersOf(t, before), triggersOf(t, after)
		for i := range old {
			if was, ok := old[i].(map[string]any); !reflect.DeepEqual(old[i], changed[i]) && (!ok || !isCarbon(was)) {
				t.Errorf("trigger %d was %v and is %v", i, old[i], changed[i])
			}
			if was, _ := old[i].(map[string]any); was["type"] == Type {
				if restored, _ := Restore(changed); !reflect.DeepEqual(old[i], restored[i]) {
					t.Errorf("written %v, restored %v", old[i], restored[i])
				}
			}
		}
		before["spec"].(map[string]any)["triggers"], after["spec"].(map[string]any)["triggers"] = nil, nil
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("besides the triggers (-before +after):\n%s", diff)
		}
		if again := newAdmission().Handle(t.Context(), reviewOf(string(raw))); !again.Allowed || len(again.Patch) > 0 {
			t.Errorf("the second look: %+v, %s", again, again.Patch)
		}
	})
}

func triggersOf(t *testing.T, object map[string]any) []any {
	t.Helper()
	spec, _ := object["spec"].(map[string]any)
	triggers, ok := spec["triggers"].([]any)
	if !ok {
		t.Fatalf("no triggers in %v", object)
	}
	return triggers
}

func isCarbon(trigger map[string]any) bool {
	metadata, _ := trigger["metadata"].(map[string]any)
	return trigger["type"] == Type || metadata[WrittenAsKey] == Type
}
