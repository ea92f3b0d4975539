package ledger

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/forecast"
)

// pausedGroup is work of 100 W that ran for an hour, was paused for two, and ran for 70 minutes, of which
// the first ten went into the restart. It could have waited for two hours.
func pausedGroup() Group {
	return Group{
		UID: "u", Mode: Enforce, Location: "A", OtherLocation: "A", SeenEnd: true, Arrived: at(0), Released: at(0), Ended: at(250), LatestStart: at(120),
		Pauses: 1, RestartCost: 10 * time.Minute,
		Steps: []Step{{Start: at(0), End: at(60), Watts: 100}, {Start: at(180), End: at(250), Watts: 100}},
	}
}

// evening is clean, then dirty for two hours, then clean.
func evening() *forecast.Series {
	return forecast.NewSeries([]forecast.Slot{
		{Start: at(-600), End: at(60), Intensity: 100}, {Start: at(60), End: at(180), Intensity: 400}, {Start: at(180), End: at(900), Intensity: 200},
	})
}

func TestPausedWorkIsComparedWithTheSameWorkWithoutABreak(t *testing.T) {
	g := pausedGroup()
	a := g.Account(only(evening()))
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-6 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	near("it emitted", a.Grams, 0.1*100+0.1*70/60*200)
	near("without a break", a.OtherGrams, 0.1*100+0.1*400)
	near("saved", g.SavedGrams(a), 0.1*400-0.1*70/60*200)
	near("the restart took energy", a.Joules, 100*130*60)
	if !a.HasOracle || a.OracleGrams > a.Grams {
		t.Errorf("the oracle knows less than what was: %+v", a)
	}
	if got := g.RunThrough(); got != 2*time.Hour {
		t.Errorf("it would have run for %s, want 2 hours", got)
	}
	g.Pauses = 0 // the pods failed, and came back
	if a := g.Account(only(evening())); a.OtherGrams != a.Grams || g.SavedGrams(a) != 0 {
		t.Errorf("a gap that is no pause is compared: %+v", a)
	}
}

func TestOnlyTheLongestGapsArePauses(t *testing.T) {
	g := pausedGroup()
	g.Steps = []Step{
		{Start: at(0), End: at(30), Watts: 100}, {Start: at(32), End: at(60), Watts: 100}, // a pod was replaced
		{Start: at(180), End: at(185), Watts: 100}, {Start: at(185), End: at(250), Watts: 200}, // the restart is in both
	}
	p := newProfile(g.Steps).withoutPauses(1, 10*time.Minute)
	want := []stretch{
		{at(0).UnixNano(), at(30).UnixNano(), 100, 0}, {at(32).UnixNano(), at(60).UnixNano(), 100, 0}, {at(60).UnixNano(), at(120).UnixNano(), 200, 0},
	}
	if diff := cmp.Diff(want, p.stretches, cmp.AllowUnexported(stretch{})); diff != "" {
		t.Error(diff)
	}
	for name, tt := range map[string]struct {
		pauses  int
		restart time.Duration
	}{"no pause": {0, time.Hour}, "less than none": {-1, time.Hour}, "more pauses than gaps": {99, -time.Hour}, "nothing but restarts": {1, 1e6 * time.Hour}} {
		g.Pauses, g.RestartCost = tt.pauses, tt.restart
		if a := g.Account(only(evening())); !a.IsCompared || math.IsNaN(a.OtherGrams) || a.OtherGrams < 0 || g.RunThrough() <= 0 {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestAPageKeepsThePauses(t *testing.T) {
	never, twice := pausedGroup(), pausedGroup()
	never.UID, never.Pauses, never.RestartCost = "never", 0, 0
	twice.UID, twice.Pauses = "twice", 2
	for name, groups := range map[string][]Group{
		"none was paused": {never}, "the last": {never, pausedGroup()}, "the first": {pausedGroup(), never}, "some": {never, pausedGroup(), twice},
	} {
		var entries []*entry
		for _, g := range groups {
			entries = append(entries, &entry{group: g.clean(), isComputed: true})
		}
		c := encodeGroups(entries, t0)
		if wrote := c.Pauses != nil; wrote != (len(groups) > 1) {
			t.Errorf("%s: pauses are written: %v", name, c.Pauses)
		}
		decoded, err := c.decode(t0)
		if err != nil {
			t.Fatal(name, err)
		}
		for i, e := range decoded {
			if e.group.Pauses != groups[i].Pauses || e.group.RestartCost != groups[i].RestartCost {
				t.Errorf("%s: %d pauses of %s, want %d of %s", name, e.group.Pauses, e.group.RestartCost, groups[i].Pauses, groups[i].RestartCost)
			}
		}
		c.Pauses = append(c.Pauses, 1)
		if _, err := c.decode(t0); err == nil && len(groups) > 1 {
			t.Errorf("%s: more pauses than groups are read", name)
		}
	}
}
