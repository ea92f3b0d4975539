package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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
			want: []want{{2, CauseCleanerLater}, {2, CauseCleanerLater}},
		},
		"the most urgent takes the cheapest, the next the next": {
			buckets: "1", series: valley, groups: []Group{group(1, 4, 1), group(1, 3, 1), group(1, 2, 1)},
			want: []want{{1, CauseCleanerLater}, {3, CauseCleanerLater}, {2, CauseCleanerLater}},
		},
		"the longer of two goes first, though it is less urgent": {
			buckets: "1", series: valley, groups: []Group{group(1, 2, 1), group(2, 2.5, 1)},
			want: []want{{1, CauseCleanerLater}, {2, CauseCleanerLater}},
		},
		"equals go by ID": {
			buckets: "1", series: valley,
			groups: []Group{
				with(group(1, 4, 1), func(g *Group) { g.ID = "b" }),
				with(group(1, 4, 1), func(g *Group) { g.ID = "a" }),
			},
			want: []want{{3, CauseCleanerLater}, {2, CauseCleanerLater}},
		},
		"the ceiling is that of the slot": {
			buckets: "100=2,*=1", series: valley, groups: []Group{group(1, 4, 1), group(1, 4, 1), group(1, 4, 1)},
			want: []want{{2, CauseCleanerLater}, {2, CauseCleanerLater}, {3, CauseCleanerLater}},
		},
		"there is room for all pods or for none": {
			buckets: "3", series: valley, groups: []Group{group(1, 2, 2), group(1, 4, 2), group(1, 4, 1)},
			want: []want{{2, CauseCleanerLater}, {3, CauseCleanerLater}, {2, CauseCleanerLater}},
		},
		"there is room over the whole duration or not at all": {
			buckets: "150=0,*=1", series: valley, groups: []Group{group(2, 4, 1)},
			want: []want{{3, CauseCleanerLater}},
		},
		"what runs occupies room": {
			buckets: "2", series: valley, running: []Run{{at(2.5), 1}, {at(0.5), 1}},
			groups: []Group{group(1, 4, 2)},
			want:   []want{{2.5, CauseCleanerLater}},
		},
		"a run that ends seconds late does not take the next one's place": {
			buckets: "1", series: valley, running: []Run{{at(2).Add(5 * time.Second), 1}},
			groups: []Group{group(1, 4, 1)},
			want:   []want{{2, CauseCleanerLater}},
		},
		"a run that is overdue still occupies room": {
			buckets: "1", series: []float64{100, 200}, now: 0.5, running: []Run{{at(0), 1}},
			groups: []Group{group(0.25, 1, 1)},
			want:   []want{{0.5 + 5.0/60, CauseNoRoom}},
		},
		"what is past its latest start goes regardless, and takes its room": {
			buckets: "1", series: []float64{100, 200}, running: []Run{{at(1), 1}},
			groups: []Group{group(1, 1, 1), group(2, 0, 1)},
			want:   []want{{1, CauseNoRoom}, {0, CauseLatestStart}},
		},
		"what finds no room starts at its latest start": {
			buckets: "0", series: valley, groups: []Group{group(1, 3.25, 1)},
			want: []want{{3.25, CauseNoRoom}},
		},
		"what would start now waits for room, in the cheapest place": {
			buckets: "1", series: []float64{100, 400, 300, 400}, groups: []Group{group(1, 3, 1), group(1, 3, 1)},
			want: []want{{0, CauseCleanestNow}, {2, CauseNoRoom}},
		},
		"it is not worth waiting for a place that gains too little": {
			buckets: "100=1,*=10", series: []float64{400, 100, 399}, terms: Terms{MinGain: 0.01},
			groups: []Group{group(1, 1, 1), group(1, 2, 1)},
			want:   []want{{1, CauseCleanerLater}, {0, CauseSmallGain}},
		},
		"room begins where a run ends, not only at a slot": {
			buckets: "1", series: []float64{100, 100, 100, 400}, groups: []Group{group(1.25, 0.5, 1), group(1.25, 2, 1)},
			want: []want{{0, CauseCleanestNow}, {1.25, CauseNoRoom}},
		},
		"an exemption starts everything": {
			buckets: "0", series: valley, groups: []Group{group(1, 3, 1)},
			terms: Terms{Exemptions: []Exemption{{from: at(-1), to: at(1)}}},
			want:  []want{{0, CauseExempt}},
		},
		"without a forecast everything starts": {
			buckets: "0", groups: []Group{group(1, 3, 1)},
			want: []want{{0, CauseNoForecast}},
		},
		"a threshold takes the first place with room": {
			buckets: "1", series: []float64{400, 190, 180, 100},
			groups: []Group{
				with(group(1, 3, 1), func(g *Group) { g.Threshold = threshold(190) }),
				with(group(1, 3, 1), func(g *Group) { g.Threshold = threshold(190) }),
			},
			want: []want{{1, CauseThreshold}, {2, CauseThreshold}},
		},
		"a threshold without room for it takes the cheapest place there is": {
			buckets: "1", series: []float64{400, 350, 180, 300},
			groups: []Group{group(1, 2, 1), with(group(1, 3, 1), func(g *Group) { g.Threshold = threshold(190) })},
			want:   []want{{2, CauseCleanerLater}, {3, CauseCleanerLater}},
		},
		"a planned start is kept if it is as good": {
			buckets: "1", series: []float64{400, 100, 100, 300},
			groups: []Group{with(group(1, 3, 1), func(g *Group) { g.PlannedStart, g.Held = at(2), true })},
			want:   []want{{2, CauseCleanerLater}},
		},
		"a planned start moves for a real gain": {
			buckets: "1", series: []float64{400, 99, 100, 300},
			groups: []Group{with(group(1, 3, 1), func(g *Group) { g.PlannedStart, g.Held = at(2), true })},
			want:   []want{{1, CauseCleanerLater}},
		},
		"a planned start moves when its room is gone": {
			buckets: "1", series: []float64{400, 101, 100, 300},
			groups: []Group{group(1, 2, 1), with(group(1, 3, 1), func(g *Group) { g.PlannedStart, g.Held = at(2), true })},
			want:   []want{{2, CauseCleanerLater}, {1, CauseCleanerLater}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var limits Buckets
			if tt.buckets != "" {
				limits = buckets(t, tt.buckets)
			}
			o := NewPlanner("X", hourly(tt.series...), "none", tt.terms, at(tt.now), at(8))
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
			"started Nov 21 12:00 UTC: 200 gCO2eq/kWh in CAISO_NORTH, no later start with room is cleaner"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := NewPlanner("CAISO_NORTH", hourly(200, 400, 300, 150), "none", Terms{}, t0, at(8))
			decisions := Assign(tt.groups, o.Fleet(buckets(t, "110"), nil))
			if diff := cmp.Diff(tt.want, decisions[len(decisions)-1].Reason()); diff != "" {
				t.Error(diff)
			}
		})
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
				o := NewPlanner("X", in.series(), "", in.terms, in.now, at(48))
				b.ReportAllocs()
				for b.Loop() {
					o = NewPlanner("X", o.series, "", in.terms, in.now, at(48))
					Assign(in.groups, o.Fleet(in.buckets, nil))
				}
			})
		}
	}
}

// busy makes groups of four durations that are due over two days, under a ceiling of three times
// the mean number that run at once.
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
