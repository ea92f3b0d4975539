package leaving

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

const (
	// maxReadRetries bounds how often a process that ends asks whether Gridlatch is being removed.
	maxReadRetries = 5
	// retryPause is how long Gridlatch waits before it tries again what has failed.
	retryPause = 2 * time.Second
)

// status is how an installation stands.
type status struct {
	// why says why Gridlatch is being removed; empty if Gridlatch stays.
	why string
	// removedComponents are the components whose rights are being deleted.
	removedComponents []string
	// unprotected are the anchors without our finalizer that are not being deleted.
	unprotected []anchor
}

// isRemoved reports whether Gridlatch as a whole is being removed.
func (s *status) isRemoved() bool { return s.why != "" }

// noteWhy notes the first reason.
func (s *status) noteWhy(format string, args ...any) {
	if s.why == "" {
		s.why = fmt.Sprintf(format, args...)
	}
}

// read reads how the base of an installation stands. The error is about what could not be read.
func (i *Installation) read(ctx context.Context) (status, error) {
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: i.Namespace, Name: i.Deployment}}
	namespace := anchor{kind: corev1.SchemeGroupVersion.WithKind("Namespace"), name: i.Namespace}
	anchors := baseAnchors(i.Namespace)
	objects := append([]client.Object{deployment, namespace.metadata()}, metadataOf(anchors)...)
	errs := i.getTogether(ctx, objects)

	var s status
	problems := []error{s.noteDeployment(deployment, errs[0]), s.noteNamespace(objects[1], errs[1])}
	for n, a := range anchors {
		problems = append(problems, s.noteAnchor(a, objects[2+n], errs[2+n]))
	}
	return s, errors.Join(problems...)
}

// readComponents adds how the components stand.
func (i *Installation) readComponents(ctx context.Context, s *status) error {
	var anchors []anchor
	for _, component := range i.Components {
		anchors = append(anchors, componentAnchors(component)...)
	}
	objects := metadataOf(anchors)
	var problems []error
	for n, err := range i.getTogether(ctx, objects) {
		problems = append(problems, s.noteAnchor(anchors[n], objects[n], err))
	}
	return errors.Join(problems...)
}

func metadataOf(anchors []anchor) []client.Object {
	objects := make([]client.Object, len(anchors))
	for n, a := range anchors {
		objects[n] = a.metadata()
	}
	return objects
}

// getTogether gets objects at the same time, and returns the error for each.
func (i *Installation) getTogether(ctx context.Context, objects []client.Object) []error {
	var group sync.WaitGroup
	errs := make([]error, len(objects))
	for n, o := range objects {
		group.Go(func() { errs[n] = i.Client.Get(ctx, client.ObjectKeyFromObject(o), o) })
	}
	group.Wait()
	return errs
}

func (s *status) noteDeployment(d *appsv1.Deployment, err error) error {
	switch {
	case apierrors.IsNotFound(err):
		s.noteWhy("the Deployment %s is gone", d.Name)
	case err != nil:
		return fmt.Errorf("read Deployment %s: %w", d.Name, err)
	case d.DeletionTimestamp != nil:
		s.noteWhy("the Deployment %s is being deleted", d.Name)
	case ptr.Deref(d.Spec.Replicas, 1) == 0:
		s.noteWhy("the Deployment %s has no replicas", d.Name)
	}
	return nil
}

func (s *status) noteNamespace(o client.Object, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("read namespace %s: %w", o.GetName(), err)
	case o.GetDeletionTimestamp() != nil:
		s.noteWhy("the namespace %s is being deleted", o.GetName())
	}
	return nil
}

// noteAnchor notes one anchor. A component that is not installed has no anchors.
func (s *status) noteAnchor(a anchor, o client.Object, err error) error {
	isProtected := slices.Contains(o.GetFinalizers(), v1alpha1.ReleaseFinalizer)
	switch {
	case apierrors.IsNotFound(err) && a.component != "":
	case apierrors.IsNotFound(err):
		s.noteWhy("the %s is gone", a)
	case err != nil:
		return fmt.Errorf("read %s: %w", a, err)
	case o.GetDeletionTimestamp() == nil && !isProtected:
		s.unprotected = append(s.unprotected, a)
	case o.GetDeletionTimestamp() == nil:
	case a.component == "":
		s.noteWhy("the %s is being deleted", a)
	case isProtected && !slices.Contains(s.removedComponents, a.component):
		s.removedComponents = append(s.removedComponents, a.component)
	}
	return nil
}

// readPatiently reads how the base of an installation stands, and tries again for some seconds.
func (i *Installation) readPatiently(ctx context.Context) (status, error) {
	for attempt := 0; ; attempt++ {
		s, err := i.read(ctx)
		if err == nil || s.isRemoved() || attempt == maxReadRetries || i.hasNoRights(ctx) {
			return s, err
		}
		if err := pause(ctx, i.Clock, retryPause); err != nil {
			return s, err
		}
	}
}

// isUnprotected reports whether another replica has removed the finalizer from the ServiceAccount, or
// the API server lets this process see the ServiceAccount no more.
func (i *Installation) isUnprotected(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	o := account(i.Namespace).metadata()
	err := i.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
	if err == nil {
		return !slices.Contains(o.Finalizers, v1alpha1.ReleaseFinalizer)
	}
	return apierrors.IsNotFound(err) || isDenied(err)
}

// hasNoRights reports whether the ServiceAccount of the replicas is gone, or has lost its rights.
func (i *Installation) hasNoRights(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	o := account(i.Namespace).metadata()
	return isDenied(i.Client.Get(ctx, client.ObjectKeyFromObject(o), o))
}

// isDenied reports whether the API server does not know the account, or whether the account has no
// right to a request.
func isDenied(err error) bool { return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) }

// accountDeletedAt returns when the ServiceAccount was deleted; zero if it was not, or if that is not
// known.
func (i *Installation) accountDeletedAt(ctx context.Context) time.Time {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	o := account(i.Namespace).metadata()
	if err := i.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil || o.DeletionTimestamp == nil {
		return time.Time{}
	}
	return o.DeletionTimestamp.Time
}
