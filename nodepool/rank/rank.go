// Package rank orders the places where nodes can be added by what the same work emits there. Package
// nodepool ranks the NodePools of Karpenter, and package nodegroup the node groups of Cluster Autoscaler.
package rank

import (
	"cmp"
	"slices"
	"strings"
)

const (
	// Least is the weight of the last place.
	Least = 1
	// Most is the weight of the first place. Karpenter takes the NodePool with the highest weight first, and
	// admits no higher weight.
	Most = 100
	// maxRounds bounds how often Settle sorts. Thirty times are enough for a thousand entrants, as far as has
	// been seen.
	maxRounds = 200
)

// Entrant is what is ranked.
type Entrant struct {
	Name string
	// Emissions are those of the same work, compared to other entrants: the intensity times the power
	// factor.
	Emissions float64
	// Weight is what the last ranking has given to the entrant, 0 if it was not ranked.
	Weight int32
}

// Sort returns the entrants by their emissions, the least first. Two entrants that were ranked before keep
// their order unless the emissions of the second one are lower by more than a share, the hysteresis.
func Sort(all []Entrant, hysteresis float64) []Entrant {
	ranked := slices.Clone(all)
	slices.SortFunc(ranked, func(a, b Entrant) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Emissions, b.Emissions), strings.Compare(a.Name, b.Name))
	})
	for i := range ranked {
		for j := i; j > 0 && ranked[j].overtakes(ranked[j-1], hysteresis); j-- {
			ranked[j], ranked[j-1] = ranked[j-1], ranked[j]
		}
	}
	return ranked
}

// Settle returns the entrants in the order of Sort, with their new weights. The result stays the same for as long
// as the emissions do. Beyond as many entrants as there are weights, some share a weight, and Sort alone would
// find another order among them the next time.
func Settle(all []Entrant, hysteresis float64) []Entrant {
	ranked := slices.Clone(all)
	for range maxRounds {
		ranked = Sort(ranked, hysteresis)
		isSame := true
		for i := range ranked {
			weight := Weight(i, len(ranked))
			isSame = isSame && weight == ranked[i].Weight
			ranked[i].Weight = weight
		}
		if isSame {
			break
		}
	}
	return ranked
}

// overtakes reports whether an entrant goes before another one, which was before it.
func (e Entrant) overtakes(before Entrant, hysteresis float64) bool {
	if e.Weight == 0 || before.Weight == 0 {
		return e.Emissions < before.Emissions
	}
	return e.Emissions*(1+hysteresis) < before.Emissions
}

// Weight returns the weight at a place, counted from 0, of so many places. The first place has the highest
// weight, the last one the lowest, and the others are spread evenly between the two.
func Weight(place, of int) int32 {
	if of < 2 {
		return Most
	}
	return int32(Most - (Most-Least)*place/(of-1))
}
