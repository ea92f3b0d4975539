package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// maxCompletions bounds how many names a shell is offered.
const maxCompletions = 100

// Kind is a kind of work.
type Kind string

// The kinds of work. AnyKind is a Job or, if there is no Job of that name, a pod.
const (
	JobKind Kind = "job"
	PodKind Kind = "pod"
	AnyKind Kind = ""
)

// ParseKind reads a kind as kubectl does, false if it is not a kind of work.
func ParseKind(word string) (Kind, bool) {
	switch strings.ToLower(word) {
	case "job", "jobs", "job.batch", "jobs.batch":
		return JobKind, true
	case "pod", "pods", "po":
		return PodKind, true
	default:
		return AnyKind, false
	}
}

// Work names a Job or a pod.
type Work struct {
	Kind Kind
	Name string
}

// String returns what the work is called on the command line.
func (w Work) String() string {
	if w.Kind == AnyKind {
		return w.Name
	}
	return string(w.Kind) + "/" + w.Name
}

// WorkOf names a Job or a pod that was read.
func WorkOf(o client.Object) Work {
	if _, ok := o.(*batchv1.Job); ok {
		return Work{JobKind, o.GetName()}
	}
	return Work{PodKind, o.GetName()}
}

// Find reads a Job or a pod.
func (c *Cluster) Find(ctx context.Context, w Work) (client.Object, error) {
	key := client.ObjectKey{Namespace: c.Namespace, Name: w.Name}
	var job batchv1.Job
	var pod corev1.Pod
	switch w.Kind {
	case JobKind:
		return &job, c.read(ctx, w, key, &job)
	case PodKind:
		return &pod, c.read(ctx, w, key, &pod)
	}
	err := c.API.Get(ctx, key, &job)
	if !apierrors.IsNotFound(err) {
		return &job, err
	}
	if err = c.API.Get(ctx, key, &pod); apierrors.IsNotFound(err) {
		err = fmt.Errorf("namespace %s has neither a Job nor a pod %s", c.Namespace, w.Name)
	}
	return &pod, err
}

func (c *Cluster) read(ctx context.Context, w Work, key client.ObjectKey, o client.Object) error {
	err := c.API.Get(ctx, key, o)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("namespace %s has no %s", key.Namespace, w)
	}
	return err
}

// ForEach finds work and does something with each. An error does not stop the others.
func (c *Cluster) ForEach(ctx context.Context, all []Work, do func(client.Object) error) error {
	var failed []error
	for _, w := range all {
		o, err := c.Find(ctx, w)
		if err == nil {
			if err = do(o); err != nil {
				err = fmt.Errorf("%s: %w", WorkOf(o), err)
			}
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// Names returns the names of work in a state, or in any state if that is empty, for a shell to
// complete. There are none if they cannot be read.
func (c *Cluster) Names(ctx context.Context, k Kind, state string) []string {
	options := []client.ListOption{client.InNamespace(c.Namespace), client.Limit(maxCompletions)}
	if state != "" {
		options = append(options, client.MatchingLabels{v1alpha1.StateLabel: state})
	}
	list := metadataList(k)
	if err := c.API.List(ctx, list, options...); err != nil {
		return nil
	}
	var names []string
	for i := range list.Items {
		if name := list.Items[i].Name; len(validation.IsDNS1123Subdomain(name)) == 0 { // a shell evaluates it
			names = append(names, name)
		}
	}
	return names
}

// metadataList returns a list of Jobs, or of pods, without their specs.
func metadataList(k Kind) *metav1.PartialObjectMetadataList {
	list := &metav1.PartialObjectMetadataList{}
	if k == JobKind {
		list.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
	} else {
		list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	}
	return list
}
