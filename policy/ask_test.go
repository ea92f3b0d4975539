package policy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestParseAsk(t *testing.T) {
	limit := 200.0
	ask, errs := ParseAsk(map[string]string{
		v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DeadlineAnnotation: "8h", v1alpha1.DurationAnnotation: "PT2H", v1alpha1.ThresholdAnnotation: "200", v1alpha1.LocationAnnotation: "X", v1alpha1.PolicyAnnotation: "nightly", "other/one": "?",
	}, t0, field.NewPath("metadata", "annotations"))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	want := Ask{Wanted: true, Policy: "nightly", Location: "X", Deadline: t0.Add(8 * time.Hour), Duration: 2 * time.Hour, Threshold: &limit}
	if diff := cmp.Diff(want, ask); diff != "" {
		t.Error(diff)
	}
}
