package backtest

import (
	"math"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// A rule plans when the pending jobs of a player start. A start that is now or earlier means at
// once.
type rule func(k *knowledge, p *player)

func newRule(policy Policy, s Setup, jobs []Job) rule {
	switch policy.Kind {
	case Immediate:
		return eachJob(func(k *knowledge, _ *waiting) time.Time { return k.now })
	case Oracle:
		return eachJob(func(_ *knowledge, w *waiting) time.Time {
			if w.isHeld {
				return w.planned
			}
			return cleanestStart(s.Actuals.Series, jobs[w.index])
		})
	case AtThreshold:
		return eachJob(func(k *knowledge, w *waiting) time.Time {
			return startIf(k, w, func(running float64) bool { return running <= policy.Value })
		})
	case AtPercentile:
		return atPercentile(policy.Value)
	case LowestSlot:
		return atPercentile(0)
	case Gridlatch, Uninterrupted, Fixed, Foresight:
		if !s.Ceiling.IsEmpty() {
			return planTogether(policy.Kind == Foresight)
		}
		return planAlone(policy.Kind == Foresight)
	default: // Greedy
		return planAlone(false)
	}
}

// eachJob returns a rule that plans job by job.
func eachJob(start func(*knowledge, *waiting) time.Time) rule {
	return func(k *knowledge, p *player) {
		for i := range p.pending {
			p.pending[i].planned = start(k, &p.pending[i])
		}
	}
}

// interrupted returns a rule that chooses the best runs of each job in hindsight.
func interrupted(h *hindsight, spans [][]Span) rule {
	return func(_ *knowledge, p *player) {
		for i := range p.pending {
			if w := &p.pending[i]; !w.isHeld {
				spans[w.index] = h.best(p.jobs[w.index])
				w.planned = spans[w.index][0].Start
			}
		}
	}
}

// startIf starts the job now if the intensity is fine, else at its latest start.
func startIf(k *knowledge, w *waiting, fine func(running float64) bool) time.Time {
	if running, ok := k.intensityNow(); ok && !fine(running) {
		return w.latestStart
	}
	return k.now
}

// cleanestStart returns the start of the cleanest run of a job, the earliest of equals. Between the
// moments at which an end of the run crosses the boundary of a slot, the mean over the run is
// linear in its start.
func cleanestStart(actual *forecast.Series, job Job) time.Time {
	best, lowest := job.Arrival, math.Inf(1)
	look := func(start time.Time) {
		mean, _ := actual.Mean(start, start.Add(job.Duration))
		if mean < lowest || mean == lowest && start.Before(best) {
			best, lowest = start, mean
		}
	}
	latest := job.LatestStart()
	look(job.Arrival)
	look(latest)
	for b := range actual.Boundaries(job.Arrival, latest) {
		look(b)
	}
	for b := range actual.Boundaries(job.Arrival.Add(job.Duration), latest.Add(job.Duration)) {
		look(b.Add(-job.Duration))
	}
	return best
}

// atPercentile returns a rule that starts a job when the intensity is at or below a percentile of
// what is predicted from now to the latest start. It computes the percentile every time.
func atPercentile(percent float64) rule {
	return func(k *knowledge, p *player) {
		var latest time.Time
		threshold := math.NaN()
		for i := range p.pending { // by latest start: equal ones follow one another
			w := &p.pending[i]
			if !w.latestStart.Equal(latest) {
				latest = w.latestStart
				threshold = percentile(k.series(), k.now, latest, percent)
			}
			w.planned = startIf(k, w, func(running float64) bool { return !(running > threshold) })
		}
	}
}

// percentile returns a percentile of the intensities of the slots that cover from or begin by to,
// interpolated between neighbours; NaN if there are none.
func percentile(series *forecast.Series, from, to time.Time, percent float64) float64 {
	var values []float64
	look := func(t time.Time) {
		if value, ok := series.At(t); ok {
			values = append(values, value)
		}
	}
	look(from)
	for b := range series.Boundaries(from, to.Add(1)) {
		look(b)
	}
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	rank := percent / 100 * float64(len(values)-1)
	below := int(rank)
	above := min(below+1, len(values)-1)
	return values[below] + (rank-float64(below))*(values[above]-values[below])
}

// planAlone returns a rule that plans every job as if there were no other, as production does
// without a ceiling.
func planAlone(foresees bool) rule {
	return eachJob(func(k *knowledge, w *waiting) time.Time {
		return k.planner(foresees).Decide(k.task(w)).Start
	})
}

// planTogether returns a rule that plans all jobs together below a ceiling, as production does.
func planTogether(foresees bool) rule {
	return func(k *knowledge, p *player) {
		running := make([]plan.Run, len(p.running))
		for i, end := range p.running {
			running[i] = plan.Run{Until: end, Pods: 1}
		}
		groups := make([]plan.Group, len(p.pending))
		for i := range p.pending {
			groups[i] = plan.Group{Task: k.task(&p.pending[i]), Pods: 1}
		}
		fleet := k.planner(foresees).Fleet(p.ceiling, running)
		for i, d := range plan.Assign(groups, fleet) {
			p.pending[i].planned = d.Start
		}
	}
}

// task returns what production knows of a job, without its ID: these jobs need not keep out of each
// other's way by minutes.
func (k *knowledge) task(w *waiting) plan.Task {
	return plan.Task{Duration: k.replay.jobs[w.index].Duration, LatestStart: w.latestStart, Held: w.isHeld, PlannedStart: w.planned}
}
