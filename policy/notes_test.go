package policy

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
	for _, reason := range []string{wait.Reason(), wait.AuditReason(), start.AuditReason(), ReleaseReason(start, map[string]string{v1alpha1.IntensityAtCreationAnnotation: "1430.0"})} {
		if len(reason) > 140 {
			t.Errorf("%d characters, kubectl describe cuts at 140: %s", len(reason), reason)
		}
	}
}

func TestNotesOfADecision(t *testing.T) {
	p := New(t.Context(), named("batch"), "gridlatch-system", &Nodes{Reader: clusterOf(t).Reader}, t0)
	held := plan.Decision{Decided: t0, Start: t0.Add(2 * time.Hour), LatestStart: t0.Add(4 * time.Hour), Location: "south", Expected: 120, ExpectedAtOnce: 430, Cause: plan.CauseCleanerLater}
	notes := p.Notes(held)
	want := map[string]string{
		v1alpha1.PolicyAnnotation: "batch", v1alpha1.ReasonAnnotation: held.Reason(),
		v1alpha1.PlannedStartAnnotation: "2026-11-21T14:00:00Z", v1alpha1.LatestStartAnnotation: "2026-11-21T16:00:00Z",
		v1alpha1.IntensityAtCreationAnnotation: "430.0", v1alpha1.PlannedLocationAnnotation: "south",
	}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	promise := PromiseNotes(map[string]string{v1alpha1.DeadlineAnnotation: "8h"}, notes)
	if _, ok := promise[v1alpha1.ReasonAnnotation]; ok || promise[v1alpha1.LatestStartAnnotation] == "" || promise[v1alpha1.DeadlineAnnotation] != "8h" {
		t.Errorf("the pods are promised %v", promise)
	}
	ForgetNotes(promise)
	if diff := cmp.Diff(map[string]string{v1alpha1.DeadlineAnnotation: "8h", v1alpha1.PolicyAnnotation: "batch"}, promise); diff != "" {
		t.Errorf("what users write is not forgotten, and all else is: -want +got:\n%s", diff)
	}
	started := plan.Decision{Decided: t0, Start: t0, Cause: plan.CauseCleanestNow, Expected: 120, ExpectedAtOnce: 120}
	if got := p.Notes(started); len(got) != 2 {
		t.Errorf("work that starts at once has notes on a wait: %v", got)
	}
}

func TestNotesOfAnAudit(t *testing.T) {
	held := plan.Decision{Decided: t0, Start: t0.Add(2 * time.Hour), LatestStart: t0.Add(4 * time.Hour), NextRun: t0.Add(6 * time.Hour), Location: "south", Expected: 120, ExpectedAtOnce: 430, Cause: plan.CauseCleanerLater}
	unknown := plan.Decision{Decided: t0, Start: t0, LatestStart: t0.Add(4 * time.Hour), Expected: math.NaN(), ExpectedAtOnce: math.NaN(), Cause: plan.CauseNoForecast, NoForecastReason: "there is none"}
	for name, tt := range map[string]struct {
		decision plan.Decision
		want     map[string]string
	}{
		"would wait": {held, map[string]string{
			v1alpha1.PolicyAnnotation: "batch", v1alpha1.ReasonAnnotation: "audit: would have waited until Nov 21 14:00 UTC: 120 gCO2eq/kWh in south, 72 % less than the 430 at Nov 21 12:00",
			v1alpha1.PlannedStartAnnotation: "2026-11-21T14:00:00Z", v1alpha1.LatestStartAnnotation: "2026-11-21T16:00:00Z", v1alpha1.NextRunAnnotation: "2026-11-21T18:00:00Z",
			v1alpha1.IntensityAtCreationAnnotation: "430.0", v1alpha1.PlannedLocationAnnotation: "south",
		}},
		"nothing is known": {unknown, map[string]string{
			v1alpha1.PolicyAnnotation: "batch", v1alpha1.ReasonAnnotation: "audit: would have started at once: no usable forecast: there is none",
			v1alpha1.PlannedStartAnnotation: "2026-11-21T12:00:00Z", v1alpha1.LatestStartAnnotation: "2026-11-21T16:00:00Z",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := New(t.Context(), named("batch"), "gridlatch-system", &Nodes{Reader: clusterOf(t).Reader}, t0)
			if diff := cmp.Diff(tt.want, p.AuditNotes(tt.decision)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
