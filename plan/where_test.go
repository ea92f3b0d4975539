package plan

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gridlatch/gridlatch/forecast"
)

// sites returns locations with the same power factor.
func sites(names ...string) []Site {
	var all []Site
	for _, name := range names {
		all = append(all, Site{Name: name})
	}
	return all
}

func TestAssignOverLocations(t *testing.T) {
	planner := func(name string, intensities ...float64) *Planner {
		return NewPlanner(name, hourly(intensities...), "none", Terms{}, t0, at(8))
	}
	north := func() *Fleet { return planner("north", 400, 300, 100, 300).Fleet(buckets(t, "1"), nil) }
	south := func() *Fleet { return planner("south", 350, 200, 150, 300).Fleet(buckets(t, "1"), nil) }
	dark := func() *Fleet { return planner("dark").Fleet(buckets(t, "1"), nil) }
	in := func(g Group, locations ...string) Group { g.Locations = sites(locations...); return g }
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
			[]Group{{Task: Task{Duration: time.Hour, LatestStart: at(2), PlannedStart: at(2), PlannedLocation: "north"}}}, []string{"north 14:00"},
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

func TestEquallyGoodLocations(t *testing.T) {
	in := func(planned string) Task {
		return Task{Duration: time.Hour, LatestStart: at(3), ID: "a", PlannedStart: at(2), PlannedLocation: planned}
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
				return NewPlanner(name, hourly(intensities...), "none", Terms{MinGain: 0.01}, t0, at(3)).Fleet(Buckets{}, nil)
			}
			d := Assign([]Group{{Task: tt.task}}, fleet("first", tt.first), fleet("other", tt.other))[0]
			if got := d.Location + " " + d.Start.Format("15:04"); got != tt.want {
				t.Errorf("%s, want %s: %s", got, tt.want, d.Reason())
			}
		})
	}
}

func TestTheReasonNamesBothLocations(t *testing.T) {
	north := NewPlanner("CAISO_NORTH", hourly(500, 400, 120, 120), "none", Terms{}, t0, at(8)).WithBasis(forecast.BasisHistory)
	south := NewPlanner("ERCOT", hourly(430, 430, 430, 430), "none", Terms{}, t0, at(8))
	task := Task{Duration: time.Hour, LatestStart: at(3)}
	d := Assign([]Group{{Task: task}}, south.Fleet(Buckets{}, nil), north.Fleet(Buckets{}, nil))[0]
	for basis, want := range map[forecast.Basis]string{
		forecast.BasisForecast: "waits until Nov 21 14:00 UTC: 120 gCO2eq/kWh in CAISO_NORTH, 72 % less than the 430 in ERCOT at Nov 21 12:00; latest start Nov 21 15:00",
		// both do not fit
		forecast.BasisWeather: "waits until Nov 21 14:00 UTC: 120 gCO2eq/kWh in CAISO_NORTH by weather, 72 % less than the 430 at Nov 21 12:00; latest start Nov 21 15:00",
		forecast.BasisHistory: "waits until Nov 21 14:00 UTC: 120 gCO2eq/kWh in CAISO_NORTH by history, 72 % less than the 430 at Nov 21 12:00; latest start Nov 21 15:00",
	} {
		if d.Basis != forecast.BasisHistory {
			t.Error("the basis is not that of the location:", d.Basis)
		}
		told := d
		told.Basis = basis
		if diff := cmp.Diff(want, told.Reason()); diff != "" || len(want) > maxReasonSize {
			t.Error(len(want), diff)
		}
	}
}

func TestIntensitiesOfTwoSignalsAreNotCompared(t *testing.T) {
	average, marginal := forecast.Origin{Signal: forecast.Signal{Kind: forecast.Average}}, forecast.Origin{Provider: "P", Signal: forecast.Signal{Kind: forecast.Marginal}}
	dirty, clean := []float64{500, 500, 500, 500}, []float64{100, 100, 100, 100}
	for name, tt := range map[string]struct {
		first, second       []float64
		firstFrom, fromThen forecast.Origin
		want                string
	}{
		"the same signal":                     {dirty, clean, average, average, "south"},
		"nobody states the signal":            {dirty, clean, forecast.Origin{}, forecast.Origin{}, "south"},
		"two providers of the same signal":    {dirty, clean, forecast.Origin{Signal: average.Signal, Provider: "Q"}, average, "south"},
		"average and marginal":                {dirty, clean, average, marginal, "north"},
		"the first location is not known":     {nil, clean, average, marginal, "south"},
		"one states its signal, one does not": {dirty, clean, average, forecast.Origin{}, "north"},
	} {
		t.Run(name, func(t *testing.T) {
			north := NewPlanner("north", hourly(tt.first...), "none", Terms{}, t0, at(8)).WithOrigin(tt.firstFrom)
			south := NewPlanner("south", hourly(tt.second...), "none", Terms{}, t0, at(8)).WithOrigin(tt.fromThen)
			for _, task := range []Task{{}, {Locations: []Site{{Name: "north", PowerFactor: 1}, {Name: "south", PowerFactor: 1}}}, {Locations: []Site{{Name: "south", PowerFactor: 1}}}} {
				task.Duration, task.LatestStart = time.Hour, at(3)
				want := tt.want
				if len(task.Locations) == 1 {
					want = "south" // there is nothing to compare
				}
				if d := Assign([]Group{{Task: task}}, north.Fleet(Buckets{}, nil), south.Fleet(Buckets{}, nil))[0]; d.Location != want {
					t.Errorf("of %d locations: in %s, want %s: %s", len(task.Locations), d.Location, want, d.Reason())
				}
			}
		})
	}
}

func TestTheReasonSaysThatIntensitiesAreMadeUp(t *testing.T) {
	planner := NewPlanner("DE", hourly(500, 400, 120, 120), "none", Terms{}, t0, at(8)).WithOrigin(forecast.Origin{IsMadeUp: true})
	d := planner.Decide(Task{Duration: time.Hour, LatestStart: at(3)})
	const want = "waits until Nov 21 14:00 UTC: 120 gCO2eq/kWh (made up) in DE, 76 % less than the 500 at Nov 21 12:00; latest start Nov 21 15:00"
	if diff := cmp.Diff(want, d.Reason()); diff != "" {
		t.Error(diff)
	}
}

// TestSeveralLocationsCostNoMoreThanEach decides on tasks in three locations at once, in each
// location by itself, and again at the planned start.
func TestSeveralLocationsCostNoMoreThanEach(t *testing.T) {
	for seed := range seeds(200) {
		r := rand.New(rand.NewPCG(seed, 9))
		tasks, places := mixed(r), []instance{mixed(r), mixed(r), mixed(r)}
		terms := Terms{MinGain: tasks.terms.MinGain, WaitPrice: tasks.terms.WaitPrice}
		outlooks := func(now time.Time) (all []*Planner, fleets []*Fleet) {
			for i, in := range places {
				o := NewPlanner(string(rune('a'+i)), in.series(), "none", terms, now, at(100))
				all, fleets = append(all, o), append(fleets, o.Fleet(Buckets{}, nil))
			}
			return all, fleets
		}
		alone, fleets := outlooks(tasks.now)
		for _, g := range tasks.groups {
			g.Threshold, g.PlannedStart, g.Held = nil, time.Time{}, true // it holds for any gain
			d := Assign([]Group{g}, fleets[0], fleets[1:]...)[0]
			for _, o := range alone {
				// a start without a gain against now, and an equally good start, may each cost a
				// thousandth more
				one := o.Decide(g.Task)
				if in := (instance{terms: terms, now: tasks.now}); one.Cause != CauseNoForecast && in.cost(d) > in.cost(one)+2*equalMargin(in.cost(one)) {
					t.Fatalf("seed %d: %s; alone %s", seed, d.Reason(), one.Reason())
				}
			}
			if !d.Holds() {
				continue
			}
			g.PlannedStart, g.PlannedLocation = d.Start, d.Location
			_, then := outlooks(d.Start)
			if again := Assign([]Group{g}, then[0], then[1:]...)[0]; again.Holds() {
				t.Fatalf("seed %d: %s; then %s", seed, d.Reason(), again.Reason())
			}
		}
	}
}

// TestRoomOfEveryLocationIsKept plans mixed groups over three locations.
func TestRoomOfEveryLocationIsKept(t *testing.T) {
	for seed := range seeds(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		in := mixed(r)
		places := map[string]instance{}
		var fleets []*Fleet
		for _, name := range []string{"a", "b", "c"} {
			place := mixed(r)
			place.now, place.groups = in.now, nil
			o := NewPlanner(name, place.series(), "none", place.terms, in.now, at(30))
			fleets, places[name] = append(fleets, o.Fleet(place.buckets, place.running)), place
		}
		for i := range in.groups {
			in.groups[i].Locations = [][]Site{nil, sites("b"), sites("c", "a")}[r.IntN(3)]
		}
		split := map[string][]Decision{}
		for i, d := range Assign(in.groups, fleets[0], fleets[1:]...) {
			place := places[d.Location]
			place.groups = append(place.groups, in.groups[i])
			places[d.Location] = place
			split[d.Location] = append(split[d.Location], d)
			if g := in.groups[i]; len(g.Locations) > 0 && !slices.Contains(g.Locations, Site{Name: d.Location}) {
				t.Fatalf("seed %d: runs in %s, may in %v", seed, d.Location, g.Locations)
			}
		}
		for name, decisions := range split {
			checkRoom(t, places[name], decisions)
		}
	}
}

// TestAPowerFactorIsLikeACleanerGrid plans groups once with a power factor in a location, and once
// where the grid of that location is that much cleaner. The factors are powers of two, so that
// rounding is the same in both.
func TestAPowerFactorIsLikeACleanerGrid(t *testing.T) {
	for seed := range seeds(200) {
		r := rand.New(rand.NewPCG(seed, 11))
		in, other := mixed(r), mixed(r)
		in.terms.Exemptions = nil
		factors := []float64{[]float64{0.25, 0.5, 2}[r.IntN(3)], []float64{0, 1, 4}[r.IntN(3)]}
		fleets := func(by ...float64) []*Fleet {
			var all []*Fleet
			for i, of := range []instance{in, other} {
				of.intensities = slices.Clone(of.intensities)
				for k := range of.intensities {
					of.intensities[k] *= by[i]
				}
				ceiling := []Buckets{{}, buckets(t, "7")}[seed%2]
				all = append(all, NewPlanner(string(rune('a'+i)), of.series(), "none", in.terms, in.now, at(30)).Fleet(ceiling, nil))
			}
			return all
		}
		groups := slices.Clone(in.groups)
		for i := range groups {
			groups[i].Locations = sites("a", "b")
		}
		cleaner := fleets(orOne(factors[0]), orOne(factors[1]))
		want := Assign(groups, cleaner[0], cleaner[1:]...)
		for i := range groups {
			groups[i].Locations = []Site{{"a", factors[0]}, {"b", factors[1]}}
		}
		efficient := fleets(1, 1)
		for i, got := range Assign(groups, efficient[0], efficient[1:]...) {
			want := want[i]
			near := func(a, b float64) bool {
				return cmp.Equal(a, b, cmpopts.EquateApprox(1e-9, 1e-9), cmpopts.EquateNaNs())
			}
			if !got.Start.Equal(want.Start) || got.Location != want.Location || got.Cause != want.Cause ||
				!near(got.Emitted(), want.Expected) || !near(got.EmittedAtOnce(), want.ExpectedAtOnce) || !near(got.Gain(), want.Gain()) {
				t.Fatalf("seed %d, group %d, factors %g: %s (%s)\nwant like %s (%s)", seed, i, factors, got.Reason(), got.Cause, want.Reason(), want.Cause)
			}
		}
	}
}

func TestTheReasonTellsPowerFactors(t *testing.T) {
	west := NewPlanner("west", hourly(120, 120, 120, 120), "none", Terms{}, t0, at(8))
	east := NewPlanner("east", hourly(900, 900, 450, 450), "none", Terms{}, t0, at(8))
	threshold := 50.0
	for name, tt := range map[string]struct {
		task Task
		want string
	}{
		"in both": {
			Task{Locations: []Site{{"west", 0.7}, {"east", 0.1}}},
			"waits until Nov 21 14:00 UTC: 450 gCO2eq/kWh x 0.1 in east, 46 % less than the 120 x 0.7 in west at Nov 21 12:00; latest start Nov 21 15:00",
		},
		"in one": {
			Task{Locations: []Site{{"west", 1}, {"east", 0.125}}},
			"waits until Nov 21 14:00 UTC: 450 gCO2eq/kWh x 0.125 in east, 50 % less than the 900 at Nov 21 12:00; latest start Nov 21 15:00",
		},
		"with a threshold": {
			Task{Locations: []Site{{"west", 1}, {"east", 0.1}}, Threshold: &threshold},
			"waits until Nov 21 13:53:20 UTC: 500 gCO2eq/kWh x 0.1 in east, within its threshold of 50; latest start Nov 21 15:00",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.task.Duration, tt.task.LatestStart = time.Hour, at(3)
			d := Assign([]Group{{Task: tt.task}}, west.Fleet(Buckets{}, nil), east.Fleet(Buckets{}, nil))[0]
			if diff := cmp.Diff(tt.want, d.Reason()); diff != "" || len(tt.want) > maxReasonSize {
				t.Error(len(tt.want), diff)
			}
		})
	}
}
