package extender

import (
	"math"
	"slices"
	"time"

	extenderv1 "k8s.io/kube-scheduler/extender/v1"

	"github.com/gridlatch/gridlatch/plan"
)

// Terms are what the placing of one pod depends on.
type Terms struct {
	// Policy is the name of its policy, whose locations these are.
	Policy    string
	Locations []Location
	// Buckets are those of the policy; there may be none.
	Buckets plan.Buckets
	// Duration is how long the pod is expected to run.
	Duration time.Duration
	// Home is the location that the pod is meant for, by its own wish or as it
	// was planned together with others; empty if any will do.
	Home string
	// Strict asks that no node of a dirtier bucket is used.
	Strict bool
}

const (
	best = float64(extenderv1.MaxExtenderPriority)
	// notable is how much cleaner, as a share of the dirtiest, a node has to be
	// for all of the points between them.
	notable = 0.1
	// Where a pod is meant for one location, its nodes have the points from
	// atHome on, and all others have elsewhere at most: what other plugins of the
	// scheduler think of nodes should not tip it.
	atHome    = 8
	elsewhere = 4
)

// intensities returns what is expected of each location while the pod runs, in
// gCO2eq/kWh; not a number where nothing is.
func (t Terms) intensities(now time.Time) []float64 {
	means := make([]float64, len(t.Locations))
	for i, l := range t.Locations {
		mean, ok := plan.WindowMean(l.Expected, now, max(t.Duration, 1))
		if !ok {
			mean = math.NaN()
		}
		means[i] = mean
	}
	return means
}

// home is the index of the location that the pod is meant for, nowhere if there
// is none, or none of the spots is there.
func (t Terms) home(spots []spot) int {
	home := slices.IndexFunc(t.Locations, func(l Location) bool { return l.Name == t.Home })
	if t.Home == "" || !slices.ContainsFunc(spots, func(s spot) bool { return s.location == home }) {
		return nowhere
	}
	return home
}

// scale gives a spot its points, from 0 to 10; known is false if nothing is known
// of it, and it gets no more than the dirtiest.
type scale func(s spot) (points int64, known bool)

// scale makes the scale for candidates.
func (t Terms) scale(spots []spot, now time.Time) scale {
	means, home := t.intensities(now), t.home(spots)
	inside, all := newRange(), newRange()
	for _, s := range spots {
		g := s.grams(means)
		all.take(g)
		if s.location == home {
			inside.take(g)
		}
	}
	return func(s spot) (int64, bool) {
		g := s.grams(means)
		switch known := !math.IsNaN(g); {
		case home == nowhere:
			return all.points(g, best), known
		case s.location == home:
			return atHome + inside.points(g, best-atHome), known
		default:
			return all.points(g, elsewhere), known
		}
	}
}

// grams is what is expected to be emitted at a spot for each kWh that the pod
// takes where the power factor is 1; not a number if that is unknown. To take
// more power is no merit, not even where the intensity is below zero.
func (s spot) grams(means []float64) float64 {
	switch {
	case s.location == nowhere:
		return math.NaN()
	case means[s.location] < 0:
		return means[s.location] / s.factor
	default:
		return means[s.location] * s.factor
	}
}

// cleanest is the location of the cleanest spot, nowhere if nothing is known of
// any.
func cleanest(spots []spot, means []float64) int {
	location, least := nowhere, math.Inf(1)
	for _, s := range spots {
		if g := s.grams(means); g < least {
			location, least = s.location, g
		}
	}
	return location
}

// dropped returns for each location why its nodes are dropped; empty if they are
// kept, as those are of which nothing is known. Of the locations of spots, one is
// kept always.
func (t Terms) dropped(spots []spot, now time.Time) []string {
	why := make([]string, len(t.Locations))
	means := t.intensities(now)
	clean := t.home(spots)
	if clean == nowhere || math.IsNaN(means[clean]) {
		clean = cleanest(spots, means)
	}
	if clean == nowhere {
		return why
	}
	bucket := t.Buckets.Name(means[clean])
	for i, mean := range means {
		if mean > means[clean] && t.Buckets.Name(mean) != bucket {
			why[i] = "node(s) at grid location " + t.Locations[i].Name + " in bucket " + t.Buckets.Name(mean) +
				", while " + t.Locations[clean].Name + " is in " + bucket
		}
	}
	return why
}

// span is a range of expected emissions.
type span struct{ low, high float64 }

func newRange() span { return span{math.Inf(1), math.Inf(-1)} }

// take widens the range to a number, if it is one.
func (r *span) take(grams float64) {
	if !math.IsNaN(grams) && !math.IsInf(grams, 0) {
		r.low, r.high = min(r.low, grams), max(r.high, grams)
	}
}

// points are 0 for the dirtiest, and up to top for the cleanest: all of them if
// it is notably cleaner, else in proportion.
func (r *span) points(grams, top float64) int64 {
	width := max(r.high-r.low, notable*max(math.Abs(r.low), math.Abs(r.high)))
	if math.IsNaN(grams) || !(width > 0) {
		return 0
	}
	return int64(math.Round(top * (r.high - grams) / width))
}
