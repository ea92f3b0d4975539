package gating

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// grace is how long held work waits for a first forecast after a start:
	// the exporter deletes its ConfigMap for half a minute at every refresh.
	firstForecastWait = time.Minute
	// retry is how soon a write that failed is tried again.
	retryPause = time.Second
	// joined is the cause of the release of pods that come after their Job's.
	causeJoined plan.Cause = "joined"
	// idle bounds the time between two passes of a policy.
	maxIdlePause = 10 * time.Minute
	// vigil bounds it while work is held: timers stand still while a machine
	// sleeps, and know nothing of a clock that is set, so that this is how late
	// work can be afterwards. A pass takes a fraction of a second.
	maxHoldingPause = time.Minute
	// explaining bounds how long a pass explains: what has come meanwhile is not
	// seen by it, and may be due before it is through.
	maxExplainTime = 2 * time.Second
)

// Loop releases held work. All exported fields are required.
type Loop struct {
	Client client.Client
	// Live asks the API server itself.
	APIReader client.Reader
	Records   *Records
	Policies  policy.Policies
	Store     *forecast.Store
	Clock     policy.Clock
	Events    *Announcer
	Metrics   *Metrics
	Sweeper   *Sweeper
	// Workers bounds the writes in flight.
	Workers int

	startedAt     atomic.Pointer[time.Time]
	inFlight      inFlight
	ownReleases   ownReleases
	refusals      refusals // what could not be let go
	unexplained   refusals // what could not be explained
	retries       errgroup.Group
	health        ReleaseHealth
	hasCeilings   sync.Map     // whether a policy, by name, has ceilings
	planningTime  atomic.Int64 // nanoseconds that the last pass took to plan
	explainedUpTo sync.Map     // how many a policy, by name, holds before what is explained next
}

// Outcomes returns what came of the loop's releases.
func (l *Loop) ReleaseHealth() *ReleaseHealth { return &l.health }

// pass is one look at all that a policy holds.
type pass struct {
	policy           *policy.Policy
	snapshot         *forecast.Snapshot
	now              time.Time
	groups           []*group // by latest start
	hasMoreToExplain bool     // there was no time to explain everything
	// unsteered are the pods that could not be given a preference for nodes.
	withoutPreference failures
	running
}

// Reconcile runs one pass for the policy of the request.
func (l *Loop) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	p, err := l.pass(ctx, req.Name)
	if apierrors.IsNotFound(err) {
		l.forget(req.Name)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	failed := l.release(ctx, p) + l.explain(ctx, p)
	if err := l.reportStatus(ctx, p); err != nil {
		log.FromContext(ctx).Error(err, "cannot report on policy")
		failed++
	}
	if failed > 0 {
		return reconcile.Result{RequeueAfter: min(retryPause, l.untilNextPass(p))}, nil
	}
	return reconcile.Result{RequeueAfter: l.untilNextPass(p)}, nil
}

// pass lists and plans what a policy holds, and writes nothing.
func (l *Loop) pass(ctx context.Context, name string) (*pass, error) {
	rules, names, err := l.policyAndNames(ctx, name)
	if err != nil {
		return nil, err
	}
	p := &pass{policy: rules, snapshot: l.Store.Snapshot(rules.Source), now: l.Clock.Now()}
	var leaving []unseenRelease
	done := l.inFlight.beginPass(name)
	for _, name := range names {
		groups, left, err := l.Records.groups(name, done)
		if err != nil {
			return nil, err
		}
		p.groups, leaving = append(p.groups, groups...), append(leaving, left...)
	}
	if rules.Limited() {
		l.ownReleases.forget(p.now)
		if p.running, err = l.Records.running(rules, leaving, &l.ownReleases, p.now); err != nil {
			return nil, err
		}
	}
	if name != strayWork {
		l.hasCeilings.Store(name, rules.Limited())
	}
	l.refusals.retain(name, p.groups, leaving)
	l.unexplained.retain(name, p.groups, leaving)
	setTasks(rules, p.groups)
	p.decide()
	l.awaitForecast(p)
	p.startResumed()
	l.startRefused(p)
	p.releaseWithdrawn()
	p.waitForUsers()
	took := l.Clock.Now().Sub(p.now)
	l.planningTime.Store(int64(took))
	l.Metrics.pass.Observe(took.Seconds())
	return p, nil
}

// awaitForecast lets work wait for the first forecast for a moment after the
// start, but not beyond its latest start.
func (l *Loop) awaitForecast(p *pass) {
	l.startedAt.CompareAndSwap(nil, &p.now)
	first := l.startedAt.Load().Add(firstForecastWait)
	if p.policy.IsAbandoned() || p.snapshot.HasForecast() || !p.now.Before(first) {
		return
	}
	for _, g := range p.groups {
		if g.decision.Cause == plan.CauseNoForecast {
			g.decision.Start = first
			if g.task.LatestStart.Before(first) {
				g.decision.Start = g.task.LatestStart
			}
		}
	}
}

// disown makes due what somebody else has let go: it is recorded, and no more.
func (p *pass) startResumed() {
	for _, g := range p.groups {
		if !g.isDue() && g.isResumed() {
			g.decision.Start = p.now
		}
	}
}

// insist has what was to be released, and was refused, start as soon as it may: what
// is tried again is spread in time already.
func (l *Loop) startRefused(p *pass) {
	for _, g := range p.groups {
		if g.decision.Cause == plan.CauseSpread && !g.isDue() && l.refusals.has(g.head()) {
			g.decision.Start = p.now
		}
	}
}

// explain brings the annotations of what waits up to date where its planned
// start has changed, for a moment, and until the next release is due: the next
// pass goes on where it stops. It returns how many writes failed.
func (l *Loop) explain(ctx context.Context, p *pass) int {
	var failed failures
	var writes errgroup.Group
	writes.SetLimit(l.Workers)
	until := l.Clock.Now().Add(maxExplainTime)
	if next := p.nextStart(); next.Before(until) {
		until = next
	}
	before, _ := l.explainedUpTo.Load(p.policy.Name)
	from, _ := before.(int) // zero at first
	at, stop := 0, 0
	for o, g := range p.planned() {
		start := policy.Stamp(g.decision.Start)
		if at++; at <= from || isExplained(o, start, g.location) {
			continue
		}
		if !l.Clock.Now().Before(until) {
			stop = at - 1
			break
		}
		if !l.mayExplain(o) {
			continue
		}
		kind := hold.PodKind()
		if o == g.job {
			kind = hold.JobKind()
		}
		writes.Go(func() error {
			failed.add(l.writeExplanation(ctx, p, kind, o, hold.NotesPatch(o, g.notes(o))))
			return nil
		})
	}
	_ = writes.Wait() // they report for themselves
	if stop > 0 {
		l.explainedUpTo.Store(p.policy.Name, stop)
	} else {
		l.explainedUpTo.Delete(p.policy.Name)
	}
	n := failed.report(ctx, "cannot explain waits, trying again", p.policy.Name)
	p.hasMoreToExplain = n == 0 && (stop > 0 || from > 0) // after the end it begins again
	return n
}

// told reports whether an object says when it starts, and where.
func isExplained(o *record, start, to string) bool {
	return o.Annotations[v1alpha1.PlannedStartAnnotation] == start && (to == "" || o.Annotations[v1alpha1.PlannedLocationAnnotation] == to)
}

// tellable reports whether an object may be told something: that was not refused, or
// long enough ago.
func (l *Loop) mayExplain(o *record) bool {
	return !l.unexplained.has(o) || l.unexplained.begin(o, l.Clock.Now())
}

// tell writes an explanation, and notes what came of it.
func (l *Loop) writeExplanation(ctx context.Context, p *pass, kind schema.GroupVersionKind, o *record, patch client.Patch) error {
	err := l.patch(ctx, kind, o, patch)
	switch {
	case hold.IsRefusal(err):
		l.unexplained.note(p.policy.Name, o, "", l.Clock.Now())
	case err != nil:
		l.unexplained.endAttempt(o)
	default:
		l.unexplained.forget(o, l.Clock.Now())
	}
	return err
}

// planned yields what waits for a planned start, with its group.
func (p *pass) planned() iter.Seq2[*record, *group] {
	return func(yield func(*record, *group) bool) {
		for _, g := range p.groups {
			if g.isDue() || g.waitsForUser || g.decision.Cause == plan.CauseNoForecast {
				continue
			}
			if g.job != nil && !yield(g.job, g) {
				return
			}
			for _, pod := range g.pods {
				if !yield(pod, g) {
					return
				}
			}
		}
	}
}

// next returns when the first of what waits is planned to start, zero if
// nothing waits.
func (p *pass) nextStart() time.Time {
	var next time.Time
	for _, g := range p.groups {
		if !g.isDue() && !g.waitsForUser && (next.IsZero() || g.decision.Start.Before(next)) {
			next = g.decision.Start
		}
	}
	return next
}

// wait returns how long until the next moment at which something is due, a
// decision can change by itself, or the status has to say something else.
func (l *Loop) untilNextPass(p *pass) time.Duration {
	if p.hasMoreToExplain {
		return time.Millisecond
	}
	next, first := p.now.Add(maxIdlePause), p.nextStart()
	if !first.IsZero() {
		next = p.now.Add(maxHoldingPause)
	}
	for _, at := range append(append(p.policy.Changes(p.snapshot, p.now), p.changesAt...), first) {
		if at.After(p.now) && at.Before(next) {
			next = at
		}
	}
	if again, any := l.refusals.nextTry(p.policy.Name); any { // for which a pass is not worth more than for what is new
		if again = laterOf(again, p.now.Add(max(retryPause, l.gatherTime()))); again.Before(next) {
			next = again
		}
	}
	return max(next.Sub(l.Clock.Now()), time.Millisecond)
}
