package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// kind is what can be held; anyKind is a Job of that name or, if there is none, a pod.
type kind string

const (
	jobKind kind = "job"
	podKind kind = "pod"
	anyKind kind = ""
)

// work names a Job or a pod.
type work struct {
	kind kind
	name string
}

func (w work) String() string {
	if w.kind == anyKind {
		return w.name
	}
	return string(w.kind) + "/" + w.name
}

// kindOf reads a kind as kubectl does.
func kindOf(word string) (kind, bool) {
	switch strings.ToLower(word) {
	case "job", "jobs", "job.batch", "jobs.batch":
		return jobKind, true
	case "pod", "pods", "po":
		return podKind, true
	default:
		return anyKind, false
	}
}

// parseWork reads `job NAME…`, `job/NAME…` or `NAME…`.
func parseWork(args []string) ([]work, error) {
	const want = "want job NAME, pod NAME, job/NAME or pod/NAME"
	named, spelled := anyKind, false
	if len(args) > 0 {
		if named, spelled = kindOf(args[0]); spelled {
			args = args[1:]
		}
	}
	if len(args) == 0 {
		return nil, usageError{errors.New(want)}
	}
	var all []work
	for _, arg := range args {
		word, name, split := strings.Cut(arg, "/")
		if !split {
			all = append(all, work{named, arg})
			continue
		}
		k, ok := kindOf(word)
		if !ok || name == "" || spelled {
			return nil, usageError{fmt.Errorf("%q: %s", arg, want)}
		}
		all = append(all, work{k, name})
	}
	return all, nil
}

// find reads a Job or a pod.
func (c *cluster) find(ctx context.Context, w work) (client.Object, error) {
	key := client.ObjectKey{Namespace: c.namespace, Name: w.name}
	var job batchv1.Job
	var pod corev1.Pod
	switch w.kind {
	case jobKind:
		return &job, c.get(ctx, w, key, &job)
	case podKind:
		return &pod, c.get(ctx, w, key, &pod)
	}
	err := c.Get(ctx, key, &job)
	if !apierrors.IsNotFound(err) {
		return &job, err
	}
	if err = c.Get(ctx, key, &pod); apierrors.IsNotFound(err) {
		err = fmt.Errorf("namespace %s has neither a Job nor a pod %s", c.namespace, w.name)
	}
	return &pod, err
}

func (c *cluster) get(ctx context.Context, w work, key client.ObjectKey, o client.Object) error {
	err := c.Get(ctx, key, o)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("namespace %s has no %s", key.Namespace, w)
	}
	return err
}

// nameOf is what an object is called on the command line.
func nameOf(o client.Object) work {
	if _, ok := o.(*batchv1.Job); ok {
		return work{jobKind, o.GetName()}
	}
	return work{podKind, o.GetName()}
}

// completeWork offers what is held, or, to be held, Jobs: one name, or many.
func completeWork(e env, c *connection, state string, many bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		named, spelled := anyKind, false
		if len(args) > 0 {
			named, spelled = kindOf(args[0])
		}
		given := len(args)
		if spelled {
			given--
		}
		if given > 0 && !many {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		api, err := e.connect(*c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		if spelled {
			return api.some(cmd.Context(), named, state, ""), cobra.ShellCompDirectiveNoFileComp
		}
		names := api.some(cmd.Context(), jobKind, state, "job/")
		if state != "" {
			names = append(names, api.some(cmd.Context(), podKind, state, "pod/")...)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// some returns the names of up to a hundred objects in a state, or in any, with a text before each; of none, if they
// cannot be read.
func (c *cluster) some(ctx context.Context, k kind, state, before string) []string {
	options := []client.ListOption{client.InNamespace(c.namespace), client.Limit(100)}
	if state != "" {
		options = append(options, client.MatchingLabels{v1alpha1.StateLabel: state})
	}
	list := metadataList(k)
	if err := c.List(ctx, list, options...); err != nil {
		return nil
	}
	var names []string
	for i := range list.Items {
		if name := list.Items[i].Name; len(validation.IsDNS1123Subdomain(name)) == 0 { // a shell takes it up
			names = append(names, before+name)
		}
	}
	return names
}

// metadataList is a list of Jobs, or of pods, without their specs.
func metadataList(k kind) *metav1.PartialObjectMetadataList {
	list := &metav1.PartialObjectMetadataList{}
	if k == jobKind {
		list.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
	} else {
		list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	}
	return list
}

func namespaceMetadata() *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return o
}
