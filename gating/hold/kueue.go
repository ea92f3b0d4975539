package hold

import (
	"strings"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// What Kueue reads, see https://kueue.sigs.k8s.io.
const (
	// KueueQueue is the label by which it knows a Job as its own.
	KueueQueueLabel = "kueue.x-k8s.io/queue-name"
	// KueueGates is the annotation that names, separated by commas, those whom
	// the admission of a Job waits for. It reserves no quota meanwhile.
	KueueGatesAnnotation = "kueue.x-k8s.io/admission-gated-by"
)

// Ours reports whether a label or an annotation is one that Gridlatch may read:
// of its own prefix, or of Kueue's.
func IsKnownKey(key string) bool {
	return strings.HasPrefix(key, v1alpha1.Prefix) || key == KueueQueueLabel || key == KueueGatesAnnotation
}

// MaxList bounds what is kept of a list of locations or of gates, in bytes.
const MaxListBytes = 4 << 10
