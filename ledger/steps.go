package ledger

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// maxPods bounds the pods of a group that draw power at once, and so the power of a step.
const maxPods = 1e6

// NewSteps returns the power of all attempts over time: at most MaxSteps steps with the energy of
// the attempts. Attempts without a length are left out. Where there are more changes of power than
// steps, the neighbours that differ least become one step with their mean power.
func NewSteps(attempts []Attempt) []Step {
	steps := sweep(changesOf(attempts))
	for len(steps) > 4*MaxSteps {
		steps = halve(steps)
	}
	for len(steps) > MaxSteps {
		cheapest := 0
		for i := 1; i+1 < len(steps); i++ {
			if lossOf(steps[i], steps[i+1]) < lossOf(steps[cheapest], steps[cheapest+1]) {
				cheapest = i
			}
		}
		steps = slices.Replace(steps, cheapest, cheapest+2, join(steps[cheapest], steps[cheapest+1]))
	}
	return steps
}

// A change is what begins or ends at an instant.
type change struct {
	at            time.Time
	watts, failed float64
	pods          int
}

// changesOf returns when attempts begin and end, in order.
func changesOf(attempts []Attempt) []change {
	changes := make([]change, 0, 2*len(attempts))
	for _, a := range attempts {
		start, end := bounded(a.Start), bounded(a.End)
		if !start.Before(end) {
			continue
		}
		watts := within(a.Watts, maxWatts)
		failed := 0.0
		if a.Failed {
			failed = watts
		}
		changes = append(changes, change{start, watts, failed, 1}, change{end, -watts, -failed, -1})
	}
	slices.SortStableFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
	return changes
}

// sweep returns a step for each stretch between two changes in which a pod runs. Neighbours with
// the same power are one step.
func sweep(changes []change) []Step {
	var steps []Step
	var now change
	for _, c := range changes {
		if now.pods > 0 && now.at.Before(c.at) {
			steps = appendStep(steps, Step{Start: now.at, End: c.at, Watts: max(0, now.watts), FailedWatts: max(0, now.failed)})
		}
		now = change{c.at, now.watts + c.watts, now.failed + c.failed, now.pods + c.pods}
		if now.pods == 0 {
			now.watts, now.failed = 0, 0 // what is left is a rounding error
		}
	}
	return steps
}

// appendStep appends a step, or extends the last step if that has the same power.
func appendStep(steps []Step, s Step) []Step {
	if n := len(steps) - 1; n >= 0 {
		last := &steps[n]
		if last.End.Equal(s.Start) && isClose(last.Watts, s.Watts) && isClose(last.FailedWatts, s.FailedWatts) {
			last.End = s.End
			return steps
		}
	}
	return append(steps, s)
}

// isClose reports whether two powers differ by a rounding error only.
func isClose(a, b float64) bool { return math.Abs(a-b) <= 1e-12*math.Max(a, b) }

// join returns a step with the energy of two neighbours.
func join(a, b Step) Step {
	joined := Step{Start: a.Start, End: b.End}
	seconds := joined.seconds()
	joined.Watts = (a.Watts*a.seconds() + b.Watts*b.seconds()) / seconds
	joined.FailedWatts = (a.FailedWatts*a.seconds() + b.FailedWatts*b.seconds()) / seconds
	return joined
}

// lossOf tells how much of the course of the power is lost if two neighbours become one step: the
// square of the difference to their mean power, over their time and the time between them.
func lossOf(a, b Step) float64 {
	joined, between := join(a, b), b.Start.Sub(a.End).Seconds()
	square := func(mean, first, second float64) float64 {
		return (first-mean)*(first-mean)*a.seconds() + (second-mean)*(second-mean)*b.seconds() + mean*mean*between
	}
	return square(joined.Watts, a.Watts, b.Watts) + square(joined.FailedWatts, a.FailedWatts, b.FailedWatts)
}

// halve joins neighbours that lose little, no step twice: at least one in five steps is gone then.
func halve(steps []Step) []Step {
	losses := make([]float64, len(steps)-1)
	for i := range losses {
		losses[i] = lossOf(steps[i], steps[i+1])
	}
	median := slices.SortedFunc(slices.Values(losses), cmp.Compare)[len(losses)/2]
	var fewer []Step
	for i := 0; i < len(steps); i++ {
		if i < len(losses) && losses[i] <= median {
			fewer = append(fewer, join(steps[i], steps[i+1]))
			i++
		} else {
			fewer = append(fewer, steps[i])
		}
	}
	return fewer
}

// seconds returns how long a step is.
func (s Step) seconds() float64 { return s.End.Sub(s.Start).Seconds() }
