package leaving

import (
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// name is the name of the base anchors. The anchors of a component have the component's name behind
// it.
const name = "gridlatch"

// anchor is an object without which Gridlatch cannot release work.
type anchor struct {
	kind     schema.GroupVersionKind
	resource string
	// namespace is empty for cluster-scoped anchors.
	namespace, name string
	// component is empty for the anchors of the base.
	component string
}

// String names the anchor for a user.
func (a anchor) String() string { return a.kind.Kind + " " + a.name }

// baseAnchors returns the anchors that every installation has.
func baseAnchors(namespace string) []anchor {
	return append([]anchor{
		{kind: corev1.SchemeGroupVersion.WithKind("ServiceAccount"), resource: "serviceaccounts", namespace: namespace, name: name},
		{kind: rbacv1.SchemeGroupVersion.WithKind("Role"), resource: "roles", namespace: namespace, name: name},
		{kind: rbacv1.SchemeGroupVersion.WithKind("RoleBinding"), resource: "rolebindings", namespace: namespace, name: name},
	}, clusterAnchors(name, "")...)
}

// componentAnchors returns the anchors of a component.
func componentAnchors(component string) []anchor {
	return clusterAnchors(name+"-"+component, component)
}

func clusterAnchors(name, component string) []anchor {
	return []anchor{
		{kind: rbacv1.SchemeGroupVersion.WithKind("ClusterRole"), resource: "clusterroles", name: name, component: component},
		{kind: rbacv1.SchemeGroupVersion.WithKind("ClusterRoleBinding"), resource: "clusterrolebindings", name: name, component: component},
	}
}

// account returns the anchor by which the API server knows this process.
func account(namespace string) anchor { return baseAnchors(namespace)[0] }

// metadata returns the metadata of the anchor, to be read.
func (a anchor) metadata() *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(a.kind)
	o.Namespace, o.Name = a.namespace, a.name
	return o
}
