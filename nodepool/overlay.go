package nodepool

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

const (
	// overlayPrefix is before the name of the pool in the name of its overlay.
	overlayPrefix = "gridlatch-"
	// The label of our overlays.
	managedByLabel, managedBy = "app.kubernetes.io/managed-by", "gridlatch"
	// overlayWeight is the lowest weight that an overlay can state. For the price of a node, Karpenter
	// uses the overlay with the highest weight only.
	overlayWeight = 1
	poolLabel     = "karpenter.sh/nodepool"
)

func overlayResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "karpenter.sh", Version: "v1alpha1", Resource: "nodeoverlays"}
}

func overlayKind() schema.GroupVersionKind {
	return overlayResource().GroupVersion().WithKind("NodeOverlay")
}

// overlay is what is kept of a NodeOverlay.
type overlay struct {
	metav1.ObjectMeta // names, age, and our annotations
	isOurs            bool
	percent           int32 // 0 if no node looks dearer
	spec              string
	// isReady is what Karpenter says of the overlay, empty if it says nothing. why is the reason.
	isReady, why string
}

// newOverlay returns what is kept of a NodeOverlay.
func newOverlay(o *unstructured.Unstructured) *overlay {
	kept := &overlay{
		ObjectMeta: metav1.ObjectMeta{Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(), CreationTimestamp: o.GetCreationTimestamp()},
		isOurs:     o.GetLabels()[managedByLabel] == managedBy,
		spec:       printSpec(o),
	}
	adjustment, _, _ := unstructured.NestedString(o.Object, "spec", "priceAdjustment")
	kept.percent, _ = parsePercent(adjustment)
	annotations := o.GetAnnotations()
	kept.Annotations = map[string]string{}
	for _, key := range []string{v1alpha1.ReasonAnnotation, v1alpha1.PriceChangedAnnotation} {
		kept.Annotations[key] = annotations[key]
	}
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, condition := range conditions {
		is, _ := condition.(map[string]any)
		if kind, _, _ := unstructured.NestedString(is, "type"); kind == "Ready" {
			kept.isReady, _, _ = unstructured.NestedString(is, "status")
			kept.why, _, _ = unstructured.NestedString(is, "message")
		}
	}
	return kept
}

// keepOverlay turns an object into what is kept of it.
func keepOverlay(object any) (any, error) {
	if o, ok := object.(*unstructured.Unstructured); ok {
		return newOverlay(o), nil
	}
	return object, nil
}

// printSpec prints the spec of an overlay, to compare.
func printSpec(o *unstructured.Unstructured) string {
	text, _ := json.Marshal(o.Object["spec"]) // of JSON: no error is possible
	return string(text)
}

// changed is when the price was last changed because of the intensity, zero if that is not known.
func (o *overlay) changed() time.Time {
	at, _ := time.Parse(time.RFC3339, o.Annotations[v1alpha1.PriceChangedAnnotation])
	return at
}

// overlayOf returns an overlay for a pool, with its name alone.
func overlayOf(pool string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(overlayKind())
	o.SetName(overlayPrefix + pool)
	return o
}

// poolOf returns the pool that an overlay with a name is for, and false if it can be none of ours.
func poolOf(overlay string) (string, bool) { return strings.CutPrefix(overlay, overlayPrefix) }

// dearerBy returns the overlay that lets nodes of a pool look dearer by a percentage: those with some
// architectures, or all if there is none.
func dearerBy(percent int32, pool string, architectures []string) *unstructured.Unstructured {
	in := func(key string, values ...string) map[string]any {
		all := make([]any, len(values))
		for i, value := range values {
			all[i] = value
		}
		return map[string]any{"key": key, "operator": "In", "values": all}
	}
	requirements := []any{in(poolLabel, pool)}
	if len(architectures) > 0 {
		requirements = append(requirements, in(corev1.LabelArchStable, architectures...))
	}
	o := overlayOf(pool)
	o.SetLabels(map[string]string{managedByLabel: managedBy})
	o.Object["spec"] = map[string]any{
		"weight": int64(overlayWeight), "requirements": requirements, "priceAdjustment": fmt.Sprintf("+%d%%", percent),
	}
	return o
}

func parsePercent(text string) (int32, error) {
	digits, isPercent := strings.CutSuffix(strings.TrimPrefix(text, "+"), "%")
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || !isPercent || n > mostPercent || n%priceStep != 0 {
		return 0, fmt.Errorf("want a percentage from 0%% to %d%%, in steps of %d%%", mostPercent, priceStep)
	}
	return int32(n), nil
}
