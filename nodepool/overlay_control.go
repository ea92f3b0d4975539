package nodepool

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/watching"
)

const (
	// heardWithin is how soon Karpenter says whether an overlay is ready.
	heardWithin = time.Minute
	// seenWithin is how soon a write of ours is seen.
	seenWithin = 2 * time.Second
)

// priceMemory is what is remembered of the overlay of a pool between two looks at the pool.
type priceMemory struct {
	contest override.Contest
	// warned are the last warnings by reason. So two that last are not told of in turn.
	warned map[string]string
	// changed is when the price was last changed because of the intensity.
	changed time.Time
	// applied is the spec that we have written last, with a percentage, at a time. It is empty if there is to be no overlay.
	applied string
	percent int32
	wrote   time.Time
}

func (c *Controller) priceMemory(name string) *priceMemory {
	m, _ := c.priceMemories.LoadOrStore(name, &priceMemory{})
	return m.(*priceMemory)
}

// overlay returns what is known of the overlay of a pool, nil if there is none.
func (c *Controller) overlay(pool string) *overlay {
	o, _ := c.overlays.Get(overlayPrefix + pool).(*overlay)
	return o
}

// onOverlay wakes the pool of an overlay that has changed.
func (c *Controller) onOverlay() toolscache.ResourceEventHandler {
	return watching.OnChange(func(o *overlay) {
		if pool, ok := poolOf(o.Name); ok {
			c.queue.Add(pool)
		}
	})
}

// warnPrice announces what is wrong with the price of a pool, once.
func (c *Controller) warnPrice(p *pool, reason, note string) {
	m := c.priceMemory(p.Name)
	if m.warned == nil {
		m.warned = map[string]string{}
	}
	if m.warned[reason] != note {
		m.warned[reason] = note
		c.Events.Announce(p.Reference(), corev1.EventTypeWarning, reason, "SetNodeOverlay", note)
	}
}

// reconcilePrice has the overlay of a pool be as the pool asks for. A pool that is nil has gone.
func (c *Controller) reconcilePrice(ctx context.Context, name string, p *pool, now time.Time) (reconcile.Result, error) {
	there, asks := c.overlay(name), p != nil && p.asksPrice()
	switch {
	case !c.overlays.IsKnown():
		if asks && c.overlays.IsForbidden() {
			c.warnPrice(p, EventFailed, "may not read NodeOverlays: the component karpenter gives the right")
		}
		return reconcile.Result{}, nil // every pool is looked at once all are known
	case !asks:
		return reconcile.Result{}, c.unprice(ctx, name, p, there)
	case c.overlays.IsAbsent():
		c.warnPrice(p, EventFailed, "there are no NodeOverlays: Karpenter's CustomResourceDefinition is not installed")
		return reconcile.Result{}, nil
	case there != nil && !there.isOurs:
		c.warnPrice(p, EventOverlayTaken, takenNote(name))
		return reconcile.Result{}, nil
	}
	if until := p.offUntil(now); !until.IsZero() {
		return sooner(reconcile.Result{}, until, now), c.unprice(ctx, name, p, there)
	}
	v, err := c.judgePrice(ctx, p, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	again, err := c.enforcePrice(ctx, p, there, v, now)
	return sooner(reconcile.Result{}, override.Soonest(v.until, again), now), err
}

// takenNote says that an overlay has the name of ours.
func takenNote(pool string) string {
	return fmt.Sprintf("NodeOverlay %s%s has no label %s=%s, so it is somebody else's and stays as it is; rename or delete it",
		overlayPrefix, pool, managedByLabel, managedBy)
}

// unprice deletes the overlay of a pool that does not ask for one. A pool that is nil has gone.
func (c *Controller) unprice(ctx context.Context, name string, p *pool, there *overlay) error {
	c.priceSources.Delete(name)
	c.priceMemories.Delete(name)
	c.Metrics.price.DeleteLabelValues(name)
	if there == nil || !there.isOurs {
		return nil
	}
	return c.dropOverlay(ctx, name, p, there, "nothing asks Gridlatch for other prices")
}

// dropOverlay deletes an overlay of ours.
func (c *Controller) dropOverlay(ctx context.Context, name string, p *pool, there *overlay, why string) error {
	gone, err := deleteOverlay(ctx, c.Client, name, there)
	if err != nil {
		c.Metrics.errors.Inc()
		if p != nil {
			c.warnPrice(p, EventFailed, err.Error())
		}
		return err
	}
	if gone {
		c.Metrics.changes.WithLabelValues("price").Inc()
		if p != nil {
			c.announcePrice(p, "no node of the pool looks dearer to Karpenter; "+why)
		}
	}
	return nil
}

// deleteOverlay deletes the overlay of a pool as long as it is the same, and reports whether it has.
func deleteOverlay(ctx context.Context, c client.Client, pool string, there metav1.Object) (gone bool, err error) {
	uid := there.GetUID()
	err = c.Delete(ctx, overlayOf(pool), client.Preconditions{UID: &uid})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("delete NodeOverlay %s%s: %w", overlayPrefix, pool, err)
	}
	return true, nil
}

func (c *Controller) announcePrice(p *pool, note string) {
	c.Events.Announce(p.Reference(), corev1.EventTypeNormal, EventPriceChanged, "SetNodeOverlay", note)
}

// enforcePrice puts a verdict in force. It returns when to decide again, zero if that is not needed.
func (c *Controller) enforcePrice(ctx context.Context, p *pool, there *overlay, v priceVerdict, now time.Time) (again time.Time, err error) {
	if v.isPending {
		return c.pendingUntil(now), nil
	}
	if v.mistake != nil {
		c.warnPrice(p, EventInvalid, override.Shorten(v.mistake.Error(), override.MaxSentence))
	}
	m := c.priceMemory(p.Name)
	isSeen := m.isSeen(there)
	if until := m.wrote.Add(seenWithin); !isSeen && now.Before(until) && !now.Before(m.wrote) { // else the clock has gone back
		return until, nil
	}
	before := m.percentBefore(there)
	percent, again := v.damp(before, override.MayChange(m.changed, c.Options.Interval, now), now)
	if wait, isNew := m.contest.Wait(!isSeen && m.applied != "", now); percent > 0 && now.Before(wait) {
		if isNew {
			c.Metrics.reverts.Inc()
		}
		c.warnPrice(p, EventReverted, undonePriceNote(p.Name, wait))
		return wait, nil
	}
	m.note(v, before, percent, now)
	if percent <= 0 {
		return again, c.endPrice(ctx, p, there, v.Over(""), now)
	}
	err = c.writeOverlay(ctx, p, there, c.wantedOverlay(p, there, v, percent), now)
	return override.Soonest(again, c.checkUse(p, there, now)), err
}

// checkUse tells if Karpenter does not use an overlay that is as wanted. It returns when to look again, if
// it is too early to say so.
func (c *Controller) checkUse(p *pool, there *overlay, now time.Time) (again time.Time) {
	if there == nil || !c.priceMemory(p.Name).isSeen(there) {
		return time.Time{}
	}
	note, again := there.ignoredNote(now)
	if note != "" {
		c.warnPrice(p, EventOverlayIgnored, note)
	}
	return again
}

// note notes when the price changes because of the intensity.
func (m *priceMemory) note(v priceVerdict, before, percent int32, now time.Time) {
	switch {
	case !v.isOn:
		m.changed = time.Time{}
	case percent != before:
		m.changed = now
	}
}

// isSeen reports whether the overlay that is there is as we have written it last.
func (m *priceMemory) isSeen(there *overlay) bool {
	if there == nil {
		return m.applied == ""
	}
	return there.spec == m.applied
}

// percentBefore returns the percentage that we have set last, as far as is known.
func (m *priceMemory) percentBefore(there *overlay) int32 {
	if m.applied != "" || there == nil {
		return m.percent
	}
	if m.changed.IsZero() {
		m.changed = there.changed()
	}
	return there.percent
}

// undonePriceNote says what somebody else has done, and what to do about it.
func undonePriceNote(pool string, again time.Time) string {
	return fmt.Sprintf("somebody has changed or deleted NodeOverlay %s%s; Gridlatch writes it again at %s, and less often each time; to have none, remove the annotation %s",
		overlayPrefix, pool, plan.FormatTime(again), v1alpha1.CarbonPriceAnnotation)
}

// endPrice deletes the overlay of a pool whose nodes are not to look dearer now.
func (c *Controller) endPrice(ctx context.Context, p *pool, there *overlay, why string, now time.Time) error {
	m := c.priceMemory(p.Name)
	c.Metrics.price.DeleteLabelValues(p.Name)
	if there != nil {
		if err := c.dropOverlay(ctx, p.Name, p, there, why); err != nil {
			return err
		}
		m.wrote = now
	}
	m.applied, m.percent = "", 0
	return nil
}

// wantedOverlay returns the overlay that states a percentage.
func (c *Controller) wantedOverlay(p *pool, there *overlay, v priceVerdict, percent int32) *unstructured.Unstructured {
	present := ""
	if there != nil {
		present = there.Annotations[v1alpha1.ReasonAnnotation]
	}
	reason := v.Over(present)
	if present != "" && percent != v.percent {
		reason = present // it is the reason of what stays in force
	}
	o := dearerBy(percent, p.Name, v.architectures)
	notes := map[string]string{v1alpha1.ReasonAnnotation: reason}
	if m := c.priceMemory(p.Name); !m.changed.IsZero() {
		notes[v1alpha1.PriceChangedAnnotation] = m.changed.UTC().Format(time.RFC3339)
	}
	o.SetAnnotations(notes)
	return o
}

// writeOverlay has the overlay of a pool be as wanted.
func (c *Controller) writeOverlay(ctx context.Context, p *pool, there *overlay, wanted *unstructured.Unstructured, now time.Time) error {
	m, w := c.priceMemory(p.Name), newOverlay(wanted)
	isSame := there != nil && there.spec == w.spec
	if !isSame || !maps.Equal(there.Annotations, w.Annotations) {
		isWritten, err := c.applyOverlay(ctx, p, there, wanted, now)
		if err != nil || !isWritten {
			return err
		}
		m.wrote, m.warned = now, nil
	}
	m.applied, m.percent = w.spec, w.percent
	m.contest.Resume()
	c.Metrics.price.WithLabelValues(p.Name).Set(float64(w.percent))
	if !isSame {
		c.Metrics.changes.WithLabelValues("price").Inc()
		c.announcePrice(p, fmt.Sprintf("%s look %d%% dearer to Karpenter; %s", describeNodes(wanted), w.percent, w.Annotations[v1alpha1.ReasonAnnotation]))
	}
	return nil
}

// describeNodes names the nodes that an overlay is about, for people.
func describeNodes(o *unstructured.Unstructured) string {
	requirements, _, _ := unstructured.NestedSlice(o.Object, "spec", "requirements")
	for _, r := range requirements {
		requirement, _ := r.(map[string]any)
		if values, _, _ := unstructured.NestedStringSlice(requirement, "values"); requirement["key"] == corev1.LabelArchStable {
			return "nodes with " + strings.Join(values, " or ")
		}
	}
	return "all nodes of the pool"
}

// applyOverlay writes an overlay, unless it is somebody else's, or the pool does not ask any more. It
// reports whether the overlay is written.
func (c *Controller) applyOverlay(ctx context.Context, p *pool, there *overlay, wanted *unstructured.Unstructured, now time.Time) (isWritten bool, err error) {
	options := []client.ApplyOption{client.FieldOwner(override.Manager)}
	if there != nil {
		// The API server refuses to make an object that has a UID anew.
		wanted.SetUID(there.UID)
		options = append(options, client.ForceOwnership)
	} else if asks, err := c.stillAsks(ctx, p, now); err != nil || !asks {
		return false, err
	}
	// Without force, the API server refuses to write over what is somebody else's.
	err = c.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted), options...)
	switch {
	case apierrors.IsConflict(err) && there == nil:
		c.warnPrice(p, EventOverlayTaken, takenNote(p.Name))
		return false, nil
	case apierrors.IsConflict(err): // it has just gone, and the next look makes another one
		return false, nil
	case err != nil:
		c.Metrics.errors.Inc()
		err = fmt.Errorf("apply NodeOverlay %s: %w", wanted.GetName(), err)
		c.warnPrice(p, EventFailed, err.Error())
		return false, err
	}
	return true, nil
}

// stillAsks asks the API server itself whether a pool asks for other prices: who leaves has just said that
// the pool is not to be changed, and deletes the overlays that are there.
func (c *Controller) stillAsks(ctx context.Context, p *pool, now time.Time) (bool, error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(poolKind())
	if err := c.Live.Get(ctx, client.ObjectKey{Name: p.Name}, o); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	live := newPool(o)
	return live.asksPrice() && live.offUntil(now).IsZero(), nil
}
