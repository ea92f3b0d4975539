package nodegroup

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
)

const (
	// maxAnnotationsBytes bounds all annotations of an object, by the rules of Kubernetes.
	maxAnnotationsBytes = 256 << 10
	// maxOtherNotes bounds our annotations but for the priorities.
	maxOtherNotes = 4 << 10
)

// expander is what is kept of a ConfigMap with priorities.
type expander struct {
	override.Object // with our annotations
	// isBare says that the ConfigMap has nothing but priorities.
	isBare      bool
	isImmutable bool
	// othersBytes is the size of the annotations of others.
	othersBytes int
}

// newExpander returns what is kept of a ConfigMap.
func newExpander(o *unstructured.Unstructured) *expander {
	data, _, _ := unstructured.NestedMap(o.Object, "data")
	binary, _, _ := unstructured.NestedMap(o.Object, "binaryData")
	delete(data, prioritiesKey)
	e := &expander{Object: override.Read(o, prioritiesField), isBare: len(data)+len(binary)+len(o.GetOwnerReferences()) == 0}
	e.isImmutable, _, _ = unstructured.NestedBool(o.Object, "immutable")
	maps.DeleteFunc(e.Annotations, func(key, text string) bool {
		isOthers := !strings.HasPrefix(key, v1alpha1.Prefix)
		if isOthers {
			e.othersBytes += len(key) + len(text)
		}
		return isOthers
	})
	return e
}

// keepExpander turns an object into what is kept of it.
func keepExpander(object any) (any, error) {
	if o, ok := object.(*unstructured.Unstructured); ok {
		return newExpander(o), nil
	}
	return object, nil
}

func (e *expander) has(key string) bool {
	_, ok := e.Annotations[key]
	return ok
}

// hasNotes reports whether any note of ours is on the ConfigMap.
func (e *expander) hasNotes() bool { return slices.ContainsFunc(noteKeys(), e.has) }

// time returns the time that an annotation has, zero if it has none.
func (e *expander) time(key string) time.Time {
	at, _ := time.Parse(time.RFC3339, e.Annotations[key])
	return at
}

// offUntil returns until when the ConfigMap is to keep what is its own, the zero time if that is over.
func (e *expander) offUntil(now time.Time) time.Time {
	if e == nil {
		return time.Time{}
	}
	if until := e.time(releasedKey); now.Before(until) {
		return until
	}
	return time.Time{}
}

// loan returns what the notes remember of the priorities, nil if these are not lent. Where the other note is
// lost, what is there counts as what was set.
func (e *expander) loan() *override.Loan {
	original, ok := readText(e.Annotations[v1alpha1.OriginalPrioritiesAnnotation])
	if !ok && !e.isMade() {
		return nil
	}
	loan := &override.Loan{Original: original, Applied: e.Value(prioritiesField)}
	if applied, ok := readText(e.Annotations[v1alpha1.AppliedPrioritiesAnnotation]); ok {
		loan.Applied = applied
	}
	return loan
}

// whyNotLent says why a ConfigMap cannot have an order, nil if it can, or if there is none.
func (e *expander) whyNotLent(o order) error {
	if e == nil {
		return nil
	}
	original := e.Standing(prioritiesField, e.loan()).Original
	notes := len(printText(original)) + len(override.ValueOf(o.String())) + maxOtherNotes
	switch {
	case e.isImmutable:
		return errors.New("the ConfigMap is immutable")
	case e.othersBytes+notes > maxAnnotationsBytes:
		return errors.New("the ConfigMap's own priorities are too long for an annotation that remembers them")
	default:
		return nil
	}
}

// isMade reports whether we have made the ConfigMap, and nobody has given it priorities since.
func (e *expander) isMade() bool {
	return e.Annotations[v1alpha1.OriginalPrioritiesAnnotation] == v1alpha1.PrioritiesAbsent
}

// readText reads a note that is a JSON string, or null.
func readText(note string) (override.Value, bool) {
	var text *string
	if note == "" || json.Unmarshal([]byte(note), &text) != nil {
		return override.Unset, false
	}
	if text == nil {
		return override.Unset, true
	}
	return override.ValueOf(*text), true
}

// printText is the note that readText reads.
func printText(v override.Value) string {
	if v == override.Unset {
		return "null"
	}
	return string(v)
}

// orderOf reads the order that a value has, empty if the value is none.
func orderOf(v override.Value) order {
	var text string
	if json.Unmarshal([]byte(v), &text) != nil {
		return order{}
	}
	return parseOrder(text)
}
