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

func group(hours, latest float64, pods int) Group {
	return Group{Task: Task{Duration: time.Duration(hours * float64(time.Hour)), LatestStart: at(latest)}, Pods: pods}
}

func TestAssign(t *testing.T) {
	valley := []float64{400, 300, 100, 200, 300}
	type want struct {
		start float64 // hours after t0
		cause Cause
	}
	with := func(g Group, change func(*Group)) Group { change(&g); return g }
	tests := map[string]struct {
		buckets string
		series  []float64
		terms   Terms
		now     float64
		running []Run
		groups  []Group
		want    []want
	}{
		"without ceilings everybody takes the cheapest": {
			series: valley, groups: []Group{group(1, 4, 9), group(1, 4, 9)},
			want: []want{{2, CleanerLater}, {2, CleanerLater}},
		},
		"the most urgent takes the cheapest, the next the next": {
			buckets: "1", series: valley, groups: []Group{group(1, 4, 1), group(1, 3, 1), group(1, 2, 1)},
			want: []want{{1, CleanerLater}, {3, CleanerLater}, {2, CleanerLater}},
		},
		"the longer of two goes first, though it is less urgent": {
			buckets: "1", series: valley, groups: []Group{group(1, 2, 1), group(2, 2.5, 1)},
			want: []want{{1, CleanerLater}, {2, CleanerLater}},
		},
		"equals go by ID": {
			buckets: "1", series: valley,
			groups: []Group{
				with(group(1, 4, 1), func(g *Group) { g.ID = "b" }),
				with(group(1, 4, 1), func(g *Group) { g.ID = "a" }),
			},
			want: []want{{3, CleanerLater}, {2, CleanerLater}},
		},
		"the ceiling is that of the slot": {
			buckets: "100=2,*=1", series: valley, groups: []Group{group(1, 4, 1), group(1, 4, 1), group(1, 4, 1)},
			want: []want{{2, CleanerLater}, {2, CleanerLater}, {3, CleanerLater}},
		},
		"there is room for all pods or for none": {
			buckets: "3", series: valley, groups: []Group{group(1, 2, 2), group(1, 4, 2), group(1, 4, 1)},
			want: []want{{2, CleanerLater}, {3, CleanerLater}, {2, CleanerLater}},
		},
		"there is room over the whole duration or not at all": {
			buckets: "150=0,*=1", series: valley, groups: []Group{group(2, 4, 1)},
			want: []want{{3, CleanerLater}},
		},
		"what runs occupies room": {
			buckets: "2", series: valley, running: []Run{{at(2.5), 1}, {at(0.5), 1}},
			groups: []Group{group(1, 4, 2)},
			want:   []want{{2.5, CleanerLater}},
		},
		"a run that ends seconds late does not take the next one's place": {
			buckets: "1", series: valley, running: []Run{{at(2).Add(5 * time.Second), 1}},
			groups: []Group{group(1, 4, 1)},
			want:   []want{{2, CleanerLater}},
		},
		"a run that is overdue still occupies room": {
			buckets: "1", series: []float64{100, 200}, now: 0.5, running: []Run{{at(0), 1}},
			groups: []Group{group(0.25, 1, 1)},
			want:   []want{{0.5 + 5.0/60, NoRoom}},
		},
		"what is past its latest start goes regardless, and takes its room": {
			buckets: "1", series: []float64{100, 200}, running: []Run{{at(1), 1}},
			groups: []Group{group(1, 1, 1), group(2, 0, 1)},
			want:   []want{{1, NoRoom}, {0, AtLatestStart}},
		},
		"what finds no room starts at its latest start": {
			buckets: "0", series: valley, groups: []Group{group(1, 3.25, 1)},
			want: []want{{3.25, NoRoom}},
		},
		"what would start now waits for room, in the cheapest place": {
			buckets: "1", series: []float64{100, 400, 300, 400}, groups: []Group{group(1, 3, 1), group(1, 3, 1)},
			want: []want{{0, CleanestNow}, {2, NoRoom}},
		},
		"it is not worth waiting for a place that gains too little": {
			buckets: "100=1,*=10", series: []float64{400, 100, 399}, terms: Terms{MinGain: 0.01},
			groups: []Group{group(1, 1, 1), group(1, 2, 1)},
			want:   []want{{1, CleanerLater}, {0, SmallGain}},
		},
		"room begins where a run ends, not only at a slot": {
			buckets: "1", series: []float64{100, 100, 100, 400}, groups: []Group{group(1.25, 0.5, 1), group(1.25, 2, 1)},
			want: []want{{0, CleanestNow}, {1.25, NoRoom}},
		},
		"an exemption starts everything": {
			buckets: "0", series: valley, groups: []Group{group(1, 3, 1)},
			terms: Terms{Exemptions: []Exemption{{from: at(-1), to: at(1)}}},
			want:  []want{{0, Exempt}},
		},
		"without a forecast everything starts": {
			buckets: "0", groups: []Group{group(1, 3, 1)},
			want: []want{{0, NoForecast}},
		},
		"a threshold takes the first place with room": {
			buckets: "1", series: []float64{400, 190, 180, 100},
			groups: []Group{
				with(group(1, 3, 1), func(g *Group) { g.Threshold = threshold(190) }),
				with(group(1, 3, 1), func(g *Group) { g.Threshold = threshold(190) }),
			},
			want: []want{{1, Threshold}, {2, Threshold}},
		},
		"a threshold without room for it takes the cheapest place there is": {
			buckets: "1", series: []float64{400, 350, 180, 300},
			groups: []Group{group(1, 2, 1), with(group(1, 3, 1), func(g *Group) { g.Threshold = threshold(190) })},
			want:   []want{{2, CleanerLater}, {3, CleanerLater}},
		},
		"a planned start is kept if it is as good": {
			buckets: "1", series: []float64{400, 100, 100, 300},
			groups: []Group{with(group(1, 3, 1), func(g *Group) { g.Planned, g.Held = at(2), true })},
			want:   []want{{2, CleanerLater}},
		},
		"a planned start moves for a real gain": {
			buckets: "1", series: []float64{400, 99, 100, 300},
			groups: []Group{with(group(1, 3, 1), func(g *Group) { g.Planned, g.Held = at(2), true })},
			want:   []want{{1, CleanerLater}},
		},
		"a planned start moves when its room is gone": {
			buckets: "1", series: []float64{400, 101, 100, 300},
			groups: []Group{group(1, 2, 1), with(group(1, 3, 1), func(g *Group) { g.Planned, g.Held = at(2), true })},
			want:   []want{{2, CleanerLater}, {1, CleanerLater}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var limits Buckets
			if tt.buckets != "" {
				limits = buckets(t, tt.buckets)
			}
			o := NewOutlook("X", hourly(tt.series...), "none", tt.terms, at(tt.now), at(8))
			var got []want
			for _, d := range Assign(tt.groups, o.Fleet(limits, tt.running)) {
				got = append(got, want{d.Start.Sub(t0).Hours(), d.Cause})
				if len(d.Reason()) > 140 {
					t.Errorf("%d characters: %s", len(d.Reason()), d.Reason())
				}
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(want{}), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAssignOverLocations(t *testing.T) {
	outlook := func(name string, intensities ...float64) *Outlook {
		return NewOutlook(name, hourly(intensities...), "none", Terms{}, t0, at(8))
	}
	north := func() *Fleet { return outlook("north", 400, 300, 100, 300).Fleet(buckets(t, "1"), nil) }
	south := func() *Fleet { return outlook("south", 350, 200, 150, 300).Fleet(buckets(t, "1"), nil) }
	dark := func() *Fleet { return outlook("dark").Fleet(buckets(t, "1"), nil) }
	in := func(g Group, locations ...string) Group { g.Locations = locations; return g }
	tests := map[string]struct {
		groups []Group
		want   []string
	}{
		"the cheapest place of all locations": {
			[]Group{group(1, 3, 1), group(1, 3, 1), group(1, 3, 1)}, []string{"north 14:00", "south 14:00", "south 13:00"},
		},
		"only where it may run": {
			[]Group{in(group(1, 3, 1), "south"), in(group(1, 3, 1), "south")}, []string{"south 14:00", "south 13:00"},
		},
		"a location without a forecast is left out while there is another": {
			[]Group{in(group(1, 3, 1), "dark", "north"), in(group(1, 3, 1), "dark")}, []string{"north 14:00", "dark 12:00"},
		},
		"what must start now does so where that is cheapest": {
			[]Group{group(1, 0, 1)}, []string{"south 12:00"},
		},
		"but where there is room, first": {
			[]Group{in(group(1, 0, 1), "south"), group(1, 0, 1)}, []string{"south 12:00", "north 12:00"},
		},
		"a location that nobody knows starts now": {
			[]Group{in(group(1, 3, 1), "west")}, []string{"west 12:00"},
		},
		"a plan is kept in its location": {
			[]Group{{Task: Task{Duration: time.Hour, LatestStart: at(2), Planned: at(2), PlannedIn: "north"}}}, []string{"north 14:00"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, d := range Assign(tt.groups, north(), south(), dark()) {
				got = append(got, d.Location+" "+d.Start.Format("15:04"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOfLocationsAsGoodAsEachOther(t *testing.T) {
	in := func(planned string) Task {
		return Task{Duration: time.Hour, LatestStart: at(3), ID: "a", Planned: at(2), PlannedIn: planned}
	}
	below := func(intensity float64) Task {
		return Task{Duration: time.Hour, LatestStart: at(3), Threshold: &intensity}
	}
	tests := map[string]struct {
		task         Task
		first, other []float64
		want         string
	}{
		"the first is taken":                         {in(""), []float64{400, 300, 100, 300}, []float64{400, 300, 100, 300}, "first 14:00"},
		"the first is taken for all but a real gain": {in(""), []float64{400, 300, 100, 300}, []float64{400, 300, 99.95, 300}, "first 14:00"},
		"the other is taken for one":                 {in(""), []float64{400, 300, 100, 300}, []float64{400, 300, 99.8, 300}, "other 14:00"},
		"the planned one is kept":                    {in("other"), []float64{400, 300, 100, 300}, []float64{400, 300, 100.05, 300}, "other 14:00"},
		"the planned one is left for a real gain":    {in("other"), []float64{400, 300, 100, 300}, []float64{400, 300, 101, 300}, "first 14:00"},
		"now, the first is taken":                    {in(""), []float64{100, 300, 300, 300}, []float64{99.95, 300, 300, 300}, "first 12:00"},
		"now, the planned one is kept":               {in("other"), []float64{100, 300, 300, 300}, []float64{100.05, 300, 300, 300}, "other 12:00"},
		"the first that meets a threshold is taken":  {below(150), []float64{400, 100, 100, 100}, []float64{400, 99.95, 100, 100}, "first 12:50"},
		"one that meets a threshold before is taken": {below(150), []float64{400, 300, 100, 100}, []float64{400, 140, 100, 100}, "other 12:57"},
		"the cleaner later is not worth less than starting in the other now": {
			Task{Duration: time.Hour, LatestStart: at(3)}, []float64{400, 300, 100, 300}, []float64{100.05, 300, 300, 300}, "other 12:00",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			fleet := func(name string, intensities []float64) *Fleet {
				return NewOutlook(name, hourly(intensities...), "none", Terms{MinGain: 0.01}, t0, at(3)).Fleet(Buckets{}, nil)
			}
			d := Assign([]Group{{Task: tt.task}}, fleet("first", tt.first), fleet("other", tt.other))[0]
			if got := d.Location + " " + d.Start.Format("15:04"); got != tt.want {
				t.Errorf("%s, want %s: %s", got, tt.want, d.Reason())
			}
		})
	}
}

func TestTheReasonNamesBothLocations(t *testing.T) {
	north := NewOutlook("CAISO_NORTH", hourly(500, 400, 120, 120), "none", Terms{}, t0, at(8)).RestingOn(forecast.Past)
	south := NewOutlook("ERCOT", hourly(430, 430, 430, 430), "none", Terms{}, t0, at(8))
	task := Task{Duration: time.Hour, LatestStart: at(3)}
	d := Assign([]Group{{Task: task}}, south.Fleet(Buckets{}, nil), north.Fleet(Buckets{}, nil))[0]
	for basis, want := range map[forecast.Basis]string{
		forecast.Fresh: "waits until Nov 21 14:00 UTC: 120 gCO2eq/kWh in CAISO_NORTH, 72 % less than the 430 in ERCOT at Nov 21 12:00; latest start Nov 21 15:00",
		// there is no room for both
		forecast.Past: "waits until Nov 21 14:00 UTC: 120 gCO2eq/kWh in CAISO_NORTH by history, 72 % less than the 430 at Nov 21 12:00; latest start Nov 21 15:00",
	} {
		if d.Basis != forecast.Past {
			t.Error("the basis is not that of the location:", d.Basis)
		}
		told := d
		told.Basis = basis
		if diff := cmp.Diff(want, told.Reason()); diff != "" || len(want) > maxReason {
			t.Error(len(want), diff)
		}
	}
}

// TestSeveralLocationsCostNoMoreThanEach decides on tasks in three locations at
// once, in each by itself, and again at the start that was planned.
func TestSeveralLocationsCostNoMoreThanEach(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 9))
		tasks, places := mixed(r), []instance{mixed(r), mixed(r), mixed(r)}
		terms := Terms{MinGain: tasks.terms.MinGain, WaitPrice: tasks.terms.WaitPrice}
		outlooks := func(now time.Time) (all []*Outlook, fleets []*Fleet) {
			for i, in := range places {
				o := NewOutlook(string(rune('a'+i)), in.series(), "none", terms, now, at(100))
				all, fleets = append(all, o), append(fleets, o.Fleet(Buckets{}, nil))
			}
			return all, fleets
		}
		alone, fleets := outlooks(tasks.now)
		for _, g := range tasks.groups {
			g.Threshold, g.Planned, g.Held = nil, time.Time{}, true // it holds for any gain
			d := Assign([]Group{g}, fleets[0], fleets[1:]...)[0]
			for _, o := range alone {
				// what gains nothing against now, and what is as good, may each cost a thousandth more
				one := o.Decide(g.Task)
				if in := (instance{terms: terms, now: tasks.now}); one.Cause != NoForecast && in.cost(d) > in.cost(one)+2*margin(in.cost(one)) {
					t.Fatalf("seed %d: %s; alone %s", seed, d.Reason(), one.Reason())
				}
			}
			if !d.Holds() {
				continue
			}
			g.Planned, g.PlannedIn = d.Start, d.Location
			_, then := outlooks(d.Start)
			if again := Assign([]Group{g}, then[0], then[1:]...)[0]; again.Holds() {
				t.Fatalf("seed %d: %s; then %s", seed, d.Reason(), again.Reason())
			}
		}
	}
}

func TestReasonsOfCeilings(t *testing.T) {
	tests := map[string]struct {
		groups []Group
		want   string // of the last
	}{
		"no room": {[]Group{group(1, 1, 110), group(1, 3.01, 12345)},
			"waits for room in CAISO_NORTH: 110 of 110 running, until Nov 21 15:00:36 UTC; latest start Nov 21 15:00"},
		"room later, at no gain": {[]Group{group(1, 0, 110), group(1, 2, 4)},
			"waits for room in CAISO_NORTH: 110 of 110 running, until Nov 21 14:00 UTC; latest start Nov 21 14:00"},
		"the cleanest that has room": {[]Group{group(1, 3, 100), group(1, 3, 100)},
			"started Nov 21 12:00 UTC: 200 gCO2eq/kWh in CAISO_NORTH, no window in time with room is cleaner"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := NewOutlook("CAISO_NORTH", hourly(200, 400, 300, 150), "none", Terms{}, t0, at(8))
			decisions := Assign(tt.groups, o.Fleet(buckets(t, "110"), nil))
			if diff := cmp.Diff(tt.want, decisions[len(decisions)-1].Reason()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// instance is a random planning problem.
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
	o := NewOutlook("X", in.series(), "none", in.terms, in.now, until)
	return Assign(in.groups, o.Fleet(in.buckets, in.running))
}

// cost is the priced cost of a decision.
func (in instance) cost(d Decision) float64 {
	return math.Max(d.Expected, 0) * (1 + in.terms.WaitPrice*d.Start.Sub(in.now).Hours())
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
			g.Planned = in.now.Add(time.Duration(r.IntN(1500)-60) * time.Minute)
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
	case AtLatestStart, Exempt, NoForecast:
		return false
	case NoRoom:
		return d.Start.Before(d.LatestStart)
	default:
		return true
	}
}

// checkRoom fails if anything that was planned runs above a ceiling together
// with what ran before and what could not wait.
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
		runs = append(runs, run{in.now, r.Until.Add(-overlap), r.Pods, false})
	}
	for i, d := range decisions {
		if d.Cause == NoRoom && !planned(d) {
			continue // it was counted, or not, by what came after it
		}
		runs = append(runs, run{d.Start, d.Start.Add(max(d.Duration-overlap, 1)), in.groups[i].pods(), planned(d)})
		moments = append(moments, d.Start)
	}
	o := NewOutlook("X", in.series(), "none", in.terms, in.now, in.now)
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
	for seed := range uint64(100) {
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
			if math.IsNaN(d.AtOnce) && d.Holds() {
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

// checkDearest fails if a group costs more than the dearest window that it
// could be given.
func checkDearest(t *testing.T, in instance, decisions []Decision) {
	t.Helper()
	o := NewOutlook("X", in.series(), "none", in.terms, in.now, at(1000))
	for i, d := range decisions {
		if math.IsNaN(d.Expected) || !in.now.Before(d.LatestStart) {
			continue
		}
		c := o.curve(d.Duration)
		dearest := 0.0
		for _, start := range append(c.starts[:c.last(d.LatestStart)+1:c.last(d.LatestStart)+1], d.LatestStart) {
			if mean, ok := o.expect(start, d.Duration); ok {
				dearest = math.Max(dearest, c.cost(start, mean))
			}
		}
		// between corners a priced wait may cost a trifle more than at either
		if cost := in.cost(d); cost > dearest*1.01+noise {
			t.Fatalf("group %d costs %g, more than the dearest window's %g", i, cost, dearest)
		}
	}
}

// checkOrder fails if the plan of the half whose turn is first depends on the
// others.
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

// TestReplanningKeepsThePlan plays plans through to their end: as long as the
// forecast is right, every group starts when it was first planned to, or before
// if there is room at a time that is as good; never later or at a worse time.
func TestReplanningKeepsThePlan(t *testing.T) {
	for seed := range uint64(40) {
		in := mixed(rand.New(rand.NewPCG(seed, 2)))
		in.terms = Terms{MinGain: in.terms.MinGain}
		in.now, in.step = in.now.Truncate(5*time.Minute), time.Hour
		for len(in.intensities) < 48 {
			in.intensities = append(in.intensities, in.intensities...)
		}
		for i := range in.groups {
			g := &in.groups[i]
			g.ID, g.Planned, g.Threshold = fmt.Sprint("uid-", i), time.Time{}, nil
			g.Duration = max(g.Duration.Truncate(5*time.Minute), 5*time.Minute)
			g.LatestStart = g.LatestStart.Truncate(5 * time.Minute)
		}
		first := map[string]Decision{}
		play(t, in, func(at time.Time, g Group, d Decision) {
			before, ok := first[g.ID]
			if ok && (d.Start.After(before.Start) || d.Expected > before.Expected+2*margin(before.Expected)) {
				t.Fatalf("seed %d, at %s: first %s, now %s", seed, at, before.Reason(), d.Reason())
			}
			if !ok {
				first[g.ID] = d
			}
		})
	}
}

// TestPlayedPlansStayBelowTheCeilings releases what is due, whatever it is, and
// plans again.
func TestPlayedPlansStayBelowTheCeilings(t *testing.T) {
	for seed := range uint64(40) {
		play(t, mixed(rand.New(rand.NewPCG(seed, 3))), func(time.Time, Group, Decision) {})
	}
}

// play plans, releases what is due, and goes on to the next start, until
// nothing waits.
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
			g.Planned, g.Held = d.Start, true
			waiting = append(waiting, g)
			if d.Start.Before(next) {
				next = d.Start
			}
		}
		in.groups, in.now = waiting, next
		in.running = slices.DeleteFunc(in.running, func(r Run) bool { return !r.Until.After(next) })
	}
}

// TestUniformPlansAreOptimal compares plans of groups of one size that run for
// one slot with the best there is, tried out.
func TestUniformPlansAreOptimal(t *testing.T) {
	checked := 0
	for seed := range uint64(1500) {
		in := uniform(rand.New(rand.NewPCG(seed, 3)), 5, 4)
		total, over := outcome(in)
		best := optimum(in, 0, map[int]int{})
		if (over == 0) != !math.IsInf(best, 1) {
			t.Fatalf("seed %d: %d found no room, and %g is possible", seed, over, best)
		}
		if over == 0 {
			checked++
		}
		if over == 0 && total > best*(1+nearlyEqual)+1e-6 {
			t.Fatalf("seed %d: %g, and %g is possible", seed, total, best)
		}
	}
	if checked < 500 {
		t.Errorf("only %d instances had room for all", checked)
	}
}

// optimum is the least total intensity of the groups from i on; infinite if
// there is no room.
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
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 8))
		in := mixed(r)
		o := NewOutlook("X", in.series(), "none", in.terms, in.now, at(100))
		for _, g := range in.groups {
			g.Threshold, g.Planned = nil, time.Time{} // either asks for something else than what is cheapest
			before := o.Decide(g.Task)
			if !in.now.Before(g.LatestStart) || math.IsNaN(before.Expected) {
				continue
			}
			g.LatestStart = g.LatestStart.Add(time.Duration(r.IntN(600)) * time.Minute)
			after := o.Decide(g.Task)
			if in.cost(after) > in.cost(before)+margin(in.cost(before)) {
				t.Fatalf("seed %d: %s; with more slack %s", seed, before.Reason(), after.Reason())
			}
		}
	}
}

// TestMoreFreedomCostsNoMore gives uniform groups more slack, or higher
// ceilings: where there was room for all, there still is, and at no higher cost.
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
			for seed := range uint64(300) {
				r := rand.New(rand.NewPCG(seed, 4))
				in := uniform(r, 24, 20)
				in.intensities = append(in.intensities, 600, 600, 600) // for slack
				before, over := outcome(in)
				change(r, &in)
				after, still := outcome(in)
				if still > over || over == 0 && after > before*(1+nearlyEqual)+1e-6 {
					t.Fatalf("seed %d: %g, and %d without room; before %g, and %d", seed, after, still, before, over)
				}
			}
		})
	}
}

// TestRoomOfEveryLocationIsKept plans mixed groups over three locations.
func TestRoomOfEveryLocationIsKept(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		in := mixed(r)
		places := map[string]instance{}
		var fleets []*Fleet
		for _, name := range []string{"a", "b", "c"} {
			place := mixed(r)
			place.now, place.groups = in.now, nil
			o := NewOutlook(name, place.series(), "none", place.terms, in.now, at(30))
			fleets, places[name] = append(fleets, o.Fleet(place.buckets, place.running)), place
		}
		for i := range in.groups {
			in.groups[i].Locations = [][]string{nil, {"b"}, {"c", "a"}}[r.IntN(3)]
		}
		split := map[string][]Decision{}
		for i, d := range Assign(in.groups, fleets[0], fleets[1:]...) {
			place := places[d.Location]
			place.groups = append(place.groups, in.groups[i])
			places[d.Location] = place
			split[d.Location] = append(split[d.Location], d)
			if g := in.groups[i]; len(g.Locations) > 0 && !slices.Contains(g.Locations, d.Location) {
				t.Fatalf("seed %d: runs in %s, may in %s", seed, d.Location, g.Locations)
			}
		}
		for name, decisions := range split {
			checkRoom(t, places[name], decisions)
		}
	}
}

// outcome returns the total intensity of a uniform plan, and how many groups
// run above a ceiling.
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

// TestWhatComesAfterTheLastWindowDoesNotMatter changes the forecast beyond the
// end of the last run that there may be.
func TestWhatComesAfterTheLastWindowDoesNotMatter(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		in := mixed(r)
		in.step = time.Hour
		for i := range in.groups {
			in.groups[i].LatestStart = in.groups[i].LatestStart.Add(-16 * time.Hour)
			in.groups[i].Planned = time.Time{}
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

func BenchmarkFleet(b *testing.B) {
	for _, shape := range []struct {
		slots int
		step  time.Duration
	}{{60, time.Hour}, {96 * 12, 5 * time.Minute}} {
		for _, groups := range []int{2000, 100000} {
			in := busy(groups, shape.slots, shape.step)
			b.Run(fmt.Sprintf("slots=%d/groups=%d", shape.slots, groups), func(b *testing.B) {
				o := NewOutlook("X", in.series(), "", in.terms, in.now, at(48))
				b.ReportAllocs()
				for b.Loop() {
					o = NewOutlook("X", o.series, "", in.terms, in.now, at(48))
					Assign(in.groups, o.Fleet(in.buckets, nil))
				}
			})
		}
	}
}

// busy makes groups that are due over two days, of four durations, under a
// ceiling of three times the mean number that run at once.
func busy(groups, slots int, step time.Duration) instance {
	r := rand.New(rand.NewPCG(1, 6))
	in := instance{step: step, now: t0.Add(20 * time.Minute), terms: Terms{MinGain: 0.01, WaitPrice: 0.001}}
	for i := range slots {
		hour := float64(i) * step.Hours()
		in.intensities = append(in.intensities, 300+150*math.Sin(hour/24*2*math.Pi)+30*r.Float64())
	}
	hours := 0.0
	for i := range groups {
		g := group([]float64{0.5, 1, 4, 12}[r.IntN(4)], 0.5+46*r.Float64(), 1+r.IntN(4))
		g.ID, g.Held = fmt.Sprintf("4f3c1ad2-7f5b-4f0e-9d6c-%012d", i), true
		hours += g.Duration.Hours() * float64(g.Pods)
		in.groups = append(in.groups, g)
	}
	in.buckets, _ = NewBuckets([]Bucket{{math.Inf(1), int(3 * hours / 48)}})
	return in
}
