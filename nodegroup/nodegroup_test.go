package nodegroup

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	northFirst = "100:\n- \"^north-\"\n51:\n- \"^south-\"\n1:\n- \".*\"\n"
	southFirst = "100:\n- \"^south-\"\n51:\n- \"^north-\"\n1:\n- \".*\"\n"
	allAlike   = "1:\n- \".*\"\n"
	owners     = "10:\n  - .*gpu.*\n50: [.*]\n"
)

func TestTheOrderFollowsTheGridAndTheOwnersComesBack(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, map[string]any{"other": "key"}))
	w.look()
	w.expect("at first", northFirst)
	w.turnTo("south", 50)
	if again := w.look(); again != 30*time.Minute {
		t.Errorf("looks again in %v", again)
	}
	w.expect("within the interval", northFirst)
	w.later(30 * time.Minute)
	w.look()
	w.expect("after the interval", southFirst)
	w.turnTo("north", 49.5)
	w.later(time.Hour)
	w.look()
	w.expect("within the hysteresis", southFirst)
	w.groups = nil
	w.look()
	w.expect("afterwards", owners)
	if o := w.get(); len(o.GetAnnotations()) > 0 || !cmp.Equal(o.Object["data"], map[string]any{prioritiesKey: owners, "other": "key"}) {
		t.Errorf("left: %v", o)
	}
}

func TestNothingIsWrittenWhenNothingChanges(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, nil))
	w.look()
	w.look()
	writes := w.writes
	for hour := range 24 {
		w.turnTo("north", 100+float64(hour))
		w.later(time.Hour)
		w.look()
	}
	if w.writes != writes {
		t.Errorf("%d writes", w.writes-writes)
	}
}

func TestTheOwnersPrioritiesAreBackWhileTheIntensityDoesNotCount(t *testing.T) {
	for name, change := range map[string]func(*plan.Level){
		"no forecast":  func(l *plan.Level) { l.IsKnown = false },
		"an exemption": func(l *plan.Level) { l.IsExempt = true },
		"Audit":        func(l *plan.Level) { l.IsAudited = true },
		"no location":  func(l *plan.Level) { l.HasNoLocation, l.UnknownReason = true, "no such location" },
	} {
		t.Run(name, func(t *testing.T) {
			for before, after := range map[string]string{owners: owners, "": allAlike} {
				w := newWorld(t, prioritiesMap(namespace, before, nil))
				w.look()
				w.expect("at first", northFirst)
				w.change("south", change)
				w.look()
				w.expect("while the intensity does not count", after)
				w.groups = nil
				w.look()
				w.expect("afterwards", before)
			}
		})
	}
}

func TestAMissingConfigMapIsMadeAndGoes(t *testing.T) {
	w := newWorld(t)
	w.look()
	w.expect("at first", northFirst)
	w.look()
	w.change("south", func(l *plan.Level) { l.IsKnown = false })
	w.look()
	w.expect("without a forecast", allAlike)
	w.turnTo("south", 20)
	w.look()
	w.expect("with a forecast", southFirst)
	w.groups = nil
	w.look()
	w.expect("afterwards", "no ConfigMap")
}

func TestAConfigMapThatTheOwnerHasTakenOverStays(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(data map[string]any)
		want   string
	}{
		"other priorities": {func(data map[string]any) { data[prioritiesKey] = owners }, owners},
		"another key":      {func(data map[string]any) { data["other"] = "key" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.look()
			w.owner(tt.change)
			w.look()
			w.later(time.Second)
			w.look()
			w.expect("when it is set again", northFirst)
			w.groups = nil
			w.look()
			w.expect("afterwards", tt.want)
		})
	}
}

func TestAConfigMapOfOursThatSomebodyDeletesIsNotMadeForAnHour(t *testing.T) {
	w := newWorld(t)
	w.look()
	w.look()
	if err := w.api.Delete(t.Context(), w.get()); err != nil {
		t.Fatal(err)
	}
	if again := w.look(); again != time.Hour {
		t.Errorf("looks again in %v", again)
	}
	w.later(59 * time.Minute)
	w.look()
	w.expect("within the hour", "no ConfigMap")
	w.later(time.Minute)
	w.look()
	w.expect("after the hour", northFirst)
}

func TestWhatTheOwnerWritesLastComesBack(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, nil))
	w.look()
	const later = "7: [spot]"
	w.owner(func(data map[string]any) { data[prioritiesKey] = later })
	w.look()
	w.expect("at once", later)
	w.later(time.Second)
	w.look()
	w.expect("a second later", northFirst)
	w.groups = nil
	w.look()
	w.expect("afterwards", later)
}

func TestATugOfWarIsBackedOutOf(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, nil))
	w.look()
	for _, want := range []time.Duration{1, 2, 4, 8} {
		w.owner(func(data map[string]any) { data[prioritiesKey] = owners })
		if again := w.look(); again != want*time.Second {
			t.Errorf("looks again in %v, want %v s", again, int(want))
		}
		w.later(want * time.Second)
		w.look()
	}
	if n := strings.Count(strings.Join(w.events, " "), EventReverted); n != 4 {
		t.Errorf("events %v", w.events)
	}
}

func TestRestoreGivesAllBackForAnHour(t *testing.T) {
	for name, tt := range map[string]struct {
		before []client.Object
		want   string
		later  string // within the hour
	}{
		"the owner's": {[]client.Object{prioritiesMap(namespace, owners, nil)}, owners, owners},
		"no key":      {[]client.Object{prioritiesMap(namespace, "", nil)}, "", ""},
		"none":        {nil, "no ConfigMap", "no ConfigMap"},
	} {
		t.Run(name, func(t *testing.T) {
			stranger := prioritiesMap("default", owners, nil)
			w := newWorld(t, append(tt.before, stranger)...)
			w.look()
			w.look()
			for _, want := range []int{1, 0} {
				if n, err := Restore(t.Context(), w.api, w.clock.Now()); n != want || err != nil {
					t.Errorf("restored %d, want %d: %v", n, want, err)
				}
			}
			w.expect("afterwards", tt.want)
			w.later(time.Minute)
			if again := w.look(); again > time.Hour || again < 50*time.Minute {
				t.Errorf("looks again in %v", again)
			}
			w.expect("within the hour", tt.later)
			w.later(time.Hour)
			w.look()
			w.look()
			w.expect("after the hour", northFirst)
		})
	}
}

func TestARefusalIsToldOfAndTriedAgain(t *testing.T) {
	for name, objects := range map[string][]client.Object{"to change": {prioritiesMap(namespace, owners, nil)}, "to make": nil} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, objects...)
			w.refuses = errors.New("forbidden")
			w.know()
			for range 2 {
				if _, err := w.Reconcile(t.Context(), namespace); err == nil {
					t.Error("no error")
				}
			}
			if diff := cmp.Diff([]string{EventFailed}, w.events); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAMistakeIsToldOf(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, nil))
	w.groups[0].Mistake = errors.New("want a regular expression")
	w.look()
	w.expect("with a mistake", owners)
	if diff := cmp.Diff([]string{EventInvalid}, w.events); diff != "" {
		t.Error(diff)
	}
	if note := w.get().GetAnnotations()[v1alpha1.ReasonAnnotation]; note != "no order: want a regular expression" {
		t.Error(note)
	}
}

// TestForgedNotesAreHarmless has notes that nobody of us has written.
func TestForgedNotesAreHarmless(t *testing.T) {
	for _, original := range []string{"", "null", "absent", `"7: [x]"`, "{}", "7", "\x00", `"`, "true"} {
		for _, applied := range []string{"", `"[[["`, `"a: &a [*a]"`, "null", `"99999999999: [x]"`, "\xff"} {
			o := prioritiesMap(namespace, owners, nil)
			o.SetAnnotations(map[string]string{
				v1alpha1.OriginalPrioritiesAnnotation: original, v1alpha1.AppliedPrioritiesAnnotation: applied,
				v1alpha1.PrioritiesChangedAnnotation: "9999-99-99", v1alpha1.PrioritiesByAnnotation: "CarbonPolicy/default",
			})
			w := newWorld(t, o)
			w.look()
			w.later(time.Minute)
			w.look()
			w.expect("with notes "+original+" and "+applied, northFirst)
			w.groups = nil
			w.look()
			if o := w.get(); o != nil && len(o.GetAnnotations()) > 0 {
				t.Errorf("left: %v", o.GetAnnotations())
			}
		}
	}
}

func TestPlacesThatEmitTheSameShareAPriority(t *testing.T) {
	places := func(emissions ...float64) (all []place) {
		for i, e := range emissions {
			all = append(all, place{location: string(rune('a' + i)), power: 1, emissions: e, patterns: []string{string(rune('a' + i))}})
		}
		return all
	}
	_, first := rankPlaces(places(100, 100, 200), nil, 0.02)
	if diff := cmp.Diff(order{100: {"a", "b"}, 34: {"c"}, 1: {".*"}}, first); diff != "" {
		t.Error(diff)
	}
	_, second := rankPlaces(places(100, 101, 200), first, 0.02)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("within the hysteresis: %s", diff)
	}
	_, third := rankPlaces(places(103, 100, 200), first, 0.02)
	if diff := cmp.Diff(order{100: {"b"}, 67: {"a"}, 34: {"c"}, 1: {".*"}}, third); diff != "" {
		t.Errorf("beyond the hysteresis: %s", diff)
	}
}

func TestPatternsOfOnePlaceShareAPriority(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, nil))
	w.groups[0].Groups = []policy.NodeGroup{
		{Pattern: "arm", Location: "south", Power: 0.2}, {Pattern: "b", Location: "north", Power: 1}, {Pattern: "a", Location: "north", Power: 1},
	}
	w.look()
	w.expect("with power factors", "100:\n- \"arm\"\n51:\n- \"a\"\n- \"b\"\n1:\n- \".*\"\n")
	want := "the cleanest first: south × 0.2, north; at 2026-11-27"
	if note := w.get().GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.HasPrefix(note, want) {
		t.Errorf("reason %q, want %q...", note, want)
	}
	w.groups[0].Groups = w.groups[0].Groups[1:]
	w.look()
	w.expect("with one place", owners)
}

// TestAnyNumberOfPlacesHasPrioritiesOfItsOwn has up to 64 places, as many as the schema admits.
func TestAnyNumberOfPlacesHasPrioritiesOfItsOwn(t *testing.T) {
	for n := 2; n <= 64; n++ {
		var places []place
		for i := range n {
			places = append(places, place{emissions: float64(i), power: 1, patterns: []string{string(rune('A' + i))}})
		}
		if _, o := rankPlaces(places, nil, 0.02); len(o) != n+1 || len(o[1]) != 1 || len(o[100]) != 1 {
			t.Errorf("%d places have the order %v", n, o)
		}
	}
	for _, hostile := range []float64{math.NaN(), math.Inf(1), -1, 0} {
		_, o := rankPlaces([]place{{emissions: hostile, patterns: []string{"a"}}, {emissions: 1, patterns: []string{"b"}}}, nil, 0.02)
		if len(o.byPattern()) != 3 {
			t.Errorf("with %v: %v", hostile, o)
		}
	}
}

// FuzzOrder reads what Cluster Autoscaler would read.
func FuzzOrder(f *testing.F) {
	for _, pattern := range []string{".*", "", `^a\d"'#: - [x]$`, "\x00\x7f\u2028\U0001F600", "\xff", "~", "yes", "1e3"} {
		f.Add(pattern)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		pattern = strings.ToValidUTF8(pattern, "") // as every text of the API
		want := order{100: {pattern, "other"}, 1: {".*"}}
		if diff := cmp.Diff(want, parseOrder(want.String())); diff != "" {
			t.Errorf("%s\n%s", want, diff)
		}
		if value := override.ValueOf(want.String()); !cmp.Equal(want, orderOf(value)) {
			t.Errorf("as JSON: %s", value)
		}
		parseOrder(pattern)
	})
}
