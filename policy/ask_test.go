package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestParseAsk(t *testing.T) {
	limit := 200.0
	ask, errs := ParseAsk(map[string]string{
		v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DeadlineAnnotation: "8h", v1alpha1.DurationAnnotation: "PT2H", v1alpha1.ThresholdAnnotation: "200", v1alpha1.LocationAnnotation: "X", v1alpha1.PolicyAnnotation: "nightly",
		v1alpha1.PowerWattsAnnotation: "250.5", v1alpha1.FunctionalUnitsAnnotation: "1e3", "other/one": "?",
	}, t0, field.NewPath("metadata", "annotations"))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	want := Ask{WantsToWait: true, Policy: "nightly", Location: "X", Deadline: t0.Add(8 * time.Hour), Duration: 2 * time.Hour, Threshold: &limit, PowerWatts: 250.5, FunctionalUnits: 1000}
	if diff := cmp.Diff(want, ask); diff != "" {
		t.Error(diff)
	}
}

func TestAValueThatCannotBeReadIsAnErrorWithItsPath(t *testing.T) {
	for name, tt := range map[string]struct{ key, value, want string }{
		"neither true nor false":    {v1alpha1.DelayTolerantAnnotation, "yes", `want "true" or "false"`},
		"no time":                   {v1alpha1.DeadlineAnnotation, "soon", "want "},
		"no duration":               {v1alpha1.DurationAnnotation, "long", "want "},
		"no number":                 {v1alpha1.ThresholdAnnotation, "clean", "want "},
		"an empty location":         {v1alpha1.LocationAnnotation, " ", "want the name of a location of the policy"},
		"no name of a policy":       {v1alpha1.PolicyAnnotation, "No Such", "want the name of a CarbonPolicy: "},
		"another way to be held":    {v1alpha1.HoldAnnotation, "magic", `want "gate" or "suspend"`},
		"another placement":         {v1alpha1.PlacementAnnotation, "loose", `want "preferred" or "strict"`},
		"watts in words":            {v1alpha1.PowerWattsAnnotation, "much", "want watts as a number above 0 and up to 10000000, such as 250"},
		"no watts":                  {v1alpha1.PowerWattsAnnotation, "0", "want watts as a number above 0"},
		"watts less than none":      {v1alpha1.PowerWattsAnnotation, "-5", "want watts as a number above 0"},
		"watts that are no number":  {v1alpha1.PowerWattsAnnotation, "NaN", "want watts as a number above 0"},
		"watts without end":         {v1alpha1.PowerWattsAnnotation, "Inf", "want watts as a number above 0"},
		"more than a data centre":   {v1alpha1.PowerWattsAnnotation, "10000001", "want watts as a number above 0"},
		"units in words":            {v1alpha1.FunctionalUnitsAnnotation, "ten", "want functional units as a number above 0 and up to 1000000000000, such as 100"},
		"no units":                  {v1alpha1.FunctionalUnitsAnnotation, "0", "want functional units as a number above 0"},
		"too many units":            {v1alpha1.FunctionalUnitsAnnotation, "2e12", "want functional units as a number above 0"},
		"more bytes than are read":  {v1alpha1.LocationAnnotation, strings.Repeat("x", MaxValue+1), "may not be more than 256 bytes"},
		"a value of 300 characters": {v1alpha1.DeadlineAnnotation, strings.Repeat("8", 300), "may not be more than 256 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			ask, errs := ParseAsk(map[string]string{tt.key: tt.value}, t0, field.NewPath("metadata", "annotations"))
			path := "metadata.annotations[" + tt.key + "]: "
			if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), path) || !strings.Contains(errs[0].Error(), tt.want) {
				t.Errorf("%v, want one that begins with %s and has %q", errs, path, tt.want)
			}
			if ask.WantsToWait || ask.Policy != "" || ask.Hold != "" || ask.Placement != "" || !ask.Deadline.IsZero() || ask.Duration != 0 || ask.PowerWatts != 0 || ask.FunctionalUnits != 0 {
				t.Errorf("what cannot be read is in the ask: %+v", ask)
			}
		})
	}
}

func TestAWishMayBeNo(t *testing.T) {
	ask, errs := ParseAsk(map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}, t0, nil)
	if ask.WantsToWait || len(errs) > 0 {
		t.Errorf("it wants to wait: %t, %v", ask.WantsToWait, errs)
	}
}

func TestUnknownAnnotationsAreWarnedOf(t *testing.T) {
	known := map[string]string{"example.com/other": "x"}
	for _, key := range append(AskKeys(), WrittenKeys()...) {
		known[key] = "x"
	}
	if got := UnknownKeys(known, field.NewPath("annotations")); len(got) > 0 {
		t.Errorf("known annotations are warned of: %q", got)
	}
	misspelt := map[string]string{}
	for _, name := range []string{"deadlin", "durations", "x", "y", strings.Repeat("z", 500)} {
		misspelt[v1alpha1.Prefix+name] = "8h"
	}
	got := UnknownKeys(misspelt, field.NewPath("annotations"))
	if len(got) != maxUnknownKeys || !strings.HasPrefix(got[0], "annotations[gridlatch.dev/deadlin]: has no effect") || !strings.Contains(got[0], "delay-tolerant, deadline, duration") {
		t.Errorf("%d warnings: %q", len(got), got)
	}
}

func TestOnlyGridlatchWritesItsKeys(t *testing.T) {
	for key, want := range map[string]bool{
		v1alpha1.StateLabel: true, v1alpha1.ReasonAnnotation: true, v1alpha1.DeadlineAnnotation: false, v1alpha1.RunsOfLabel: false, "app": false,
	} {
		if IsWrittenKey(key) != want {
			t.Errorf("%s is written by Gridlatch: %t", key, !want)
		}
	}
}

func TestALongValueStaysTooLongAndDoesNotStayInMemory(t *testing.T) {
	long := strings.Repeat("x", 1000)
	if got := Truncate(long, 10); len(got) != 11 {
		t.Errorf("%d bytes are left, want 11", len(got))
	}
	if got := Truncate("short", 10); got != "short" {
		t.Errorf("%q", got)
	}
}
