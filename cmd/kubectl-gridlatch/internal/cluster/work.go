package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// maxCompletions bounds how many names a shell is offered.
const maxCompletions = 100

// Kind is a kind of work.
type Kind string

// The kinds of work. A kind that is held whole (door.All) is its name in small letters, such as jobset.
// AnyKind is a Job or, if there is no Job of that name, a pod.
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
	}
	for _, d := range door.All() {
		resource := d.GroupVersionResource().GroupResource()
		switch strings.ToLower(word) {
		case strings.ToLower(d.Kind.Kind), d.Resource, resource.String():
			return kindOf(d.Kind), true
		}
	}
	return AnyKind, false
}

func kindOf(kind schema.GroupVersionKind) Kind { return Kind(strings.ToLower(kind.Kind)) }

// Door returns how a kind is held whole; nil for Jobs and pods.
func (k Kind) Door() *door.Door {
	for _, d := range door.All() {
		if kindOf(d.Kind) == k {
			return &d
		}
	}
	return nil
}

// Noun returns the word for a kind of work in a sentence.
func (k Kind) Noun() string {
	if d := k.Door(); d != nil {
		return d.Kind.Kind
	}
	if k == JobKind {
		return "Job"
	}
	return "pod"
}

// Work names a pod, a Job or what else is held whole.
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

// WorkOf names work that was read.
func WorkOf(o client.Object) Work {
	if owner, ok := hold.OwnerOf(o); ok {
		return Work{kindOf(owner.Kind), o.GetName()}
	}
	return Work{PodKind, o.GetName()}
}

// Find reads a pod, a Job or what else is held whole.
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
	if d := w.Kind.Door(); d != nil {
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(d.Kind)
		return o, c.read(ctx, w, key, o)
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
	switch {
	case meta.IsNoMatchError(err):
		return fmt.Errorf("the cluster does not know any %s", w.Kind.Noun())
	case apierrors.IsNotFound(err):
		return fmt.Errorf("namespace %s has no %s", key.Namespace, w)
	default:
		return err
	}
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

// metadataList returns a list of a kind of work without specs. AnyKind counts as pods.
func metadataList(k Kind) *metav1.PartialObjectMetadataList {
	kind := hold.PodKind()
	if d := k.Door(); d != nil {
		kind = d.Kind
	} else if k == JobKind {
		kind = hold.JobKind()
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	return list
}
