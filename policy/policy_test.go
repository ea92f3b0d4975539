package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

func TestCheckLocation(t *testing.T) {
	var store forecast.Store
	series := forecast.NewSeries([]forecast.Slot{{Start: t0, End: t0.Add(time.Hour), Intensity: 1}})
	if err := store.Offer(forecast.Source{Name: "s"}, forecast.Document{Series: map[string]*forecast.Series{"A": series}}, t0); err != nil {
		t.Fatal(err)
	}
	named := builtin()
	named.spec.Locations = []v1alpha1.Location{{Name: "A"}, {Name: "B"}}
	for name, tt := range map[string]struct {
		policy   *Policy
		snapshot *forecast.Snapshot
		location string
		want     string
	}{
		"one of the policy's":                         {named, store.Snapshot(forecast.Source{Name: "s"}), "B", ""},
		"none of the policy's":                        {named, store.Snapshot(forecast.Source{Name: "s"}), "C", "want a location of policy default: A, B"},
		"the forecast's, if the policy names none":    {builtin(), store.Snapshot(forecast.Source{Name: "s"}), "A", ""},
		"not in the forecast":                         {builtin(), store.Snapshot(forecast.Source{Name: "s"}), "B", "want a location of policy default: A"},
		"anything, as long as no forecast has come":   {builtin(), store.Snapshot(forecast.Source{Name: "none"}), "B", ""},
		"one that no forecast of the policy's covers": {named, store.Snapshot(forecast.Source{Name: "none"}), "A", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := tt.policy.CheckLocation(tt.snapshot, tt.location); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAPolicyOfSeveralLocationsInTheForecastHasToNameOne(t *testing.T) {
	var store forecast.Store
	series := forecast.NewSeries([]forecast.Slot{{Start: t0, End: t0.Add(time.Hour), Intensity: 1}})
	if err := store.Offer(forecast.Source{Name: "s"}, forecast.Document{Series: map[string]*forecast.Series{"A": series, "B": series}, Issued: t0}, t0); err != nil {
		t.Fatal(err)
	}
	d := builtin().Planner(store.Snapshot(forecast.Source{Name: "s"}), "", t0, t0.Add(time.Hour)).Decide(plan.Task{Duration: time.Minute, LatestStart: t0.Add(time.Hour)})
	if d.Holds() || !strings.Contains(d.Reason(), "several locations, and the policy names none: A, B") {
		t.Error(d.Reason())
	}
}
