package nodegroup

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// A clock that was ahead has noted a time that is far in the future.
func TestAClockThatGoesBackStopsNothing(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, nil))
	w.later(1000 * time.Hour)
	w.look()
	w.later(-1000 * time.Hour)
	w.turnTo("south", 50)
	w.look()
	w.expect("once the clock is right", southFirst)
	w.turnTo("south", 300)
	w.look()
	w.expect("within the interval", southFirst)
	w.later(30 * time.Minute)
	w.look()
	w.expect("after the interval", northFirst)
}

func TestAClockThatGoesBackEndsNoPauseLate(t *testing.T) {
	w := newWorld(t)
	w.look()
	w.look()
	w.later(1000 * time.Hour)
	if err := w.api.Delete(t.Context(), w.get()); err != nil {
		t.Fatal(err)
	}
	w.look()
	w.later(-1000 * time.Hour)
	if again := w.look(); again != time.Hour {
		t.Errorf("looks again in %v", again)
	}
	w.later(time.Hour)
	w.look()
	w.expect("after the hour", northFirst)
}

func TestAChangedPolicyIsActedOnAtOnce(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, nil))
	w.look()
	w.groups[0].Groups = []policy.NodeGroup{{Pattern: "^north-", Location: "north", Power: 10}, w.groups[0].Groups[1]}
	w.later(time.Second)
	w.look()
	w.expect("with another power factor", southFirst)
	w.turnTo("south", 3000)
	w.look()
	w.expect("when the grid turns after that", southFirst)
}

// What a note cannot remember, the owner would never get back, and what is immutable cannot be changed.
func TestWhatCannotBeLentIsLeftAlone(t *testing.T) {
	immutable := prioritiesMap(namespace, owners, nil)
	_ = unstructured.SetNestedField(immutable.Object, true, "immutable")
	applied := prioritiesMap(namespace, owners, nil)
	applied.SetAnnotations(map[string]string{"example.com/x": strings.Repeat("x", 255<<10)})
	long := "7: ['" + strings.Repeat("x", 260<<10) + "']"
	for name, tt := range map[string]struct {
		o    *unstructured.Unstructured
		want string
	}{
		"long priorities":                   {prioritiesMap(namespace, long, nil), long},
		"long annotations of somebody else": {applied, owners},
		"an immutable ConfigMap":            {immutable, owners},
		"priorities of control characters":  {prioritiesMap(namespace, strings.Repeat("\x01", 60<<10), nil), strings.Repeat("\x01", 60<<10)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tt.o)
			for range 3 {
				w.look()
				w.later(time.Hour)
			}
			if w.priorities() != tt.want {
				t.Error("the priorities have changed")
			}
			if reason := w.get().GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.HasPrefix(reason, "no order: the ConfigMap") {
				t.Error(reason)
			}
			if diff := cmp.Diff([]string{EventInvalid}, w.events); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPrioritiesThatBecomeTooLongToRememberEndTheOrder(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, nil))
	w.look()
	long := "7: ['" + strings.Repeat("x", 260<<10) + "']"
	w.owner(func(data map[string]any) { data[prioritiesKey] = long })
	for range 3 {
		w.look()
		w.later(time.Hour)
	}
	if w.priorities() != long || w.get().GetAnnotations()[v1alpha1.OriginalPrioritiesAnnotation] != "" {
		t.Errorf("not the owner's: %.50s, %v", w.priorities(), w.get().GetAnnotations())
	}
}

// TestAConfigMapThatIsNotSeenToBeGoneYetIsNobodysWish has a policy that goes and comes faster than the watch tells.
func TestAConfigMapThatIsNotSeenToBeGoneYetIsNobodysWish(t *testing.T) {
	w := newWorld(t)
	w.look()
	w.look()
	stale, asked := w.expander(namespace), w.groups
	stale.UID = "uid-of-ours"
	w.groups = nil
	if err := w.maps.Fill(stale); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Reconcile(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	w.groups = asked
	for range 3 {
		result, err := w.Reconcile(t.Context(), namespace)
		if err != nil || result.RequeueAfter == 0 {
			t.Errorf("looks again in %v: %v", result.RequeueAfter, err)
		}
	}
	w.look()
	w.expect("once it is seen", northFirst)
}

// Without the right to watch, what is known of the ConfigMap stays as it was, and every change loses.
func TestChangesThatAlwaysLoseAreTriedLessAndLessOften(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, nil))
	w.know()
	w.owner(func(data map[string]any) { data["other"] = "key" })
	var again time.Duration
	for range 15 {
		result, err := w.Reconcile(t.Context(), namespace)
		if err != nil {
			t.Fatal(err)
		}
		again = result.RequeueAfter
	}
	if again != longestConflictRetry {
		t.Errorf("it is tried again in %v", again)
	}
	w.look()
	w.expect("once it is seen", northFirst)
}

func TestTwoWarningsThatLastAreNotToldOfInTurn(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, nil))
	w.groups[0].Mistake = errors.New("want a regular expression")
	w.refuses = errors.New("down")
	w.know()
	for range 5 {
		if _, err := w.Reconcile(t.Context(), namespace); err == nil {
			t.Fatal("want an error")
		}
	}
	w.refuses = nil
	w.look()
	w.look()
	if diff := cmp.Diff([]string{EventInvalid, EventFailed}, w.events); diff != "" {
		t.Error(diff)
	}
}

func TestAnExpectedOrderThatDoesNotComeIsExpectedAnew(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, nil))
	for _, step := range []struct {
		after time.Duration
		want  string
	}{{0, "14:00"}, {time.Hour, "14:00"}, {time.Hour, "16:00"}} {
		w.later(step.after)
		now := w.clock.Now()
		w.change("south", func(l *plan.Level) {
			l.Expected = forecast.NewSeries([]forecast.Slot{{Start: now, End: now.Add(2 * time.Hour), Intensity: 300}, {Start: now.Add(2 * time.Hour), End: now.Add(3 * time.Hour), Intensity: 50}})
		})
		w.change("north", func(l *plan.Level) {
			l.Expected = forecast.NewSeries([]forecast.Slot{{Start: now, End: now.Add(3 * time.Hour), Intensity: 100}})
		})
		w.look()
		reason := w.get().GetAnnotations()[v1alpha1.ReasonAnnotation]
		if got := plan.NextTold(reason, now); got.Format("15:04") != step.want {
			t.Errorf("after %v: %s", step.after, reason)
		}
	}
}
