package leaving

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
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

// standing is what is known of an installation.
type standing struct {
	// why says why Gridlatch leaves; empty if the base stays.
	why string
	// components are the components whose rights are being deleted.
	components []string
	// unprotected are the anchors without our finalizer that are not being deleted.
	unprotected []anchor
}

// isLeaving reports whether Gridlatch, or a component, is being removed.
func (s *standing) isLeaving() bool { return s.why != "" || len(s.components) > 0 }

// leave notes the first reason to leave.
func (s *standing) leave(format string, args ...any) {
	if s.why == "" {
		s.why = fmt.Sprintf(format, args...)
	}
}

// read reads how an installation stands. The error is about what could not be read.
func (i *Installation) read(ctx context.Context) (standing, error) {
	s, problems := standing{}, []error(nil)
	problems = append(problems, i.readDeployment(ctx, &s), i.readNamespace(ctx, &s))
	for _, a := range baseAnchors(i.Namespace) {
		problems = append(problems, i.readAnchor(ctx, a, &s))
	}
	for _, component := range i.Components {
		for _, a := range componentAnchors(component) {
			problems = append(problems, i.readAnchor(ctx, a, &s))
		}
	}
	return s, errors.Join(problems...)
}

func (i *Installation) readDeployment(ctx context.Context, s *standing) error {
	var d appsv1.Deployment
	err := i.Client.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: i.Deployment}, &d)
	switch {
	case apierrors.IsNotFound(err):
		s.leave("the Deployment %s is gone", i.Deployment)
	case err != nil:
		return fmt.Errorf("read Deployment %s: %w", i.Deployment, err)
	case d.DeletionTimestamp != nil:
		s.leave("the Deployment %s is being deleted", i.Deployment)
	case ptr.Deref(d.Spec.Replicas, 1) == 0:
		s.leave("the Deployment %s has no replicas", i.Deployment)
	}
	return nil
}

func (i *Installation) readNamespace(ctx context.Context, s *standing) error {
	namespace := metadataOf(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := i.Client.Get(ctx, client.ObjectKey{Name: i.Namespace}, namespace)
	switch {
	case err != nil:
		return fmt.Errorf("read namespace %s: %w", i.Namespace, err)
	case namespace.DeletionTimestamp != nil:
		s.leave("the namespace %s is being deleted", i.Namespace)
	}
	return nil
}

// readAnchor reads one anchor. A component that is not installed has no anchors.
func (i *Installation) readAnchor(ctx context.Context, a anchor, s *standing) error {
	o := metadataOf(a.kind)
	err := i.Client.Get(ctx, client.ObjectKey{Namespace: a.namespace, Name: a.name}, o)
	switch {
	case apierrors.IsNotFound(err) && a.component != "":
	case apierrors.IsNotFound(err):
		s.leave("the %s is gone", a)
	case err != nil:
		return fmt.Errorf("read %s: %w", a, err)
	case o.DeletionTimestamp == nil && !slices.Contains(o.Finalizers, v1alpha1.ReleaseFinalizer):
		s.unprotected = append(s.unprotected, a)
	case o.DeletionTimestamp == nil:
	case a.component == "":
		s.leave("the %s is being deleted", a)
	case slices.Contains(o.Finalizers, v1alpha1.ReleaseFinalizer) && !slices.Contains(s.components, a.component):
		s.components = append(s.components, a.component)
	}
	return nil
}

func metadataOf(kind schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(kind)
	return o
}

// readPatiently reads how an installation stands, and tries again for some seconds.
func (i *Installation) readPatiently(ctx context.Context) (standing, error) {
	for attempt := 0; ; attempt++ {
		s, err := i.read(ctx)
		if err == nil || s.isLeaving() || attempt == maxReadRetries || i.hasNoRights(ctx) {
			return s, err
		}
		if err := pause(ctx, i.Clock, retryPause); err != nil {
			return s, err
		}
	}
}

// hasNoRights reports whether the ServiceAccount of the replicas is gone, or has lost its rights.
func (i *Installation) hasNoRights(ctx context.Context) bool {
	account := metadataOf(corev1.SchemeGroupVersion.WithKind("ServiceAccount"))
	return isDenied(i.Client.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: name}, account))
}

// isDenied reports whether the API server does not know the account, or whether the account has no
// right to a request.
func isDenied(err error) bool { return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) }

// maxReadRetries bounds how often a process that ends asks whether Gridlatch is being removed.
const maxReadRetries = 5

// retryPause is how long Gridlatch waits before it tries again what has failed.
const retryPause = 2 * time.Second
