package ceiling

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
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

// ref names a target, whether it exists or not.
type ref struct {
	kind            kind
	namespace, name string
}

func (r ref) key() string { return r.namespace + "/" + r.name }

func (r ref) String() string { return string(r.kind) + " " + r.key() }

// target is what is kept of a ScaledObject or a ScaledJob.
type target struct {
	metav1.ObjectMeta // with the annotations that are ours or KEDA's
	kind              kind
	min               int32 // the least ceiling that it allows
	max               *int32
	hands             hands
	// kills says that KEDA deletes the Jobs of a ScaledJob whenever its spec
	// changes.
	kills bool
}

// about is the object for an Event, or for a patch.
func (t *target) about() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(t.kind.gvk())
	object.Namespace, object.Name, object.UID = t.Namespace, t.Name, t.UID
	return object
}

func (t *target) ref() ref { return ref{t.kind, t.Namespace, t.Name} }

// newTarget keeps what is read here. A field of another type than KEDA's is
// taken as not set.
func newTarget(k kind, o *unstructured.Unstructured) *target {
	t := &target{kind: k, ObjectMeta: metav1.ObjectMeta{
		Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(),
		CreationTimestamp: o.GetCreationTimestamp(), Annotations: o.GetAnnotations(),
	}}
	maps.DeleteFunc(t.Annotations, func(key, _ string) bool {
		return !strings.HasPrefix(key, v1alpha1.Prefix) && !slices.ContainsFunc(bounds(k), func(b bound) bool { return b.key == key })
	})
	t.hands = newHands(k, o)
	t.max = count(o.Object, maxReplicaCount)
	t.min = ptr.Deref(count(o.Object, "minReplicaCount"), 0)
	if t.held(wakes) != "" {
		t.min = max(t.min, 1)
	}
	if k == scaledJob {
		strategy, _, _ := unstructured.NestedString(o.Object, "spec", "rolloutStrategy")
		if strategy == "" {
			strategy, _, _ = unstructured.NestedString(o.Object, "spec", "rollout", "strategy")
		}
		t.kills = strategy != "gradual"
	}
	return t
}

func count(object map[string]any, field string) *int32 {
	n, found, err := unstructured.NestedInt64(object, "spec", field)
	if !found || err != nil || n < 0 || n > 1<<31-1 {
		return nil
	}
	return ptr.To(int32(n))
}

// effective is the maxReplicaCount that KEDA makes of one.
func effective(replicas *int32) int32 { return ptr.Deref(replicas, unsetMax) }

// record is what was noted on a target when its ceiling was set.
type record struct {
	by       string
	ceiling  int32
	original *int32
	applied  *int32
	loans    []loan // the annotations of KEDA's that are ours
	lowered  time.Time
}

// record returns what was noted; nil if there is no ceiling. As long as the
// original can be read there is one: where the other notes are gone, or cannot be
// read, what is there is taken for what was set. Else the maxReplicaCount of a
// ceiling would count as the object's own, and the original be lost.
func (t *target) record() *record {
	original, err := parseReplicas(t.Annotations[v1alpha1.OriginalMaxReplicaCountAnnotation])
	if err != nil {
		return nil
	}
	r := &record{by: t.Annotations[v1alpha1.CeilingByAnnotation], ceiling: effective(t.max), original: original, applied: t.max}
	ceiling, errCeiling := parseReplicas(t.Annotations[v1alpha1.CeilingAnnotation])
	switch applied, err := parseReplicas(t.Annotations[v1alpha1.AppliedMaxReplicaCountAnnotation]); {
	case errCeiling == nil && ceiling != nil && *ceiling > 0:
		r.ceiling, r.applied = *ceiling, ceiling
	case err == nil: // which is noted with a ceiling of 0 only
		r.ceiling, r.applied = 0, applied
	}
	r.loans = readLoans(t.kind, t.Annotations[v1alpha1.CeilingPausedWithAnnotation])
	r.lowered, _ = time.Parse(time.RFC3339, t.Annotations[v1alpha1.CeilingLoweredAnnotation]) // zero if absent
	return r
}

// undone reports whether somebody else has undone what the record says. To write
// something else over a pause is not that: it is the owner's word.
func (t *target) undone(r *record) bool {
	if !ptr.Equal(t.max, r.applied) {
		return true
	}
	gone := func(l loan) bool { _, gone := t.stands(l); return gone }
	return !t.taken(r) && slices.ContainsFunc(r.loans, gone)
}

// released is until when no ceiling is to be set; the zero time if one may be.
func (t *target) released(now time.Time) time.Time {
	until, err := time.Parse(time.RFC3339, t.Annotations[v1alpha1.CeilingReleasedAnnotation])
	if err != nil || !now.Before(until) {
		return time.Time{}
	}
	return until
}

// noted reports whether anything of ours is written on the target.
func (t *target) noted() bool {
	for _, key := range written() {
		if _, ok := t.Annotations[key]; ok {
			return true
		}
	}
	return false
}

func parseReplicas(s string) (*int32, error) {
	if s == v1alpha1.MaxReplicaCountUnset {
		return nil, nil
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("%.40q: want a number of replicas, or %s", s, v1alpha1.MaxReplicaCountUnset)
	}
	return ptr.To(int32(n)), nil
}

func printReplicas(replicas *int32) string {
	if replicas == nil {
		return v1alpha1.MaxReplicaCountUnset
	}
	return strconv.Itoa(int(*replicas))
}
