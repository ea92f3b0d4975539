package nodegroup

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAnOrderStaysWhenNothingChanges ranks places by random intensities, one after another.
func TestAnOrderStaysWhenNothingChanges(t *testing.T) {
	random := rand.New(rand.NewPCG(21, 1))
	for range 3000 {
		var places []place
		for i := range 2 + random.IntN(8) {
			places = append(places, place{location: fmt.Sprint(i), power: 1, patterns: []string{fmt.Sprintf("p%d", i)}})
		}
		var before order
		for range 5 {
			for i := range places {
				places[i].emissions = float64(100 + random.IntN(12))
			}
			_, now := rankPlaces(places, before, 0.02)
			_, again := rankPlaces(places, now, 0.02)
			if diff := cmp.Diff(now, again); diff != "" {
				t.Fatalf("places %v, before %v: %s", places, before, diff)
			}
			before = now
		}
	}
}
