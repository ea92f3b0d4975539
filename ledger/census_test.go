package ledger

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestACensusIsKeptWithItsPageAndGoesIntoTheMonth(t *testing.T) {
	day := NewPage("2026-11-27")
	day.AddCensus(Census{Samples: 1, CoreHours: 100, ElasticCoreHours: 20, HeldCoreHours: 5})
	day.AddCensus(Census{Samples: 1, CoreHours: 50, ElasticCoreHours: 10, HeldCoreHours: 10})
	encoded, err := day.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(encoded)
	if err != nil {
		t.Fatal(err)
	}
	month := NewPage("2026-11")
	month.Merge(again)
	month.Merge(again) // after a crash
	if diff := cmp.Diff(Census{Samples: 2, CoreHours: 150, ElasticCoreHours: 30, HeldCoreHours: 15}, month.Census()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestACensusCountsNothingThatCannotBe(t *testing.T) {
	var c Census
	for _, cores := range []float64{-1, 0, math.NaN(), math.Inf(1), 1e9} {
		c.Count(cores, time.Hour, true, true)
	}
	c.Count(1, -time.Hour, true, true)
	c.Merge(Census{Samples: -3, CoreHours: math.Inf(1), ElasticCoreHours: math.NaN(), HeldCoreHours: -5})
	if c.ElasticCoreHours != 0 || c.HeldCoreHours != 0 || c.Samples != 0 || math.IsInf(c.CoreHours, 0) || math.IsNaN(c.CoreHours) {
		t.Errorf("counted %+v", c)
	}
	if _, ok := (Census{}).ElasticShare(); ok {
		t.Error("nothing has a share")
	}
}

func TestWhatStartedAtOnceIsToldFromWhatWaited(t *testing.T) {
	var s Sum
	s.Add(Group{UID: "held", Wait: time.Hour, CoreHours: 3}, Account{HasOracle: true, IsKnown: true, IsCompared: true, Grams: 5, OtherGrams: 10, OracleGrams: 4})
	s.Add(Group{UID: "at-once", CoreHours: 2}, Account{HasOracle: true, IsKnown: true, IsCompared: true, Grams: 10, OtherGrams: 10, OracleGrams: 7})
	if s.HeldCoreHours != 3 || s.CoreHours != 5 || s.OracleSavedGrams != 9 || s.UnheldOracleSavedGrams != 3 {
		t.Errorf("%+v", s)
	}
}
