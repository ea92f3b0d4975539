package policy

import (
	"context"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// NamespaceKind returns the kind of namespaces.
func NamespaceKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}
}

// NodeKind returns the kind of nodes.
func NodeKind() schema.GroupVersionKind { return schema.GroupVersionKind{Version: "v1", Kind: "Node"} }

// Metadata returns an object of a kind that has its metadata alone.
func Metadata(kind schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(kind)
	return object
}

// StripNamespace keeps the name of a namespace, and the policy that the namespace names.
func StripNamespace(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	m.ManagedFields, m.Finalizers, m.OwnerReferences, m.Labels = nil, nil, nil, nil
	m.Annotations = only(m.Annotations, v1alpha1.PolicyAnnotation)
	return m, nil
}

// maxNodeLabels is how many labels of a node are kept: several times as many as a node has, but not all
// that the kubelet of a node could write.
const maxNodeLabels = 256

// StripNode keeps the labels of a node, by which policies say where the node is, and its power factor.
func StripNode(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	m.ManagedFields, m.Finalizers, m.OwnerReferences = nil, nil, nil
	m.Annotations = only(m.Annotations, v1alpha1.PowerFactorKey)
	if len(m.Labels) > maxNodeLabels {
		for _, key := range slices.Sorted(maps.Keys(m.Labels))[maxNodeLabels:] {
			delete(m.Labels, key)
		}
	}
	return m, nil
}

// only returns one of the annotations, truncated.
func only(annotations map[string]string, key string) map[string]string {
	value, ok := annotations[key]
	if !ok {
		return nil
	}
	return map[string]string{key: Truncate(value, MaxValue)}
}

// Truncate returns a value of at most limit bytes as it is. Of a longer value Truncate returns one byte
// more than the limit, so that the value still counts as too long. The rest of the value does not stay
// in memory.
func Truncate(value string, limit int) string {
	if len(value) <= limit {
		return value
	}
	return strings.Clone(value[:limit+1])
}

// NamespacePolicy returns the policy that a namespace names, empty if none.
func NamespacePolicy(ctx context.Context, reader client.Reader, namespace string) string {
	object := Metadata(NamespaceKind())
	if err := reader.Get(ctx, types.NamespacedName{Name: namespace}, object, client.UnsafeDisableDeepCopy); err != nil {
		return "" // not cached yet: as if it named none
	}
	return object.Annotations[v1alpha1.PolicyAnnotation]
}
