package backtest

import (
	"math"
	"slices"
	"time"
)

// settle makes runs of whole units as long as they have to be, and moves their ends to where they emit
// less: two ends at a time, so that the runs together stay as long, and by as much as brings one of
// the ends to the boundary of a slot, or as far as is allowed.
func (h *hindsight) settle(job Job, spans []Span) []Span {
	h.cut(job, spans)
	for range 8 {
		moved := false
		for a := range 2 * len(spans) {
			for b := range 2 * len(spans) {
				if a != b && h.moveEnds(job, spans, a, b) {
					moved = true
				}
			}
		}
		if !moved {
			break
		}
	}
	return spans
}

// cut takes away what runs of whole units do too much, the last run first.
func (h *hindsight) cut(job Job, spans []Span) {
	excess := duration(spans) - job.Duration - time.Duration(len(spans)-1)*h.pausing.RestartCost
	for i := len(spans) - 1; i >= 0; i-- {
		by := min(excess, max(spans[i].length()-h.leastRun(i, len(spans)), 0))
		spans[i].End = spans[i].End.Add(-by)
		excess -= by
	}
}

// leastRun returns how long a run lasts at least: some work has to be done in each.
func (h *hindsight) leastRun(index, count int) time.Duration {
	least := time.Second
	if index > 0 {
		least += h.pausing.RestartCost
	}
	if index < count-1 {
		least = max(least, h.pausing.MinRun)
	}
	return least
}

// endOf returns the n-th end of the runs: the start of the first, its end, the start of the second.
func endOf(spans []Span, n int) *time.Time {
	if n%2 == 0 {
		return &spans[n/2].Start
	}
	return &spans[n/2].End
}

// moveEnds moves the end a to a near boundary of a slot, or a limit, and the end b so that the runs
// together stay as long. It returns whether that emits less.
func (h *hindsight) moveEnds(job Job, spans []Span, a, b int) bool {
	before := emission(h.actual, spans)
	enough := before - 1e-9*math.Abs(before)
	first, second := *endOf(spans, a), *endOf(spans, b)
	for _, to := range h.goals(job, spans, a) {
		by := to.Sub(first)
		other := by
		if (a-b)%2 == 0 { // two starts, or two ends
			other = -by
		}
		*endOf(spans, a), *endOf(spans, b) = to, second.Add(other)
		if h.isAllowed(job, spans) && emission(h.actual, spans) < enough {
			return true
		}
	}
	*endOf(spans, a), *endOf(spans, b) = first, second
	return false
}

// goals returns where an end of a run may move to: the boundaries of slots that are near, and what
// limits the run.
func (h *hindsight) goals(job Job, spans []Span, n int) []time.Time {
	at, reach := *endOf(spans, n), 2*h.unit
	goals := []time.Time{job.Arrival, job.LatestStart().Add(job.Duration)}
	least := h.leastRun(n/2, len(spans))
	if n%2 == 0 {
		goals = append(goals, spans[n/2].End.Add(-least))
	} else {
		goals = append(goals, spans[n/2].Start.Add(least))
	}
	goals = slices.DeleteFunc(goals, func(t time.Time) bool { return t.Sub(at).Abs() > reach })
	for b := range h.actual.Boundaries(at.Add(-reach), at.Add(reach)) {
		goals = append(goals, b)
	}
	return goals
}

// isAllowed reports whether the runs are in time, ascending, and long enough.
func (h *hindsight) isAllowed(job Job, spans []Span) bool {
	from := job.Arrival
	for i, s := range spans {
		if s.Start.Before(from) || s.length() < h.leastRun(i, len(spans)) {
			return false
		}
		from = s.End
	}
	return !from.After(job.LatestStart().Add(job.Duration))
}
