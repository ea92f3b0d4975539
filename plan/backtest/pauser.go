package backtest

import (
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/plan"
)

// A pauser is a policy at work that may pause the jobs that it has started. At each moment it plans
// all jobs again that have not ended, as production does.
type pauser struct {
	policy       Policy
	foresees     bool
	pausing      Pausing
	ceiling      plan.Buckets
	jobs         []Job
	works        []*work // by the latest start that they had at first
	spans        [][]Span
	forcedStarts int
	wake         time.Time
}

// A work is a job that has arrived and has not ended.
type work struct {
	index   int
	finish  time.Time     // when it must be done
	left    time.Duration // run time that is left, as of counted
	counted time.Time
	state   plan.RunState
	runs    int       // how many more may begin
	isHeld  bool      // a decision held it before
	planned time.Time // the next start, unless it runs
	due     time.Time // when it is looked at next at the latest
}

func newPauser(policy Policy, s Setup, jobs []Job) *pauser {
	p := &pauser{
		policy: policy, foresees: policy.Kind == Foresight, pausing: *s.Pausing, ceiling: s.Ceiling,
		jobs: jobs, spans: make([][]Span, len(jobs)),
	}
	return p
}

func (p *pauser) arrive(index int) {
	job := p.jobs[index]
	w := &work{
		index: index, finish: job.LatestStart().Add(job.Duration), left: job.Duration,
		runs: p.pausing.runs(),
	}
	at, _ := slices.BinarySearchFunc(p.works, w, func(a, b *work) int {
		if order := p.jobs[a.index].LatestStart().Compare(p.jobs[b.index].LatestStart()); order != 0 {
			return order
		}
		return a.index - b.index
	})
	p.works = slices.Insert(p.works, at, w)
}

func (p *pauser) isIdle() bool        { return len(p.works) == 0 }
func (p *pauser) nextWake() time.Time { return p.wake }

func (p *pauser) result() Run {
	r := Run{Policy: p.policy, Spans: p.spans, ForcedStarts: p.forcedStarts}
	for _, spans := range p.spans {
		r.Starts = append(r.Starts, spans[0].Start)
	}
	return r
}

// act pauses, resumes and starts the jobs for which a plan says so. With all, it plans all jobs. Else,
// without a ceiling, it plans only the jobs that are due.
func (p *pauser) act(k *knowledge, all bool) {
	p.count(k.now)
	var looked []*work
	for _, w := range p.works {
		if all || !p.ceiling.IsEmpty() || !w.due.After(k.now) {
			looked = append(looked, w)
		}
	}
	decisions := p.decide(k, looked)
	for i, d := range decisions { // first what gives room back
		if w := looked[i]; w.state == plan.Running {
			p.follow(w, d)
		}
	}
	for i, d := range decisions {
		if w := looked[i]; !p.runsAt(w, k.now) {
			p.startOrHold(k, w, d)
		}
	}
	p.wake = time.Time{}
	for _, w := range p.works {
		if p.wake.IsZero() || w.due.Before(p.wake) {
			p.wake = w.due
		}
	}
}

// count counts what has run until now, and forgets the jobs that have ended.
func (p *pauser) count(now time.Time) {
	p.works = slices.DeleteFunc(p.works, func(w *work) bool {
		if w.state != plan.Running {
			return false
		}
		end := w.counted.Add(w.left)
		if end.After(now) {
			end = now
		}
		w.left, w.counted = w.left-end.Sub(w.counted), end
		p.last(w).End = end
		return w.left <= 0
	})
}

// last returns the present run of a job, or the one before its pause.
func (p *pauser) last(w *work) *Span { return &p.spans[w.index][len(p.spans[w.index])-1] }

// runsAt reports whether a job was not paused at this moment, and runs.
func (p *pauser) runsAt(w *work, now time.Time) bool {
	return w.state == plan.Running || w.state == plan.Paused && w.counted.Equal(now)
}

// decide plans some jobs: all together below a ceiling, unless the policy is greedy.
func (p *pauser) decide(k *knowledge, works []*work) []plan.Decision {
	planner := k.planner(p.foresees)
	if p.plansTogether() {
		groups := make([]plan.Group, len(works))
		for i, w := range works {
			groups[i] = plan.Group{Task: p.task(w), Pods: 1}
		}
		return plan.Assign(groups, planner.Fleet(p.ceiling, nil))
	}
	decisions := make([]plan.Decision, len(works))
	for i, w := range works {
		decisions[i] = planner.Decide(p.task(w))
	}
	return decisions
}

// plansTogether reports whether the rule looks for room itself.
func (p *pauser) plansTogether() bool { return !p.ceiling.IsEmpty() && p.policy.Kind != Greedy }

// task returns what production knows of a job.
func (p *pauser) task(w *work) plan.Task {
	t := plan.Task{
		Duration: w.left, LatestStart: p.latestStart(w), Held: w.isHeld, PlannedStart: w.planned,
		Pauses: &plan.Pauses{RestartCost: p.pausing.RestartCost, MinRun: p.pausing.MinRun, Runs: w.runs, State: w.state},
	}
	if w.state == plan.Running {
		t.Pauses.RanFor = p.last(w).length()
	}
	return t
}

// latestStart returns from when on a job must run without a break.
func (p *pauser) latestStart(w *work) time.Time {
	latest := w.finish.Add(-w.left)
	if w.state == plan.Paused {
		latest = latest.Add(-p.pausing.RestartCost)
	}
	return latest
}

// follow pauses a running job, or lets it run on until the plan would pause it.
func (p *pauser) follow(w *work, d plan.Decision) {
	if d.Holds() {
		w.state, w.planned, w.due = plan.Paused, d.Start, d.Start
		return
	}
	w.due = w.counted.Add(w.left)
	if end := d.Runs[0].End; len(d.Runs) > 1 && end.After(w.counted) && end.Before(w.due) {
		w.due = end
	}
}

// startOrHold starts or resumes a job that is due and has room, or that cannot wait.
func (p *pauser) startOrHold(k *knowledge, w *work, d plan.Decision) {
	w.isHeld, w.planned, w.due = true, d.Start, d.Start
	latest := p.latestStart(w)
	forced := !k.now.Before(latest) || !d.Holds() && p.plansTogether()
	room := p.hasRoom(k)
	if d.Holds() || !forced && !room {
		if !w.due.After(k.now) {
			w.due = latest
		}
		return
	}
	if !room {
		p.forcedStarts++
	}
	if w.state == plan.Paused {
		w.left += p.pausing.RestartCost
	}
	w.state, w.runs, w.counted, w.planned = plan.Running, w.runs-1, k.now, time.Time{}
	p.spans[w.index] = append(p.spans[w.index], Span{Start: k.now, End: k.now})
	p.follow(w, d)
}

// hasRoom reports whether one more job may run.
func (p *pauser) hasRoom(k *knowledge) bool {
	if p.ceiling.IsEmpty() {
		return true
	}
	running := 0
	for _, w := range p.works {
		if w.state == plan.Running {
			running++
		}
	}
	intensity, _ := k.intensityNow()
	return running < p.ceiling.Ceiling(intensity)
}
