package plan

import (
	"cmp"
	"slices"
	"time"
)

// minApart is the least time between two alternatives: starts that are closer are the same to
// people.
const minApart = time.Hour

// Alternative is a start that a task could have been given, and was not.
type Alternative struct {
	Start time.Time
	// Intensity is the mean in gCO2eq/kWh over the run from Start on.
	Intensity float64
}

// Alternatives returns the cleanest starts, at most limit of them, that a task could have been
// given instead of the chosen one, in order of time. Each lies between now and the latest start,
// and is cleaner than the starts right before and after. The alternatives are apart from the chosen
// start and from each other by the task's duration, and by an hour at least.
func (p *Planner) Alternatives(t Task, chosen time.Time, limit int) []Alternative {
	dips := p.dips(t)
	slices.SortStableFunc(dips, func(a, b Alternative) int { return cmp.Compare(a.Intensity, b.Intensity) })
	taken := []Alternative{{Start: chosen}}
	for _, dip := range dips {
		isNear := func(other Alternative) bool {
			return dip.Start.Sub(other.Start).Abs() < max(t.Duration, minApart)
		}
		if len(taken) <= limit && !slices.ContainsFunc(taken, isNear) {
			taken = append(taken, dip)
		}
	}
	alternatives := taken[1:]
	slices.SortFunc(alternatives, func(a, b Alternative) int { return a.Start.Compare(b.Start) })
	return alternatives
}

// dips returns the starts between now and a task's latest start that are cleaner than their
// neighbours, in order of time.
func (p *Planner) dips(t Task) []Alternative {
	corners := p.corners(t)
	var dips []Alternative
	for i := 1; i+1 < len(corners); i++ {
		if here := corners[i].Intensity; here <= corners[i-1].Intensity && here < corners[i+1].Intensity {
			dips = append(dips, corners[i])
		}
	}
	return dips
}

// corners returns the starts from now to a task's latest start at which the mean over the run can
// turn, in order of time. A run that the series does not cover to its end is left out.
func (p *Planner) corners(t Task) []Alternative {
	c := p.curve(t.Duration)
	if c == nil {
		return nil
	}
	latest := t.LatestStart.UTC()
	isCovered := func(start time.Time) bool { return !start.Add(t.Duration).After(p.series.End()) }
	var corners []Alternative
	for i := range c.last(latest) + 1 {
		if start := c.start(i); isCovered(start) {
			corners = append(corners, Alternative{Start: start, Intensity: c.means[i]})
		}
	}
	if mean, ok := p.expectMean(latest, t.Duration); ok && isCovered(latest) && len(corners) > 0 && latest.After(corners[len(corners)-1].Start) {
		corners = append(corners, Alternative{Start: latest, Intensity: mean})
	}
	return corners
}
