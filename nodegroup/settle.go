package nodegroup

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// verdict is what the policy and the intensities say of a ConfigMap.
type verdict struct {
	override.Sentence
	order order // nil if the owner's priorities are to count
	by    string
	until time.Time
	// isPending says that it is too early to say anything.
	isPending bool
	// asked are the node groups of the policy. isAskedAnew says that others are in force.
	asked       []policy.NodeGroup
	isAskedAnew bool
}

// change is what is to be different on a ConfigMap.
type change struct {
	*override.Change
	expander *expander
	notes    map[string]string
	standing override.Standing
	// order is in force after the change, nil if the owner's priorities are.
	order order
	again time.Time
	// deletes says that the ConfigMap is to go.
	deletes bool
}

func (e *expander) newChange() *change {
	return &change{
		Change: e.Change(), expander: e, notes: map[string]string{}, standing: e.Standing(prioritiesField, e.loan()),
	}
}

// settle returns what has to change for a verdict to be in force.
func (e *expander) settle(v verdict, interval time.Duration, now time.Time) *change {
	c, loan := e.newChange(), e.loan()
	if v.isPending {
		return c
	}
	wanted := v.order
	if wanted == nil && loan != nil && c.standing.Original == override.Unset {
		wanted = neutral() // without priorities, Cluster Autoscaler would add no node
	}
	isDamped := false
	if v.order != nil {
		wanted, isDamped = c.damp(v, loan, interval, now)
	}
	present := e.Annotations[v1alpha1.ReasonAnnotation]
	c.notes[v1alpha1.ReasonAnnotation] = v.Over(present)
	if !isDamped && plan.IsTold(present) && plan.NextTold(present, now).IsZero() {
		c.notes[v1alpha1.ReasonAnnotation] = v.Over("") // nothing has changed when it was expected to
	}
	if isDamped && present != "" {
		c.notes[v1alpha1.ReasonAnnotation] = present // it is the reason of what stays in force
	}
	c.notes[v1alpha1.PrioritiesByAnnotation] = v.by
	c.set(wanted)
	c.write()
	return c
}

// damp keeps the order from changing more often than it may because of the intensity.
func (c *change) damp(v verdict, loan *override.Loan, interval time.Duration, now time.Time) (wanted order, isDamped bool) {
	changed, before := c.expander.time(v1alpha1.PrioritiesChangedAnnotation), order(nil)
	mayChange := override.MayChange(changed, interval, now)
	if loan != nil && c.expander.Annotations[v1alpha1.PrioritiesByAnnotation] == v.by {
		before = orderOf(loan.Applied)
	}
	wanted = v.order
	if isOther := before.String() != wanted.String(); isOther && before.hasPatternsOf(wanted) && !v.isAskedAnew && now.Before(mayChange) {
		wanted, isDamped, c.again = before, true, mayChange
	} else if isOther {
		changed = now
	}
	if !changed.IsZero() && interval > 0 {
		c.notes[v1alpha1.PrioritiesChangedAnnotation] = changed.UTC().Format(time.RFC3339)
	}
	return wanted, isDamped
}

// set gives the ConfigMap an order, or the owner's priorities back.
func (c *change) set(wanted order) {
	c.order = wanted
	if wanted == nil {
		c.Set(prioritiesField, c.standing.Original)
		return
	}
	applied := override.ValueOf(wanted.String())
	c.notes[v1alpha1.OriginalPrioritiesAnnotation] = printText(c.standing.Original)
	if c.expander.isMade() && c.standing.Original == override.Unset {
		c.notes[v1alpha1.OriginalPrioritiesAnnotation] = v1alpha1.PrioritiesAbsent
	}
	c.notes[v1alpha1.AppliedPrioritiesAnnotation] = string(applied)
	c.Set(prioritiesField, applied)
}

// restore returns what has to change for the ConfigMap to be as if it had never been lent.
func (e *expander) restore() *change {
	c := e.newChange()
	c.deletes = e.isMade() && e.isBare && c.standing.Original == override.Unset
	c.set(nil)
	c.write()
	return c
}

// write adds the notes to the change.
func (c *change) write() {
	for _, key := range noteKeys() {
		c.Annotate(key, c.notes[key])
	}
	c.Annotate(releasedKey, "") // its time is over
}

// made returns a new ConfigMap with a verdict in force.
func made(namespace string, v verdict, interval time.Duration, now time.Time) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{prioritiesKey: v.order.String()}}}
	o.SetGroupVersionKind(mapKind())
	o.SetNamespace(namespace)
	o.SetName(configMap)
	notes := map[string]string{
		v1alpha1.ReasonAnnotation: v.Over(""), v1alpha1.PrioritiesByAnnotation: v.by,
		v1alpha1.OriginalPrioritiesAnnotation: v1alpha1.PrioritiesAbsent,
		v1alpha1.AppliedPrioritiesAnnotation:  string(override.ValueOf(v.order.String())),
	}
	if interval > 0 {
		notes[v1alpha1.PrioritiesChangedAnnotation] = now.UTC().Format(time.RFC3339)
	}
	o.SetAnnotations(notes)
	return o
}
