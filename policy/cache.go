package policy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func NamespaceKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}
}

func NodeKind() schema.GroupVersionKind { return schema.GroupVersionKind{Version: "v1", Kind: "Node"} }

func Metadata(kind schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(kind)
	return object
}

// CacheByObject says what this package needs in the manager's cache: the metadata
// of namespaces and of nodes, and CronJobs, each stripped to what is read. Pods and Jobs are in a
// cache of their own, see Records.
func CacheByObject() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		Metadata(NamespaceKind()): {Transform: stripNamespace},
		Metadata(NodeKind()):      {Transform: stripNode},
		&batchv1.CronJob{}:        {Transform: stripCronJob},
	}
}

// PrepareCache makes the manager's cache, which has not started yet, ready for the
// readers of this package: they fail rather than start an informer of their own.
func PrepareCache(ctx context.Context, c cache.Cache) error {
	for _, object := range []client.Object{&v1alpha1.CarbonPolicy{}, Metadata(NamespaceKind()), Metadata(NodeKind()), &batchv1.CronJob{}} {
		if _, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
	return nil
}

// stripNamespace keeps of a namespace its name and the policy that it names.
func stripNamespace(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	m.ManagedFields, m.Finalizers, m.OwnerReferences, m.Labels = nil, nil, nil, nil
	m.Annotations = only(m.Annotations, v1alpha1.PolicyAnnotation)
	return m, nil
}

// nodeLabels is how many labels of a node are kept: several times of what any node
// has, but not all that a node's kubelet could write.
const nodeLabels = 256

// stripNode keeps of a node its labels, by which policies say where the node is, and
// its power factor.
func stripNode(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	m.ManagedFields, m.Finalizers, m.OwnerReferences = nil, nil, nil
	m.Annotations = only(m.Annotations, v1alpha1.PowerFactorKey)
	if len(m.Labels) > nodeLabels {
		for _, key := range slices.Sorted(maps.Keys(m.Labels))[nodeLabels:] {
			delete(m.Labels, key)
		}
	}
	return m, nil
}

// only returns one of the annotations, bounded; none if it is not there.
func only(annotations map[string]string, key string) map[string]string {
	value, ok := annotations[key]
	if !ok {
		return nil
	}
	return map[string]string{key: Truncate(value, MaxValue)}
}

// bounded returns a value of at most limit bytes as it is. Of a longer one it
// returns one byte more than that, so that the value still counts as too long, and
// nothing of the original stays in memory.
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
