package gating

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// firstForecastWait is how long held work waits for a first forecast after a start of the
	// program. The exporter deletes its ConfigMap for half a minute at every refresh.
	firstForecastWait = time.Minute
	// retryPause is how soon a failed write is tried again.
	retryPause = time.Second
	// causeJoined is the cause of the release of work that comes after the release of its Job, or of
	// another part of its piece of work.
	causeJoined plan.Cause = "joined"
	// maxIdlePause bounds the time between two passes of a policy.
	maxIdlePause = 10 * time.Minute
	// maxHoldingPause bounds that time while work is held. Timers stand still while a machine
	// sleeps, and do not follow a clock that is set, so work can be late by this much. A pass takes
	// a fraction of a second.
	maxHoldingPause = time.Minute
	// maxExplainTime bounds how long a pass writes explanations. The pass does not see what is
	// created meanwhile, which may be due soon.
	maxExplainTime = 2 * time.Second
)

// Loop releases held work, and pauses interruptible work, policy by policy. All exported fields but
// Workloads and WhyUnable are required.
type Loop struct {
	Client client.Client
	// APIReader reads from the API server, not from a cache.
	APIReader client.Reader
	Records   *Records
	Policies  policy.Policies
	Store     *forecast.Store
	Clock     policy.Clock
	Events    *Announcer
	Metrics   *Metrics
	Sweeper   *Sweeper
	// Workloads knows what Kueue manages. It may be nil.
	Workloads *Workloads
	// WhyUnable says why held work in a namespace could not be released that needs a component. Then no
	// work is paused there. It may be nil.
	WhyUnable func(namespace, component string) string
	// Workers bounds how many writes a pass has in flight.
	Workers int

	startedAt       atomic.Pointer[time.Time]
	inFlight        inFlight
	ownReleases     ownReleases
	refusals        refusals // of releases
	unexplained     refusals // of explanations
	pauses          pauseTries
	retries         errgroup.Group
	health          ReleaseHealth
	limitedPolicies sync.Map     // by the name of a policy: whether it has ceilings
	planningTime    atomic.Int64 // of the newest pass, in nanoseconds
	withoutWorkload sync.Map     // by the name of a policy: since when objects that Kueue has suspended have no Workload
	explainedUpTo   sync.Map     // by the name of a policy: how many records the last pass has explained
}

// ReleaseHealth returns what the loop knows of releases that fail.
func (l *Loop) ReleaseHealth() *ReleaseHealth { return &l.health }

// pass is one look at all that a policy holds.
type pass struct {
	policy   *policy.Policy
	snapshot *forecast.Snapshot
	now      time.Time
	groups   []*group // by latest start
	pausable []*group // that run
	// suspendedByOthers are interruptible objects that somebody else has suspended.
	suspendedByOthers []*record
	hasMoreToExplain  bool // there was no time to explain all
	hasMoreToPause    bool // nor to pause all
	// withoutPreference collects why pods were released without a preference for nodes.
	withoutPreference failures
	running
	// audited counts the work that would be held if it had not been audited; nil if there is none.
	audited *v1alpha1.HeldStatus
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
	failed := l.release(ctx, p) + l.pause(ctx, p) + l.leaveQueues(ctx, p) + l.explain(ctx, p)
	if err := l.reportStatus(ctx, p); err != nil {
		log.FromContext(ctx).Error(err, "cannot write the policy's status")
		failed++
	}
	if failed > 0 {
		return reconcile.Result{RequeueAfter: min(retryPause, l.untilNextPass(p))}, nil
	}
	return reconcile.Result{RequeueAfter: l.untilNextPass(p)}, nil
}

// pass lists and plans what a policy holds. It writes nothing.
func (l *Loop) pass(ctx context.Context, name string) (*pass, error) {
	rules, names, err := l.policyAndNames(ctx, name)
	if err != nil {
		return nil, err
	}
	p := &pass{policy: rules, snapshot: l.Store.Snapshot(rules.Source), now: l.Clock.Now()}
	var unseen []unseenRelease
	isReleased := l.inFlight.beginPass(name)
	for _, name := range names {
		groups, unseenOfName, err := l.Records.groups(name, isReleased)
		if err != nil {
			return nil, err
		}
		p.groups, unseen = append(p.groups, groups...), append(unseen, unseenOfName...)
	}
	if err := l.findPausable(ctx, p); err != nil {
		return nil, err
	}
	if rules.HasBuckets() {
		l.ownReleases.forget(p.now)
		if p.running, err = l.Records.running(rules, unseen, p.pausableOwners(), &l.ownReleases, p.now); err != nil {
			return nil, err
		}
	}
	if name != strayWork {
		l.limitedPolicies.Store(name, rules.HasBuckets())
	}
	l.refusals.retain(name, p.groups, unseen)
	l.unexplained.retain(name, p.groups, unseen)
	l.Records.findPieces(p.groups, unseen, p.now)
	setTasks(rules, p.groups)
	p.decide()
	l.awaitForecast(p)
	p.makeUnqueuedDue()
	l.makeUnmanagedDue(p)
	p.makeResumedDue()
	l.makeRefusedDue(p)
	p.makeWithdrawnDue()
	p.waitForUsers()
	l.makeAuditedDue(ctx, p)
	if err := l.noteAudited(p); err != nil {
		return nil, err
	}
	took := l.Clock.Now().Sub(p.now)
	l.planningTime.Store(int64(took))
	l.Metrics.pass.Observe(took.Seconds())
	return p, nil
}

// nextStart returns the earliest planned start of what waits; zero if nothing waits.
func (p *pass) nextStart() time.Time {
	var next time.Time
	for _, g := range p.groups {
		if !g.isDue() && !g.waitsForUser && (next.IsZero() || g.decision.Start.Before(next)) {
			next = g.decision.Start
		}
	}
	return next
}

// untilNextPass returns how long it is until something is due, a plan can change by itself, or the
// status has to change.
func (l *Loop) untilNextPass(p *pass) time.Duration {
	if p.hasMoreToExplain || p.hasMoreToPause {
		return time.Millisecond
	}
	next, first := p.now.Add(maxIdlePause), p.nextStart()
	if !first.IsZero() || len(p.pausable) > 0 {
		next = p.now.Add(maxHoldingPause)
	}
	for _, at := range append(append(p.policy.ChangeTimes(p.snapshot, p.now), p.changesAt...), first, p.nextPause()) {
		if at.After(p.now) && at.Before(next) {
			next = at
		}
	}
	if again, found := l.refusals.nextTry(p.policy.Name); found { // which causes no more passes than new work does
		if again = laterOf(again, p.now.Add(max(retryPause, l.gatherTime()))); again.Before(next) {
			next = again
		}
	}
	return max(next.Sub(l.Clock.Now()), time.Millisecond)
}
