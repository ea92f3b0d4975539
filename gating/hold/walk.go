package hold

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	clientretry "k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
)

// EachOwner calls f for each owner whose label says that it is held. An empty namespace is the whole
// cluster. Kinds that the API server does not know are left out.
func EachOwner(ctx context.Context, reader client.Reader, namespace string, f func(Owner)) error {
	problems := []error{EachJob(ctx, reader, namespace, v1alpha1.StateLabel, selection.Equals, func(job *batchv1.Job) { callWithOwner(job, f) })}
	for _, d := range door.All() {
		problems = append(problems, EachWhole(ctx, reader, &d, namespace, func(o client.Object) { callWithOwner(o, f) }))
	}
	return errors.Join(problems...)
}

// EachWhole calls f for each object of a kind that has a door, and whose label says that it is held. An
// empty namespace is the whole cluster. There are none if the API server does not know the kind.
func EachWhole(ctx context.Context, reader client.Reader, d *door.Door, namespace string, f func(client.Object)) error {
	return eachOfDoor(ctx, reader, d, &unstructured.UnstructuredList{}, namespace, selection.Equals, f)
}

// EachUnlabelledHeldOwner calls f for each owner that we hold itself and whose label does not say so.
// An empty namespace is the whole cluster. Kinds that are not wanted, and that the API server does not
// know, are left out. It reads whole only what has our mark.
func EachUnlabelledHeldOwner(ctx context.Context, reader client.Reader, namespace string, isWanted func(schema.GroupKind) bool, f func(Owner)) error {
	ifHeld := func(owner Owner) {
		if owner.HoldsItself() {
			f(owner)
		}
	}
	problems := []error{EachJob(ctx, reader, namespace, v1alpha1.StateLabel, selection.NotEquals, func(job *batchv1.Job) { callWithOwner(job, ifHeld) })}
	for _, d := range door.All() {
		if isWanted(d.Kind.GroupKind()) {
			problems = append(problems, eachUnlabelledHeldWhole(ctx, reader, &d, namespace, f))
		}
	}
	return errors.Join(problems...)
}

// eachUnlabelledHeldWhole calls f for each object of a kind that has a door, that we hold, and whose label
// does not say so.
func eachUnlabelledHeldWhole(ctx context.Context, reader client.Reader, d *door.Door, namespace string, f func(Owner)) error {
	var problems []error
	err := eachOfDoor(ctx, reader, d, &metav1.PartialObjectMetadataList{}, namespace, selection.NotEquals, func(o client.Object) {
		if HeldBy(o.GetAnnotations()) == "" {
			return
		}
		owner, err := ReadOwner(ctx, reader, d.Kind, client.ObjectKeyFromObject(o))
		if err != nil {
			problems = append(problems, client.IgnoreNotFound(err))
			return
		}
		if owner.HoldsItself() {
			f(owner)
		}
	})
	return errors.Join(append(problems, err)...)
}

func callWithOwner(o client.Object, f func(Owner)) {
	if owner, ok := OwnerOf(o); ok {
		f(owner)
	}
}

// eachOfDoor calls f for each object of a kind that has a door, and whose label has, or has not, the
// value of held work. There are none if the API server does not know the kind.
func eachOfDoor(ctx context.Context, reader client.Reader, d *door.Door, list objectList, namespace string, is selection.Operator, f func(client.Object)) error {
	list.SetGroupVersionKind(d.Kind.GroupVersion().WithKind(d.Kind.Kind + "List"))
	options := client.ListOptions{Namespace: namespace, Limit: wholesPageSize}
	if err := selectByLabel(&options, v1alpha1.StateLabel, is); err != nil {
		return err
	}
	err := Walk(ctx, reader, list, options, f)
	switch {
	case err == nil || apimeta.IsNoMatchError(err) || apierrors.IsNotFound(err):
		return nil
	case apierrors.IsForbidden(err):
		return &ForbiddenError{Resource: d.Resource, err: err}
	default:
		return fmt.Errorf("list %s: %w", d.Resource, err)
	}
}

// ForbiddenError says that the objects of a kind may not be listed, so that nothing is done to those that
// are held.
type ForbiddenError struct {
	// Resource is the plural name of the kind.
	Resource string
	err      error
}

// Error returns a sentence for the user.
func (f *ForbiddenError) Error() string {
	return fmt.Sprintf("you may not list %s, so what is held of them stays held: %v", f.Resource, f.err)
}

// Unwrap returns the answer of the API server.
func (f *ForbiddenError) Unwrap() error { return f.err }

// SplitForbidden returns the resources that each ForbiddenError among joined errors names, and what is
// left of the errors without these.
func SplitForbidden(err error) (resources []string, rest error) {
	var forbidden *ForbiddenError
	joined, isJoined := err.(interface{ Unwrap() []error })
	switch {
	case isJoined:
		var left []error
		for _, part := range joined.Unwrap() {
			more, restOfPart := SplitForbidden(part)
			left, resources = append(left, restOfPart), append(resources, more...)
		}
		return resources, errors.Join(left...)
	case errors.As(err, &forbidden):
		return []string{forbidden.Resource}, nil
	default:
		return nil, err
	}
}

// objectList is a list of objects whose kind is set by hand.
type objectList interface {
	client.ObjectList
	SetGroupVersionKind(schema.GroupVersionKind)
}

// EachJob calls f for each Job whose label exists, or has the value of held work, or has not. An
// empty namespace is the whole cluster.
func EachJob(ctx context.Context, reader client.Reader, namespace, label string, is selection.Operator, f func(*batchv1.Job)) error {
	options := client.ListOptions{Namespace: namespace}
	if err := selectByLabel(&options, label, is); err != nil {
		return err
	}
	err := Walk(ctx, reader, &batchv1.JobList{}, options, func(o client.Object) {
		if job, ok := o.(*batchv1.Job); ok {
			f(job)
		}
	})
	if err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	return nil
}

// EachGatedPod calls f for each pod that waits with our gate, or for us at its queue in Kueue, and
// whose label says that it is held, or does not. An empty namespace is the whole cluster.
func EachGatedPod(ctx context.Context, reader client.Reader, namespace string, is selection.Operator, f func(*corev1.Pod)) error {
	options := client.ListOptions{
		Namespace:     namespace,
		FieldSelector: fields.SelectorFromSet(fields.Set{"spec.nodeName": "", "status.phase": string(corev1.PodPending)}),
	}
	if err := selectByLabel(&options, v1alpha1.StateLabel, is); err != nil {
		return err
	}
	err := Walk(ctx, reader, &corev1.PodList{}, options, func(o client.Object) {
		if pod, ok := o.(*corev1.Pod); ok && HoldsPod(pod) {
			f(pod)
		}
	})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	return nil
}

// selectByLabel selects the objects whose label exists or, with Equals and NotEquals, those whose
// label has, or has not, the value of held work.
func selectByLabel(options *client.ListOptions, label string, is selection.Operator) error {
	values := []string{v1alpha1.StateHeld}
	if is == selection.Exists {
		values = nil
	}
	required, err := labels.NewRequirement(label, is, values)
	if err != nil {
		return fmt.Errorf("select by label: %w", err)
	}
	options.LabelSelector = labels.NewSelector().Add(*required)
	return nil
}

const (
	// walkPageSize is how many objects are listed at once.
	walkPageSize = 500
	// wholesPageSize is how many objects are listed at once of a kind that others have defined. Such an
	// object can take a megabyte.
	wholesPageSize = 50
	// maxWalkRestarts bounds how often a list is started again. The API server forgets a list
	// after some minutes.
	maxWalkRestarts = 100
)

// Walk calls f once for each object of a list, page by page. It starts the list again where the API
// server has forgotten it, and tries again where the API server is busy.
func Walk(ctx context.Context, reader client.Reader, list client.ObjectList, options client.ListOptions, f func(client.Object)) error {
	type identity struct {
		types.NamespacedName
		types.UID
	}
	seen, restarts := map[identity]bool{}, 0
	options.Limit = cmp.Or(options.Limit, walkPageSize)
	each := func(item runtime.Object) error {
		o, ok := item.(client.Object)
		if !ok {
			return fmt.Errorf("%T: want an object", item)
		}
		id := identity{client.ObjectKeyFromObject(o), o.GetUID()}
		if restarts == 0 || !seen[id] {
			seen[id] = true
			f(o)
		}
		return nil
	}
	for {
		page, ok := list.DeepCopyObject().(client.ObjectList)
		if !ok {
			return fmt.Errorf("cannot list %T", list)
		}
		err := retryTransient(func() error { return reader.List(ctx, page, &options) })
		switch {
		case apierrors.IsResourceExpired(err) && options.Continue != "" && restarts < maxWalkRestarts:
			restarts++
			options.Continue = ""
			continue
		case err != nil:
			return err
		}
		if err := apimeta.EachListItem(page, each); err != nil {
			return fmt.Errorf("read a list: %w", err)
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

// retryTransient tries a request several times where the API server is busy, or away for a moment.
func retryTransient(request func() error) error {
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 3, Steps: 5, Jitter: 0.2}
	return clientretry.OnError(backoff, func(err error) bool {
		return apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err)
	}, request)
}
