package plan

import (
	"math"
	"sort"
	"time"
)

// equalShare is the share of the cost by which two starts may differ and still be as good as each
// other: forecasts are wrong by much more.
const equalShare = 0.001

// roundingNoise in gCO2eq/kWh bounds what the rounding of a mean may add.
const roundingNoise = 1e-6

// maxSpread is how far a start is moved within its slot at most. A start is never moved by more
// than a tenth of the wait.
const maxSpread = 5 * time.Minute

// maxOptions bounds how many starts a task picks from.
const maxOptions = 64

// equalMargin returns what a start may cost more than the best and still be as good.
func equalMargin(best float64) float64 { return equalShare*best + roundingNoise }

// choiceMargin returns what a start may cost more than the best to be picked: a little less than
// equalMargin, so that a rounding does not change the choice.
func choiceMargin(best float64) float64 { return 0.9 * equalMargin(best) }

// An option is a start nearly as cheap as the best of its curve.
type option struct {
	index  int
	leeway time.Duration // how much later it may start and still be an option, once known
	known  bool
}

// options are the options for one best start, among the first starts of a curve.
type options struct {
	list []option
	upTo int // how many starts were looked at
}

// pick returns a start at or before latest, its mean, and the cost of the cheapest. The start is
// the cheapest or, for a task with an ID, one nearly as cheap and not much later. Its mean does not
// exceed enough, unless the mean of the cheapest does. With shift, the start may lie up to
// maxSpread after a corner.
func (c *curve) pick(id string, latest time.Time, enough float64, shift bool) (start time.Time, mean, cheapestCost float64) {
	start, mean, best := c.cheapest(latest)
	cheapestCost = c.cost(start, mean)
	if id == "" || best <= 0 || mean > enough {
		return start, mean, cheapestCost
	}
	last := c.last(earlier(latest, start.Add(c.maxShift(start))))
	options := c.nearlyCheapest(best, last)
	n := sort.Search(len(options), func(k int) bool { return options[k].index > last })
	h := hash(id)
	chosen := &options[oneOf(h, n)] // n > 0: the first is at or before the best
	at, atMean := c.start(chosen.index), c.means[chosen.index]
	if shift {
		at, atMean = c.later(at, atMean, min(c.slack(chosen, best), latest.Sub(at), c.maxShift(at)), h, func(s time.Time, m float64) bool {
			return c.cost(s, m)-cheapestCost <= choiceMargin(cheapestCost)
		})
	}
	if atMean > enough {
		return start, mean, cheapestCost
	}
	return at, atMean, cheapestCost
}

// nearlyCheapest returns the first maxOptions of the starts up to last that are nearly as cheap as
// the best one, in order of time. It may return some starts after last, too.
func (c *curve) nearlyCheapest(best, last int) []option {
	if c.options == nil {
		c.options = map[int]*options{}
	}
	near := c.options[best]
	if near == nil {
		near = &options{}
		c.options[best] = near
	}
	least := c.price(c.starts[best], c.means[best])
	for ; near.upTo <= last && len(near.list) < maxOptions; near.upTo++ {
		if c.price(c.starts[near.upTo], c.means[near.upTo])-least <= choiceMargin(least) {
			near.list = append(near.list, option{index: near.upTo})
		}
	}
	return near.list
}

// slack returns how much later an option of the best start may start.
func (c *curve) slack(option *option, best int) time.Duration {
	if !option.known {
		cheapestCost := c.price(c.starts[best], c.means[best])
		option.leeway = c.leeway(c.start(option.index), maxSpread, func(s time.Time, m float64) bool { return c.cost(s, m)-cheapestCost <= choiceMargin(cheapestCost) })
		option.known = true
	}
	return option.leeway
}

// maxShift returns how far a start may be moved for the sake of the spread: little for a task that
// waits little.
func (c *curve) maxShift(start time.Time) time.Duration { return start.Sub(c.planner.now) / 10 }

// leeway returns how much later than start, up to most, a window is still good, to within a tenth
// of most.
func (c *curve) leeway(start time.Time, most time.Duration, good func(time.Time, float64) bool) time.Duration {
	for d := most; d >= time.Second; d -= max(most/10, time.Second) {
		mean, ok := c.planner.expectMean(start.Add(d), c.duration)
		if ok && good(start.Add(d), mean) {
			return d
		}
	}
	return 0
}

// later moves a start by up to leeway, by as many seconds as the hash says, if the result is still
// good.
func (c *curve) later(start time.Time, mean float64, leeway time.Duration, h uint64, good func(time.Time, float64) bool) (time.Time, float64) {
	after := secondsOf(h, leeway)
	if after == 0 {
		return start, mean
	}
	at := start.Add(after)
	atMean, ok := c.planner.expectMean(at, c.duration)
	if !ok || !good(at, atMean) {
		return start, mean
	}
	return at, atMean
}

// pickBelow moves the first start at or below a threshold by up to maxSpread, for a task with an
// ID, while the start stays below the threshold.
func (c *curve) pickBelow(id string, start time.Time, mean float64, latest time.Time, threshold float64) (time.Time, float64) {
	if id == "" || !start.After(c.planner.now) {
		return start, mean
	}
	good := func(_ time.Time, m float64) bool { return m <= threshold }
	leeway := c.leeway(start, min(maxSpread, latest.Sub(start), c.maxShift(start)), good)
	return c.later(start, mean, leeway, hash(id), good)
}

// spreadStart returns a start after now for a held task, when a start now costs the least of all.
// The start lies within maxSpread after the last corner, and within a tenth of the time that the
// task has. It is the planned start or the one that the hash of the ID picks. spreadStart returns
// no place if there is no such start.
func (f *Fleet) spreadStart(g *Group, cheapestCost float64) place {
	planner := f.planner
	corner := planner.lastCorner(g.Duration)
	hasCome := !g.PlannedStart.IsZero() && !g.PlannedStart.After(planner.now)
	latest := planner.endOfWait(g.LatestStart)
	spread := min(maxSpread, latest.Sub(corner)/10)
	if g.ID == "" || corner.IsZero() || hasCome || spread <= 0 {
		return place{}
	}
	picked := corner.Add(secondsOf(hash(g.ID), spread))
	for _, at := range []time.Time{g.PlannedStart.UTC(), picked} {
		if !at.After(planner.now) || at.After(corner.Add(spread)) || at.After(latest) {
			continue
		}
		if p := f.at(g, at); p.cost-cheapestCost <= equalMargin(cheapestCost) {
			return p
		}
	}
	return place{}
}

// lastCorner returns the last instant, within the last maxSpread, at which either end of a window
// met a boundary; zero if there was none.
func (p *Planner) lastCorner(duration time.Duration) (last time.Time) {
	for _, end := range []time.Duration{0, duration} {
		for b := range p.series.Boundaries(p.now.Add(end-maxSpread), p.now.Add(end+1)) {
			if b = fullSecond(b.Add(-end)); b.After(last) {
				last = b
			}
		}
	}
	return last
}

// hash maps an ID to 64 bits, the same in every process and release: FNV-1a, mixed so that the bits
// that are used depend on all the others.
func hash(id string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// secondsOf picks a number of full seconds from none to most.
func secondsOf(h uint64, most time.Duration) time.Duration {
	return time.Duration(oneOf(h>>32|h<<32, int(most/time.Second)+1)) * time.Second
}

// oneOf picks one of n things, evenly. With one thing more or less, few hashes pick another one: a
// task that is planned again a moment later, with a little less time to wait, gets the same start.
//
// Source: J. Lamping, E. Veach: A Fast, Minimal Memory, Consistent Hash Algorithm, arXiv:1406.2294.
func oneOf(h uint64, n int) int {
	picked, next := 0.0, 0.0
	for next < float64(n) {
		picked = next
		h = h*2862933555777941757 + 1
		next = math.Floor((picked + 1) * (1 << 31) / float64(h>>33+1))
	}
	return int(picked)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
