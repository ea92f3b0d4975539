package gating

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientretry "k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

const (
	// grace is how long held work waits for a first forecast after a start:
	// the exporter deletes its ConfigMap for half a minute at every refresh.
	grace = time.Minute
	// retry is how soon a write that failed is tried again.
	retry = time.Second
	// joined is the cause of the release of pods that come after their Job's.
	joined plan.Cause = "joined"
	// idle bounds the time between two passes of a policy.
	idle = 10 * time.Minute
	// vigil bounds it while work is held: timers stand still while a machine
	// sleeps, and know nothing of a clock that is set, so that this is how late
	// work can be afterwards. A pass takes a fraction of a second.
	vigil = time.Minute
	// explaining bounds how long a pass explains: what has come meanwhile is not
	// seen by it, and may be due before it is through.
	explaining = 2 * time.Second
)

// Loop releases held work. All exported fields are required.
type Loop struct {
	Client client.Client
	// Live asks the API server itself.
	Live     client.Reader
	Records  *Records
	Policies Policies
	Store    *forecast.Store
	Clock    Clock
	Events   *Herald
	Metrics  *Metrics
	Sweeper  *Sweeper
	// Workers bounds the writes in flight.
	Workers int

	started  atomic.Pointer[time.Time]
	done     ledger
	vouched  vouchers
	outcomes Outcomes
	limited  sync.Map     // whether a policy, by name, has ceilings
	effort   atomic.Int64 // nanoseconds that the last pass took to plan
	reached  sync.Map     // how many a policy, by name, holds before what is explained next
}

// Outcomes returns what came of the loop's releases.
func (l *Loop) Outcomes() *Outcomes { return &l.outcomes }

// pass is one look at all that a policy holds.
type pass struct {
	policy *Policy
	book   *forecast.Book
	now    time.Time
	groups []*group // by latest start
	behind bool     // there was no time to explain everything
	// unsteered are the pods that could not be given a preference for nodes.
	unsteered failures
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
	if err := l.report(ctx, p); err != nil {
		log.FromContext(ctx).Error(err, "cannot report on policy")
		failed++
	}
	if failed > 0 {
		return reconcile.Result{RequeueAfter: min(retry, l.wait(p))}, nil
	}
	return reconcile.Result{RequeueAfter: l.wait(p)}, nil
}

// pass lists and plans what a policy holds, and writes nothing.
func (l *Loop) pass(ctx context.Context, name string) (*pass, error) {
	policy, names, err := l.holder(ctx, name)
	if err != nil {
		return nil, err
	}
	p := &pass{policy: policy, book: l.Store.Book(policy.Source), now: l.Clock.Now()}
	var leaving []freed
	done := l.done.turn(name)
	for _, name := range names {
		groups, left, err := l.Records.groups(name, done)
		if err != nil {
			return nil, err
		}
		p.groups, leaving = append(p.groups, groups...), append(leaving, left...)
	}
	if policy.Limited() {
		l.vouched.forget(p.now)
		if p.running, err = l.Records.running(policy, leaving, &l.vouched, p.now); err != nil {
			return nil, err
		}
	}
	if name != strays {
		l.limited.Store(name, policy.Limited())
	}
	schedule(policy, p.groups)
	p.decide()
	l.awaitForecast(p)
	p.disown()
	p.heed()
	p.park()
	took := l.Clock.Now().Sub(p.now)
	l.effort.Store(int64(took))
	l.Metrics.pass.Observe(took.Seconds())
	return p, nil
}

// awaitForecast lets work wait for the first forecast for a moment after the
// start, but not beyond its latest start.
func (l *Loop) awaitForecast(p *pass) {
	l.started.CompareAndSwap(nil, &p.now)
	first := l.started.Load().Add(grace)
	if p.policy.gone || p.book.Heard() || !p.now.Before(first) {
		return
	}
	for _, g := range p.groups {
		if g.decision.Cause == plan.NoForecast {
			g.decision.Start = first
			if g.task.LatestStart.Before(first) {
				g.decision.Start = g.task.LatestStart
			}
		}
	}
}

// disown makes due what somebody else has let go: it is recorded, and no more.
func (p *pass) disown() {
	for _, g := range p.groups {
		if g.whole() && !g.due() && !heldWhole(g.job.Annotations, g.job.suspended) {
			g.decision.Start = p.now
		}
	}
}

// release lets go of what is due, the most urgent first, and returns how many
// writes failed. A Job's record is written before its pods: were they first, a
// crash in between would leave a started Job whose retries are held. At the latest
// start, from which on no retry is held, they go though the record fails.
func (l *Loop) release(ctx context.Context, p *pass) int {
	var released atomic.Int64
	var records, failed failures
	var pods errgroup.Group
	pods.SetLimit(l.Workers)
	for batch := range batches(p.groups, l.Workers) {
		var jobs sync.WaitGroup
		for _, g := range batch {
			jobs.Go(func() { records.add(l.record(ctx, p, g)) })
		}
		jobs.Wait()
		for _, g := range batch {
			for _, pod := range g.pods {
				if !g.recorded && g.decision.Cause != plan.AtLatestStart {
					continue
				}
				pods.Go(func() error {
					if failed.add(l.releasePod(ctx, p, g, pod)) {
						l.Metrics.failed.WithLabelValues(p.policy.Name).Inc()
					} else {
						released.Add(1)
					}
					return nil
				})
			}
		}
	}
	_ = pods.Wait() // they report for themselves
	if n := released.Load(); n > 0 {
		log.FromContext(ctx).Info("released pods", "policy", p.policy.Name, "pods", n)
	}
	p.unsteered.log(ctx, "released pods without a preference for nodes", p.policy.Name)
	return records.log(ctx, "cannot record releases, trying again", p.policy.Name) +
		failed.log(ctx, "cannot release pods, trying again", p.policy.Name)
}

// batches yields what is due in batches of up to size groups.
func batches(groups []*group, size int) func(yield func([]*group) bool) {
	return func(yield func([]*group) bool) {
		batch := make([]*group, 0, size)
		for _, g := range groups {
			if !g.due() {
				continue
			}
			if batch = append(batch, g); len(batch) == size {
				if !yield(batch) {
					return
				}
				batch = batch[:0]
			}
		}
		if len(batch) > 0 {
			yield(batch)
		}
	}
}

// record makes the decision for a group last, on its Job.
func (l *Loop) record(ctx context.Context, p *pass, g *group) error {
	g.waits, g.cause = g.stillWaits(), g.decision.Cause
	if g.released {
		g.cause = joined
	}
	g.reason = g.told(g.waits)
	if g.job == nil || g.released {
		g.recorded = true
		return nil
	}
	l.done.add(p.policy.Name, releaseOf(g.job), g.to) // before the watch can tell of it
	if err := l.recordOn(ctx, g); err != nil {
		l.done.drop(p.policy.Name, releaseOf(g.job))
		return err
	}
	g.recorded = true
	l.vouch(p, g, g.job.UID)
	if g.whole() {
		l.count(p, g, g.job, g.size())
	}
	l.Events.Released(&g.job.PartialObjectMetadata, g.reason)
	return nil
}

// recordOn writes the decision for a group on its Job. Where the Job is not as the
// cache knows it, it does so for the Job as it is.
func (l *Loop) recordOn(ctx context.Context, g *group) error {
	made := release{reason: g.reason, at: l.Clock.Now(), to: g.to, template: true}
	err := l.free(ctx, jobKind(), g.job, made.job(g.job))
	if !apierrors.IsInvalid(err) || !g.whole() {
		return err
	}
	var now batchv1.Job
	if err := l.Live.Get(ctx, client.ObjectKeyFromObject(g.job), &now); err != nil {
		return client.IgnoreNotFound(err)
	}
	if now.UID != g.job.UID || !holdsWhole(&now) {
		g.reason, made.reason = takenReason, takenReason
		return l.patch(ctx, jobKind(), g.job, made.record(g.job))
	}
	made.template = false // it cannot be changed if the Job has run before
	return l.free(ctx, jobKind(), g.job, made.job(&now))
}

// vouch remembers that the loop itself has let something go, where that takes room.
func (l *Loop) vouch(p *pass, g *group, uid types.UID) {
	if p.policy.Limited() {
		l.vouched.add(uid, l.Clock.Now(), g.cause != plan.AtLatestStart)
	}
}

func (l *Loop) releasePod(ctx context.Context, p *pass, g *group, pod *record) error {
	l.done.add(p.policy.Name, pod.UID, g.to) // before the watch can tell of it
	made := release{reason: g.reason, at: l.Clock.Now(), to: g.to}
	if waits := pod.stillWaits(false); waits != g.waits {
		made.reason = g.told(waits)
	}
	if !l.steer(ctx, p, pod, made) {
		if err := l.free(ctx, podKind(), pod, made.pod(pod)); err != nil {
			l.done.drop(p.policy.Name, pod.UID)
			return err
		}
	}
	l.vouch(p, g, pod.UID)
	l.count(p, g, pod, 1)
	l.Events.Released(&pod.PartialObjectMetadata, made.reason)
	return nil
}

// steer releases a pod with a preference for the nodes where it is released to,
// and reports whether it has. If there is none, or whatever else is the matter, it
// has done nothing, and the pod is to be released without: a preference never holds
// one.
func (l *Loop) steer(ctx context.Context, p *pass, pod *record, made release) bool {
	term, ok := p.policy.Preference(made.to)
	if !ok {
		return false
	}
	err := clientretry.OnError(clientretry.DefaultRetry, apierrors.IsConflict, func() error {
		var now corev1.Pod
		if err := l.Live.Get(ctx, client.ObjectKeyFromObject(pod), &now); err != nil {
			return err
		}
		if now.UID != pod.UID {
			return apierrors.NewNotFound(corev1.Resource("pods"), pod.Name)
		}
		target := metadata(podKind())
		target.Namespace, target.Name = pod.Namespace, pod.Name
		return l.Client.Patch(ctx, target, made.preferring(&now, term))
	})
	if !apierrors.IsNotFound(err) {
		p.unsteered.add(err)
	}
	if err == nil {
		l.outcomes.add(pod.Namespace, nil, l.Clock.Now())
	}
	return err == nil
}

// count adds the release of a pod, or of a whole Job, to the metrics.
func (l *Loop) count(p *pass, g *group, o *record, pods int) {
	planned, _ := time.Parse(time.RFC3339, o.Annotations[PlannedStart]) // zero if absent
	l.Metrics.releasedPods(pods, p.policy.Name, g.cause, o.CreationTimestamp.Time, planned, l.Clock.Now())
}

// explain brings the annotations of what waits up to date where its planned
// start has changed, for a moment, and until the next release is due: the next
// pass goes on where it stops. It returns how many writes failed.
func (l *Loop) explain(ctx context.Context, p *pass) int {
	var failed failures
	var writes errgroup.Group
	writes.SetLimit(l.Workers)
	until := l.Clock.Now().Add(explaining)
	if next := p.next(); next.Before(until) {
		until = next
	}
	before, _ := l.reached.Load(p.policy.Name)
	from, _ := before.(int) // zero at first
	at, stop := 0, 0
	for o, g := range p.planned() {
		start := stamp(g.decision.Start)
		told := o.Annotations[PlannedStart] == start && (g.to == "" || o.Annotations[PlannedLocation] == g.to)
		if at++; told || at <= from {
			continue
		}
		if !l.Clock.Now().Before(until) {
			stop = at - 1
			break
		}
		kind := podKind()
		if o == g.job {
			kind = jobKind()
		}
		writes.Go(func() error {
			failed.add(l.patch(ctx, kind, o, explain(o, g.notes(o))))
			return nil
		})
	}
	_ = writes.Wait() // they report for themselves
	if stop > 0 {
		l.reached.Store(p.policy.Name, stop)
	} else {
		l.reached.Delete(p.policy.Name)
	}
	n := failed.log(ctx, "cannot explain waits, trying again", p.policy.Name)
	p.behind = n == 0 && (stop > 0 || from > 0) // after the end it begins again
	return n
}

// planned yields what waits for a planned start, with its group.
func (p *pass) planned() iter.Seq2[*record, *group] {
	return func(yield func(*record, *group) bool) {
		for _, g := range p.groups {
			if g.due() || g.parked || g.decision.Cause == plan.NoForecast {
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

// free writes the release of a pod or Job, and notes what came of it.
func (l *Loop) free(ctx context.Context, kind schema.GroupVersionKind, o *record, patch client.Patch) error {
	err := l.write(ctx, kind, o, patch)
	l.outcomes.add(o.Namespace, err, l.Clock.Now())
	return pardon(kind, o, err)
}

// patch writes to a pod or Job.
func (l *Loop) patch(ctx context.Context, kind schema.GroupVersionKind, o *record, patch client.Patch) error {
	return pardon(kind, o, l.write(ctx, kind, o, patch))
}

func (l *Loop) write(ctx context.Context, kind schema.GroupVersionKind, o *record, patch client.Patch) error {
	target := metadata(kind)
	target.Namespace, target.Name = o.Namespace, o.Name
	return l.Client.Patch(ctx, target, patch)
}

// pardon wraps what went wrong with a write to a pod or Job; one that is gone, or
// another by its name, needs nothing any more.
func pardon(kind schema.GroupVersionKind, o *record, err error) error {
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("patch %s %s/%s: %w", kind.Kind, o.Namespace, o.Name, err)
}

// next returns when the first of what waits is planned to start, zero if
// nothing waits.
func (p *pass) next() time.Time {
	var next time.Time
	for _, g := range p.groups {
		if !g.due() && !g.parked && (next.IsZero() || g.decision.Start.Before(next)) {
			next = g.decision.Start
		}
	}
	return next
}

// wait returns how long until the next moment at which something is due, a
// decision can change by itself, or the status has to say something else.
func (l *Loop) wait(p *pass) time.Duration {
	if p.behind {
		return time.Millisecond
	}
	next, first := p.now.Add(idle), p.next()
	if !first.IsZero() {
		next = p.now.Add(vigil)
	}
	for _, at := range append(append(p.policy.turns(p.book, p.now), p.settles...), first) {
		if at.After(p.now) && at.Before(next) {
			next = at
		}
	}
	return max(next.Sub(l.Clock.Now()), time.Millisecond)
}
