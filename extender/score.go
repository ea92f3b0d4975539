package extender

import (
	"math"
	"slices"
	"time"

	extenderv1 "k8s.io/kube-scheduler/extender/v1"

	"github.com/gridlatch/gridlatch/plan"
)

// Terms is what the placement of one pod depends on.
type Terms struct {
	// Policy is the name of the policy with these locations.
	Policy    string
	Locations []Location
	// Buckets are the buckets of the policy. There may be none.
	Buckets plan.Buckets
	// Duration is how long the pod is expected to run.
	Duration time.Duration
	// Home is the location that the pod is meant for, because the pod asks for it or because it was
	// planned together with other pods. Home is empty if any location will do.
	Home string
	// Strict says that no node in a dirtier bucket may be used.
	Strict bool
}

const (
	// maxPoints is how many points the cleanest node gets.
	maxPoints = float64(extenderv1.MaxExtenderPriority)
	// notableShare is how much cleaner a node has to be to get all points, as a share of the
	// dirtiest.
	notableShare = 0.1
	// homePoints is the least number of points for nodes at the pod's home, and awayPoints is the
	// most for other nodes. The distance is so large that other plugins of the scheduler do not tip
	// the balance.
	homePoints = 8
	awayPoints = 4
)

// intensities returns the mean intensity that is expected of each location while the pod runs, in
// gCO2eq/kWh. An unknown intensity is not a number.
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

// homeIndex returns the index of the location that the pod is meant for. The result is nowhere if
// there is none, or if no candidate is there.
func (t Terms) homeIndex(sites []nodeSite) int {
	home := slices.IndexFunc(t.Locations, func(l Location) bool { return l.Name == t.Home })
	if t.Home == "" || !slices.ContainsFunc(sites, func(s nodeSite) bool { return s.location == home }) {
		return nowhere
	}
	return home
}

// scale gives a site its points, from 0 to 10. isKnown is false if nothing is known of the site.
// Such a site gets no more points than the dirtiest.
type scale func(s nodeSite) (points int64, isKnown bool)

// scale returns the scale for these candidates.
func (t Terms) scale(sites []nodeSite, now time.Time) scale {
	means, home := t.intensities(now), t.homeIndex(sites)
	inside, all := newInterval(), newInterval()
	for _, s := range sites {
		g := s.grams(means)
		all.widen(g)
		if s.location == home {
			inside.widen(g)
		}
	}
	return func(s nodeSite) (int64, bool) {
		g := s.grams(means)
		switch known := !math.IsNaN(g); {
		case home == nowhere:
			return all.points(g, maxPoints), known
		case s.location == home:
			return homePoints + inside.points(g, maxPoints-homePoints), known
		default:
			return all.points(g, awayPoints), known
		}
	}
}

// grams returns what is expected to be emitted at a site for each kWh that the pod takes at power
// factor 1. Unknown grams are not a number. Taking more power is no merit, not even where the
// intensity is below zero.
func (s nodeSite) grams(means []float64) float64 {
	switch {
	case s.location == nowhere:
		return math.NaN()
	case means[s.location] < 0:
		return means[s.location] / s.factor
	default:
		return means[s.location] * s.factor
	}
}

// cleanest returns the location of the cleanest site, and nowhere if nothing is known of any site.
func cleanest(sites []nodeSite, means []float64) int {
	location, least := nowhere, math.Inf(1)
	for _, s := range sites {
		if g := s.grams(means); g < least {
			location, least = s.location, g
		}
	}
	return location
}

// dropReasons returns for each location why its nodes are dropped. The reason is empty if the nodes
// are kept. Nodes of which nothing is known are kept. At least one location of the candidates is
// kept.
func (t Terms) dropReasons(sites []nodeSite, now time.Time) []string {
	why := make([]string, len(t.Locations))
	means := t.intensities(now)
	clean := t.homeIndex(sites)
	if clean == nowhere || math.IsNaN(means[clean]) {
		clean = cleanest(sites, means)
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

// interval is a range of expected emissions.
type interval struct{ low, high float64 }

func newInterval() interval { return interval{math.Inf(1), math.Inf(-1)} }

// widen extends the interval to a number, if grams is one.
func (r *interval) widen(grams float64) {
	if !math.IsNaN(grams) && !math.IsInf(grams, 0) {
		r.low, r.high = min(r.low, grams), max(r.high, grams)
	}
}

// points returns 0 for the dirtiest site and at most top for the cleanest. The cleanest gets top if
// it is notably cleaner, and otherwise fewer points, in proportion.
func (r *interval) points(grams, top float64) int64 {
	width := max(r.high-r.low, notableShare*max(math.Abs(r.low), math.Abs(r.high)))
	if math.IsNaN(grams) || !(width > 0) {
		return 0
	}
	return int64(math.Round(top * (r.high - grams) / width))
}
