package ceiling

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

const (
	// grace is how long a ceiling outlives a start without a forecast: the
	// exporter deletes its ConfigMap for half a minute at every refresh.
	grace = time.Minute
	// soon is when a change that lost a race is decided on again.
	soon = 100 * time.Millisecond
	// Of many ceilings that change together only some are announced: the rest
	// is on the objects, and the API server has their patches to do.
	eventsPerSecond, eventsBurst = 2, 10
	// jobsPoll is how often the Jobs that a change waits for are counted.
	jobsPoll = 10 * time.Second
)

// Clock tells the time.
type Clock interface{ Now() time.Time }

// Events announces what has happened to an object. It must not block.
type Events interface {
	Announce(about *metav1.PartialObjectMetadata, kind, reason, action, note string)
}

// Options are what the platform owner sets.
type Options struct {
	// Workers bounds the writes in flight.
	Workers int
	// LowerInterval is the least time between two changes that lower the ceiling
	// of one target because of the intensity.
	LowerInterval time.Duration
	// LowerBy is by how much a ceiling may be lowered in that time, as the
	// annotation of that name says; empty is no limit.
	LowerBy string
	// Hysteresis is the share (0.02 is 2 %) by which the intensity has to be
	// below a bound of a policy for the ceiling to be raised.
	Hysteresis float64
	// EarlyCron moves the recurring schedules of CarbonAwareKedaScalers a minute
	// ahead, as the operator had them.
	EarlyCron bool
	// CrossNamespace are the namespaces whose CarbonAwareKedaScalers may have
	// targets in other namespaces; * is all.
	CrossNamespace []string
}

// Controller sets the ceilings. All exported fields are required.
type Controller struct {
	Client client.Client
	// Live asks the API server itself.
	Live     client.Reader
	Policies Policies
	Store    *forecast.Store
	// Follow is told which sources, beside those of the policies, the store has
	// to hold.
	Follow  func(ctx context.Context, sources []forecast.Source) error
	Clock   Clock
	Events  Events
	Metrics *Metrics
	Options Options

	targets map[kind]*watcher
	scalers *watcher
	queue   queue
	pace    *rate.Limiter // of what is announced of changes
	started time.Time
	sources sync.Map                // the source of a target's forecast, by ref
	notes   sync.Map                // *memory by ref
	unasked atomic.Bool             // Follow has to be told
	named   atomic.Pointer[sources] // what it was told last

	mu     sync.Mutex
	levels levels
	past   map[courseKey]past
}

// memory is what is remembered of a target between two looks at it. Only one
// worker at a time looks at a target.
type memory struct {
	fight    fight
	warned   string
	followed bool // the ceiling in force follows the intensity
}

// Reconcile looks at one target.
func (c *Controller) Reconcile(ctx context.Context, r ref) (reconcile.Result, error) {
	if !c.scalers.known() || c.targets[r.kind] != nil && !c.targets[r.kind].known() {
		return reconcile.Result{}, nil // all are looked at once they are known
	}
	if err := c.follow(ctx); err != nil {
		return reconcile.Result{}, err
	}
	if err := c.forbid(ctx, r); err != nil {
		return reconcile.Result{}, err
	}
	t, now := c.target(r), c.Clock.Now()
	claims := c.claims(r, t)
	if len(claims) == 0 {
		return c.release(ctx, r, t, now)
	}
	if t != nil && !t.released(now).IsZero() {
		return c.suspend(ctx, r, t, claims, now)
	}
	for _, refused := range claims[1:] {
		if err := c.refuse(ctx, r, t, refused, claims[0].by); err != nil {
			return reconcile.Result{}, err
		}
	}
	if claims[0].scaler != nil {
		return c.reconcileScaler(ctx, r, t, claims[0].scaler, now)
	}
	return c.reconcileNative(ctx, r, t, claims[0].by, now)
}

// reconcileNative makes what a target's annotations ask for hold.
func (c *Controller) reconcileNative(ctx context.Context, r ref, t *target, by string, now time.Time) (reconcile.Result, error) {
	v, source, wrong, err := c.native(ctx, t, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	c.sources.Store(r, source)
	if wrong != "" {
		c.warn(t, "CeilingInvalid", wrong)
	}
	d, err := c.enforce(ctx, t, by, v, now)
	return d.result(v, now), err
}

// target returns what is known of a target, nil if it does not exist.
func (c *Controller) target(r ref) *target {
	if c.targets[r.kind] == nil {
		return nil
	}
	t, _ := c.targets[r.kind].get(r.key()).(*target)
	return t
}

// memory returns what is remembered of a target.
func (c *Controller) memory(r ref) *memory {
	m, _ := c.notes.LoadOrStore(r, &memory{})
	return m.(*memory)
}

// release puts a target that nobody claims back as it was.
func (c *Controller) release(ctx context.Context, r ref, t *target, now time.Time) (reconcile.Result, error) {
	c.sources.Delete(r)
	c.Metrics.forget(r)
	if t == nil || !t.noted() {
		c.notes.Delete(r)
		return reconcile.Result{}, c.disown(ctx, t)
	}
	d, err := c.write(ctx, t, t.restore(), now)
	if err == nil && d.written {
		c.Events.Announce(t.about(), corev1.EventTypeNormal, EventChanged, "Restore", "no ceiling: maxReplicaCount is as it was, "+printReplicas(d.change.max))
	}
	return d.result(verdict{}, now), err
}

// suspend leaves a target without a ceiling for as long as somebody has asked
// for that.
func (c *Controller) suspend(ctx context.Context, r ref, t *target, claims []claim, now time.Time) (reconcile.Result, error) {
	until := t.released(now)
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
	result, err := c.release(ctx, r, t, now)
	if wait := until.Sub(now); result.RequeueAfter == 0 || wait < result.RequeueAfter {
		result.RequeueAfter = wait
	}
	return result, err
}

// early reports whether it is too early to say that there is no forecast: it
// has not been looked for, or what is in force may outlive a start for a while.
func (c *Controller) early(source forecast.Source, t *target, now time.Time) bool {
	book := c.Store.Snapshot(source)
	if !book.IsKnown() {
		return true
	}
	return !book.HasForecast() && t != nil && t.record() != nil && now.Before(c.started.Add(grace))
}

// done is what came of a verdict.
type done struct {
	change  *change
	written bool
	// lost says that the target is not any more as it was known.
	lost bool
	// again is when to look at the target again, whatever the verdict says;
	// zero if not.
	again time.Time
	// waits says why the change has not been made, empty if it has.
	waits string
	// reverted says that it waits because somebody else undoes it.
	reverted bool
}

// result is when a target has to be looked at next.
func (d *done) result(v verdict, now time.Time) reconcile.Result {
	var next time.Time
	for _, at := range []time.Time{v.until, d.again, d.change.held} {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if next.IsZero() {
		return reconcile.Result{}
	}
	return reconcile.Result{RequeueAfter: max(next.Sub(now), time.Millisecond)}
}

// enforce makes the verdict of a claim hold for a target.
func (c *Controller) enforce(ctx context.Context, t *target, by string, v verdict, now time.Time) (*done, error) {
	m := c.memory(t.ref())
	wanted := t.settle(by, v, pace{c.Options.LowerInterval, m.followed, c.step(t)}, now)
	d, err := c.write(ctx, t, wanted, now)
	if err != nil {
		return d, err
	}
	if v.pending && d.again.IsZero() {
		d.again = later(c.started.Add(grace), now.Add(time.Second))
	}
	if d.again.IsZero() && !d.lost { // what is wanted is in force
		m.followed = v.damped || wanted.damped && m.followed
		c.Metrics.show(t.ref(), wanted.ceiling)
	}
	if d.written {
		c.herald(t, wanted, v)
	}
	return d, nil
}

// step is by how much a target's ceiling may be lowered at a time.
func (c *Controller) step(t *target) step {
	text, ok := t.Annotations[v1alpha1.LowerByAnnotation]
	if !ok {
		text = c.Options.LowerBy
	}
	s, err := parseStep(text)
	if err != nil {
		c.warn(t, EventInvalid, v1alpha1.LowerByAnnotation+": "+err.Error()+"; the ceiling is lowered at once")
	}
	return s
}

// herald tells of a change that was made.
func (c *Controller) herald(t *target, made *change, v verdict) {
	c.Metrics.changed(t.ref(), made)
	if (made.lowered || made.raised || made.spec) && c.pace.Allow() {
		c.Events.Announce(t.about(), corev1.EventTypeNormal, EventChanged, "SetCeiling", describe(made, v))
	}
}

// describe tells what a change has done, and why.
func describe(c *change, v verdict) string {
	why := v.sentence("")
	switch {
	case c.ceiling == nil:
		return "maxReplicaCount is as it was, " + printReplicas(c.max) + "; " + why
	case *c.ceiling == 0:
		return "paused: the ceiling is 0; " + why
	default:
		return fmt.Sprintf("ceiling %d; %s", *c.ceiling, why)
	}
}

// write makes a change, or says what it waits for.
func (c *Controller) write(ctx context.Context, t *target, wanted *change, now time.Time) (*done, error) {
	d := &done{change: wanted}
	if wanted.empty() {
		return d, c.disown(ctx, t)
	}
	m := c.memory(t.ref())
	if again := m.fight.hold(wanted.undone, now); now.Before(again) {
		d.again, d.reverted, d.waits = again, true, undoneBy(wanted, again)
		c.Metrics.reverted(t.kind, m.fight.fresh)
		c.warn(t, EventReverted, d.waits)
		return d, nil
	}
	if wanted.spec && t.kills {
		running, err := runningJobs(ctx, c.Live, t)
		if err != nil {
			return d, err
		}
		if running > 0 {
			return d, c.awaitJobs(ctx, t, d, now)
		}
	}
	err := c.patch(ctx, t, wanted)
	switch {
	case apierrors.IsConflict(err):
		d.lost, d.again = true, now.Add(soon)
		return d, nil
	case apierrors.IsNotFound(err):
		d.lost = true
		return d, nil
	case err != nil:
		c.Metrics.failed(t.kind)
		c.warn(t, EventFailed, "cannot set the ceiling: "+err.Error())
		return d, fmt.Errorf("patch %s: %w", t.ref(), err)
	}
	m.fight.struck, m.warned, d.written = false, "", true
	return d, nil
}

// disown gives up what is owned of a target and not needed any more.
func (c *Controller) disown(ctx context.Context, t *target) error {
	if t == nil {
		return nil
	}
	return disown(ctx, c.Live, c.Client, t)
}

func (c *Controller) patch(ctx context.Context, t *target, wanted *change) error {
	return c.Client.Patch(ctx, t.about(), t.patch(wanted), client.FieldOwner(Manager))
}

// runningJobs counts the Jobs of a ScaledJob that KEDA would delete.
func runningJobs(ctx context.Context, reader client.Reader, t *target) (int, error) {
	var jobs batchv1.JobList
	if err := reader.List(ctx, &jobs, client.InNamespace(t.Namespace), client.MatchingLabels{jobsOf: t.Name}); err != nil {
		return 0, fmt.Errorf("list the Jobs of %s: %w", t.ref(), err)
	}
	running := 0
	for i := range jobs.Items {
		ended := slices.ContainsFunc(jobs.Items[i].Status.Conditions, func(c batchv1.JobCondition) bool {
			return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
		})
		if !ended {
			running++
		}
	}
	return running, nil
}

// killing says why a ScaledJob is left alone for now.
const killing = "KEDA would delete the Jobs that run: this waits until none does; set spec.rollout.strategy to gradual, and it need not"

// awaitJobs says on a ScaledJob what it waits for. That changes no spec, and
// harms no Job.
func (c *Controller) awaitJobs(ctx context.Context, t *target, d *done, now time.Time) error {
	d.again = now.Add(jobsPoll)
	d.waits = fmt.Sprintf("maxReplicaCount stays %s: %s", printReplicas(t.max), killing)
	c.warn(t, EventWaits, d.waits)
	if t.Annotations[v1alpha1.ReasonAnnotation] == d.waits {
		return nil
	}
	say := &change{}
	say.annotate(v1alpha1.ReasonAnnotation, &d.waits)
	if err := c.patch(ctx, t, say); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("patch %s: %w", t.ref(), err)
	}
	return nil
}

// warn announces what is wrong with a target, once.
func (c *Controller) warn(t *target, reason, note string) {
	m := c.memory(t.ref())
	if m.warned == note {
		return
	}
	m.warned = note
	c.Events.Announce(t.about(), corev1.EventTypeWarning, reason, "SetCeiling", note)
}

// forbid tells the scalers that may not have the target that they name.
func (c *Controller) forbid(ctx context.Context, r ref) error {
	for _, s := range c.scalersOf(r) {
		rep := report{reason: carbonaware.ReasonTargetForbidden}
		switch {
		case r.kind == "":
			rep.reason, rep.message = carbonaware.ReasonTargetNotFound, "unable to find scaledobject: the spec names no target"
		case !c.allowed(s):
			rep.message = fmt.Sprintf("the target is in namespace %s: a target in another namespace than %s has to be allowed by the flag --ceiling-cross-namespace of Gridlatch", r.namespace, s.Namespace)
		default:
			continue
		}
		if err := c.reportScaler(ctx, s, rep); err != nil {
			return err
		}
	}
	return nil
}

// refuse tells the claim that came second.
func (c *Controller) refuse(ctx context.Context, r ref, t *target, refused claim, holder string) error {
	note := fmt.Sprintf("%s has its ceiling from %s, which came first", r, holder)
	if refused.scaler == nil {
		c.warn(t, EventRefused, "the annotations are not heeded: "+note)
		return nil
	}
	return c.reportScaler(ctx, refused.scaler, report{reason: carbonaware.ReasonTargetClaimed, message: note})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
