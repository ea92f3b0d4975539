package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gridlatch/gridlatch/forecast"
)

// An instance is a random planning problem.
type instance struct {
	intensities []float64
	step        time.Duration
	terms       Terms
	buckets     Buckets
	running     []Run
	groups      []Group
	now         time.Time
}

func (in instance) series() *forecast.Series {
	slots := make([]forecast.Slot, len(in.intensities))
	for i, v := range in.intensities {
		start := t0.Add(time.Duration(i) * in.step)
		slots[i] = forecast.Slot{Start: start, End: start.Add(in.step), Intensity: v}
	}
	return forecast.NewSeries(slots)
}

func (in instance) assign() []Decision {
	until := in.now
	for _, g := range in.groups {
		if g.LatestStart.After(until) {
			until = g.LatestStart
		}
	}
	o := NewPlanner("X", in.series(), "none", in.terms, in.now, until)
	return Assign(in.groups, o.Fleet(in.buckets, in.running))
}

// cost returns the priced cost of a decision.
func (in instance) cost(d Decision) float64 {
	return math.Max(d.Expected, 0) * (1 + in.terms.WaitPrice*d.Start.Sub(in.now).Hours())
}

// seeds returns the number of random instances of a test: a fifth of them with -short.
func seeds(all uint64) uint64 {
	if testing.Short() {
		return all / 5
	}
	return all
}

// mixed makes an instance of anything: durations, sizes, urgency, thresholds.
func mixed(r *rand.Rand) instance {
	in := instance{step: []time.Duration{time.Hour, 30 * time.Minute, 5 * time.Minute}[r.IntN(3)], now: t0.Add(time.Duration(r.IntN(90)) * time.Minute)}
	for range 12 + r.IntN(100) {
		in.intensities = append(in.intensities, float64(10*r.IntN(60)))
	}
	in.terms = Terms{MinGain: float64(r.IntN(3)) / 100, WaitPrice: float64(r.IntN(3)) / 1000}
	in.buckets, _ = NewBuckets([]Bucket{{200, r.IntN(20)}, {400, r.IntN(12)}, {math.Inf(1), r.IntN(6)}})
	for range r.IntN(4) {
		in.running = append(in.running, Run{in.now.Add(time.Duration(r.IntN(200)) * time.Minute), r.IntN(4)})
	}
	for i := range r.IntN(60) {
		g := Group{Task: Task{
			Duration: []time.Duration{time.Hour, 20 * time.Minute, 150 * time.Minute, 7 * time.Minute}[r.IntN(4)],
			// as far as the forecast, and beyond
			LatestStart: in.now.Add(time.Duration(r.IntN(24*60)-20) * time.Minute),
			Held:        r.IntN(2) == 0,
		}, Pods: r.IntN(5)}
		if r.IntN(4) > 0 {
			g.ID = fmt.Sprint("uid-", i)
		}
		if r.IntN(4) == 0 {
			g.Threshold = threshold(float64(r.IntN(600)))
		}
		if r.IntN(4) == 0 {
			g.PlannedStart = in.now.Add(time.Duration(r.IntN(1500)-60) * time.Minute)
		}
		in.groups = append(in.groups, g)
	}
	return in
}

// uniform makes an instance of groups of one pod that run for one slot.
func uniform(r *rand.Rand, slots, groups int) instance {
	in := instance{step: time.Hour, now: t0}
	for range slots {
		in.intensities = append(in.intensities, float64(10+10*r.IntN(60)))
	}
	in.buckets, _ = NewBuckets([]Bucket{{200, r.IntN(4)}, {400, r.IntN(3)}, {math.Inf(1), r.IntN(3)}})
	for range groups {
		in.groups = append(in.groups, group(1, float64(1+r.IntN(slots-1)), 1))
	}
	return in
}

// planned reports whether there was room for the group.
func planned(d Decision) bool {
	switch d.Cause {
	case CauseLatestStart, CauseExempt, CauseNoForecast:
		return false
	case CauseNoRoom:
		return d.Start.Before(d.LatestStart)
	default:
		return true
	}
}

// checkRoom fails if planned groups, together with the pods that ran before and the groups that
// could not wait, run above a ceiling.
func checkRoom(t *testing.T, in instance, decisions []Decision) {
	t.Helper()
	type run struct {
		from, to time.Time
		pods     int
		planned  bool
	}
	var runs []run
	var moments []time.Time
	for _, r := range in.running {
		runs = append(runs, run{in.now, r.Until.Add(-uncountedOverlap), r.Pods, false})
	}
	for i, d := range decisions {
		if d.Cause == CauseNoRoom && !planned(d) {
			continue // the groups after it may have counted it or not
		}
		runs = append(runs, run{d.Start, d.Start.Add(max(d.Duration-uncountedOverlap, 1)), in.groups[i].pods(), planned(d)})
		moments = append(moments, d.Start)
	}
	o := NewPlanner("X", in.series(), "none", in.terms, in.now, in.now)
	for b := range o.series.Boundaries(in.now, at(1000)) {
		moments = append(moments, b)
	}
	for _, m := range moments {
		pods, any := 0, false
		for _, r := range runs {
			if !m.Before(r.from) && m.Before(r.to) {
				pods += r.pods
				any = any || r.planned
			}
		}
		if ceiling := in.buckets.Ceiling(o.intensity(m)); any && pods > ceiling {
			t.Fatalf("%d pods run at %s, above the ceiling of %d", pods, m, ceiling)
		}
	}
}

// FuzzAssign checks what the package promises of every plan.
func FuzzAssign(f *testing.F) {
	for seed := range seeds(100) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		in := mixed(rand.New(rand.NewPCG(seed, 1)))
		decisions := in.assign()
		if diff := cmp.Diff(decisions, in.assign(), cmpopts.EquateNaNs()); diff != "" {
			t.Fatal("not deterministic", diff)
		}
		for i, d := range decisions {
			latest := in.groups[i].LatestStart
			if d.Start.Before(in.now) || d.Start.After(latest) && d.Start.After(in.now) {
				t.Fatalf("group %d starts at %s, outside now %s .. latest %s", i, d.Start, in.now, latest)
			}
			if math.IsNaN(d.ExpectedAtOnce) && d.Holds() {
				t.Fatal("holds without a usable forecast")
			}
			if len(d.Reason()) > 140 {
				t.Fatalf("%d characters: %s", len(d.Reason()), d.Reason())
			}
		}
		checkRoom(t, in, decisions)
		checkDearest(t, in, decisions)
		checkOrder(t, in, decisions)
	})
}

// checkDearest fails if a group costs more than the dearest window that it could be given.
func checkDearest(t *testing.T, in instance, decisions []Decision) {
	t.Helper()
	o := NewPlanner("X", in.series(), "none", in.terms, in.now, at(1000))
	for i, d := range decisions {
		if math.IsNaN(d.Expected) || !in.now.Before(d.LatestStart) {
			continue
		}
		c := o.curve(d.Duration)
		dearest := 0.0
		starts := []time.Time{d.LatestStart}
		for i := range c.last(d.LatestStart) + 1 {
			starts = append(starts, c.start(i))
		}
		for _, start := range starts {
			if mean, ok := o.expectMean(start, d.Duration); ok {
				dearest = math.Max(dearest, c.cost(start, mean))
			}
		}
		// between corners a priced wait may cost a trifle more than at either
		if cost := in.cost(d); cost > dearest*1.01+roundingNoise {
			t.Fatalf("group %d costs %g, more than the dearest window's %g", i, cost, dearest)
		}
	}
}

// checkOrder fails if the plan of the first half of the groups depends on the second.
func checkOrder(t *testing.T, in instance, decisions []Decision) {
	t.Helper()
	if len(in.groups) == 0 {
		return
	}
	all := append([]Group(nil), in.groups...)
	turn := func(g Group) time.Time { return g.LatestStart.Add(-g.Duration) }
	turns := make([]time.Time, len(all))
	for i, g := range all {
		turns[i] = turn(g)
	}
	slices.SortFunc(turns, time.Time.Compare)
	median := turns[len(turns)/2]
	var want []Decision
	in.groups = nil
	for i, g := range all {
		if !turn(g).After(median) || !planned(decisions[i]) && !decisions[i].Holds() {
			in.groups = append(in.groups, g)
			want = append(want, decisions[i])
		}
	}
	got := in.assign()
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Fatal("the first depend on those after them", diff)
	}
}

// TestReplanningKeepsThePlan plays plans to their end. While the forecast is right, every group
// starts when it was first planned to, or before if there is room at an equally good time; never
// later or at a worse time.
func TestReplanningKeepsThePlan(t *testing.T) {
	for seed := range seeds(40) {
		in := mixed(rand.New(rand.NewPCG(seed, 2)))
		in.terms = Terms{MinGain: in.terms.MinGain}
		in.now, in.step = in.now.Truncate(5*time.Minute), time.Hour
		for len(in.intensities) < 48 {
			in.intensities = append(in.intensities, in.intensities...)
		}
		for i := range in.groups {
			g := &in.groups[i]
			g.ID, g.PlannedStart, g.Threshold = fmt.Sprint("uid-", i), time.Time{}, nil
			g.Duration = max(g.Duration.Truncate(5*time.Minute), 5*time.Minute)
			g.LatestStart = g.LatestStart.Truncate(5 * time.Minute)
		}
		first := map[string]Decision{}
		play(t, in, func(at time.Time, g Group, d Decision) {
			before, ok := first[g.ID]
			if ok && (d.Start.After(before.Start) || d.Expected > before.Expected+2*equalMargin(before.Expected)) {
				t.Fatalf("seed %d, at %s: first %s, now %s", seed, at, before.Reason(), d.Reason())
			}
			if !ok {
				first[g.ID] = d
			}
		})
	}
}

// TestPlayedPlansStayBelowTheCeilings releases all groups that are due, and plans again.
func TestPlayedPlansStayBelowTheCeilings(t *testing.T) {
	for seed := range seeds(40) {
		play(t, mixed(rand.New(rand.NewPCG(seed, 3))), func(time.Time, Group, Decision) {})
	}
}

// play plans, releases the groups that are due, and goes on to the next start, until no group
// waits.
func play(t *testing.T, in instance, each func(time.Time, Group, Decision)) {
	t.Helper()
	for len(in.groups) > 0 {
		decisions := in.assign()
		checkRoom(t, in, decisions)
		var waiting []Group
		next := at(1000)
		for i, d := range decisions {
			g := in.groups[i]
			each(in.now, g, d)
			if d.Start.After(d.LatestStart) && d.Start.After(d.Decided) {
				t.Fatal("held past its latest start")
			}
			if !d.Holds() {
				in.running = append(in.running, Run{d.Start.Add(d.Duration), g.pods()})
				continue
			}
			g.PlannedStart, g.Held = d.Start, true
			waiting = append(waiting, g)
			if d.Start.Before(next) {
				next = d.Start
			}
		}
		in.groups, in.now = waiting, next
		in.running = slices.DeleteFunc(in.running, func(r Run) bool { return !r.Until.After(next) })
	}
}

// TestUniformPlansAreOptimal compares plans of groups of one size that run for one slot with the
// best plan, which it finds by trying all.
func TestUniformPlansAreOptimal(t *testing.T) {
	checked := 0
	for seed := range seeds(1500) {
		in := uniform(rand.New(rand.NewPCG(seed, 3)), 5, 4)
		total, over := outcome(in)
		best := optimum(in, 0, map[int]int{})
		if (over == 0) != !math.IsInf(best, 1) {
			t.Fatalf("seed %d: %d found no room, and %g is possible", seed, over, best)
		}
		if over == 0 {
			checked++
		}
		if over == 0 && total > best*(1+equalShare)+1e-6 {
			t.Fatalf("seed %d: %g, and %g is possible", seed, total, best)
		}
	}
	if checked < int(seeds(500)) {
		t.Errorf("only %d instances had room for all", checked)
	}
}

// optimum returns the least total intensity of the groups from i on; infinite if there is no room.
func optimum(in instance, i int, taken map[int]int) float64 {
	if i == len(in.groups) {
		return 0
	}
	best := math.Inf(1)
	for slot := 0; slot < len(in.intensities) && !at(float64(slot)).After(in.groups[i].LatestStart); slot++ {
		if taken[slot] < in.buckets.Ceiling(in.intensities[slot]) {
			taken[slot]++
			best = math.Min(best, in.intensities[slot]+optimum(in, i+1, taken))
			taken[slot]--
		}
	}
	return best
}

// TestMoreSlackAloneCostsNoMore decides on tasks by themselves.
func TestMoreSlackAloneCostsNoMore(t *testing.T) {
	for seed := range seeds(200) {
		r := rand.New(rand.NewPCG(seed, 8))
		in := mixed(r)
		o := NewPlanner("X", in.series(), "none", in.terms, in.now, at(100))
		for _, g := range in.groups {
			g.Threshold, g.PlannedStart = nil, time.Time{} // either asks for something other than the cheapest start
			before := o.Decide(g.Task)
			if !in.now.Before(g.LatestStart) || math.IsNaN(before.Expected) {
				continue
			}
			g.LatestStart = g.LatestStart.Add(time.Duration(r.IntN(600)) * time.Minute)
			after := o.Decide(g.Task)
			if in.cost(after) > in.cost(before)+equalMargin(in.cost(before)) {
				t.Fatalf("seed %d: %s; with more slack %s", seed, before.Reason(), after.Reason())
			}
		}
	}
}

// TestMoreFreedomCostsNoMore gives uniform groups more slack, or higher ceilings: if there was room
// for all, there still is, and at no higher cost.
func TestMoreFreedomCostsNoMore(t *testing.T) {
	more := map[string]func(*rand.Rand, *instance){
		"slack": func(r *rand.Rand, in *instance) {
			g := &in.groups[r.IntN(len(in.groups))]
			g.LatestStart = g.LatestStart.Add(time.Duration(r.IntN(4)) * time.Hour)
		},
		"room": func(r *rand.Rand, in *instance) {
			raised := slices.Clone(in.buckets.ascending)
			raised[r.IntN(len(raised))].Ceiling++
			in.buckets.ascending = raised
		},
	}
	for name, change := range more {
		t.Run(name, func(t *testing.T) {
			for seed := range seeds(300) {
				r := rand.New(rand.NewPCG(seed, 4))
				in := uniform(r, 24, 20)
				in.intensities = append(in.intensities, 600, 600, 600) // for slack
				before, over := outcome(in)
				change(r, &in)
				after, still := outcome(in)
				if still > over || over == 0 && after > before*(1+equalShare)+1e-6 {
					t.Fatalf("seed %d: %g, and %d without room; before %g, and %d", seed, after, still, before, over)
				}
			}
		})
	}
}

// outcome returns the total intensity of a uniform plan, and how many groups run above a ceiling.
func outcome(in instance) (total float64, over int) {
	taken := map[time.Time]int{}
	for _, d := range in.assign() {
		total += d.Expected
		taken[d.Start]++
	}
	for start, n := range taken {
		over += max(0, n-in.buckets.Ceiling(in.intensities[int(start.Sub(t0)/time.Hour)]))
	}
	return total, over
}

// TestWhatComesAfterTheLastWindowDoesNotMatter changes the forecast beyond the end of the last
// possible run.
func TestWhatComesAfterTheLastWindowDoesNotMatter(t *testing.T) {
	for seed := range seeds(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		in := mixed(r)
		in.step = time.Hour
		for i := range in.groups {
			in.groups[i].LatestStart = in.groups[i].LatestStart.Add(-16 * time.Hour)
			in.groups[i].PlannedStart = time.Time{}
		}
		in.intensities = append(in.intensities, make([]float64, 12)...)
		before := in.assign()
		for i := 24; i < len(in.intensities); i++ {
			in.intensities[i] = float64(r.IntN(600))
		}
		if diff := cmp.Diff(before, in.assign(), cmpopts.EquateNaNs()); diff != "" {
			t.Fatal(seed, diff)
		}
	}
}
