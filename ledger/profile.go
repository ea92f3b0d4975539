package ledger

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

const (
	joulesPerKWh = 3.6e6
	// roundingError is by how much two means of equal intensities may differ, in gCO2eq/kWh: see
	// [forecast.Series.Mean].
	roundingError = 1e-6
	// maxCandidates bounds the starts that the oracle tries.
	maxCandidates = 3000
)

// A span is a range of shifts in nanoseconds, both ends included.
type span struct{ first, last int64 }

// A stretch is a step in Unix nanoseconds.
type stretch struct {
	start, end    int64
	watts, failed float64
}

// A profile is the power of work over time.
type profile struct {
	stretches            []stretch
	joules, failedJoules float64
}

// newProfile takes the steps of a clean group.
func newProfile(steps []Step) profile {
	p := profile{stretches: make([]stretch, len(steps))}
	for i, s := range steps {
		p.stretches[i] = stretch{s.Start.UnixNano(), s.End.UnixNano(), s.Watts, s.FailedWatts}
		p.joules += s.Watts * s.seconds()
		p.failedJoules += s.FailedWatts * s.seconds()
	}
	return p
}

// movedBy returns the same profile at another time.
func (p profile) movedBy(shift time.Duration) profile {
	moved := p
	moved.stretches = slices.Clone(p.stretches)
	for i := range moved.stretches {
		moved.stretches[i].start += int64(shift)
		moved.stretches[i].end += int64(shift)
	}
	return moved
}

// withoutPauses returns the profile of the same work without a number of pauses: its longest gaps. The
// first run time after each of these gaps went into a restart, and is left out.
func (p profile) withoutPauses(pauses int, restartCost time.Duration) profile {
	gaps := p.longestGaps(pauses)
	if len(gaps) == 0 {
		return p
	}
	through, saved, restart := profile{}, int64(0), int64(0)
	for i, s := range p.stretches {
		if slices.Contains(gaps, i) {
			saved += s.start - p.stretches[i-1].end
			restart = int64(restartCost)
		}
		lost := min(restart, s.end-s.start)
		restart, saved, s.start = restart-lost, saved+lost, s.start+lost
		if s.start == s.end {
			continue
		}
		s.start, s.end = s.start-saved, s.end-saved
		through.stretches = append(through.stretches, s)
		seconds := time.Duration(s.end - s.start).Seconds()
		through.joules, through.failedJoules = through.joules+s.watts*seconds, through.failedJoules+s.failed*seconds
	}
	if len(through.stretches) == 0 { // all of it went into restarts
		return p
	}
	return through
}

// longestGaps returns the indices of the stretches that come after the longest gaps, as many as asked
// for.
func (p profile) longestGaps(count int) []int {
	var gaps []int
	for i := 1; i < len(p.stretches); i++ {
		if p.stretches[i].start > p.stretches[i-1].end {
			gaps = append(gaps, i)
		}
	}
	length := func(i int) int64 { return p.stretches[i].start - p.stretches[i-1].end }
	slices.SortStableFunc(gaps, func(a, b int) int { return cmp.Compare(length(b), length(a)) })
	return gaps[:min(max(0, count), len(gaps))]
}

// known returns the emissions; ok is false, and the emissions are 0, if they are not known.
func (p profile) known(series *forecast.Series) (grams float64, ok bool) {
	if grams, _, ok = p.grams(series); !ok {
		return 0, false
	}
	return grams, true
}

// grams returns the emissions, and those of failed attempts. ok is false if less than minCovered of
// the energy lies at known intensities. Work without energy has no emissions, whatever the
// intensity was.
func (p profile) grams(series *forecast.Series) (all, failed float64, ok bool) {
	if p.joules == 0 {
		return 0, 0, true
	}
	if series.IsEmpty() {
		return 0, 0, false
	}
	var t, f tally // of all attempts, of failed ones
	sweep := series.SweepFrom(p.stretches[0].start)
	for _, s := range p.stretches {
		mean, covered := sweep.Mean(s.start, s.end)
		t.add(s.watts, mean, covered)
		f.add(s.failed, mean, covered)
	}
	if all, ok = t.grams(p.joules); !ok {
		return 0, 0, false
	}
	// Where the intensity is not known, the mean of the whole stands for it.
	mean := t.product / t.joules
	return all, (f.product + (p.failedJoules-f.joules)*mean) / joulesPerKWh, true
}

// A tally adds up energy at known intensities.
type tally struct {
	joules  float64
	product float64 // joules times gCO2eq/kWh
}

// add adds power over the part of a stretch whose intensity is known.
func (t *tally) add(watts, mean float64, covered time.Duration) {
	joules := watts * covered.Seconds()
	t.joules += joules
	t.product += joules * mean
}

// grams returns the emissions of a profile with an energy; ok is false if too little of the energy
// is known.
func (t tally) grams(joules float64) (float64, bool) {
	if !(t.joules > 0) || t.joules < minCovered*joules {
		return 0, false
	}
	return t.product / t.joules * joules / joulesPerKWh, true
}

// unlessEqual returns emissions of the profile, or others of the same profile if both differ by no
// more than a rounding error. Nobody saves a rounding error.
func (p profile) unlessEqual(grams, others float64) float64 {
	if math.Abs(grams-others) <= roundingError*p.joules/joulesPerKWh {
		return others
	}
	return grams
}

// best returns the least emissions of the profile, moved by any shift of a slack. ok is false if
// less than minCovered of the time from the first to the last possible run is known. Runs of which
// too little is known do not count: an unknown intensity is not taken for a clean one. The
// emissions are infinite if no run counts.
func (p profile) best(series *forecast.Series, slack span) (grams float64, ok bool) {
	if p.joules == 0 {
		return 0, true
	}
	begin, end := p.stretches[0].start+slack.first, p.stretches[len(p.stretches)-1].end+slack.last
	if _, covered := series.SweepFrom(begin).Mean(begin, end); float64(covered) < minCovered*float64(end-begin) {
		return 0, false
	}
	shifts := p.candidates(series, slack)
	tallies := make([]tally, len(shifts))
	for _, s := range p.stretches {
		sweep := series.SweepFrom(s.start + slack.first)
		for i, shift := range shifts {
			mean, covered := sweep.Mean(s.start+shift, s.end+shift)
			tallies[i].add(s.watts, mean, covered)
		}
	}
	grams = math.Inf(1)
	for _, t := range tallies {
		if g, known := t.grams(p.joules); known {
			grams = min(grams, g)
		}
	}
	return grams, true
}

// candidates returns the shifts of which one is the best, ascending. The emissions are linear in
// the shift between two shifts at which a corner of the profile meets a boundary between two slots.
// So the least emissions are at such a shift, or at an end of the slack. If there are too many,
// every nth is tried.
func (p profile) candidates(series *forecast.Series, slack span) []int64 {
	corners := p.corners()
	if slack.first == slack.last {
		return []int64{slack.first}
	}
	begin, end := corners[0]+slack.first, corners[len(corners)-1]+slack.last
	var boundaries []int64
	for b := range series.Boundaries(time.Unix(0, begin-1), time.Unix(0, end+1)) {
		boundaries = append(boundaries, b.UnixNano())
	}
	all := []int64{slack.first, slack.last}
	if slack.first <= 0 && 0 <= slack.last {
		all = append(all, 0)
	}
	stride, n := 1+len(corners)*len(boundaries)/maxCandidates, 0
	for _, corner := range corners {
		from, _ := slices.BinarySearch(boundaries, corner+slack.first)
		for _, b := range boundaries[from:] {
			if b > corner+slack.last {
				break
			}
			if n++; n%stride == 0 {
				all = append(all, b-corner)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// corners returns the instants at which the power changes, ascending.
func (p profile) corners() []int64 {
	corners := make([]int64, 0, 2*len(p.stretches))
	for _, s := range p.stretches {
		corners = append(corners, s.start, s.end)
	}
	return slices.Compact(corners)
}
