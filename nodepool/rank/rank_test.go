package rank

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestTheOrderIsKeptAmongEquals(t *testing.T) {
	for name, tt := range map[string]struct {
		all  []Entrant
		want string
	}{
		"by emissions":              {[]Entrant{{"a", 300, 0}, {"b", 100, 0}, {"c", 200, 0}}, "bca"},
		"by name among new ones":    {[]Entrant{{"b", 100, 0}, {"a", 100, 0}}, "ab"},
		"by weight among equals":    {[]Entrant{{"a", 100, 1}, {"b", 101, 100}}, "ba"},
		"by more than the share":    {[]Entrant{{"a", 100, 1}, {"b", 103, 100}}, "ab"},
		"a new one by emissions":    {[]Entrant{{"a", 100, 1}, {"b", 101, 100}, {"c", 99, 0}}, "cba"},
		"past several":              {[]Entrant{{"a", 300, 100}, {"b", 200, 50}, {"c", 100, 1}}, "cba"},
		"nothing is emitted by two": {[]Entrant{{"a", 0, 1}, {"b", 0, 100}}, "ba"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			for _, e := range Sort(tt.all, 0.02) {
				got += e.Name
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestPlacesHaveWeightsThatKarpenterTakes(t *testing.T) {
	for of := 1; of < 300; of++ {
		before := int32(Most)
		for place := range of {
			w := Weight(place, of)
			if w > before || w < Least {
				t.Fatalf("place %d of %d has %d, after %d", place, of, w, before)
			}
			before = w
		}
		if Weight(0, of) != Most || of > 1 && Weight(of-1, of) != Least {
			t.Fatalf("of %d", of)
		}
	}
}

// TestWeightsStayWhenNothingChanges has more entrants than there are weights, so that some share one.
func TestWeightsStayWhenNothingChanges(t *testing.T) {
	random := rand.New(rand.NewPCG(21, 1))
	for _, entrants := range []int{2, 50, 100, 101, 300, 1000} {
		all := make([]Entrant, entrants)
		for i := range all {
			all[i].Name = fmt.Sprint(i)
		}
		for range 20 {
			for i := range all {
				all[i].Emissions = float64(100 + random.IntN(30))
			}
			all = Settle(all, 0.02)
			before := map[string]int32{}
			for _, e := range all {
				before[e.Name] = e.Weight
			}
			for _, e := range Settle(all, 0.02) {
				if e.Weight != before[e.Name] {
					t.Fatalf("%s of %d has the weight %d, and then %d", e.Name, entrants, before[e.Name], e.Weight)
				}
			}
		}
	}
}
