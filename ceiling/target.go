package ceiling

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
)

// kind is ScaledObject or ScaledJob.
type kind string

const (
	scaledObject kind = "ScaledObject"
	scaledJob    kind = "ScaledJob"
)

func kinds() []kind { return []kind{scaledObject, scaledJob} }

func (k kind) resource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "keda.sh", Version: "v1alpha1", Resource: strings.ToLower(string(k)) + "s"}
}

func (k kind) gvk() schema.GroupVersionKind { return k.resource().GroupVersion().WithKind(string(k)) }

// ref names a target, whether the target exists or not.
type ref struct {
	kind            kind
	namespace, name string
}

func (r ref) key() string { return r.namespace + "/" + r.name }

func (r ref) String() string { return string(r.kind) + " " + r.key() }

// target is what is kept of a ScaledObject or a ScaledJob.
type target struct {
	override.Object // with our annotations and those of KEDA
	kind            kind
	minCeiling      int32 // the lowest ceiling that the target allows
	// killsJobs says that KEDA deletes the Jobs of a ScaledJob whenever its spec changes.
	killsJobs bool
	// carbon is the trigger of the type carbon-intensity, nil if there is none.
	carbon *carbonTrigger
}

func (t *target) ref() ref { return ref{t.kind, t.Namespace, t.Name} }

// newTarget returns what is kept of an object. A number of replicas that KEDA would not take counts
// as not set. The fields are those of fieldsOf, which all targets of a kind share.
func newTarget(k kind, fields []override.Field, o *unstructured.Unstructured) *target {
	if count(o, "maxReplicaCount") == nil {
		unstructured.RemoveNestedField(o.Object, "spec", "maxReplicaCount")
	}
	t := &target{kind: k, Object: override.Read(o, fields...)}
	t.Forget(triggersField)
	maps.DeleteFunc(t.Annotations, func(key, _ string) bool {
		return !strings.HasPrefix(key, v1alpha1.Prefix) && !slices.ContainsFunc(bounds(k), func(b bound) bool { return b.key == key })
	})
	if len(t.Annotations) == 0 {
		t.Annotations = nil
	}
	t.minCeiling = ptr.Deref(count(o, "minReplicaCount"), 0)
	if t.boundInForce(keepsAwake) != "" {
		t.minCeiling = max(t.minCeiling, 1)
	}
	if k == scaledJob {
		strategy, _, _ := unstructured.NestedString(o.Object, "spec", "rolloutStrategy")
		if strategy == "" {
			strategy, _, _ = unstructured.NestedString(o.Object, "spec", "rollout", "strategy")
		}
		t.killsJobs = strategy != "gradual"
	}
	return t
}

// lentFields returns the fields of a kind that an owner who asks for a ceiling lends.
func lentFields(k kind) []override.Field {
	fields := []override.Field{maxReplicaCount}
	for _, b := range pausingBounds(k) {
		fields = append(fields, override.Annotation(b.key))
	}
	return fields
}

// fieldsOf returns the fields that are kept of a target of a kind.
func fieldsOf(k kind) []override.Field { return append(lentFields(k), triggersField) }

// count returns a number of replicas of the spec, nil if KEDA would not take the number.
func count(o *unstructured.Unstructured, field string) *int32 {
	n, found, err := unstructured.NestedInt64(o.Object, "spec", field)
	if !found || err != nil || n < 0 || n > math.MaxInt32 {
		return nil
	}
	return ptr.To(int32(n))
}

// maxReplicas returns the highest number of replicas that KEDA scales to.
func (t *target) maxReplicas() int32 { return effective(replicas(t.Value(maxReplicaCount))) }

// effective returns the number of replicas that KEDA makes of a maxReplicaCount.
func effective(maxReplicas *int32) int32 { return ptr.Deref(maxReplicas, defaultMax) }

// offUntil returns until when no ceiling is to be set, the zero time if one may be set.
func (t *target) offUntil(now time.Time) time.Time {
	until, err := time.Parse(time.RFC3339, t.Annotations[v1alpha1.CeilingReleasedAnnotation])
	if err != nil || !now.Before(until) {
		return time.Time{}
	}
	return until
}

// hasNotes reports whether any note of ours is on the target.
func (t *target) hasNotes() bool {
	return slices.ContainsFunc(noteKeys(), func(key string) bool { _, ok := t.Annotations[key]; return ok })
}
