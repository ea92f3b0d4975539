package policy

import (
	"math"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

func TestCompared(t *testing.T) {
	d := plan.Decision{Decided: t0, Start: t0, Cause: plan.CauseCleanestNow, Expected: 120, ExpectedAtOnce: 120}
	for before, want := range map[string]string{
		"430.0": "; 72 % less than the 430 at its creation", "100.0": "; 20 % more than the 100 at its creation",
		"": "", "?": "", "NaN": "", "-5": "", "0": "", "+Inf": "",
	} {
		if got := ReleaseReason(d, map[string]string{v1alpha1.IntensityAtCreationAnnotation: before}); got != d.Reason()+want {
			t.Errorf("%q: got %q", before, got)
		}
	}
	d.Expected = math.NaN()
	if got := ReleaseReason(d, map[string]string{v1alpha1.IntensityAtCreationAnnotation: "430.0"}); got != d.Reason() {
		t.Errorf("nothing is known of the run, but: %q", got)
	}
}

func TestReasonsFitIntoKubectlDescribe(t *testing.T) {
	series := forecast.NewSeries([]forecast.Slot{
		{Start: t0, End: t0.Add(time.Hour), Intensity: 1430}, {Start: t0.Add(time.Hour), End: t0.Add(9 * time.Hour), Intensity: 1120},
	})
	wait := plan.NewPlanner("CAISO_NORTH", series, "", plan.Terms{}, t0.Add(7*time.Second), t0.Add(9*time.Hour)).
		Decide(plan.Task{Duration: time.Hour, LatestStart: t0.Add(4 * time.Hour)})
	start := plan.NewPlanner("CAISO_NORTH", series, "", plan.Terms{}, t0.Add(time.Hour+7*time.Second), t0.Add(9*time.Hour)).
		Decide(plan.Task{Duration: time.Hour, LatestStart: t0.Add(4 * time.Hour)})
	for _, reason := range []string{wait.Reason(), ReleaseReason(start, map[string]string{v1alpha1.IntensityAtCreationAnnotation: "1430.0"})} {
		if len(reason) > 140 {
			t.Errorf("%d characters, kubectl describe cuts at 140: %s", len(reason), reason)
		}
	}
}
