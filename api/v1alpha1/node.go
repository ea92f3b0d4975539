package v1alpha1

import (
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PowerFactorKey is the annotation, or else the label, of a node that says how much power the same
// work takes on the node, as a share of what the work takes elsewhere: "0.7" on an efficient pool.
const PowerFactorKey = "gridlatch.dev/power-factor"

// maxPowerFactor is the largest power factor. The smallest is its inverse.
const maxPowerFactor = 1000

// PowerFactor returns the power factor of a node. The factor is 1 if the node has none or, with an
// error, if the node's factor cannot be used.
func PowerFactor(node metav1.Object) (float64, error) {
	text, kind := node.GetAnnotations()[PowerFactorKey], "annotation"
	if text == "" {
		text, kind = node.GetLabels()[PowerFactorKey], "label"
	}
	if text == "" {
		return 1, nil
	}
	factor, err := ParsePowerFactor(text)
	if err != nil {
		return 1, fmt.Errorf("%s %s of node %s: %w", kind, PowerFactorKey, node.GetName(), err)
	}
	return factor, nil
}

// ParsePowerFactor reads a power factor.
func ParsePowerFactor(text string) (float64, error) {
	factor, err := strconv.ParseFloat(text, 64)
	if err != nil || !(factor >= 1.0/maxPowerFactor && factor <= maxPowerFactor) {
		return 0, fmt.Errorf("%.60q: want a number from 0.001 to %d", text, maxPowerFactor)
	}
	return factor, nil
}
