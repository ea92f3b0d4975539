package backtest

import (
	"container/heap"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/plan"
)

// A player is a policy at work that starts each job once.
type player struct {
	policy  Policy
	rule    rule
	ceiling plan.Buckets
	// the rule looks for room itself: a job that it starts now has room or cannot wait
	plansForCeiling bool
	jobs            []Job
	pending         []waiting // by latest start
	running         endHeap
	starts          []time.Time
	spans           [][]Span // of the oracle, if jobs can be interrupted
	forcedStarts    int
	wake            time.Time // when a start is due or room becomes free; zero if never
}

// A waiting job has arrived and has not started.
type waiting struct {
	index       int
	latestStart time.Time
	isHeld      bool // a decision held it before
	planned     time.Time
}

func newPlayer(policy Policy, s Setup, jobs []Job) *player {
	p := &player{policy: policy, ceiling: s.Ceiling, jobs: jobs, starts: make([]time.Time, len(jobs))}
	p.rule = newRule(policy, s, jobs)
	if policy.Kind == Oracle && s.Pausing != nil {
		p.spans = make([][]Span, len(jobs))
		p.rule = interrupted(&hindsight{pausing: *s.Pausing, actual: s.Actuals.Series}, p.spans)
	}
	p.plansForCeiling = policy.Kind == Gridlatch || policy.Kind == Uninterrupted || policy.Kind == Fixed || policy.Kind == Foresight
	if policy.Kind == Oracle {
		p.ceiling = plan.Buckets{}
	}
	return p
}

func (p *player) arrive(index int) {
	w := waiting{index: index, latestStart: p.jobs[index].LatestStart()}
	at, _ := slices.BinarySearchFunc(p.pending, w, func(a, b waiting) int {
		if order := a.latestStart.Compare(b.latestStart); order != 0 {
			return order
		}
		return a.index - b.index
	})
	p.pending = slices.Insert(p.pending, at, w)
}

func (p *player) isIdle() bool        { return len(p.pending) == 0 }
func (p *player) nextWake() time.Time { return p.wake }

func (p *player) result() Run {
	return Run{Policy: p.policy, Starts: p.starts, Spans: p.spans, ForcedStarts: p.forcedStarts}
}

// act starts the jobs that are due.
func (p *player) act(k *knowledge, _ bool) {
	p.finish(k.now)
	p.rule(k, p)
	p.wake = time.Time{}
	kept := p.pending[:0]
	for _, w := range p.pending {
		if p.startsNow(k, w) {
			p.start(w, k.now)
			continue
		}
		w.isHeld = true
		p.wakeAt(w.latestStart)
		if w.planned.After(k.now) {
			p.wakeAt(w.planned)
		} else if len(p.running) > 0 { // it needs room
			p.wakeAt(p.running[0])
		}
		kept = append(kept, w)
	}
	p.pending = kept
}

// startsNow reports whether a job starts now: it is due and has room, or it has no room but cannot
// wait.
func (p *player) startsNow(k *knowledge, w waiting) bool {
	due := !w.planned.After(k.now)
	forced := !k.now.Before(w.latestStart) || due && p.plansForCeiling
	room := p.hasRoom(k)
	if forced && !room {
		p.forcedStarts++
	}
	return forced || due && room
}

func (p *player) start(w waiting, now time.Time) {
	p.starts[w.index] = now
	if !p.ceiling.IsEmpty() {
		heap.Push(&p.running, now.Add(p.jobs[w.index].Duration))
	}
}

// finish forgets the jobs that have ended.
func (p *player) finish(now time.Time) {
	for len(p.running) > 0 && !p.running[0].After(now) {
		heap.Pop(&p.running)
	}
}

// hasRoom reports whether one more job may run.
func (p *player) hasRoom(k *knowledge) bool {
	if p.ceiling.IsEmpty() {
		return true
	}
	intensity, _ := k.intensityNow()
	return len(p.running) < p.ceiling.Ceiling(intensity)
}

func (p *player) wakeAt(t time.Time) {
	if p.wake.IsZero() || t.Before(p.wake) {
		p.wake = t
	}
}

// An endHeap is a heap of the ends of running jobs, the next first.
type endHeap []time.Time

func (e endHeap) Len() int           { return len(e) }
func (e endHeap) Less(i, j int) bool { return e[i].Before(e[j]) }
func (e endHeap) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }

// Push is for package heap.
func (e *endHeap) Push(x any) { *e = append(*e, x.(time.Time)) }

// Pop is for package heap.
func (e *endHeap) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}
