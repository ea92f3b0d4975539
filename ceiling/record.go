package ceiling

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
)

// record is what the notes on a target remember of its ceiling.
type record struct {
	by      string // the claim whose ceiling it is
	ceiling int32
	loan    override.Loan
	pauses  []pause // the annotations of KEDA that we have set
	lowered time.Time
}

// record returns what the notes remember, nil if the target has no ceiling. It has one for as long
// as the original can be read. Where another note is lost, what is there counts as what was set.
func (t *target) record() *record {
	original, err := parseReplicas(t.Annotations[v1alpha1.OriginalMaxReplicaCountAnnotation])
	if err != nil {
		return nil
	}
	r := &record{
		by:      t.Annotations[v1alpha1.CeilingByAnnotation],
		ceiling: t.maxReplicas(),
		loan:    override.Loan{Original: valueOf(original), Applied: t.Value(maxReplicaCount)},
		pauses:  readPauses(t.kind, t.Annotations[v1alpha1.CeilingPausedWithAnnotation]),
	}
	ceiling, errCeiling := parseReplicas(t.Annotations[v1alpha1.CeilingAnnotation])
	switch applied, err := parseReplicas(t.Annotations[v1alpha1.AppliedMaxReplicaCountAnnotation]); {
	case errCeiling == nil && ceiling != nil && *ceiling > 0:
		r.ceiling, r.loan.Applied = *ceiling, valueOf(ceiling)
	case err == nil: // this note is there while the ceiling is 0
		r.ceiling, r.loan.Applied = 0, valueOf(applied)
	}
	r.lowered, _ = time.Parse(time.RFC3339, t.Annotations[v1alpha1.CeilingLoweredAnnotation]) // zero if absent
	return r
}

// pause returns the pause of ours that an annotation is, nil if the annotation is not ours.
func (r *record) pause(key string) *pause {
	if r == nil {
		return nil
	}
	for i := range r.pauses {
		if r.pauses[i].key == key {
			return &r.pauses[i]
		}
	}
	return nil
}

// standing returns what has become of what the record remembers. An owner who writes another value
// over our pause undoes nothing: the value is the owner's word. An owner who only takes our pause
// away reverts.
func (t *target) standing(r *record) override.Standing {
	if r == nil {
		return t.Standing(maxReplicaCount, nil)
	}
	s := t.Standing(maxReplicaCount, &r.loan)
	if !s.IsUndone && !t.isPauseReplaced(r) && slices.ContainsFunc(r.pauses, t.isGone) {
		s.IsUndone, s.IsReverted = true, true
	}
	return s
}

// lent returns the fields that the target lends at the moment.
func (t *target) lent() (fields []override.Field) {
	if p := t.triggerPause(); p != nil {
		fields = append(fields, p.field())
	}
	r := t.record()
	if r == nil {
		return fields
	}
	if t.Value(maxReplicaCount) != r.loan.Original {
		fields = append(fields, maxReplicaCount)
	}
	for _, p := range r.pauses {
		fields = append(fields, p.field())
	}
	return fields
}

func parseReplicas(text string) (*int32, error) {
	if text == v1alpha1.MaxReplicaCountUnset {
		return nil, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("%.40q: want a number of replicas, or %s", text, v1alpha1.MaxReplicaCountUnset)
	}
	return ptr.To(int32(n)), nil
}

func printReplicas(n *int32) string {
	if n == nil {
		return v1alpha1.MaxReplicaCountUnset
	}
	return strconv.Itoa(int(*n))
}

// valueOf returns a number of replicas as the value of a field, nil as a field that is not set.
func valueOf(n *int32) override.Value {
	if n == nil {
		return override.Unset
	}
	return override.ValueOf(*n)
}

// replicas returns the number of replicas that a field has, nil if it is not set.
func replicas(v override.Value) *int32 {
	n, err := strconv.ParseInt(string(v), 10, 32)
	if err != nil {
		return nil
	}
	return ptr.To(int32(n))
}
