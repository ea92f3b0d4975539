package keep

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/watching"
)

// Wholes reads objects of engines, which are held as a whole.
type Wholes struct {
	Objects     dynamic.Interface
	Definitions metadata.Interface
}

// rightInterval is how often the keeper asks whether it may watch a kind.
const rightInterval = 5 * time.Minute

// watchWholes watches the objects of one kind with a door, once the keeper may.
func (k *Keeper) watchWholes(ctx context.Context, d *door.Door) {
	resource := d.GroupVersionResource()
	ask := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "watch", Group: resource.Group, Resource: resource.Resource},
	}}
	forbidden := wait.PollUntilContextCancel(ctx, rightInterval, true, func(ctx context.Context) (bool, error) {
		answer, err := k.Clientset.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, ask, metav1.CreateOptions{})
		return err == nil && answer.Status.Allowed, nil // another time
	})
	if forbidden != nil {
		return // the context has ended
	}
	r := &watching.Resource{
		Objects: k.Wholes.Objects, Definitions: k.Wholes.Definitions, Name: resource, Selector: startedWork,
		Keep: k.keepWhole(d), Indexers: toolscache.Indexers{},
	}
	r.Changed = func() {
		if r.IsKnown() {
			k.known.confirmOwners(d.Resource, k.Clock.Now())
		}
	}
	r.AddHandler(k.wholeHandler())
	r.Run(ctx)
}

// keepWhole returns what makes records of objects of a kind.
func (k *Keeper) keepWhole(d *door.Door) toolscache.TransformFunc {
	return func(o any) (any, error) {
		if u, ok := o.(*unstructured.Unstructured); ok {
			return newObject(u, ownerOfWhole(u, d, k.Clock.Now())), nil
		}
		return o, nil
	}
}

func (k *Keeper) wholeHandler() toolscache.ResourceEventHandler {
	put := func(o any) {
		if o, ok := o.(*object[owner]); ok {
			record := *o.record // the cache keeps the other
			k.noteWhole(&record)
			k.known.setOwner(&record)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: put, UpdateFunc: func(_, o any) { put(o) },
		DeleteFunc: func(o any) {
			if unseen, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = unseen.Obj
			}
			if o, ok := o.(*object[owner]); ok {
				record := *o.record
				k.known.dropOwner(o.UID, &record, k.Clock.Now())
			}
		},
	}
}

// noteWhole begins to watch the pods of an engine once an object of the engine has started.
func (k *Keeper) noteWhole(o *owner) {
	for _, d := range door.All() {
		if d.Resource == o.Watch {
			k.further.begin(d.PodLabel)
		}
	}
}

// ownerOfWhole returns what is kept of an object of an engine.
func ownerOfWhole(u *unstructured.Unstructured, d *door.Door, now time.Time) *owner {
	created := u.GetCreationTimestamp().UTC()
	o := &owner{
		Kind: d.Kind.Kind, Namespace: u.GetNamespace(), Name: u.GetName(), UID: u.GetUID(), Controller: controllerOf(u), Notes: notesOf(u),
		Created: created, Arrived: created, Parallel: int32(d.Pods(u.Object)), Watch: d.Resource, seen: now,
	}
	if value := d.PodLabelOf(u.Object); value != "" {
		o.Piece = piece(d.PodLabel, value)
	}
	if !d.IsOver(u.Object) {
		return o
	}
	o.Failed = wholeFailed(u.Object)
	if !o.Failed {
		o.Succeeded = 1
	}
	o.Ended = wholeEnd(u.Object, now)
	return o
}

func piece(label, value string) string { return label + "=" + value }

// podLabels returns the labels by which engines say to which work a pod belongs.
func podLabels() []string {
	var all []string
	for _, d := range door.All() {
		if !slices.Contains(all, d.PodLabel) {
			all = append(all, d.PodLabel)
		}
	}
	return all
}

// piecesOf returns the pieces of work of engines to which a pod with these labels belongs. known
// are all labels by which engines say so.
func piecesOf(labels map[string]string, known []string) []string {
	var all []string
	for _, label := range known {
		if value := labels[label]; value != "" {
			all = append(all, piece(label, value))
		}
	}
	return all
}

// wholeFailed reports whether an object of an engine that has ended did so without success. Engines
// say so in a word of the status, or in a condition.
func wholeFailed(content map[string]any) bool {
	for _, path := range [][]string{{"phase"}, {"terminalState"}, {"jobDeploymentStatus"}, {"jobStatus"}, {"applicationState", "state"}} {
		word, _, _ := unstructured.NestedString(content, append([]string{"status"}, path...)...) // or another type
		if slices.Contains([]string{"Failed", "FAILED", "Error", "ValidationFailed", "STOPPED"}, word) {
			return true
		}
	}
	found, _, _ := unstructured.NestedFieldNoCopy(content, "status", "conditions")
	conditions, _ := found.([]any)
	return slices.ContainsFunc(conditions, func(c any) bool {
		condition, _ := c.(map[string]any)
		return condition["type"] == "Failed" && condition["status"] == "True" || condition["type"] == "Succeeded" && condition["status"] == "False"
	})
}

// wholeEnd returns when an object of an engine ended, as its status says, or else when that was
// seen.
func wholeEnd(content map[string]any, seen time.Time) time.Time {
	for _, name := range []string{"completionTime", "finishedAt", "endTime", "terminationTime"} {
		text, _, _ := unstructured.NestedString(content, "status", name)
		if at := instant(text); !at.IsZero() {
			return earlier(at, seen)
		}
	}
	return seen
}

// further has the watches of pods that begin once they are needed.
type further struct {
	mu      sync.Mutex
	wanted  map[string]bool
	started map[string]bool
	start   func(label string) // nil before the keeper watches
}

// begin begins a watch of the pods that have a label, and say nothing of a decision.
func (f *further) begin(label string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wanted == nil {
		f.wanted, f.started = map[string]bool{}, map[string]bool{}
	}
	f.wanted[label] = true
	f.run()
}

// startWith makes the watches begin, also those that were wanted before.
func (f *further) startWith(start func(label string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.start = start
	f.run()
}

func (f *further) run() {
	for label := range maps.Keys(f.wanted) {
		if f.start != nil && !f.started[label] {
			f.started[label] = true
			f.start(label)
		}
	}
}

// watchFurther watches the pods that have a label, and say nothing of a decision.
func (k *Keeper) watchFurther(ctx context.Context) {
	k.further.startWith(func(label string) {
		go k.watch(ctx, k.podSink(label), &corev1.Pod{}, label+",!"+v1alpha1.StateLabel, k.Clientset)
	})
}
