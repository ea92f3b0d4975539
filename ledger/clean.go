package ledger

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/ledger/energy"
)

const (
	// maxWatts bounds the power of a pod, in watts.
	maxWatts = energy.MaxWatts
	// maxUnits bounds the functional units of a group.
	maxUnits = 1e12
	// maxCount bounds the counts of a sum.
	maxCount = 1e12
	// maxAmount bounds any other number of a group or a sum. Sums of such numbers stay finite.
	maxAmount = 1e18
	// maxWait bounds how long work waits or could wait: ten years.
	maxWait = 10 * 365 * 24 * time.Hour
	// maxNameBytes bounds a name. Kubernetes allows 253 characters, and an owner has a kind before
	// its name.
	maxNameBytes = 320
)

// clean returns a group that is safe to compute with, whatever the group had: every number is
// finite and within its bounds, every instant has whole milliseconds and is in the years 2000 to
// 2200, every name is short, and the steps are in order.
func (g Group) clean() Group {
	for _, name := range []*string{&g.UID, &g.Kind, &g.Namespace, &g.Name, &g.Owner, &g.Policy, &g.Location, &g.OtherLocation} {
		*name = cut(*name, maxNameBytes)
	}
	g.Source = cut(g.Source, 3*maxNameBytes)
	g.Mode, g.Energy = g.Mode.clean(), cleanSource(g.Energy)
	g.Arrived, g.Released, g.Ended = cleanTime(g.Arrived), cleanTime(g.Released), cleanTime(g.Ended)
	if g.Released.Before(g.Arrived) {
		g.Released = g.Arrived
	}
	if g.LatestStart.Before(g.Arrived) {
		g.LatestStart = time.Time{} // it could not wait
	}
	if last := g.Arrived.Add(maxWait); g.LatestStart.After(last) {
		g.LatestStart = last
	}
	if !g.LatestStart.IsZero() {
		g.LatestStart = cleanTime(g.LatestStart)
	}
	g.Wait = min(max(0, g.Wait), maxWait).Truncate(time.Millisecond)
	g.Pauses, g.RestartCost = min(max(0, g.Pauses), MaxSteps), min(max(0, g.RestartCost), maxWait).Truncate(time.Millisecond)
	g.Steps = cleanSteps(g.Steps)
	g.Units = within(g.Units, maxUnits)
	if g.Failed {
		g.Units = 0
	}
	g.EmbodiedGrams, g.CoreHours = rounded(within(g.EmbodiedGrams, maxAmount)), rounded(within(g.CoreHours, maxAmount))
	return g
}

// clean returns a mode that there is.
func (m Mode) clean() Mode {
	if m == Audit {
		return Audit
	}
	return Enforce
}

// cleanSource returns a source of energy that there is.
func cleanSource(s energy.Source) energy.Source {
	if slices.Contains([]energy.Source{energy.Measured, energy.Modelled, energy.Stated}, s) {
		return s
	}
	return energy.Unknown
}

// cleanSteps returns the steps that have a length and begin after the end of the last, at most
// MaxSteps.
func cleanSteps(steps []Step) []Step {
	var cleaned []Step
	for _, s := range steps[:min(len(steps), MaxSteps)] {
		s.Start, s.End = cleanTime(s.Start), cleanTime(s.End)
		if n := len(cleaned); n > 0 && s.Start.Before(cleaned[n-1].End) {
			s.Start = cleaned[n-1].End
		}
		if !s.Start.Before(s.End) {
			continue
		}
		s.Watts = rounded(within(s.Watts, maxPods*maxWatts))
		s.FailedWatts = rounded(within(s.FailedWatts, s.Watts))
		cleaned = append(cleaned, s)
	}
	return cleaned
}

// clean returns a sum with finite numbers, of which none is negative that cannot be.
func (s Sum) clean() Sum {
	for _, name := range []*string{&s.Namespace, &s.Policy, &s.Location, &s.Owner} {
		*name = cut(*name, maxNameBytes)
	}
	s.Mode, s.Energy = s.Mode.clean(), cleanSource(s.Energy)
	for _, n := range s.counts() {
		*n = min(max(0, *n), maxCount)
	}
	for _, x := range s.amounts() {
		*x = within(*x, maxAmount)
	}
	for _, x := range s.signedAmounts() {
		*x = signedWithin(*x, maxAmount)
	}
	return s
}

// within returns a number in 0..most. What is not a number becomes 0.
func within(x, most float64) float64 {
	if !(x > 0) {
		return 0
	}
	return min(x, most)
}

// rounded returns a number with nine significant digits. More digits are noise, which takes much
// space in a page.
func rounded(x float64) float64 {
	const digits = 9
	short, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', digits, 64), 64)
	if err != nil {
		return x
	}
	return short
}

// signedWithin returns a number in -most..most. What is not a number becomes 0.
func signedWithin(x, most float64) float64 { return within(x, most) - within(-x, most) }

// bounded returns the nearest instant in the years 2000 to 2200, in UTC.
func bounded(t time.Time) time.Time {
	first, last := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	switch {
	case t.Before(first):
		return first
	case t.After(last):
		return last
	default:
		return t.UTC()
	}
}

// cleanTime returns the nearest whole millisecond in the years 2000 to 2200 that is not later, in
// UTC.
func cleanTime(t time.Time) time.Time { return bounded(t).Truncate(time.Millisecond) }

// cut returns a name of at most a number of bytes. No character is cut in two.
func cut(name string, most int) string {
	if len(name) > most {
		name = name[:most]
	}
	return strings.ToValidUTF8(name, "")
}
