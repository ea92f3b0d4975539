package nodepool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/watching"
)

const (
	// startGrace is how long what is in force outlives a start without a forecast: the exporter deletes
	// its ConfigMap for half a minute at every refresh.
	startGrace = time.Minute
	// A change that lost a race is decided on again after conflictRetry, then after twice as long each time,
	// up to longestConflictRetry: without the right to watch NodePools, every change loses.
	conflictRetry, longestConflictRetry = 100 * time.Millisecond, time.Minute
	// maxDoublings is how often that pause doubles: 2^10 * 100 ms are more than longestConflictRetry.
	maxDoublings = 10
)

// Clock tells the time.
type Clock interface{ Now() time.Time }

// Events announces what has happened to an object. Announce must not block.
type Events interface {
	Announce(about *metav1.PartialObjectMetadata, kind, reason, action, note string)
}

// Options are what the platform owner sets.
type Options struct {
	// Workers is how many pools are looked at at the same time.
	Workers int
	// Interval is the shortest time between two changes that lower the limits of a pool because of the
	// intensity, and between two changes of its weight or of its prices.
	Interval time.Duration
	// Hysteresis is the share (0.02 is 2 %) by which the intensity has to be below a bound for the
	// limits to rise, and by which a pool has to be cleaner than another one to go before that one.
	Hysteresis float64
}

// Controller sets the limits and the weights of pools, and keeps their overlays. All exported fields are required.
type Controller struct {
	Client client.Client
	// Live reads from the API server itself.
	Live     client.Reader
	Policies Policies
	Store    *forecast.Store
	Clock    Clock
	Events   Events
	Metrics  *Metrics
	Options  Options

	pools    *watching.Resource
	overlays *watching.Resource
	queue    queue
	started  time.Time
	levels   policy.KnownLevels
	orders   orders
	sources  sync.Map // the source of a pool's forecast, by name
	memories sync.Map // *memory by name
	// priceSources and priceMemories are the same for the prices of a pool.
	priceSources, priceMemories sync.Map
}

// memory is what is remembered of a pool between two looks at the pool. Only one worker at a time looks at
// a pool.
type memory struct {
	contest override.Contest
	// warned are the last warnings by reason. So two that last are not told of in turn.
	warned map[string]string
	// lost is how often a change has lost a race since the last one that was made.
	lost int
}

// conflict notes that a change has lost a race, and returns when to decide again.
func (m *memory) conflict(now time.Time) time.Time {
	pause := min(conflictRetry<<min(m.lost, maxDoublings), longestConflictRetry)
	m.lost++
	return now.Add(pause)
}

// Reconcile looks at the pool with a name.
func (c *Controller) Reconcile(ctx context.Context, name string) (reconcile.Result, error) {
	if !c.pools.IsKnown() {
		return reconcile.Result{}, nil // every pool is looked at once all are known
	}
	p, now := c.pool(name), c.Clock.Now()
	lends, err := c.reconcilePool(ctx, name, p, now)
	price, priceErr := c.reconcilePrice(ctx, name, p, now)
	if price.RequeueAfter > 0 {
		lends = sooner(lends, now.Add(price.RequeueAfter), now)
	}
	return lends, errors.Join(err, priceErr)
}

// reconcilePool has a pool itself be as the pool asks for. A pool that is nil has gone.
func (c *Controller) reconcilePool(ctx context.Context, name string, p *pool, now time.Time) (reconcile.Result, error) {
	if p == nil || !p.asks() {
		return c.giveBack(ctx, name, p, now)
	}
	if until := p.offUntil(now); !until.IsZero() {
		result, err := c.giveBack(ctx, name, p, now)
		return sooner(result, until, now), err
	}
	v, mistakes, err := c.judge(ctx, p, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	if len(mistakes) > 0 {
		c.warn(p, EventInvalid, override.Shorten(strings.Join(mistakes, "; "), override.MaxSentence))
	} else {
		delete(c.memory(name).warned, EventInvalid)
	}
	return c.enforce(ctx, p, v, now)
}

// pool returns what is known of a pool, nil if it does not exist.
func (c *Controller) pool(name string) *pool {
	p, _ := c.pools.Get(name).(*pool)
	return p
}

// all returns every pool.
func (c *Controller) all() (all []*pool) {
	for _, object := range c.pools.List() {
		if p, ok := object.(*pool); ok {
			all = append(all, p)
		}
	}
	return all
}

func (c *Controller) memory(name string) *memory {
	m, _ := c.memories.LoadOrStore(name, &memory{})
	return m.(*memory)
}

func (c *Controller) writer() override.Writer {
	return override.Writer{Client: c.Client, Live: c.Live}
}

// warn announces what is wrong with a pool, once.
func (c *Controller) warn(p *pool, reason, note string) {
	m := c.memory(p.Name)
	if m.warned == nil {
		m.warned = map[string]string{}
	}
	if m.warned[reason] != note {
		m.warned[reason] = note
		c.Events.Announce(p.Reference(), corev1.EventTypeWarning, reason, "SetNodePool", note)
	}
}

// giveBack puts a pool that does not ask back as it was. A pool that is nil has gone.
func (c *Controller) giveBack(ctx context.Context, name string, p *pool, now time.Time) (reconcile.Result, error) {
	c.sources.Delete(name)
	c.Metrics.forget(name)
	if p == nil || !p.hasNotes() && !p.isReleaseOver(now) {
		c.memories.Delete(name)
		return reconcile.Result{}, c.disown(ctx, p)
	}
	wanted := p.restore()
	if until := p.time(releasedKey); now.Before(until) {
		wanted.Annotate(releasedKey, p.Annotations[releasedKey])
	}
	o, err := c.write(ctx, p, wanted, now)
	if o.isWritten {
		c.Metrics.changed(wanted)
		c.announce(p, wanted, "nothing asks Gridlatch for others")
	}
	return sooner(reconcile.Result{}, o.again, now), err
}

// outcome is what has come of a change.
type outcome struct {
	isWritten bool
	// again is when to decide again, zero if that is not needed.
	again time.Time
}

// enforce puts a verdict in force on a pool.
func (c *Controller) enforce(ctx context.Context, p *pool, v verdict, now time.Time) (reconcile.Result, error) {
	wanted := p.settle(v, c.Options.Interval, now)
	o, err := c.write(ctx, p, wanted, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	if v.isPending && o.again.IsZero() {
		o.again = c.pendingUntil(now)
	}
	if o.isWritten {
		c.Metrics.changed(wanted)
		c.announce(p, wanted, v.Over(""))
	}
	if o.again.IsZero() && !v.isPending { // what is wanted is in force
		c.Metrics.show(p.Name, wanted)
	}
	return sooner(reconcile.Result{}, override.Soonest(v.until, o.again, wanted.again), now), nil
}

// pendingUntil returns when to look again at what it is too early to judge.
func (c *Controller) pendingUntil(now time.Time) time.Time {
	again := now.Add(time.Second)
	if graceEnd := c.started.Add(startGrace); graceEnd.After(again) {
		return graceEnd
	}
	return again
}

// announce tells of a change that was made.
func (c *Controller) announce(p *pool, made *change, why string) {
	if made.setsLimits() {
		note := "the pool has its own limits"
		if len(made.limits) > 0 {
			note = "the limits are " + describeLimits(made.limits)
		}
		c.Events.Announce(p.Reference(), corev1.EventTypeNormal, EventLimitsChanged, "SetNodePool", note+"; "+why)
	}
	if made.setsWeight() {
		note := "the pool has its own weight"
		if made.weight != override.Unset {
			note = "the weight is " + string(made.weight)
		}
		c.Events.Announce(p.Reference(), corev1.EventTypeNormal, EventWeightChanged, "SetNodePool", note+"; "+why)
	}
}

// write makes a change, unless somebody has just undone the last one.
func (c *Controller) write(ctx context.Context, p *pool, wanted *change, now time.Time) (outcome, error) {
	if wanted.IsEmpty() {
		return outcome{}, c.disown(ctx, p)
	}
	m := c.memory(p.Name)
	if again, isNew := m.contest.Wait(wanted.undone.is, now); now.Before(again) {
		if isNew {
			c.Metrics.reverts.Inc()
		}
		c.warn(p, EventReverted, undoneNote(wanted, again))
		return outcome{again: again}, nil
	}
	switch written, err := c.writer().Write(ctx, wanted.Change); {
	case err != nil:
		c.Metrics.errors.Inc()
		c.warn(p, EventFailed, "cannot change the pool: "+err.Error())
		return outcome{}, err
	case written == override.Outdated:
		return outcome{again: m.conflict(now)}, nil
	case written == override.Gone:
		return outcome{}, nil
	}
	m.contest.Resume()
	delete(m.warned, EventReverted)
	delete(m.warned, EventFailed)
	m.lost = 0
	return outcome{isWritten: true}, nil
}

// disown gives up the ownership of what a pool does not lend.
func (c *Controller) disown(ctx context.Context, p *pool) error {
	if p == nil {
		return nil
	}
	return c.writer().Disown(ctx, &p.Object, p.lent(), p.hasNotes())
}

// undoneNote says what somebody else has done, and what to do about it.
func undoneNote(c *change, again time.Time) string {
	field := strings.TrimPrefix(string(c.undone.field), "/spec/")
	if !c.undone.isReverted {
		return fmt.Sprintf("somebody has changed %s; this value comes back when Gridlatch gives the pool back, and no limit of Gridlatch is higher; Gridlatch sets the pool again at %s",
			field, plan.FormatTime(again))
	}
	return fmt.Sprintf("somebody changes %s back to what it was; Gridlatch sets the pool again at %s, and less often each time. %s",
		field, plan.FormatTime(again), override.GitOpsAdvice(c.undone.field))
}

// sooner returns a result that asks for a look at a time, too; the zero time asks for nothing.
func sooner(result reconcile.Result, at, now time.Time) reconcile.Result {
	if at.IsZero() {
		return result
	}
	if wait := max(at.Sub(now), time.Millisecond); result.RequeueAfter == 0 || wait < result.RequeueAfter {
		result.RequeueAfter = wait
	}
	return result
}
