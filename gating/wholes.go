package gating

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/watching"
)

// What is known of the right to patch a kind.
const (
	rightUnknown int32 = iota
	rightGiven
	rightMissing
)

// wholes are the records of one kind, other than Job, that is held whole. They are asleep until
// Gridlatch may patch the kind, and while the kind is not defined.
type wholes struct {
	*watching.Resource
	door  door.Door
	right atomic.Int32
	// whyIgnored says why the engine would start what is held; nil if the engine would not, or if its
	// definition cannot be read.
	whyIgnored atomic.Pointer[string]
}

// newWholes returns the records of each kind that has a door.
func newWholes(objects dynamic.Interface, definitions metadata.Interface) []*wholes {
	var all []*wholes
	for _, d := range door.All() {
		s := newRecordMaker()
		w := &wholes{door: d, Resource: &watching.Resource{
			Objects: objects, Definitions: definitions, Name: d.GroupVersionResource(), Selector: v1alpha1.StateLabel,
			Keep: s.transform, Indexers: policyIndexers(),
		}}
		w.Defined = w.readDefinition
		all = append(all, w)
	}
	return all
}

// wholesOf returns the records of a kind; nil if the kind has no door.
func (r *Records) wholesOf(kind schema.GroupKind) *wholes {
	if r == nil {
		return nil
	}
	for _, w := range r.wholes {
		if w.door.Kind.GroupKind() == kind {
			return w
		}
	}
	return nil
}

// CanHold says why no object of a kind can be held whole, as the end of a sentence; empty if objects of
// the kind can be held. They can once all of them are known, and while Gridlatch may release them.
func (r *Records) CanHold(kind schema.GroupKind) string {
	w := r.wholesOf(kind)
	switch {
	case w == nil:
		return fmt.Sprintf("Gridlatch does not know how to hold a %s", kind.Kind)
	case w.right.Load() == rightMissing || w.IsForbidden():
		return fmt.Sprintf("Gridlatch has no right to release %ss: is manifests/components/%s installed?", kind.Kind, w.door.Component)
	case w.right.Load() == rightUnknown || w.IsAbsent() || !w.IsKnown():
		return fmt.Sprintf("Gridlatch has not read the %ss of the cluster yet", kind.Kind)
	}
	if why := w.whyIgnored.Load(); why != nil {
		return *why
	}
	if definition := w.Definition(); definition != nil {
		return w.door.WhyTooOld(definition)
	}
	return ""
}

// definitionTimeout bounds how long the definition of a kind is read.
const definitionTimeout = 10 * time.Second

// readDefinition reads whether the definition of the kind has the door. The watch of definitions brings
// only their metadata, because a whole definition can take a megabyte.
func (w *wholes) readDefinition(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, definitionTimeout)
	defer cancel()
	name := w.Name.GroupResource().String()
	definition, err := w.Objects.Resource(watching.DefinitionResource()).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		w.whyIgnored.Store(nil)
		log.FromContext(ctx).Info("cannot read whether the engine knows the field by which its work is held", "definition", name, "why", err.Error())
		return
	}
	why := w.door.WhyIgnored(definition.Object)
	if why == "" {
		w.whyIgnored.Store(nil)
		return
	}
	w.whyIgnored.Store(&why)
}

// mayHold reports whether Gridlatch may hold objects of a kind whole, or have held some: it has the right
// to release and to read them, and the kind is defined.
func (r *Records) mayHold(kind schema.GroupKind) bool {
	w := r.wholesOf(kind)
	return w != nil && w.right.Load() == rightGiven && !w.IsAbsent() && !w.IsForbidden()
}

// lacksRight reports whether Gridlatch may not release objects of a kind. Then such objects are not held,
// and that they are not released says nothing about other kinds.
func (r *Records) lacksRight(kind schema.GroupKind) bool {
	w := r.wholesOf(kind)
	return w != nil && w.right.Load() == rightMissing
}

// run asks again and again whether Gridlatch may patch the kind, and begins to watch the kind once
// Gridlatch may. It returns when the context ends.
func (w *wholes) run(ctx context.Context, clientset kubernetes.Interface) {
	isWatched := false
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		may, err := mayPatch(ctx, clientset, w.Name.GroupResource())
		switch {
		case err != nil: // the answer before counts
			log.FromContext(ctx).Error(err, "cannot tell whether held work may be released", "resource", w.Name.GroupResource().String())
		case may:
			w.right.Store(rightGiven)
		default:
			w.right.Store(rightMissing)
		}
		if may && !isWatched {
			isWatched = true
			go w.Run(ctx)
		}
	}, reviewInterval)
}

// mayPatch asks the API server whether Gridlatch may patch the objects of a resource in any namespace.
func mayPatch(ctx context.Context, clientset kubernetes.Interface, resource schema.GroupResource) (bool, error) {
	ask := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "patch", Group: resource.Group, Resource: resource.Resource},
	}}
	answer, err := clientset.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, ask, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("ask what we may do: %w", err)
	}
	return answer.Status.Allowed, nil
}

// source tells a controller about changes. It has nothing to wait for: the kind may never be defined.
func (w *wholes) source(handle handler.TypedEventHandler[*record, reconcile.Request]) source.Source {
	return source.TypedFunc[reconcile.Request](func(ctx context.Context, q queue) error {
		w.AddHandler(toolscache.ResourceEventHandlerDetailedFuncs{
			AddFunc: func(object any, isInInitialList bool) {
				if o, ok := object.(*record); ok {
					handle.Create(ctx, event.TypedCreateEvent[*record]{Object: o, IsInInitialList: isInInitialList}, q)
				}
			},
			UpdateFunc: func(before, after any) {
				a, isRecord := before.(*record)
				b, ok := after.(*record)
				if isRecord && ok {
					handle.Update(ctx, event.TypedUpdateEvent[*record]{ObjectOld: a, ObjectNew: b}, q)
				}
			},
			DeleteFunc: func(object any) {
				gone, isUnseen := object.(toolscache.DeletedFinalStateUnknown)
				if isUnseen {
					object = gone.Obj
				}
				if o, ok := object.(*record); ok {
					handle.Delete(ctx, event.TypedDeleteEvent[*record]{Object: o, DeleteStateUnknown: isUnseen}, q)
				}
			},
		})
		return nil
	})
}
