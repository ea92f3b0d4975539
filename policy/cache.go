package policy

import (
	"context"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
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
