package nodegroup

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
	// up to longestConflictRetry: without the right to watch the ConfigMap, every change loses.
	conflictRetry, longestConflictRetry = 100 * time.Millisecond, time.Minute
	// maxDoublings is how often that pause doubles: 2^10 * 100 ms are more than longestConflictRetry.
	maxDoublings = 10
	// restorePause is how long a ConfigMap is left alone after Restore, and how long a ConfigMap of ours
	// that somebody has deleted is not made again.
	restorePause = time.Hour
)

// Clock tells the time.
type Clock interface{ Now() time.Time }

// Events announces what has happened to an object. Announce must not block.
type Events interface {
	Announce(about *metav1.PartialObjectMetadata, kind, reason, action, note string)
}

// Options are what the platform owner sets.
type Options struct {
	// Interval is the shortest time between two changes of an order because of the intensity.
	Interval time.Duration
	// Hysteresis is the share (0.02 is 2 %) by which a place has to be cleaner than another one to go
	// before that one.
	Hysteresis float64
}

// Controller sets the priorities of node groups, in one ConfigMap of each namespace. All exported fields are
// required.
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

	maps     *watching.Resource
	queue    queue
	started  time.Time
	levels   policy.KnownLevels
	named    sync.Map // the namespaces that a policy has named
	memories sync.Map // *memory by namespace
}

// memory is what is remembered of a namespace between two looks. Only one worker at a time looks at a
// namespace.
type memory struct {
	contest override.Contest
	// warned are the last warnings by reason. So two that last are not told of in turn.
	warned map[string]string
	// lost is how often a change has lost a race since the last one that was made.
	lost int
	// asked are the node groups whose order is in force, nil if that is not known.
	asked []policy.NodeGroup
	// deleted is the ConfigMap that we have deleted, and may still see for a moment.
	deleted types.UID
	// isMade says that there was a ConfigMap of ours. It is not made again before notBefore.
	isMade    bool
	notBefore time.Time
}

// conflict notes that a change has lost a race, and returns when to decide again.
func (m *memory) conflict(now time.Time) time.Time {
	pause := min(conflictRetry<<min(m.lost, maxDoublings), longestConflictRetry)
	m.lost++
	return now.Add(pause)
}

// hasDeleted reports whether we have deleted a ConfigMap already.
func (m *memory) hasDeleted(there *expander) bool {
	return there != nil && there.UID != "" && there.UID == m.deleted
}

// made notes that a change was made.
func (m *memory) made() {
	delete(m.warned, EventReverted)
	delete(m.warned, EventFailed)
	m.lost = 0
}

// Reconcile looks at the node groups of the Cluster Autoscaler in a namespace.
func (c *Controller) Reconcile(ctx context.Context, namespace string) (reconcile.Result, error) {
	if !c.maps.IsKnown() {
		return reconcile.Result{}, nil // every namespace is looked at once all are known
	}
	there, now, m := c.expander(namespace), c.Clock.Now(), c.memory(namespace)
	if m.hasDeleted(there) {
		return reconcile.Result{RequeueAfter: m.conflict(now).Sub(now)}, nil // it is seen soon
	}
	groups, isNamed, err := c.groups(ctx, namespace)
	if err != nil {
		return reconcile.Result{}, err
	}
	if until := there.offUntil(now); !isNamed || !until.IsZero() {
		result, err := c.giveBack(ctx, namespace, there, now)
		return sooner(result, until, now), err
	}
	v, mistake, err := c.judge(ctx, groups, there, now)
	switch {
	case apierrors.IsNotFound(err): // the policy has just gone
		return reconcile.Result{}, nil
	case err != nil:
		return reconcile.Result{}, err
	case mistake != nil:
		c.warn(namespace, there, EventInvalid, override.Shorten(v.by+": "+mistake.Error(), override.MaxSentence))
	default:
		delete(m.warned, EventInvalid)
	}
	v.asked, v.isAskedAnew = groups.Groups, m.asked != nil && !slices.Equal(m.asked, groups.Groups)
	return c.enforce(ctx, namespace, there, v, now)
}

// expander returns what is known of the ConfigMap in a namespace, nil if it does not exist.
func (c *Controller) expander(namespace string) *expander {
	e, _ := c.maps.Get(namespace + "/" + configMap).(*expander)
	return e
}

// groups returns what a policy says of the node groups in a namespace, and false if none names the namespace.
func (c *Controller) groups(ctx context.Context, namespace string) (policy.NodeGroups, bool, error) {
	all, err := c.Policies.NodeGroups(ctx)
	if err != nil {
		return policy.NodeGroups{}, false, err
	}
	for _, groups := range all {
		if groups.Namespace == namespace {
			return groups, true, nil
		}
	}
	return policy.NodeGroups{}, false, nil
}

func (c *Controller) memory(namespace string) *memory {
	m, _ := c.memories.LoadOrStore(namespace, &memory{})
	return m.(*memory)
}

func (c *Controller) writer() override.Writer {
	return override.Writer{Client: c.Client, Live: c.Live}
}

// announce tells what has happened to a ConfigMap, which may not exist.
func (c *Controller) announce(namespace string, there *expander, kind, reason, note string) {
	about := &metav1.PartialObjectMetadata{}
	about.SetGroupVersionKind(mapKind())
	about.Namespace, about.Name = namespace, configMap
	if there != nil {
		about = there.Reference()
	}
	c.Events.Announce(about, kind, reason, "SetPriorities", note)
}

// warn announces what is wrong, once.
func (c *Controller) warn(namespace string, there *expander, reason, note string) {
	m := c.memory(namespace)
	if m.warned == nil {
		m.warned = map[string]string{}
	}
	if m.warned[reason] != note {
		m.warned[reason] = note
		c.announce(namespace, there, corev1.EventTypeWarning, reason, note)
	}
}

// giveBack puts a ConfigMap back as it was, nil if there is none.
func (c *Controller) giveBack(ctx context.Context, namespace string, there *expander, now time.Time) (reconcile.Result, error) {
	c.Metrics.forget(namespace)
	isReleaseOver := there != nil && there.has(releasedKey) && there.offUntil(now).IsZero()
	if there == nil || !there.hasNotes() && !isReleaseOver {
		c.memories.Delete(namespace)
		return reconcile.Result{}, c.disown(ctx, there)
	}
	wanted := there.restore()
	if wanted.deletes {
		if err := deleteMade(ctx, c.Client, there); err != nil {
			return reconcile.Result{}, err
		}
		c.memories.Store(namespace, &memory{deleted: there.UID})
		c.Metrics.changes.Inc()
		c.announce(namespace, there, corev1.EventTypeNormal, EventChanged, "Gridlatch has deleted the ConfigMap that it had made; nothing asks Gridlatch for it")
		return reconcile.Result{}, nil
	}
	if !there.offUntil(now).IsZero() {
		wanted.Annotate(releasedKey, there.Annotations[releasedKey])
	}
	wanted.standing.IsUndone = false
	again, err := c.write(ctx, there, wanted, "nothing asks Gridlatch for others", now)
	return sooner(reconcile.Result{}, again, now), err
}

// enforce puts a verdict in force. there is the ConfigMap, nil if there is none.
func (c *Controller) enforce(ctx context.Context, namespace string, there *expander, v verdict, now time.Time) (reconcile.Result, error) {
	m := c.memory(namespace)
	if v.isPending {
		again := now.Add(time.Second)
		if graceEnd := c.started.Add(startGrace); graceEnd.After(again) {
			again = graceEnd
		}
		return sooner(reconcile.Result{}, again, now), nil
	}
	if there == nil {
		again, err := c.create(ctx, namespace, v, now)
		return sooner(reconcile.Result{}, override.Soonest(v.until, again), now), err
	}
	wanted := there.settle(v, c.Options.Interval, now)
	again, err := c.write(ctx, there, wanted, v.Over(""), now)
	if err != nil {
		return reconcile.Result{}, err
	}
	m.isMade = there.isMade()
	if again.IsZero() {
		m.asked = v.asked
		c.Metrics.show(namespace, wanted.order)
	}
	return sooner(reconcile.Result{}, override.Soonest(v.until, again, wanted.again), now), nil
}

// create makes the ConfigMap, if there is an order. It returns when to look again, zero if that is not needed.
func (c *Controller) create(ctx context.Context, namespace string, v verdict, now time.Time) (again time.Time, err error) {
	m := c.memory(namespace)
	c.Metrics.forget(namespace)
	if m.isMade { // Gridlatch leaves, or somebody wants none
		m.isMade, m.notBefore = false, now.Add(restorePause)
		c.warn(namespace, nil, EventReverted, "somebody has deleted the ConfigMap that Gridlatch had made; Gridlatch makes no other one before "+plan.FormatTime(m.notBefore))
	}
	if m.notBefore.Sub(now) > restorePause { // the clock has gone back
		m.notBefore = now.Add(restorePause)
	}
	if v.order == nil || now.Before(m.notBefore) {
		return m.notBefore, nil
	}
	o := made(namespace, v, c.Options.Interval, now)
	switch err := c.Client.Create(ctx, o, client.FieldOwner(override.Manager)); {
	case apierrors.IsAlreadyExists(err): // it is seen soon
		return m.conflict(now), nil
	case err != nil:
		c.Metrics.errors.Inc()
		c.warn(namespace, nil, EventFailed, "cannot make the ConfigMap: "+err.Error())
		return time.Time{}, fmt.Errorf("create ConfigMap %s/%s: %w", namespace, configMap, err)
	}
	m.made()
	m.asked = v.asked
	c.Metrics.changes.Inc()
	c.announce(namespace, newExpander(o), corev1.EventTypeNormal, EventChanged, "Gridlatch has made the ConfigMap; "+v.Over(""))
	return time.Time{}, nil
}

// deleteMade deletes a ConfigMap of ours, as long as it is as it was read.
func deleteMade(ctx context.Context, c client.Client, there *expander) error {
	err := c.Delete(ctx, there.Reference(), client.Preconditions{UID: &there.UID, ResourceVersion: &there.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete ConfigMap %s/%s: %w", there.Namespace, there.Name, err)
	}
	return nil
}

// write makes a change, unless somebody has just undone the last one. It returns when to decide again, zero if
// that is not needed.
func (c *Controller) write(ctx context.Context, there *expander, wanted *change, why string, now time.Time) (again time.Time, err error) {
	if wanted.IsEmpty() {
		return time.Time{}, c.disown(ctx, there)
	}
	m := c.memory(there.Namespace)
	if again, isNew := m.contest.Wait(wanted.standing.IsUndone, now); now.Before(again) {
		if isNew {
			c.Metrics.reverts.Inc()
		}
		c.warn(there.Namespace, there, EventReverted, undoneNote(wanted, again))
		return again, nil
	}
	switch written, err := c.writer().Write(ctx, wanted.Change); {
	case err != nil:
		c.Metrics.errors.Inc()
		c.warn(there.Namespace, there, EventFailed, "cannot change the ConfigMap: "+err.Error())
		return time.Time{}, err
	case written == override.Outdated:
		return m.conflict(now), nil
	case written == override.Gone:
		return time.Time{}, nil
	}
	m.contest.Resume()
	m.made()
	if wanted.Sets(prioritiesField) {
		c.Metrics.changes.Inc()
		note := "Cluster Autoscaler has the owner's priorities; "
		if wanted.order != nil {
			note = "Cluster Autoscaler has other priorities; "
		}
		c.announce(there.Namespace, there, corev1.EventTypeNormal, EventChanged, note+why)
	}
	return time.Time{}, nil
}

// disown gives up the ownership of what a ConfigMap does not lend.
func (c *Controller) disown(ctx context.Context, there *expander) error {
	if there == nil {
		return nil
	}
	var lent []override.Field
	if loan := there.loan(); loan != nil && there.Value(prioritiesField) != loan.Original {
		lent = append(lent, prioritiesField)
	}
	return c.writer().Disown(ctx, &there.Object, lent, there.hasNotes())
}

// undoneNote says what somebody else has done, and what to do about it.
func undoneNote(c *change, again time.Time) string {
	if !c.standing.IsReverted {
		return fmt.Sprintf("somebody has changed %s; this value comes back when Gridlatch gives the ConfigMap back; Gridlatch sets it again at %s",
			prioritiesKey, plan.FormatTime(again))
	}
	return fmt.Sprintf("somebody changes %s back to what it was; Gridlatch sets it again at %s, and less often each time. %s",
		prioritiesKey, plan.FormatTime(again), override.GitOpsAdvice(prioritiesField))
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
