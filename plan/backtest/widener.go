package backtest

import (
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/plan"
)

// A widener is a policy at work that sets the widths of jobs.
type widener struct {
	policy   Policy
	widening Widening
	jobs     []Job
	works    []*wideWork
	spans    [][]Span // by job
	wake     time.Time
}

// A wideWork is a job that has arrived and is not done.
type wideWork struct {
	plan.Elastic
	index   int
	counted time.Time // up to here, Remaining is right
	due     time.Time // when the plan changes something
}

func newWidener(policy Policy, s Setup, jobs []Job) *widener {
	return &widener{policy: policy, widening: *s.Widening, jobs: jobs, spans: make([][]Span, len(jobs))}
}

func (p *widener) arrive(index int) {
	p.works = append(p.works, &wideWork{Elastic: p.widening.work(p.jobs[index]), index: index})
}

func (p *widener) isIdle() bool        { return len(p.works) == 0 }
func (p *widener) nextWake() time.Time { return p.wake }

func (p *widener) result() Run {
	r := Run{Policy: p.policy, Spans: p.spans}
	for _, spans := range p.spans {
		r.Starts = append(r.Starts, spans[0].Start)
	}
	return r
}

// act sets the widths of the jobs. With all, it plans all jobs, else only those for which a plan
// changes something.
func (p *widener) act(k *knowledge, all bool) {
	if p.policy.Kind == Oracle {
		p.actInHindsight(k)
		return
	}
	p.count(k.now)
	p.wake = time.Time{}
	for _, w := range p.works {
		if all || !w.due.After(k.now) {
			p.set(w, k.planner(p.policy.Kind == Foresight).PlanWidths(w.Elastic), k.now)
		}
		if p.wake.IsZero() || w.due.Before(p.wake) {
			p.wake = w.due
		}
	}
}

// actInHindsight sets the widths of new jobs, until they are done.
func (p *widener) actInHindsight(k *knowledge) {
	for _, w := range p.works {
		actual := window(k.replay.setup.Actuals.Series, k.now, w.Finish)
		planner := plan.NewPlanner("", actual, "", plan.Terms{}, k.now, w.Finish)
		p.spans[w.index] = p.widening.spans(planner.CheapestWidths(w.Elastic))
	}
	p.works = p.works[:0]
}

// count counts what was done until now, and forgets the jobs that are done.
func (p *widener) count(now time.Time) {
	p.works = slices.DeleteFunc(p.works, func(w *wideWork) bool {
		if !w.IsRunning || !w.counted.Before(now) {
			return false
		}
		speed := w.Speedup.At(w.Width) / w.Speedup.At(w.Least)
		needed := time.Duration(float64(w.Remaining) / speed)
		until := w.counted.Add(min(now.Sub(w.counted), needed))
		w.Remaining -= time.Duration(float64(until.Sub(w.counted)) * speed)
		p.spans[w.index][len(p.spans[w.index])-1].End = until
		w.counted = until
		return w.Remaining < time.Second
	})
}

// set sets the width of a job, or lets the job wait.
func (p *widener) set(w *wideWork, planned plan.WidthPlan, now time.Time) {
	w.IsHeld, w.due = true, planned.Start()
	if w.due.After(now) {
		return
	}
	w.due, w.counted = planned.Steps[0].End, now
	if width := planned.Steps[0].Width; !w.IsRunning || width != w.Width {
		p.spans[w.index] = append(p.spans[w.index], Span{Start: now, End: now, Times: p.widening.times(width)})
		w.IsRunning, w.Width = true, width
	}
}
