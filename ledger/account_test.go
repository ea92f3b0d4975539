package ledger

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/forecast"
)

// isNear reports whether two emissions of a group of some kWh are the same but for rounding.
func isNear(a, b float64) bool { return math.Abs(a-b) <= 1e-6*(1+math.Abs(a)+math.Abs(b)) }

// isAtTheEdge reports whether a covered share is so near the limit that rounding decides.
func isAtTheEdge(covered float64) bool { return math.Abs(covered-0.95) < 1e-9 }

func TestAccountsAgreeWithARecomputationMinuteByMinute(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	known, compared, oracles, unknown := 0, 0, 0, 0
	for n := range 1500 {
		missing := []float64{0, 0.01, 0.05, 0.2}[n%4]
		a, b := randomSeries(r, missing, 3000), randomSeries(r, missing, 3000)
		all := map[string]*forecast.Series{"A": a, "B": b}
		g := randomGroup(r, n)
		got := g.Account(byLocation(all))
		was := naive(g, a, 0)
		shift := int(g.Wait.Minutes())
		if g.Mode == Enforce {
			shift = -shift
		}
		other := naive(g, all[g.OtherLocation], shift)
		if isAtTheEdge(was.covered) || isAtTheEdge(other.covered) {
			continue
		}
		wantKnown, wantCompared := was.covered > 0.95, was.covered > 0.95 && other.covered > 0.95
		if got.IsKnown != wantKnown || got.IsCompared != wantCompared {
			t.Fatalf("group %d: known: %v, compared: %v, want %v and %v", n, got.IsKnown, got.IsCompared, wantKnown, wantCompared)
		}
		if !got.IsKnown {
			unknown++
			if got.Grams != 0 || got.OtherGrams != 0 || g.SavedGrams(got) != 0 {
				t.Fatalf("group %d has emissions at unknown intensities: %+v", n, got)
			}
			continue
		}
		known++
		if g.Failed {
			was.failed = was.grams
		}
		if !isNear(got.Grams, was.grams) || !isNear(got.FailedGrams, was.failed) {
			t.Fatalf("group %d: %v g, %v g of failed attempts, want %v and %v", n, got.Grams, got.FailedGrams, was.grams, was.failed)
		}
		if !got.IsCompared {
			continue
		}
		compared++
		if !isNear(got.OtherGrams, other.grams) {
			t.Fatalf("group %d: %v g otherwise, want %v", n, got.OtherGrams, other.grams)
		}
		places := []*forecast.Series{a}
		if g.OtherLocation == "B" {
			places = append(places, b)
		}
		best, covered := naiveOracle(g, places, was.grams, other.grams)
		if isAtTheEdge(covered) {
			continue
		}
		if ok := covered > 0.95; got.HasOracle != ok {
			t.Fatalf("group %d: the oracle is known: %v, and %v of the time", n, got.HasOracle, covered)
		}
		// Where there are gaps, the starts in between may be better.
		if got.HasOracle && (missing == 0 && !isNear(got.OracleGrams, best) || got.OracleGrams < best-1e-6*(1+math.Abs(best))) {
			t.Fatalf("group %d: oracle %v, want %v", n, got.OracleGrams, best)
		}
		if got.HasOracle {
			oracles++
			if got.OracleGrams > got.Grams || got.OracleGrams > got.OtherGrams || g.OracleSavedGrams(got) < max(0, g.SavedGrams(got)) {
				t.Fatalf("group %d: the oracle is worse than what was: %+v", n, got)
			}
		}
	}
	if known < 500 || compared < 400 || oracles < 300 || unknown < 100 {
		t.Errorf("the cases are one-sided: %d known, %d compared, %d oracles, %d unknown", known, compared, oracles, unknown)
	}
}

// hourly returns slots of an hour from minute 0 on.
func hourly(intensities ...float64) *forecast.Series {
	var slots []forecast.Slot
	for i, v := range intensities {
		slots = append(slots, forecast.Slot{Start: at(60 * i), End: at(60*i + 60), Intensity: v})
	}
	return forecast.NewSeries(slots)
}

// waited returns a group of 1 kW for an hour that arrived at 0:00 and waited for some hours.
func waited(hours int, mode Mode) Group {
	wait := time.Duration(hours) * time.Hour
	g := Group{UID: "u", Mode: mode, Location: "A", OtherLocation: "A", Arrived: t0, Released: t0.Add(wait), Wait: wait, LatestStart: at(180), SeenEnd: true, Units: 2}
	if mode == Audit {
		g.Released = t0
	}
	g.Steps = []Step{{Start: g.Released, End: g.Released.Add(time.Hour), Watts: 1000}}
	g.Ended = g.Steps[0].End
	return g
}

func TestALossIsShownAsALoss(t *testing.T) {
	series := hourly(300, 500, 100, 200, 50)
	for name, tt := range map[string]struct {
		group              Group
		saved, oracleSaved float64
	}{
		"waiting made it cleaner":             {waited(2, Enforce), 200, 200},
		"waiting made it dirtier":             {waited(1, Enforce), -200, 200},
		"started at once":                     {waited(0, Enforce), 0, 200},
		"waiting would have made it cleaner":  {waited(2, Audit), 200, 200},
		"waiting would have made it dirtier":  {waited(1, Audit), -200, 200},
		"it started later than it could have": {waited(4, Enforce), 250, 250},
	} {
		t.Run(name, func(t *testing.T) {
			a := tt.group.Account(only(series))
			if !a.HasOracle || !isNear(tt.group.SavedGrams(a), tt.saved) || !isNear(tt.group.OracleSavedGrams(a), tt.oracleSaved) {
				t.Errorf("saved %v, the oracle %v, want %v and %v", tt.group.SavedGrams(a), tt.group.OracleSavedGrams(a), tt.saved, tt.oracleSaved)
			}
			var s Sum
			s.Add(tt.group, a)
			if !isNear(s.AvoidedGrams, max(0, tt.saved)) || !isNear(s.AddedGrams, max(0, -tt.saved)) {
				t.Errorf("avoided %v, added %v", s.AvoidedGrams, s.AddedGrams)
			}
		})
	}
}

func TestFailedWorkIsEmissionWithoutWork(t *testing.T) {
	g := waited(2, Enforce)
	g.Steps[0].FailedWatts = 250
	if a := g.Account(only(hourly(300, 500, 100))); a.FailedJoules != 9e5 || !isNear(a.FailedGrams, 25) {
		t.Errorf("a failed attempt: %+v", a)
	}
	g.Failed = true
	a := g.Account(only(hourly(300, 500, 100)))
	if a.FailedJoules != a.Joules || a.FailedGrams != a.Grams || a.Grams != 100 {
		t.Errorf("a failed group: %+v", a)
	}
	var page = NewPage("2026-03-31")
	page.Book(g)
	if sums := page.Sums(nil); sums[0].Units != 0 || sums[0].FailedGroups != 1 {
		t.Errorf("failed work counts as work: %+v", sums)
	}
}

func TestNobodySavesWhereTheIntensityIsConstant(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 300 {
		intensity := []float64{0, 1.7, 345.678901234, -12.3, 4000}[n%5]
		var slots []forecast.Slot
		for begin := at(-600); begin.Before(at(3000)); {
			end := begin.Add(time.Duration(1 + r.Int64N(int64(time.Hour))))
			slots = append(slots, forecast.Slot{Start: begin, End: end, Intensity: intensity})
			begin = end
		}
		g := randomGroup(r, n)
		a := g.Account(only(forecast.NewSeries(slots)))
		if !a.HasOracle || g.SavedGrams(a) != 0 || g.OracleSavedGrams(a) != 0 {
			t.Fatalf("at %v: saved %v, the oracle %v: %+v", intensity, g.SavedGrams(a), g.OracleSavedGrams(a), a)
		}
	}
}

func TestUnknownIntensitiesAreNotTakenForCleanOnes(t *testing.T) {
	minute := func(from, to int, v float64) forecast.Slot {
		return forecast.Slot{Start: at(from), End: at(to), Intensity: v}
	}
	for name, tt := range map[string]struct {
		series *forecast.Series
		want   Account
	}{
		"nothing is known":                    {nil, Account{Joules: 3.6e6}},
		"a small gap has the mean":            {forecast.NewSeries([]forecast.Slot{minute(0, 122, 100), minute(124, 300, 100)}), Account{Joules: 3.6e6, IsKnown: true, Grams: 100, IsCompared: true, OtherGrams: 100, HasOracle: true, OracleGrams: 100}},
		"a large gap makes all unknown":       {forecast.NewSeries([]forecast.Slot{minute(0, 122, 100), minute(130, 300, 100)}), Account{Joules: 3.6e6}},
		"the time at the arrival is unknown":  {forecast.NewSeries([]forecast.Slot{minute(100, 300, 100)}), Account{Joules: 3.6e6, IsKnown: true, Grams: 100}},
		"the time until the end of the slack": {forecast.NewSeries([]forecast.Slot{minute(0, 200, 100)}), Account{Joules: 3.6e6, IsKnown: true, Grams: 100, IsCompared: true, OtherGrams: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, waited(2, Enforce).Account(only(tt.series))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheOracleTakesTheOtherLocationToo(t *testing.T) {
	g := waited(0, Enforce)
	g.OtherLocation = "B"
	a := g.Account(byLocation(map[string]*forecast.Series{"A": hourly(300, 300, 300, 300), "B": hourly(400, 400, 100, 400)}))
	if g.SavedGrams(a) != 100 || a.OracleGrams != 100 {
		t.Errorf("saved %v, oracle %v g, want 100 and 100", g.SavedGrams(a), a.OracleGrams)
	}
	if a := g.Account(byLocation(map[string]*forecast.Series{"A": hourly(300, 300, 300, 300)})); a.IsCompared || !a.IsKnown {
		t.Errorf("the other location is not known: %+v", a)
	}
}

func TestVeryManyStartsAreTriedInPart(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var slots []forecast.Slot
	for m := range 60 * 24 * 30 {
		slots = append(slots, forecast.Slot{Start: at(m), End: at(m + 1), Intensity: 100 + r.Float64()*300})
	}
	g := waited(1, Enforce)
	g.LatestStart, g.Steps = at(60*24*29), nil
	for i := range MaxSteps {
		g.Steps = append(g.Steps, Step{Start: at(60 + i), End: at(61 + i), Watts: float64(100 + i)})
	}
	p := newProfile(g.Steps)
	if n := len(p.candidates(forecast.NewSeries(slots), g.slack())); n < maxCandidates/2 || n > maxCandidates+3 {
		t.Errorf("%d starts are tried, want at most %d", n, maxCandidates)
	}
	if a := g.Account(only(forecast.NewSeries(slots))); !a.HasOracle || a.OracleGrams >= a.Grams {
		t.Errorf("%+v", a)
	}
}

func FuzzAccountNeverPanics(f *testing.F) {
	f.Add(math.NaN(), math.Inf(1), int64(-1), int64(math.MaxInt64), int64(math.MinInt64), "\x00\xff")
	f.Add(1e300, -5.0, int64(1), int64(1e18), int64(0), "x")
	series := hourly(300, 500, 100, 200)
	f.Fuzz(func(t *testing.T, watts, units float64, from, length, wait int64, name string) {
		start := time.Unix(0, from)
		g := Group{UID: name, Namespace: name, Mode: Mode(name), Location: name, Arrived: start, Released: start.Add(time.Duration(wait)), Wait: time.Duration(wait),
			LatestStart: time.Unix(length, 0), Ended: time.Unix(length, wait), Units: units, EmbodiedGrams: watts, CoreHours: units,
			Steps: []Step{{start, start.Add(time.Duration(length)), watts, units}, {time.Unix(length, 0), time.Unix(wait, 0), units, watts}, {Start: at(0), End: at(70), Watts: watts}}}
		a := g.Account(only(series))
		for _, x := range []float64{a.Joules, a.FailedJoules, a.Grams, a.FailedGrams, a.OtherGrams, a.OracleGrams} {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				t.Fatalf("%+v", a)
			}
		}
		page := NewPage("2026-03-31")
		page.Book(g)
		if _, err := page.Encode(only(series)); err != nil {
			t.Fatal(err)
		}
	})
}
