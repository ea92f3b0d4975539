package widen

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// DefaultInterval is the shortest time between two changes of a width.
	DefaultInterval = 5 * time.Minute
	// startGrace is how long what is in force outlives a start without a forecast.
	startGrace = time.Minute
	// conflictRetry is how long to wait before a change that lost a race is decided on again.
	conflictRetry = 100 * time.Millisecond
	// disownRetry is how soon a Job is looked at again whose width is to be given up.
	disownRetry = time.Second
	// unableRetry is how soon a Job is looked at again while no Job may lend its width.
	unableRetry = 10 * time.Second
	// expectedFor is how long the pods of a new width count that do not exist yet.
	expectedFor = 10 * time.Second
)

// Events announces what has happened to an object. Announce must not block.
type Events interface {
	Announce(about *metav1.PartialObjectMetadata, kind, reason, action, note string)
}

// Work knows the Jobs that lend their width, and what runs beside them.
type Work interface {
	// Elastic returns the names of the Jobs of a policy that lend their width, or have lent it.
	Elastic(policy string) []types.NamespacedName
	// WatchElastic calls wake for each such Job that has changed.
	WatchElastic(wake func(types.NamespacedName)) error
	// Beside returns what runs of a policy at a location, but for the pods of one Job. expected are the
	// widths that other Jobs are about to have.
	Beside(rules *policy.Policy, location string, job types.UID, expected map[types.UID]int) ([]plan.Run, error)
}

// Options are what the platform owner sets.
type Options struct {
	// Workers is how many Jobs are looked at at the same time.
	Workers int
	// Interval is the shortest time between two changes of a width.
	Interval time.Duration
}

// lookInterval is how often the progress of a Job is looked at.
func (o Options) lookInterval() time.Duration {
	return min(max(o.Interval, time.Second), DefaultInterval)
}

// Controller sets the widths of Jobs. All exported fields are required.
type Controller struct {
	Client client.Client
	// Live reads from the API server itself.
	Live     client.Reader
	Policies policy.Policies
	Store    *forecast.Store
	Work     Work
	Clock    policy.Clock
	Events   Events
	Metrics  *Metrics
	Options  Options
	// WhyNot says why no Job is to lend its width now; empty if Jobs may.
	WhyNot func() string

	queue    queue
	started  time.Time
	sources  sync.Map // the source of a Job's forecast, by name
	memories sync.Map // *memory by name

	// planning is held while a Job is planned and written below ceilings, and guards written. The next
	// Job must see the width.
	planning sync.Mutex
	written  map[types.UID]writtenWidth
}

// memory is what is remembered of a Job between two looks at it. Only one worker at a time looks at a
// Job.
type memory struct {
	contest override.Contest
	warned  string // the last warning
}

// writtenWidth is a width that was written, and that the pods may not show yet.
type writtenWidth struct {
	width int
	at    time.Time
}

// Reconcile looks at a Job.
func (c *Controller) Reconcile(ctx context.Context, name types.NamespacedName) (reconcile.Result, error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(hold.JobKind())
	if err := c.Live.Get(ctx, name, o); err != nil {
		if err = client.IgnoreNotFound(err); err != nil {
			return reconcile.Result{}, fmt.Errorf("read Job %s: %w", name, err)
		}
		c.forget(name)
		return reconcile.Result{}, nil
	}
	w, err := readWork(o)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !w.asks() && !w.hasNotes() && !w.IsOurs(widthField) {
		c.forget(name)
		return reconcile.Result{}, nil
	}
	return c.look(ctx, w, c.Clock.Now())
}

// forget drops what is remembered of a Job that lends nothing.
func (c *Controller) forget(name types.NamespacedName) {
	c.sources.Delete(name)
	c.memories.Delete(name)
}

func nameOf(w *work) types.NamespacedName {
	return types.NamespacedName{Namespace: w.Namespace, Name: w.Name}
}

func (c *Controller) memory(w *work) *memory {
	m, _ := c.memories.LoadOrStore(nameOf(w), &memory{})
	return m.(*memory)
}

// look has a Job be as wide as it is to be.
func (c *Controller) look(ctx context.Context, w *work, now time.Time) (reconcile.Result, error) {
	v, isOwn := c.whyOwn(w, now)
	if !isOwn {
		rules, none, err := c.rules(ctx, w)
		if err != nil {
			return reconcile.Result{}, err
		}
		if v = none; rules != nil {
			if rules.HasBuckets() {
				c.planning.Lock()
				defer c.planning.Unlock()
			}
			if v, err = c.judge(ctx, w, rules, now); err != nil {
				return reconcile.Result{}, err
			}
		}
	}
	wanted := w.settle(v, now)
	again, err := c.write(ctx, w, v, wanted, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	return after(override.Soonest(v.until, wanted.again, again), now), nil
}

// whyOwn returns the verdict on a Job that keeps its own width whatever the grid does.
func (c *Controller) whyOwn(w *work, now time.Time) (v verdict, isOwn bool) {
	switch why := w.whyOwn(); {
	case !w.asks():
		return own("nothing asks Gridlatch for another", ""), true
	case why != "":
		return own(why, ""), true
	case w.isTaken():
		return own("somebody else has set it", ""), true
	}
	if until := w.offUntil(now); !until.IsZero() {
		v = own("Gridlatch has given it back", "")
		v.until = until
		return v, true
	}
	if c.WhyNot() != "" {
		return verdict{isPending: true, until: now.Add(unableRetry)}, true // who leaves gives the width back
	}
	if mistake := w.mistakes(); mistake != nil {
		why := override.Shorten(mistake.Error(), override.MaxSentence)
		c.warn(w, v1alpha1.EventWidthInvalid, why)
		return own(why, ""), true
	}
	return verdict{}, false
}

// write makes a change, unless somebody has just undone the last one. It returns when to decide again,
// zero if that is not needed.
func (c *Controller) write(ctx context.Context, w *work, v verdict, wanted *change, now time.Time) (again time.Time, err error) {
	writer := override.Writer{Client: c.Client, Live: c.Live}
	if wanted.IsEmpty() {
		lent := w.lent()
		if len(lent) == 0 && w.IsOurs(widthField) {
			again = now.Add(disownRetry) // the Job may change meanwhile, and then nothing is given up
		}
		return again, writer.Disown(ctx, &w.Object, lent, true)
	}
	m := c.memory(w)
	if again, isNew := m.contest.Wait(wanted.isUndone, now); now.Before(again) {
		if isNew {
			c.Metrics.reverts.Inc()
		}
		c.warn(w, v1alpha1.EventWidthReverted, fmt.Sprintf("somebody changes parallelism back to what it was; Gridlatch sets it again at %s, and less often each time. %s",
			plan.FormatTime(again), override.GitOpsAdvice(widthField)))
		return again, nil
	}
	switch written, err := writer.Write(ctx, wanted.Change); {
	case err != nil:
		c.Metrics.errors.Inc()
		c.warn(w, v1alpha1.EventWidthFailed, override.Shorten("cannot change the Job: "+err.Error(), override.MaxSentence))
		return time.Time{}, err
	case written == override.Outdated:
		return now.Add(conflictRetry), nil
	case written == override.Gone:
		return time.Time{}, nil
	}
	m.contest.Resume()
	m.warned = ""
	c.Metrics.changed(wanted, v.width == 0)
	c.announce(w, v, wanted)
	c.noteWritten(w, v, wanted, now)
	return time.Time{}, nil
}

// lent returns the fields that the Job lends at the moment.
func (w *work) lent() []override.Field {
	if loan := w.loan(); loan != nil && w.Value(widthField) != loan.Original {
		return []override.Field{widthField}
	}
	return nil
}

// announce tells of a change that was made.
func (c *Controller) announce(w *work, v verdict, made *change) {
	switch {
	case made.isTaken && w.asks():
		c.Metrics.reverts.Inc()
		c.Events.Announce(w.Reference(), corev1.EventTypeWarning, v1alpha1.EventWidthReverted, "SetWidth",
			fmt.Sprintf("somebody has set parallelism to %d: Gridlatch leaves it alone from now on, until the annotation %s is taken away and written again", made.width, v1alpha1.ParallelismAnnotation))
	case !made.setsWidth():
	case v.isHeld:
		c.Events.Announce(w.Reference(), corev1.EventTypeNormal, v1alpha1.EventWidthChanged, "SetWidth",
			fmt.Sprintf("parallelism is %d while the Job waits, and follows the grid from its start on", made.width))
	default:
		c.Events.Announce(w.Reference(), corev1.EventTypeNormal, v1alpha1.EventWidthChanged, "SetWidth", fmt.Sprintf("parallelism is %d: %s", made.width, v.Over("")))
	}
}

// noteWritten remembers a width that was written below ceilings.
func (c *Controller) noteWritten(w *work, v verdict, made *change, now time.Time) {
	if !v.isLimited || !made.setsWidth() {
		return
	}
	if c.written == nil {
		c.written = map[types.UID]writtenWidth{}
	}
	c.written[w.UID] = writtenWidth{made.width, now}
}

// expected returns the widths that other Jobs than one were given a moment ago.
func (c *Controller) expected(but types.UID, now time.Time) map[types.UID]int {
	widths := map[types.UID]int{}
	for uid, w := range c.written {
		switch age := now.Sub(w.at); {
		case age < 0 || age >= expectedFor:
			delete(c.written, uid)
		case uid != but:
			widths[uid] = w.width
		}
	}
	return widths
}

// warn announces what is wrong with a Job, once.
func (c *Controller) warn(w *work, reason, note string) {
	if m := c.memory(w); m.warned != note {
		m.warned = note
		c.Events.Announce(w.Reference(), corev1.EventTypeWarning, reason, "SetWidth", note)
	}
}

// after returns a result that asks for a look at a time; the zero time asks for nothing.
func after(at, now time.Time) reconcile.Result {
	if at.IsZero() {
		return reconcile.Result{}
	}
	return reconcile.Result{RequeueAfter: max(at.Sub(now), time.Millisecond)}
}
