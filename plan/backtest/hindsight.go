package backtest

import (
	"math"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// maxCells bounds the moments, times the units of work, that the oracle looks at for one job. With a
// day of slack, that is enough for a job of half a day in units of five minutes.
const maxCells = 100_000

// runs returns in how many runs a job is done at most.
func (s Pausing) runs() int { return min(max(s.Runs, 1), plan.MaxRuns) }

// A hindsight finds the runs in which jobs would have emitted least. It looks at all runs that begin
// and end at whole units of time after the arrival of the job. The unit is the largest that divides
// all that is given: the boundaries of the actual slots, the duration, the slack, the restart cost and
// the least run. The best runs are then among those: if two ends of runs that are between such moments
// could move, moving both in one direction would not cost more. If this unit is too small for maxCells,
// a larger one is taken, and the ends are moved afterwards, as long as that emits less.
//
// The tables are those of package plan, but without prices: see runTable there.
type hindsight struct {
	pausing Pausing
	actual  *forecast.Series

	unit                 time.Duration
	isExact              bool // the best runs consist of whole units
	steps, work          int  // units, until the job must be done, and of its duration
	restart, least       int  // units of a restart, and of a run with its restart
	sums                 []float64
	running, interrupted [][]float64 // least emission, by runs that may still begin, step and work left
}

// best returns the best runs of a job.
func (h *hindsight) best(job Job) []Span {
	start := cleanestStart(h.actual, job)
	through := []Span{{Start: start, End: start.Add(job.Duration)}}
	if h.pausing.runs() == 1 {
		return through
	}
	h.divide(job)
	if h.work >= h.steps {
		return through
	}
	h.solve()
	spans := h.follow(job)
	if !h.isExact {
		spans = h.settle(job, spans)
	}
	if cost := emission(h.actual, through); emission(h.actual, spans) >= cost-1e-9*math.Abs(cost) {
		return through
	}
	return spans
}

// divide chooses the unit of time for a job.
func (h *hindsight) divide(job Job) {
	finish := job.LatestStart().Add(job.Duration)
	h.unit = divisor(job.Duration, job.Slack, h.pausing.RestartCost, h.pausing.MinRun)
	for b := range h.actual.Boundaries(job.Arrival, finish) {
		h.unit = divisor(h.unit, b.Sub(job.Arrival))
	}
	h.isExact = true
	total := job.Duration + job.Slack
	for _, larger := range []time.Duration{1, 5, 10, 15, 30, 60, 120, 360, 24 * 60, 7 * 24 * 60, 30 * 24 * 60} {
		if float64(total/h.unit)*float64(job.Duration/h.unit+1) <= maxCells {
			break
		}
		h.unit, h.isExact = max(h.unit, larger*time.Minute), false
	}
	h.steps, h.work = int(total/h.unit), unitsOf(job.Duration, h.unit)
	h.restart, h.least = unitsOf(h.pausing.RestartCost, h.unit), max(unitsOf(h.pausing.MinRun, h.unit), 1)
	h.sums = append(h.sums[:0], 0)
	for i := range h.steps {
		from := job.Arrival.Add(time.Duration(i) * h.unit)
		mean, _ := h.actual.Mean(from, from.Add(h.unit))
		h.sums = append(h.sums, h.sums[i]+mean)
	}
}

// unitsOf rounds up to whole units.
func unitsOf(d, unit time.Duration) int { return int((d + unit - 1) / unit) }

// divisor returns the largest duration that divides all others that are above zero.
func divisor(all ...time.Duration) (common time.Duration) {
	for _, d := range all {
		for d > 0 {
			common, d = d, common%d
		}
	}
	return common
}

// solve fills the tables from the end.
func (h *hindsight) solve() {
	layers, size := h.pausing.runs(), (h.steps+1)*(h.work+1)
	for _, table := range []*[][]float64{&h.running, &h.interrupted} {
		for len(*table) < layers {
			*table = append(*table, nil)
		}
		for j := 1; j < layers; j++ {
			(*table)[j] = slices.Grow((*table)[j][:0], size)[:size]
		}
	}
	for j := 1; j < layers; j++ {
		for step := h.steps; step >= 0; step-- {
			for left := 0; left <= h.work; left++ {
				h.solveCell(j, step, left)
			}
		}
	}
}

func (h *hindsight) solveCell(j, step, left int) {
	i := h.cell(step, left)
	switch {
	case left == 0:
		h.running[j][i], h.interrupted[j][i] = 0, 0
	case step+left > h.steps:
		h.running[j][i], h.interrupted[j][i] = math.Inf(1), math.Inf(1)
	default:
		later := h.cell(step+1, left)
		h.interrupted[j][i] = math.Min(h.interrupted[j][later], h.begin(j-1, step, left, h.restart))
		h.running[j][i] = math.Min(h.sum(step, step+1)+h.running[j][later-1], h.interrupted[j][i])
	}
}

func (h *hindsight) cell(step, left int) int { return step*(h.work+1) + left }

// sum returns the emission of the steps [from, to).
func (h *hindsight) sum(from, to int) float64 {
	if to > h.steps {
		return math.Inf(1)
	}
	return h.sums[to] - h.sums[from]
}

// forced returns how many units of work the next run does at least.
func (h *hindsight) forced(left, restart int) int { return min(max(h.least-restart, 1), left) }

// begin returns the least emission of the work that is left if a run begins at a step, and j more may
// begin after it.
func (h *hindsight) begin(j, step, left, restart int) float64 {
	work := h.forced(left, restart)
	end := step + restart + work
	switch left -= work; {
	case end > h.steps:
		return math.Inf(1)
	case j == 0 || left == 0:
		return h.sum(step, end+left)
	default:
		return h.sum(step, end) + h.running[j][h.cell(end, left)]
	}
}

// follow returns the runs that the tables lead to.
func (h *hindsight) follow(job Job) []Span {
	var spans []Span
	step, left, restart := 0, h.work, 0
	j := h.pausing.runs() - 1
	least := math.Inf(1)
	for i := range h.steps - h.work + 1 {
		if cost := h.begin(j, i, left, restart); cost < least {
			step, least = i, cost
		}
	}
	for {
		done := h.forced(left, restart)
		end := step + restart + done
		left -= done
		for left > 0 && (j == 0 || h.sum(end, end+1)+h.running[j][h.cell(end+1, left-1)] <= h.interrupted[j][h.cell(end, left)]) {
			end, left = end+1, left-1
		}
		spans = append(spans, Span{Start: job.Arrival.Add(time.Duration(step) * h.unit), End: job.Arrival.Add(time.Duration(end) * h.unit)})
		if left == 0 {
			return spans
		}
		for step = end; h.begin(j-1, step, left, h.restart) > h.interrupted[j][h.cell(step, left)]; step++ {
		}
		j, restart = j-1, h.restart
	}
}
