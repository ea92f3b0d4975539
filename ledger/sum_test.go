package ledger

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/ledger/energy"
)

func TestTheCarbonIntensityOfSoftwareIsThatOfTheStandard(t *testing.T) {
	for name, tt := range map[string]struct {
		sum  Sum
		want float64
		ok   bool
	}{
		"all is known":                           {Sum{Joules: 7.2e6, KnownJoules: 7.2e6, Grams: 600, EmbodiedGrams: 40, Units: 4}, 160, true},
		"the mean stands for what is not known":  {Sum{Joules: 7.2e6, KnownJoules: 3.6e6, Grams: 300, EmbodiedGrams: 40, Units: 4}, 160, true},
		"a negative intensity":                   {Sum{Joules: 3.6e6, KnownJoules: 3.6e6, Grams: -30, Units: 1}, -30, true},
		"no units":                               {Sum{Joules: 3.6e6, KnownJoules: 3.6e6, Grams: 300, EmbodiedGrams: 40}, 0, false},
		"no intensity is known":                  {Sum{Joules: 3.6e6, EmbodiedGrams: 40, Units: 4}, 0, false},
		"nothing":                                {Sum{}, 0, false},
		"failed work has emissions and no units": {Sum{Joules: 7.2e6, FailedJoules: 3.6e6, KnownJoules: 7.2e6, Grams: 600, Units: 1}, 600, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := tt.sum.SCI(); math.Abs(got-tt.want) > 1e-9 || ok != tt.ok {
				t.Errorf("%v (%v), want %v (%v)", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestTheMeanIntensityIsWeightedByEnergy(t *testing.T) {
	series := hourly(300, 500, 100)
	var s Sum
	for hours, watts := range []float64{1000, 3000} {
		g := waited(hours, Enforce)
		g.Steps[0].Watts = watts
		s.Add(g, g.Account(only(series)))
	}
	unknown := waited(9, Enforce)
	s.Add(unknown, unknown.Account(only(series)))
	if got, ok := s.MeanIntensity(); !ok || math.Abs(got-450) > 1e-9 || s.Groups != 3 || s.HeldGroups != 2 || s.KnownJoules != 4*3.6e6 || s.Joules != 5*3.6e6 {
		t.Errorf("%v of %+v", got, s)
	}
}

func TestTheShareOfTheOracleTellsHowMuchWasHad(t *testing.T) {
	for name, tt := range map[string]struct {
		sum  Sum
		want float64
		ok   bool
	}{
		"half":               {Sum{Grams: 100, OracleComparedSavedGrams: 20, OracleSavedGrams: 40}, 50, true},
		"all":                {Sum{Grams: 100, OracleComparedSavedGrams: 40, OracleSavedGrams: 40}, 100, true},
		"more is impossible": {Sum{Grams: 100, OracleComparedSavedGrams: 80, OracleSavedGrams: 40}, 100, true},
		"a loss":             {Sum{Grams: 100, OracleComparedSavedGrams: -20, OracleSavedGrams: 40}, -50, true},
		"nothing to save":    {Sum{Grams: 100}, 0, false},
		"a rounding error":   {Sum{Grams: 1e6, OracleComparedSavedGrams: 1e-5, OracleSavedGrams: 1e-5}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := tt.sum.OracleShare(); got != tt.want || ok != tt.ok {
				t.Errorf("%v (%v), want %v (%v)", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestAuditedAndEnforcedWorkAreSummedApart(t *testing.T) {
	p := NewPage("2026-03-31")
	for i, change := range []func(*Group){
		func(*Group) {},
		func(g *Group) { g.Mode, g.Released = Audit, g.Arrived },
		func(g *Group) { g.Energy = energy.Measured },
		func(g *Group) { g.SeenEnd = false },
	} {
		g := waited(2, Enforce)
		g.UID, g.Energy = string(rune('a'+i)), energy.Stated
		change(&g)
		p.Book(g)
	}
	got := map[Key]int{}
	for _, s := range p.Sums(nil) {
		got[s.Key] = s.Groups
		if s.Energy == energy.Stated && s.Mode == Enforce && s.UnseenEnds != 1 {
			t.Errorf("%+v", s)
		}
	}
	want := map[Key]int{
		{Location: "A", Energy: energy.Stated, Mode: Enforce}: 2, {Location: "A", Energy: energy.Stated, Mode: Audit}: 1,
		{Location: "A", Energy: energy.Measured, Mode: Enforce}: 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAGroupWithoutEnergyHasNoEmissions(t *testing.T) {
	g := waited(2, Enforce)
	g.Energy, g.Steps[0].Watts = energy.Unknown, 0
	a := g.Account(nil)
	if diff := cmp.Diff(Account{IsKnown: true, IsCompared: true, HasOracle: true}, a); diff != "" {
		t.Error(diff)
	}
	var s Sum
	s.Add(g, a)
	if _, ok := s.SCI(); ok || s.WaitSeconds != (2*time.Hour).Seconds() {
		t.Errorf("%+v", s)
	}
}
