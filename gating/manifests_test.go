package gating

import (
	"os"
	"strings"
	"testing"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// TestWhatWeWriteIsKnownAtAdmission looks for every key that only Gridlatch writes
// in what has the API server strip it, and refuse it.
func TestWhatWeWriteIsKnownAtAdmission(t *testing.T) {
	for _, name := range []string{"webhook.yaml", "admission.yaml"} {
		text, err := os.ReadFile("../manifests/base/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range append(policy.WrittenKeys(), v1alpha1.StateLabel) {
			if !strings.Contains(string(text), "'"+key+"'") {
				t.Errorf("%s does not know %s", name, key)
			}
		}
	}
}

// TestWhatUsersWriteIsKnownWhereTheyAreWarned looks for every key in what warns of
// those that are not heard, and for the wish wherever it is matched: as an annotation,
// and as a label.
func TestWhatUsersWriteIsKnownWhereTheyAreWarned(t *testing.T) {
	text, err := os.ReadFile("../manifests/base/unheard.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range append(append(policy.AskKeys(), policy.WrittenKeys()...), v1alpha1.StateLabel, v1alpha1.RunsOfLabel) {
		if !strings.Contains(string(text), "'"+key+"'") {
			t.Errorf("unheard.yaml does not know %s", key)
		}
	}
	const wish = "m.?annotations[?'" + v1alpha1.DelayTolerantAnnotation + "'].orValue(m.?labels[?'" + v1alpha1.DelayTolerantAnnotation + "'].orValue('false')) != 'false'"
	for _, name := range []string{"webhook.yaml", "admission.yaml"} {
		text, err := os.ReadFile("../manifests/base/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), wish) {
			t.Errorf("%s does not match %s", name, wish)
		}
	}
}

// TestANodeSelectorIsKnownWhereverTheWishIs looks for both forms of a node selector for clean nodes.
func TestANodeSelectorIsKnownWhereverTheWishIs(t *testing.T) {
	selector := "nodeSelector[?'" + v1alpha1.CarbonStatusKey + "'].orValue('') == '" + v1alpha1.LowIntensity + "'"
	affinity := "e.key == '" + v1alpha1.CarbonStatusKey + "' && e.operator == 'In' && e.?values.orValue([]) == ['" + v1alpha1.LowIntensity + "']"
	for name, want := range map[string]int{"webhook.yaml": 2, "admission.yaml": 1, "unheard.yaml": 1} {
		text, err := os.ReadFile("../manifests/base/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, condition := range []string{selector, affinity} {
			if got := strings.Count(string(text), condition); got != want {
				t.Errorf("%s has %d times %s, want %d", name, got, condition, want)
			}
		}
	}
}
