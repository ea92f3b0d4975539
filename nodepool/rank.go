package nodepool

import (
	"cmp"
	"slices"
	"strings"
)

// entrant is a pool that is ranked.
type entrant struct {
	name string
	// emissions are those of the same work, compared to other pools: the intensity times the power
	// factor.
	emissions float64
	// weight is what the last ranking has given to the pool, 0 if it was not ranked.
	weight int32
}

// rankEntrants sorts pools by their emissions, the least first. Two pools that were ranked before keep
// their order unless the emissions of the second one are lower by more than a share, the hysteresis.
func rankEntrants(all []entrant, hysteresis float64) []entrant {
	ranked := slices.Clone(all)
	slices.SortFunc(ranked, func(a, b entrant) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.emissions, b.emissions), strings.Compare(a.name, b.name))
	})
	for i := range ranked {
		for j := i; j > 0 && ranked[j].overtakes(ranked[j-1], hysteresis); j-- {
			ranked[j], ranked[j-1] = ranked[j-1], ranked[j]
		}
	}
	return ranked
}

// overtakes reports whether a pool goes before another one, which was before it.
func (e entrant) overtakes(before entrant, hysteresis float64) bool {
	if e.weight == 0 || before.weight == 0 {
		return e.emissions < before.emissions
	}
	return e.emissions*(1+hysteresis) < before.emissions
}

// weightAt returns the weight at a place, counted from 0, of so many pools. The first pool gets the
// highest weight, the last one the lowest, and the others are spread evenly between the two.
func weightAt(place, of int) int32 {
	if of < 2 {
		return mostWeight
	}
	return int32(mostWeight - (mostWeight-leastWeight)*place/(of-1))
}
