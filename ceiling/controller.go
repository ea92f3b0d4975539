package ceiling

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/trigger"
	"github.com/gridlatch/gridlatch/watching"
)

// startGrace is how long a ceiling outlives a start without a forecast: the exporter deletes its
// ConfigMap for half a minute at every refresh.
const startGrace = time.Minute

// Clock tells the time.
type Clock interface{ Now() time.Time }

// Events announces what has happened to an object. Announce must not block.
type Events interface {
	Announce(about *metav1.PartialObjectMetadata, kind, reason, action, note string)
}

// Options are what the platform owner sets.
type Options struct {
	// Workers is how many targets are looked at at the same time.
	Workers int
	// LowerInterval is the shortest time between two changes that lower the ceiling of one target
	// because of the intensity.
	LowerInterval time.Duration
	// LowerBy is the most that a ceiling is lowered in that time, in the form of the annotation
	// gridlatch.dev/lower-by. Empty is no limit.
	LowerBy string
	// Hysteresis is the share (0.02 is 2 %) by which the intensity has to be below a bound of a
	// policy for the ceiling to rise.
	Hysteresis float64
	// EarlyCron moves the recurring schedules of CarbonAwareKedaScalers a minute ahead, as the
	// operator had them.
	EarlyCron bool
	// CrossNamespace are the namespaces whose CarbonAwareKedaScalers may have targets in other
	// namespaces. * is every namespace.
	CrossNamespace []string
	// Form is what rewritten triggers name. If it is empty, no trigger is carried out.
	Form trigger.Form
	// IsTrusted reports whether KEDA trusts the scaler. Until then, no trigger is rewritten. It may be nil.
	IsTrusted func() bool
}

// Controller sets the ceilings. All exported fields are required.
type Controller struct {
	Client client.Client
	// Live reads from the API server itself.
	Live     client.Reader
	Policies Policies
	Store    *forecast.Store
	// Follow tells the store which sources to keep, beside those of the policies.
	Follow  func(ctx context.Context, sources []forecast.Source) error
	Clock   Clock
	Events  Events
	Metrics *Metrics
	Options Options

	targets     map[kind]*watching.Resource
	scalers     *watching.Resource
	queue       queue
	changesPace *rate.Limiter // of the changes that are announced
	started     time.Time
	sources     sync.Map // the source of a target's forecast, by ref
	memories    sync.Map // *memory by ref

	triggers sync.Map // *triggerMemory by ref

	scalersChanged atomic.Bool // Follow has to be told
	named          atomic.Pointer[sources]

	levels policy.KnownLevels

	mu   sync.Mutex
	seen map[seriesKey]seen
}

// memory is what is remembered of a target between two looks at the target. Only one worker at a
// time looks at a target.
type memory struct {
	contest override.Contest
	warned  string // the last warning
	// followsIntensity says that the ceiling in force is that of the intensity.
	followsIntensity bool
}

// Reconcile looks at one target.
func (c *Controller) Reconcile(ctx context.Context, r ref) (reconcile.Result, error) {
	if !c.scalers.IsKnown() || c.targets[r.kind] != nil && !c.targets[r.kind].IsKnown() {
		return reconcile.Result{}, nil // every target is looked at once all are known
	}
	if err := c.followSources(ctx); err != nil {
		return reconcile.Result{}, err
	}
	if err := c.forbid(ctx, r); err != nil {
		return reconcile.Result{}, err
	}
	t, now := c.target(r), c.Clock.Now()
	l, err := c.lookAtTrigger(ctx, r, t, now)
	if err != nil || l.isOver {
		return resultAt(l.again, now), err
	}
	result, err := c.lookAtClaims(ctx, r, t, l.judgement, now)
	if again := resultAt(l.again, now).RequeueAfter; again > 0 && (result.RequeueAfter == 0 || again < result.RequeueAfter) {
		result.RequeueAfter = again
	}
	return result, err
}

// resultAt returns the result that asks for a look at a time, zero for none.
func resultAt(next, now time.Time) reconcile.Result {
	if next.IsZero() {
		return reconcile.Result{}
	}
	return reconcile.Result{RequeueAfter: max(next.Sub(now), time.Millisecond)}
}

// lookAtClaims gives a target the ceiling of its first claim.
func (c *Controller) lookAtClaims(ctx context.Context, r ref, t *target, j *judgement, now time.Time) (reconcile.Result, error) {
	claims := c.claims(r, t)
	if len(claims) == 0 {
		return c.giveBack(ctx, r, t, now)
	}
	if t != nil && !t.offUntil(now).IsZero() {
		return c.stayOff(ctx, r, t, claims, now)
	}
	for _, refused := range claims[1:] {
		if err := c.refuse(ctx, r, t, refused, claims[0].by); err != nil {
			return reconcile.Result{}, err
		}
	}
	switch {
	case claims[0].scaler != nil:
		return c.reconcileScaler(ctx, r, t, claims[0].scaler, now)
	case claims[0].by == byTrigger:
		c.sources.Delete(r)
		v := t.ceilingOf(j)
		o, err := c.enforce(ctx, t, byTrigger, v, now)
		return o.result(v, now), err
	}
	return c.reconcileNative(ctx, r, t, claims[0].by, now)
}

// reconcileNative sets the ceiling that the target's annotations ask for.
func (c *Controller) reconcileNative(ctx context.Context, r ref, t *target, by string, now time.Time) (reconcile.Result, error) {
	v, source, mistake, err := c.native(ctx, t, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	c.sources.Store(r, source)
	if mistake != "" {
		c.warn(t, EventInvalid, mistake)
	}
	o, err := c.enforce(ctx, t, by, v, now)
	return o.result(v, now), err
}

// target returns what is known of a target, nil if it does not exist.
func (c *Controller) target(r ref) *target {
	if c.targets[r.kind] == nil {
		return nil
	}
	t, _ := c.targets[r.kind].Get(r.key()).(*target)
	return t
}

// memory returns what is remembered of a target.
func (c *Controller) memory(r ref) *memory {
	m, _ := c.memories.LoadOrStore(r, &memory{})
	return m.(*memory)
}

// writer returns what writes to targets.
func (c *Controller) writer() override.Writer {
	return override.Writer{Client: c.Client, Live: c.Live}
}

// giveBack puts a target that nobody claims back as it was.
func (c *Controller) giveBack(ctx context.Context, r ref, t *target, now time.Time) (reconcile.Result, error) {
	c.sources.Delete(r)
	c.Metrics.forget(r)
	if t == nil || !t.hasNotes() {
		c.memories.Delete(r)
		return reconcile.Result{}, c.disown(ctx, t)
	}
	o, err := c.write(ctx, t, t.restore(), now)
	if err == nil && o.isWritten {
		c.Events.Announce(t.Reference(), corev1.EventTypeNormal, EventChanged, "Restore",
			"there is no ceiling any more: maxReplicaCount is "+printReplicas(replicas(o.change.max))+", as before")
	}
	return o.result(verdict{}, now), err
}

// stayOff leaves a target without a ceiling for as long as somebody has asked for that.
func (c *Controller) stayOff(ctx context.Context, r ref, t *target, claims []claim, now time.Time) (reconcile.Result, error) {
	until := t.offUntil(now)
	rep := report{
		reason:  carbonaware.ReasonTargetReleased,
		message: "the ceiling was taken off by hand, and is set again at " + plan.FormatTime(until),
	}
	for _, claim := range claims {
		if claim.scaler == nil {
			continue
		}
		if err := c.reportScaler(ctx, claim.scaler, rep); err != nil {
			return reconcile.Result{}, err
		}
	}
	result, err := c.giveBack(ctx, r, t, now)
	if wait := until.Sub(now); result.RequeueAfter == 0 || wait < result.RequeueAfter {
		result.RequeueAfter = wait
	}
	return result, err
}

// isTooEarly reports whether it is too early to say that there is no forecast: nobody has looked
// for the forecast yet, or the ceiling in force may outlive a start for a while.
func (c *Controller) isTooEarly(source forecast.Source, t *target, now time.Time) bool {
	snapshot := c.Store.Snapshot(source)
	if !snapshot.IsKnown() {
		return true
	}
	return !snapshot.HasForecast() && t != nil && (t.record() != nil || t.triggerPause() != nil) && now.Before(c.started.Add(startGrace))
}

// pendingUntil returns when to look again because it is too early to say that there is no forecast.
func (c *Controller) pendingUntil(now time.Time) time.Time {
	again := now.Add(time.Second)
	if graceEnd := c.started.Add(startGrace); graceEnd.After(again) {
		again = graceEnd
	}
	return again
}

// warn announces what is wrong with a target, once.
func (c *Controller) warn(t *target, reason, note string) {
	m := c.memory(t.ref())
	if m.warned == note {
		return
	}
	m.warned = note
	c.Events.Announce(t.Reference(), corev1.EventTypeWarning, reason, "SetCeiling", note)
}

// forbid tells the scalers that may not have the target that they name.
func (c *Controller) forbid(ctx context.Context, r ref) error {
	for _, s := range c.scalersOf(r) {
		rep := report{reason: carbonaware.ReasonTargetForbidden}
		switch {
		case r.kind == "":
			rep.reason, rep.message = carbonaware.ReasonTargetNotFound, "unable to find scaledobject: the spec names no target"
		case !c.isAllowed(s):
			rep.message = fmt.Sprintf("the target is in namespace %s: Gridlatch has to allow targets outside of namespace %s with its flag --ceiling-cross-namespace",
				r.namespace, s.Namespace)
		default:
			continue
		}
		if err := c.reportScaler(ctx, s, rep); err != nil {
			return err
		}
	}
	return nil
}

// refuse tells a claim that came after the claim of the holder.
func (c *Controller) refuse(ctx context.Context, r ref, t *target, refused claim, holder string) error {
	note := fmt.Sprintf("%s has its ceiling from %s, which came first", r, holder)
	if refused.by == byTrigger {
		c.warnOfTrigger(t, EventRefused, "the trigger "+trigger.Type+" has no effect on the ceiling: "+note)
		return nil
	}
	if refused.scaler == nil {
		c.warn(t, EventRefused, "the annotations have no effect: "+note)
		return nil
	}
	return c.reportScaler(ctx, refused.scaler, report{reason: carbonaware.ReasonTargetClaimed, message: note})
}
