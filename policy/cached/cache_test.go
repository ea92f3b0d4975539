package cached

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

func TestNothingThatAStrangerWritesMakesACachedNamespaceOrNodeLarge(t *testing.T) {
	const maxSize = 16 << 10
	long := strings.Repeat("x", 250<<10)
	labels := map[string]string{}
	for i := range 10_000 {
		labels[fmt.Sprintf("example.com/label-%05d", i)] = "x"
	}
	for _, tt := range []struct {
		object *metav1.PartialObjectMetadata
		strip  toolscache.TransformFunc
	}{{policy.NewMetadata(policy.NamespaceKind()), stripNamespace}, {policy.NewMetadata(policy.NodeKind()), stripNode}} {
		tt.object.Labels = maps.Clone(labels)
		tt.object.Labels[v1alpha1.AuditLabel] = v1alpha1.AuditAll
		tt.object.Annotations = map[string]string{
			v1alpha1.Prefix + "junk": long, v1alpha1.PolicyAnnotation: long, v1alpha1.PowerFactorKey: long,
		}
		tt.object.Finalizers, tt.object.ManagedFields = []string{long}, []metav1.ManagedFieldsEntry{{Manager: long}}
		if _, err := tt.strip(tt.object); err != nil || tt.object.Size() > maxSize {
			t.Errorf("a %s of %d bytes, want at most %d; %v", tt.object.Kind, tt.object.Size(), maxSize, err)
		}
	}
}

func TestACachedNamespaceKeepsWhetherItsWorkIsAudited(t *testing.T) {
	namespace := policy.NewMetadata(policy.NamespaceKind())
	namespace.Labels = map[string]string{v1alpha1.AuditLabel: v1alpha1.AuditAll, "team": "x"}
	if _, err := stripNamespace(namespace); err != nil {
		t.Fatal(err)
	}
	if len(namespace.Labels) != 1 || namespace.Labels[v1alpha1.AuditLabel] != v1alpha1.AuditAll {
		t.Errorf("kept %v", namespace.Labels)
	}
}
