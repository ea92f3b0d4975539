package nodegroup

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gridlatch/gridlatch/nodepool/rank"
)

// everyGroup is the pattern of the node groups that no other pattern matches.
const everyGroup = ".*"

// order has the patterns of node groups by their priority. Cluster Autoscaler takes the highest one first.
type order map[int32][]string

// neutral is the order in which all node groups are alike.
func neutral() order { return order{rank.Least: {everyGroup}} }

// place is a location, and the nodes there that take the same power.
type place struct {
	location string
	power    float64
	// emissions are those of the same work, compared to other places.
	emissions float64
	// before is the priority in the last order, 0 if there was none.
	before   int32
	patterns []string
}

// sharesWith reports whether a place has the priority of another one, which goes before it: both emit the
// same, or they shared a priority before and do not differ by more than the hysteresis.
func (p place) sharesWith(first place, hysteresis float64) bool {
	return p.emissions == first.emissions || p.before != 0 && p.before == first.before && p.emissions <= first.emissions*(1+hysteresis)
}

func (p place) String() string {
	name := cmp.Or(p.location, "the grid")
	if p.power != 1 {
		name += fmt.Sprintf(" × %g", p.power)
	}
	return name
}

// rankPlaces returns the places in their order, and the priorities of their patterns. before is the last
// order. Places that emit the same share a priority. The result is what it would be if it were the last order:
// without a change of the emissions, no later look finds another one.
func rankPlaces(places []place, before order, hysteresis float64) (ranked []place, wanted order) {
	for range len(places) + 1 { // two or three times at most, as far as has been seen
		ranked, wanted = rankOnce(places, before, hysteresis)
		if wanted.String() == before.String() {
			break
		}
		before = wanted
	}
	return ranked, wanted
}

// rankOnce is one step of rankPlaces. Places that come to share a priority here can have others between them
// at the next step.
func rankOnce(places []place, before order, hysteresis float64) ([]place, order) {
	priorities, byName := before.byPattern(), map[string]place{}
	var entrants []rank.Entrant
	for i, p := range places {
		for _, pattern := range p.patterns {
			p.before = max(p.before, priorities[pattern])
		}
		name := fmt.Sprintf("%04d", i) // new places that emit the same keep the order of the policy
		entrants, byName[name] = append(entrants, rank.Entrant{Name: name, Emissions: p.emissions, Weight: p.before}), p
	}
	var ranked []place
	for _, e := range rank.Sort(entrants, hysteresis) {
		ranked = append(ranked, byName[e.Name])
	}
	first, wanted := 0, order{}
	for i, p := range ranked {
		if !p.sharesWith(ranked[first], hysteresis) {
			first = i
		}
		priority := rank.Weight(first, len(ranked)+1) // the last place is that of all others
		wanted[priority] = append(wanted[priority], p.patterns...)
	}
	wanted[rank.Least] = append(wanted[rank.Least], everyGroup)
	for _, patterns := range wanted {
		slices.Sort(patterns)
	}
	return ranked, wanted
}

// byPattern returns the highest priority of each pattern.
func (o order) byPattern() map[string]int32 {
	priorities := map[string]int32{}
	for priority, patterns := range o {
		for _, pattern := range patterns {
			priorities[pattern] = max(priorities[pattern], priority)
		}
	}
	return priorities
}

// hasPatternsOf reports whether two orders are of the same patterns.
func (o order) hasPatternsOf(other order) bool {
	ours, theirs := o.byPattern(), other.byPattern()
	for pattern := range ours {
		if _, ok := theirs[pattern]; !ok {
			return false
		}
	}
	return len(ours) == len(theirs)
}

// String prints the order as Cluster Autoscaler reads it: as YAML, in which priorities are numbers. Equal
// orders have equal texts.
func (o order) String() string {
	var priorities []int32
	for priority := range o {
		priorities = append(priorities, priority)
	}
	slices.SortFunc(priorities, func(a, b int32) int { return cmp.Compare(b, a) })
	var text strings.Builder
	for _, priority := range priorities {
		fmt.Fprintf(&text, "%d:\n", priority)
		for _, pattern := range o[priority] {
			// A text in Go's quotes is one in YAML's, too.
			fmt.Fprintf(&text, "- %s\n", strconv.QuoteToASCII(pattern))
		}
	}
	return text.String()
}

// parseOrder reads an order, empty if the text is none.
func parseOrder(text string) order {
	o := order{}
	if yaml.Unmarshal([]byte(text), &o) != nil {
		return order{}
	}
	return o
}
