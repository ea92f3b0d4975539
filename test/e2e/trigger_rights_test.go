package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/test/env"
)

// TestRightsForTheTrustOfKEDAEndAtTheirNames is about objects that are there already, and those that are not:
// server-side apply creates the latter.
func TestRightsForTheTrustOfKEDAEndAtTheirNames(t *testing.T) {
	c, _ := triggerCluster(t)
	config, err := c.ServiceAccountConfig(t.Context(), env.Namespace, "gridlatch")
	if err != nil {
		t.Fatal(err)
	}
	as, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	apply := func(o client.Object) error {
		return as.Patch(t.Context(), o, client.RawPatch(types.ApplyPatchType, asJSON(t, o.(*unstructured.Unstructured))), client.FieldOwner("rights"), client.ForceOwnership)
	}
	ns := namespace(t, c)
	for _, kind := range []struct {
		name, apiVersion, kind, namespace string
		field                             string
		value                             map[string]any
	}{
		{"gridlatch-scaler-ca", "v1", "ConfigMap", ns, "data", map[string]any{"ca.crt": "a CA"}},
		{"gridlatch", "keda.sh/v1alpha1", "ClusterTriggerAuthentication", "", "spec", map[string]any{"configMapTargetRef": []any{
			map[string]any{"parameter": "caCert", "name": "gridlatch-scaler-ca", "key": "ca.crt"},
		}}},
	} {
		object := func(name string) *unstructured.Unstructured {
			o := &unstructured.Unstructured{Object: map[string]any{kind.field: kind.value}}
			o.SetAPIVersion(kind.apiVersion)
			o.SetKind(kind.kind)
			o.SetNamespace(kind.namespace)
			o.SetName(name)
			return o
		}
		for range 2 { // the first one may create
			if err := apply(object(kind.name)); err != nil {
				t.Error(err)
			}
		}
		for what, err := range map[string]error{
			"apply": apply(object("other")), "create": as.Create(t.Context(), object(kind.name)), "delete": as.Delete(t.Context(), object("other")),
			"get": as.Get(t.Context(), client.ObjectKeyFromObject(object("other")), object("other")),
		} {
			if !apierrors.IsForbidden(err) {
				t.Errorf("%s another %s, or without a name in the request: %v", what, kind.kind, err)
			}
		}
		if err := as.Delete(t.Context(), object(kind.name)); err != nil {
			t.Error(err)
		}
	}
	more := &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{"ca.crt": "a CA", "script": "x"}}}
	more.SetAPIVersion("v1")
	more.SetKind("ConfigMap")
	more.SetNamespace(ns)
	more.SetName("gridlatch-scaler-ca")
	if err := apply(more); err == nil || !strings.Contains(err.Error(), "Gridlatch may write ca.crt only") {
		t.Errorf("another key of the ConfigMap: %v", err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "gridlatch-scaler-ca"}}
	if err := as.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); !apierrors.IsForbidden(err) {
		t.Errorf("a Secret: %v", err)
	}
}
