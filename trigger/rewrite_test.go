package trigger

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

func form() Form {
	return Form{Address: "gridlatch-scaler.gridlatch-system.svc:9446", Authentication: "gridlatch"}
}

func triggers(t testing.TB, text string) (list []any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

const (
	tutorial = `- {type: carbon-intensity, metadata: {region: us-west-2, emissionThreshold: "200", handler: scaleDown}}`
	replaced = `- type: external-push
  metadata:
    {region: us-west-2, emissionThreshold: "200", handler: scaleDown, writtenAs: carbon-intensity,
    scalerAddress: "gridlatch-scaler.gridlatch-system.svc:9446", enableTLS: "true"}
  authenticationRef: {kind: ClusterTriggerAuthentication, name: gridlatch}`
	queue = `- {type: kafka, metadata: {topic: t, lagThreshold: "5"}}`
)

// KEDA starts no first replica by these triggers.
const resources = `
- {type: cpu, metricType: Utilization, metadata: {value: "50"}}
- {type: memory, metricType: Utilization, metadata: {value: "50"}}
`

func withEffect(text string) string {
	return strings.Replace(text, "writtenAs:", "effect: ceiling, writtenAs:", 1)
}

func TestATriggerIsReplacedInItsPlaceAndComesBack(t *testing.T) {
	named := strings.Replace(tutorial, "{type", "{name: carbon, metricType: AverageValue, useCachedMetrics: true, type", 1)
	for name, tt := range map[string]struct{ written, want string }{
		"alone":              {tutorial, replaced},
		"beside another one": {tutorial + "\n" + queue, withEffect(replaced) + "\n" + queue},
		"after another one":  {queue + "\n" + tutorial, queue + "\n" + withEffect(replaced)},
		"with other fields":  {named, replaced + "\n  name: carbon\n  metricType: AverageValue\n  useCachedMetrics: true"},
	} {
		t.Run(name, func(t *testing.T) {
			written := triggers(t, tt.written)
			got, isChanged, errs := form().Rewrite(Scaling{Triggers: written}, field.NewPath("spec", "triggers"))
			if !isChanged || len(errs) > 0 {
				t.Fatalf("changed: %t, %v", isChanged, errs)
			}
			if diff := cmp.Diff(triggers(t, tt.want), got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(triggers(t, tt.written), written); diff != "" {
				t.Errorf("the triggers that were given have changed: %s", diff)
			}
			if _, isChanged, errs := form().Rewrite(Scaling{Triggers: got}, field.NewPath("spec", "triggers")); isChanged || len(errs) > 0 {
				t.Errorf("a second look changes something: %v", errs)
			}
			back, isChanged := Restore(got)
			if diff := cmp.Diff(written, back); diff != "" || !isChanged {
				t.Errorf("what comes back is not what was written: %s", diff)
			}
			if _, isChanged := Restore(back); isChanged {
				t.Error("what was written is restored again")
			}
		})
	}
}

func TestTheEffectFollowsTheOtherTriggers(t *testing.T) {
	root := field.NewPath("spec", "triggers")
	for name, tt := range map[string]struct{ before, want string }{
		"another one comes":   {replaced + "\n" + queue, withEffect(replaced) + "\n" + queue},
		"the other one goes":  {withEffect(replaced), replaced},
		"cpu and memory come": {replaced + resources, strings.Replace(withEffect(replaced), "ceiling", "awake", 1) + resources},
		"a queue comes, too":  {strings.Replace(withEffect(replaced), "ceiling", "awake", 1) + resources + queue, withEffect(replaced) + resources + queue},
		"cpu goes":            {strings.Replace(withEffect(replaced), "ceiling", "awake", 1), replaced},
		"the address changes": {strings.Replace(replaced, "9446", "1", 1), replaced},
	} {
		got, isChanged, errs := form().Rewrite(Scaling{Triggers: triggers(t, tt.before)}, root)
		if diff := cmp.Diff(triggers(t, tt.want), got); diff != "" || !isChanged || len(errs) > 0 {
			t.Errorf("%s: changed: %t, %v, %s", name, isChanged, errs, diff)
		}
	}
}

// Where a formula decides, the highest number does not, and the trigger says what the grid is.
func TestATriggerOfAFormulaIsNoCeiling(t *testing.T) {
	named := strings.Replace(tutorial, "{type", "{name: carbon, type", 1)
	object := map[string]any{"spec": map[string]any{
		"triggers": triggers(t, named+"\n"+queue), "advanced": map[string]any{"scalingModifiers": map[string]any{"formula": "carbon > 0 ? queue : 0"}},
	}}
	got, isChanged, errs := form().Rewrite(ScalingOf(object), nil)
	if diff := cmp.Diff(triggers(t, replaced+"\n  name: carbon\n"+queue), got); diff != "" || !isChanged || len(errs) > 0 {
		t.Errorf("changed: %t, %v, %s", isChanged, errs, diff)
	}
	if w, ok, _ := form().Find(ScalingOf(object), nil); !ok || w.IsCeiling {
		t.Errorf("got %t, %+v", ok, w)
	}
}

func TestWithoutAScalerWhatWasReplacedComesBack(t *testing.T) {
	for name, text := range map[string]string{"replaced": replaced, "with an effect": withEffect(replaced)} {
		got, isChanged, errs := Form{}.Rewrite(Scaling{Triggers: triggers(t, text)}, nil)
		if diff := cmp.Diff(triggers(t, tutorial), got); diff != "" || !isChanged || len(errs) > 0 {
			t.Errorf("%s: changed: %t, %v, %s", name, isChanged, errs, diff)
		}
	}
}

func TestTriggersOfOthersAreLeftAlone(t *testing.T) {
	explicit := `- {type: external-push, metadata: {scalerAddress: "dns:///gridlatch-scaler.gridlatch-system.svc:9446", emissionThreshold: "200"}}`
	foreign := `- {type: external-push, metadata: {scalerAddress: "other:9446", emissionThreshold: "low"}}`
	claims := `- {type: kafka, metadata: {topic: t, writtenAs: carbon-intensity}}`
	another := strings.Replace(explicit, "emissionThreshold", "writtenAs: x, emissionThreshold", 1)
	for name, text := range map[string]string{
		"no trigger of ours at all": claims, "written as another one": another,
		"none": "[]", "another kind": queue, "the explicit form": explicit, "somebody else's scaler": foreign, "no triggers": `[1, x, null, {}]`,
	} {
		list := triggers(t, text)
		if got, isChanged, errs := form().Rewrite(Scaling{Triggers: list}, nil); isChanged || len(errs) > 0 || !cmp.Equal(got, list) {
			t.Errorf("%s: %v, %v", name, got, errs)
		}
		if _, isChanged := Restore(list); isChanged {
			t.Errorf("%s: it is restored", name)
		}
	}
	if _, isChanged, _ := (Form{}).Rewrite(Scaling{Triggers: triggers(t, tutorial)}, nil); isChanged {
		t.Error("a trigger is replaced although there is no scaler")
	}
}

func TestWhatIsNotReplacedIsRefused(t *testing.T) {
	for name, tt := range map[string]struct{ written, want string }{
		"a number": {
			`- {type: carbon-intensity, metadata: {emissionThreshold: 200}}`,
			`spec.triggers[0].metadata.emissionThreshold: Invalid value: 200: want it in quotes: "200"`,
		},
		"a boolean": {
			queue + "\n" + `- {type: carbon-intensity, metadata: {emissionThreshold: "200", gradual: true}}`,
			`spec.triggers[1].metadata.gradual: Invalid value: true: want it in quotes: "true"`,
		},
		"two": {tutorial + "\n" + tutorial, "spec.triggers[1]: Forbidden: an object can have only one trigger of the type carbon-intensity"},
		"an authentication": {
			strings.Replace(tutorial, "{type", "{authenticationRef: {name: x}, type", 1), "spec.triggers[0].authenticationRef: Forbidden",
		},
		"our own keys":  {`- {type: carbon-intensity, metadata: {emissionThreshold: "2", effect: ceiling}}`, "spec.triggers[0].metadata.effect: Forbidden: Gridlatch writes it"},
		"a bad value":   {strings.Replace(tutorial, "scaleDown", "stop", 1), "spec.triggers[0].metadata.handler: Invalid value"},
		"after edition": {strings.Replace(replaced, "scaleDown", "stop", 1), "spec.triggers[0].metadata.handler: Invalid value"},
	} {
		t.Run(name, func(t *testing.T) {
			list := triggers(t, tt.written)
			got, isChanged, errs := form().Rewrite(Scaling{Triggers: list}, field.NewPath("spec", "triggers"))
			if err := errs.ToAggregate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if isChanged || !cmp.Equal(got, list) {
				t.Error("it is replaced all the same")
			}
			if _, ok, errs := form().Find(Scaling{Triggers: list}, nil); ok || len(errs) == 0 {
				t.Error("it has a wish all the same")
			}
		})
	}
}

func TestTheWishIsTheSameInEachForm(t *testing.T) {
	explicit := `- {type: external, metadata: {scalerAddress: "gridlatch-scaler.gridlatch-system.svc:9446", region: us-west-2, emissionThreshold: "200"}}`
	want, ok, errs := form().Find(Scaling{Triggers: triggers(t, tutorial)}, nil)
	if !ok || len(errs) > 0 || want.Region != "us-west-2" {
		t.Fatalf("%+v, %v", want, errs)
	}
	for name, text := range map[string]string{"rewritten": replaced, "explicit": explicit} {
		if got, ok, errs := form().Find(Scaling{Triggers: triggers(t, text)}, nil); !ok || got != want {
			t.Errorf("%s: %+v, %v", name, got, errs)
		}
	}
	for name, text := range map[string]string{"as written": tutorial + "\n" + queue, "rewritten": withEffect(replaced) + "\n" + queue} {
		if got, _, _ := form().Find(Scaling{Triggers: triggers(t, text)}, nil); !got.IsCeiling {
			t.Errorf("%s, beside another trigger, it is no ceiling", name)
		}
	}
}

// Whatever the triggers are, nothing but carbon triggers changes, and all comes back as it was.
func FuzzWhatIsReplacedComesBack(f *testing.F) {
	for _, text := range []string{tutorial, replaced, queue, tutorial + "\n" + queue, withEffect(replaced), "[1, null, {}, {type: 3, metadata: []}]"} {
		data, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var list []any
		if json.Unmarshal(data, &list) != nil {
			return
		}
		got, isChanged, errs := form().Rewrite(Scaling{Triggers: list}, nil)
		if len(errs) > 0 || !isChanged {
			if !cmp.Equal(got, list) {
				t.Fatalf("it changes without saying so: %v", got)
			}
			_, _ = Restore(list) // must not panic
			return
		}
		if len(got) != len(list) {
			t.Fatal("the list has another length")
		}
		for i := range got {
			if was, _ := list[i].(map[string]any); !cmp.Equal(got[i], list[i]) && was["type"] != Type && was["type"] != externalPush && was["type"] != external {
				t.Errorf("a trigger of somebody else is changed: %v", got[i])
			}
		}
		isVerbatim := func(o any) bool { t, _ := o.(map[string]any); return t["type"] == Type }
		if back, _ := Restore(got); slices.ContainsFunc(list, isVerbatim) && !cmp.Equal(back, list) {
			t.Errorf("another list comes back: %s", cmp.Diff(list, back))
		}
	})
}

func TestKEDAAsksAboutScaledJobs(t *testing.T) {
	for kind, want := range map[string]string{"ScaledObject": replaced, "ScaledJob": strings.Replace(replaced, "external-push", "external", 1)} {
		got, isChanged, errs := form().For(kind).Rewrite(Scaling{Triggers: triggers(t, tutorial)}, field.NewPath("spec", "triggers"))
		if !isChanged || len(errs) > 0 {
			t.Fatalf("%s: changed: %t, %v", kind, isChanged, errs)
		}
		if diff := cmp.Diff(triggers(t, want), got); diff != "" {
			t.Errorf("%s: %s", kind, diff)
		}
		if back, isChanged := Restore(got); !isChanged || !cmp.Equal(back, triggers(t, tutorial)) {
			t.Errorf("%s: restored to %v", kind, back)
		}
	}
}

func TestATriggerThatAsksForNothingNeedsAnother(t *testing.T) {
	explicit := strings.Replace(withEffect(replaced), "writtenAs: carbon-intensity,", "", 1)
	for text, isMistake := range map[string]bool{explicit: true, explicit + "\n" + queue: false, withEffect(replaced): false} {
		_, ok, errs := form().Find(Scaling{Triggers: triggers(t, text)}, field.NewPath("spec", "triggers"))
		if isMistake == ok || isMistake && !strings.Contains(errs.ToAggregate().Error(), `spec.triggers[0].metadata.effect: Invalid value: "ceiling": want no effect`) {
			t.Errorf("%s: %v", text, errs)
		}
	}
}
