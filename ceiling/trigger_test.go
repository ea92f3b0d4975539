package ceiling

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/trigger"
)

var formOfTests = trigger.Form{Address: "gridlatch-scaler.gridlatch-system.svc:9446", Authentication: "gridlatch"}

// carbonTriggerOf returns a trigger as people write it.
func carbonTriggerOf(metadata map[string]any) map[string]any {
	all := map[string]any{"emissionThreshold": "200"}
	for key, value := range metadata {
		all[key] = value
	}
	return map[string]any{"type": trigger.Type, "metadata": all}
}

// otherTrigger returns a trigger of another kind.
func otherTrigger() map[string]any {
	return map[string]any{"type": "cron", "metadata": map[string]any{"timezone": "UTC", "start": "0 6 * * *", "end": "0 8 * * *", "desiredReplicas": "3"}}
}

// triggered returns a ScaledObject of 2 to 22 replicas with triggers.
func triggered(annotations map[string]any, triggers ...any) document {
	return scaled(map[string]any{"minReplicaCount": int64(2), "maxReplicaCount": int64(22), "triggers": triggers}, annotations)
}

// triggerWorld returns a world that carries out triggers.
func triggerWorld(t *testing.T) *world {
	w := newWorld(t)
	w.Options.Form = formOfTests
	return w
}

// put makes an object be, in a new version.
func (w *world) put(d document) *target {
	w.t.Helper()
	metadata := d["metadata"].(map[string]any)
	copied := map[string]any{}
	for key, value := range metadata {
		copied[key] = value
	}
	version, _ := strconv.Atoi(copied["resourceVersion"].(string))
	copied["resourceVersion"] = strconv.Itoa(version + 1)
	return w.set(document{"apiVersion": d["apiVersion"], "kind": d["kind"], "metadata": copied, "spec": d["spec"]})
}

// lookUntilSteady looks at an object until nothing is written, and returns how often something was.
func (w *world) lookUntilSteady(r ref) (writes int) {
	w.t.Helper()
	for range 10 {
		before := len(w.patched)
		w.look(r)
		if len(w.patched) == before {
			return writes
		}
		writes++
		w.put(w.objects[r.name]) // which has a new version
	}
	w.t.Fatalf("it is written again and again: %v", w.patched)
	return 0
}

func (d document) triggers() []any { return triggersOf(&unstructured.Unstructured{Object: d}) }

// withTriggers returns the document with other triggers.
func (d document) withTriggers(triggers ...any) document {
	spec := map[string]any{}
	for key, value := range d["spec"].(map[string]any) {
		spec[key] = value
	}
	spec["triggers"] = triggers
	return document{"apiVersion": d["apiVersion"], "kind": d["kind"], "metadata": d["metadata"], "spec": spec}
}

func TestATriggerThatTheWebhookMissedIsRewritten(t *testing.T) {
	for name, others := range map[string][]any{"alone": nil, "beside another": {otherTrigger()}} {
		t.Run(name, func(t *testing.T) {
			w := triggerWorld(t)
			w.level.Intensity = 100
			object := w.set(triggered(nil, append([]any{carbonTriggerOf(nil)}, others...)...))
			w.look(object.ref())
			if len(w.patched) != 1 || !strings.HasPrefix(w.patched[0], `{"metadata":{"resourceVersion":"7","uid":"u"},"spec":{"triggers":[`) {
				t.Fatalf("patched: %v", w.patched)
			}
			got := w.objects["web"].triggers()
			first := got[0].(map[string]any)
			effect := first["metadata"].(map[string]any)["effect"]
			if first["type"] != "external-push" || len(got) != 1+len(others) || (effect == "ceiling") != (len(others) > 0) {
				t.Errorf("got %v", got)
			}
			if diff := cmp.Diff([]string{EventTriggerRewritten}, w.events); diff != "" {
				t.Error("events: ", diff)
			}
			w.look(object.ref()) // before the new version is known
			w.put(w.objects["web"])
			w.lookUntilSteady(object.ref())
			for _, body := range w.patched[1:] {
				if strings.Contains(body, `"triggers"`) {
					t.Errorf("rewritten again: %s", body)
				}
			}
		})
	}
}

func TestTheEffectFollowsTheOtherTriggers(t *testing.T) {
	w := triggerWorld(t)
	w.level.Intensity = 100
	object := w.set(triggered(nil, carbonTriggerOf(nil)))
	w.lookUntilSteady(object.ref())
	w.put(w.objects["web"].withTriggers(w.objects["web"].triggers()[0], otherTrigger()))
	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	w.look(object.ref()) // somebody has changed the triggers: a second is waited
	w.clock.SetTime(w.clock.Now().Add(time.Second))
	w.lookUntilSteady(object.ref())
	if got := w.objects["web"].triggers()[0].(map[string]any)["metadata"].(map[string]any)["effect"]; got != "ceiling" {
		t.Errorf("the effect is %v", got)
	}
}

func TestATriggerThatIsWrittenBackIsRewrittenLessOftenEachTime(t *testing.T) {
	w := triggerWorld(t)
	w.level.Intensity = 100
	object := w.set(triggered(nil, carbonTriggerOf(nil)))
	w.lookUntilSteady(object.ref())
	for _, pause := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		w.put(w.objects["web"].withTriggers(carbonTriggerOf(nil)))
		patched := len(w.patched)
		if result := w.look(object.ref()); result.RequeueAfter != pause || len(w.patched) != patched {
			t.Fatalf("looked at again after %v, want %v; %d patches", result.RequeueAfter, pause, len(w.patched)-patched)
		}
		w.look(object.ref()) // which tells nothing twice
		w.clock.SetTime(w.clock.Now().Add(pause))
		if n := w.lookUntilSteady(object.ref()); n != 1 {
			t.Fatalf("%d writes", n)
		}
	}
	reverted := 0
	for i, reason := range w.events {
		if reason == EventTriggerReverted {
			reverted++
			if !contains(w.told[i], "rewritten again at", "external-push") {
				t.Errorf("told: %s", w.told[i])
			}
		}
	}
	if reverted != 3 {
		t.Errorf("told %d times: %v", reverted, w.events)
	}
}

func TestAMistakenTriggerIsToldOfOnceAndLeftAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		triggers []any
		want     string
	}{
		"a threshold that is no number": {[]any{carbonTriggerOf(map[string]any{"emissionThreshold": "low"})}, "spec.triggers[0].metadata"},
		"an unknown handler":            {[]any{carbonTriggerOf(map[string]any{"handler": "explode"})}, "spec.triggers[0].metadata"},
		"two of them":                   {[]any{carbonTriggerOf(nil), carbonTriggerOf(nil)}, "spec.triggers[1]"},
		"an unquoted number":            {[]any{carbonTriggerOf(map[string]any{"emissionThreshold": int64(200)})}, "spec.triggers[0].metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			w := triggerWorld(t)
			object := w.set(triggered(nil, tt.triggers...))
			for range 3 {
				w.look(object.ref())
			}
			if len(w.patched) > 0 {
				t.Errorf("patched: %v", w.patched)
			}
			if diff := cmp.Diff([]string{EventTriggerInvalid}, w.events); diff != "" || !contains(w.told[0], tt.want) {
				t.Errorf("events: %s told: %v", diff, w.told)
			}
		})
	}
}

func TestAPolicyOrARegionThatDoesNotExistIsAMistake(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(w *world)
		want  string
	}{
		"policy": {func(w *world) {
			w.refusesLevel = apierrors.NewNotFound(schema.GroupResource{Resource: "carbonpolicies"}, "default")
		}, `CarbonPolicy "default" does not exist`},
		"region": {func(w *world) {
			w.level.IsKnown, w.level.HasNoLocation, w.level.UnknownReason = false, true, "no such location"
		}, "no such location"},
	} {
		t.Run(name, func(t *testing.T) {
			w := triggerWorld(t)
			tt.spoil(w)
			object := w.set(triggered(nil, carbonTriggerOf(map[string]any{"handler": "pause"}), otherTrigger()))
			w.lookUntilSteady(object.ref())
			if got := w.objects["web"]; got.annotations()[paused] != "" || *got.max() != 22 {
				t.Errorf("got %v", got)
			}
			if diff := cmp.Diff([]string{EventTriggerRewritten, EventTriggerInvalid}, w.events); diff != "" || w.told[1] != tt.want {
				t.Errorf("events: %s told: %v", diff, w.told)
			}
			w.refusesLevel, w.level.HasNoLocation, w.level.IsKnown = nil, false, true
			w.turnTo(300)
			w.lookUntilSteady(object.ref())
			if w.objects["web"].annotations()[paused] != "true" {
				t.Errorf("once there is one: %v", w.objects["web"])
			}
		})
	}
}

func TestAScaledJobIsRewrittenWhenNoJobRuns(t *testing.T) {
	w := triggerWorld(t)
	w.jobs = []batchv1.Job{{}}
	object := w.set(triggered(nil, carbonTriggerOf(nil)).named(scaledJob, "web"))
	object.ResourceVersion = "7"
	for range 2 {
		if result := w.look(object.ref()); result.RequeueAfter != jobsInterval || len(w.patched) > 0 {
			t.Fatalf("while a Job runs: %v, %v", result, w.patched)
		}
	}
	w.jobs = nil
	w.look(object.ref())
	if len(w.patched) != 1 || !strings.Contains(w.patched[0], `"triggers"`) {
		t.Errorf("when none runs: %v", w.patched)
	}
	if diff := cmp.Diff([]string{EventTriggerWaits, EventTriggerDirty, EventTriggerRewritten}, w.events); diff != "" {
		t.Error("events: ", diff)
	}
}

func TestNothingIsRewrittenWhileEverythingIsReleased(t *testing.T) {
	w := triggerWorld(t)
	object := w.set(triggered(map[string]any{v1alpha1.CeilingReleasedAnnotation: "2026-11-22T12:30:00Z"}, carbonTriggerOf(map[string]any{"handler": "pause"})))
	if result := w.look(object.ref()); len(w.patched) > 0 || result.RequeueAfter != 30*time.Minute {
		t.Fatalf("got %v, patched %v", result, w.patched)
	}
	w.clock.SetTime(w.clock.Now().Add(30 * time.Minute))
	w.look(object.ref())
	if len(w.patched) != 1 || !contains(w.patched[0], `"triggers"`, `"gridlatch.dev/ceiling-released":null`) {
		t.Errorf("from then on: %v", w.patched)
	}
}

func TestWithoutAnAddressNoTriggerIsTouched(t *testing.T) {
	w := newWorld(t)
	object := w.set(triggered(nil, carbonTriggerOf(map[string]any{"handler": "pause"}), otherTrigger()))
	w.look(object.ref())
	if len(w.patched) > 0 || len(w.events) > 0 {
		t.Errorf("patched %v, told %v", w.patched, w.events)
	}
}

func TestATriggerComesBackWhenThereIsNoScalerAnyMore(t *testing.T) {
	w := triggerWorld(t)
	w.level.Intensity = 300
	object := w.set(triggered(nil, carbonTriggerOf(nil), otherTrigger()))
	w.lookUntilSteady(object.ref())
	w.put(w.objects["web"])
	w.lookUntilSteady(object.ref())
	if ceiling := fmt.Sprint(w.objects["web"]["spec"].(map[string]any)["maxReplicaCount"]); ceiling != "2" {
		t.Fatalf("the ceiling is %s", ceiling)
	}
	w.Options.Form, w.Options.IsTrusted = trigger.Form{}, func() bool { return false }
	w.triggers.Clear() // another process begins
	w.put(w.objects["web"])
	w.lookUntilSteady(object.ref())
	w.put(w.objects["web"])
	w.lookUntilSteady(object.ref())
	if diff := cmp.Diff([]any{carbonTriggerOf(nil), otherTrigger()}, w.objects["web"].triggers()); diff != "" {
		t.Error(diff)
	}
	if max := fmt.Sprint(w.objects["web"]["spec"].(map[string]any)["maxReplicaCount"]); max != "22" {
		t.Errorf("the maximum is %s", max)
	}
}

func TestWhatAChangeForATriggerComesTo(t *testing.T) {
	resource := schema.GroupResource{Group: "keda.sh", Resource: "scaledobjects"}
	for name, tt := range map[string]struct {
		answer error
		fails  bool
		again  time.Duration
		events []string
	}{
		"refused by somebody": {errDown, true, 0, []string{EventTriggerFailed}},
		"changed meanwhile":   {apierrors.NewConflict(resource, "web", errDown), false, conflictRetry, nil},
		"deleted meanwhile":   {apierrors.NewNotFound(resource, "web"), false, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := triggerWorld(t)
			w.refuses = tt.answer
			object := w.set(triggered(nil, carbonTriggerOf(nil)))
			for range 2 {
				if result, err := w.Reconcile(t.Context(), object.ref()); (err != nil) != tt.fails || result.RequeueAfter != tt.again {
					t.Fatalf("got %v, %v", result, err)
				}
			}
			if diff := cmp.Diff(tt.events, w.events); diff != "" {
				t.Error("events: ", diff)
			}
		})
	}
}

// TestTheOwnershipOfTriggersIsGivenUp has triggers that we have written. They say themselves what
// they were, and a tool that applies them needs no force.
func TestTheOwnershipOfTriggersIsGivenUp(t *testing.T) {
	others := managed("kubectl-create", "Update", 0, ownsOther)
	for name, tt := range map[string]struct {
		notes map[string]any
		ours  string
		want  []any
	}{
		"and nothing else is left":           {nil, `{"f:spec": {"f:triggers": {}}}`, []any{others}},
		"a pause that the trigger set stays": {map[string]any{v1alpha1.TriggerPausedAnnotation: paused, paused: "true"}, `{"f:metadata": {"f:annotations": {"f:autoscaling.keda.sh/paused": {}}}, "f:spec": {"f:triggers": {}}}`, []any{others, managed(override.Manager, "Update", 10, `{"f:metadata": {"f:annotations": {"f:autoscaling.keda.sh/paused": {}}}}`)}},
	} {
		t.Run(name, func(t *testing.T) {
			object := triggered(tt.notes, otherTrigger()).managedBy(others, managed(override.Manager, "Update", 10, tt.ours))
			var after document
			api := patcher{patch: func(_ client.Object, patch client.Patch) error {
				body, err := patch.Data(nil)
				after = object.patched(t, body)
				return err
			}, live: &unstructured.Unstructured{Object: object}}
			w := newWorld(t)
			w.Controller = &Controller{Client: api, Live: api}
			if err := w.disown(t.Context(), object.target(scaledObject)); err != nil {
				t.Fatal(err)
			}
			if after == nil {
				t.Fatal("nothing is given up")
			}
			if diff := cmp.Diff(tt.want, after["metadata"].(map[string]any)["managedFields"]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestATriggerIsWokenByItsForecastAndItsPolicy(t *testing.T) {
	w := triggerWorld(t)
	w.level.Intensity = 100
	object := w.set(triggered(nil, carbonTriggerOf(map[string]any{"policy": "other"})))
	w.lookUntilSteady(object.ref())
	w.queue = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[ref]())
	t.Cleanup(w.queue.ShutDown)
	w.wakeSources(func(source forecast.Source) bool { return source.Name == "other" })
	if n := w.queue.Len(); n != 1 {
		t.Errorf("%d are looked at for the forecast", n)
	}
	if !w.targets[scaledObject].Get("shop/web").(*target).carbon.isOfPolicy("other") {
		t.Error("not of the policy")
	}
	w.set(w.objects["web"].withTriggers(otherTrigger()))
	w.look(object.ref())
	if _, ok := w.triggers.Load(object.ref()); ok {
		t.Error("the source is remembered without a trigger")
	}
}

func TestWishesShareTheirTimeZones(t *testing.T) {
	r := &triggerReader{form: formOfTests}
	read := func() *carbonTrigger {
		planned := map[string]any{"type": trigger.Type, "metadata": map[string]any{"mode": "planned", "cleanHoursPerDay": "8", "timeZone": "Europe/Berlin"}}
		return r.read(scaledObject, &unstructured.Unstructured{Object: triggered(nil, planned)})
	}
	if a, b := read(), read(); a.mistake != "" || a.wish.Zone != b.wish.Zone {
		t.Errorf("got %+v and %+v", a, b)
	}
}

// TestAThousandTriggersAreCheapToKeep writes nothing and tells nothing while nothing changes, and
// keeps no list of triggers.
func TestAThousandTriggersAreCheapToKeep(t *testing.T) {
	w := triggerWorld(t)
	var refs []ref
	for i := range 1000 {
		rewritten, _, errs := formOfTests.Rewrite(trigger.Scaling{Triggers: []any{carbonTriggerOf(nil)}}, nil)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		d := triggered(nil, rewritten...).named(scaledObject, fmt.Sprintf("web-%d", i))
		object := w.set(d)
		refs = append(refs, object.ref())
		if v := object.Value(triggersField); v != override.Unset || object.carbon.rewritten != override.Unset {
			t.Fatalf("kept: %s %s", v, object.carbon.rewritten)
		}
	}
	w.started = w.clock.Now() // they were there before
	for range 3 {
		for _, r := range refs {
			w.look(r)
		}
	}
	if len(w.patched) > 0 || len(w.events) > 0 || len(w.planned) != 1 {
		t.Errorf("%d patches, %d Events, planned %d times", len(w.patched), len(w.events), len(w.planned))
	}
	if got := testutil.ToFloat64(w.Metrics.triggers.WithLabelValues("dirty")); got != 1000 {
		t.Errorf("%v are dirty", got)
	}
}

func TestNoTriggerIsRewrittenBeforeKEDATrustsTheScaler(t *testing.T) {
	w := triggerWorld(t)
	isTrusted := false
	w.Options.IsTrusted = func() bool { return isTrusted }
	object := w.set(triggered(nil, carbonTriggerOf(nil)))
	w.look(object.ref())
	if len(w.patched) > 0 {
		t.Errorf("patched %v without trust", w.patched)
	}
	isTrusted = true
	w.look(object.ref())
	if len(w.patched) != 1 {
		t.Errorf("patched %v, want one patch", w.patched)
	}
}

// Another webhook, such as that of a replica without the scaler, may undo the rewriting before anybody
// sees it. Then the object has the same version as before.
func TestARewritingThatChangesNothingIsTriedAgain(t *testing.T) {
	w := triggerWorld(t)
	object := w.set(triggered(nil, carbonTriggerOf(nil)))
	delete(w.objects, object.Name) // patches change nothing
	for range 3 {
		if again := w.look(object.ref()).RequeueAfter; again <= 0 || again > knownTime {
			t.Errorf("the controller looks again after %s", again)
		}
	}
	if len(w.patched) != 1 {
		t.Errorf("patched %v", w.patched)
	}
	for range 3 {
		w.clock.SetTime(w.clock.Now().Add(knownTime))
		w.look(object.ref())
	}
	if n := len(w.patched); n < 2 || n > 3 {
		t.Errorf("it is tried %d times", n)
	}
}
