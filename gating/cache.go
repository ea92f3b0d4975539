package gating

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

const (
	// heldIndex finds held objects by the policy that holds them.
	heldIndex = "gridlatch.held"
	// runningIndex finds released objects by the policy that has released them.
	runningIndex = "gridlatch.running"
)

func podKind() schema.GroupVersionKind { return schema.GroupVersionKind{Version: "v1", Kind: "Pod"} }
func jobKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}
}
func namespaceKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}
}
func nodeKind() schema.GroupVersionKind { return schema.GroupVersionKind{Version: "v1", Kind: "Node"} }

// CacheByObject says what this package needs to have cached: the metadata of
// pods that were decided on and are not over, of Jobs that were decided on, of
// namespaces and of nodes, each stripped to what is read.
func CacheByObject() map[client.Object]cache.ByObject {
	decided, _ := labels.NewRequirement(State, selection.Exists, nil) // a constant
	unfinished := fields.AndSelectors(
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)))
	return map[client.Object]cache.ByObject{
		metadata(podKind()):       {Label: labels.NewSelector().Add(*decided), Field: unfinished, Transform: newStripper().strip},
		metadata(jobKind()):       {Label: labels.NewSelector().Add(*decided), Transform: newStripper().strip},
		metadata(namespaceKind()): {Transform: newStripper().strip},
		metadata(nodeKind()):      {Transform: stripNode},
	}
}

// heldBy returns the policy that holds an object; none if it is released.
func heldBy(object client.Object) []string { return inState(object, StateHeld) }

// releasedBy returns the policy that has released an object; none if it is held.
func releasedBy(object client.Object) []string { return inState(object, StateReleased) }

// inState returns the policy of an object in a state; none if it is in another.
func inState(object client.Object, state string) []string {
	if object.GetLabels()[State] != state {
		return nil
	}
	if name := object.GetAnnotations()[PolicyName]; name != "" {
		return []string{name}
	}
	return []string{v1alpha1.DefaultPolicy}
}

func metadata(kind schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(kind)
	return object
}

// siblings are how many owners are remembered whose objects share what they say:
// those of one owner come together.
const siblings = 1024

// A stripper keeps of an object's metadata what is read here. The pods of an
// owner mostly say the same, and then share it: a hundred thousand held pods
// should cost little. So what is cached is never to be written to.
type stripper struct {
	known map[string]string // annotations that we know, so that each is kept once

	mu   sync.Mutex
	last map[types.UID]metav1.ObjectMeta // what the last object of an owner said
}

func newStripper() *stripper {
	s := &stripper{known: map[string]string{}, last: map[types.UID]metav1.ObjectMeta{}}
	for _, key := range append(append(asked(), written()...), State, KueueGates) {
		s.known[key] = key
	}
	return s
}

// strip is a transform of the cache.
func (s *stripper) strip(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	if len(m.ManagedFields) == 0 && s.onlyOurs(m.Labels) && s.onlyOurs(m.Annotations) {
		return m, nil // client-go has what it lists transformed twice, the second time in any order
	}
	m.ManagedFields, m.Finalizers, m.GenerateName = nil, nil, ""
	m.Labels, m.Annotations = s.ours(m.Labels), s.ours(m.Annotations)
	m.OwnerReferences = slices.DeleteFunc(m.OwnerReferences, func(o metav1.OwnerReference) bool {
		return o.Controller == nil || !*o.Controller
	})
	if len(m.OwnerReferences) > 0 {
		s.share(m.OwnerReferences[0].UID, &m.ObjectMeta)
	}
	return m, nil
}

// share lets an object have in common with the one before of its owner what
// both say.
func (s *stripper) share(owner types.UID, m *metav1.ObjectMeta) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.last[owner]
	if before.Namespace == m.Namespace {
		m.Namespace = before.Namespace // the same letters, in one place
	}
	if equality.Semantic.DeepEqual(before.OwnerReferences, m.OwnerReferences) {
		m.OwnerReferences = before.OwnerReferences
	}
	if maps.Equal(before.Labels, m.Labels) {
		m.Labels = before.Labels
	}
	if maps.Equal(before.Annotations, m.Annotations) {
		m.Annotations = before.Annotations
	}
	if !known && len(s.last) >= siblings {
		clear(s.last)
	}
	s.last[owner] = metav1.ObjectMeta{Namespace: m.Namespace, Labels: m.Labels, Annotations: m.Annotations, OwnerReferences: m.OwnerReferences}
}

// stripNode keeps of a node its labels, by which policies say where it is, and
// our own annotations.
func stripNode(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	m.ManagedFields, m.Finalizers, m.OwnerReferences = nil, nil, nil
	m.Annotations = newStripper().ours(m.Annotations)
	return m, nil
}

// onlyOurs reports whether all labels or annotations are read here.
func (s *stripper) onlyOurs(all map[string]string) bool {
	for key := range all {
		if _, ok := s.reads(key); !ok {
			return false
		}
	}
	return true
}

// reads reports whether a label or annotation is read here, and returns its key,
// of those that we know always the same letters.
func (s *stripper) reads(key string) (string, bool) {
	if known, ok := s.known[key]; ok {
		return known, true
	}
	return key, strings.HasPrefix(key, prefix)
}

// ours returns what of labels or annotations is read here.
func (s *stripper) ours(all map[string]string) map[string]string {
	kept := map[string]string{}
	for key, value := range all {
		if key, ok := s.reads(key); ok {
			kept[key] = value
		}
	}
	return kept
}

// Records reads the cache of what was decided on. What it returns is the cache's
// own, not to be written to: a copy of a hundred thousand pods for every pass
// would cost as much memory as they do.
type Records struct {
	reader client.Reader
	pods   indexed
	jobs   indexed
}

// indexed are the objects of a kind by policy.
type indexed struct{ toolscache.Indexer }

// byPolicy are our indices.
func byPolicy() toolscache.Indexers {
	index := func(policies func(client.Object) []string) toolscache.IndexFunc {
		return func(object any) ([]string, error) {
			if o, ok := object.(client.Object); ok {
				return policies(o), nil
			}
			return nil, fmt.Errorf("cached is a %T", object)
		}
	}
	return toolscache.Indexers{heldIndex: index(heldBy), runningIndex: index(releasedBy)}
}

// list returns the objects that an index has for a policy.
func (i indexed) list(index, policy string) ([]*metav1.PartialObjectMetadata, error) {
	objects, err := i.ByIndex(index, policy)
	if err != nil {
		return nil, fmt.Errorf("list by policy: %w", err)
	}
	list := make([]*metav1.PartialObjectMetadata, 0, len(objects))
	for _, object := range objects {
		if o, ok := object.(*metav1.PartialObjectMetadata); ok {
			list = append(list, o)
		}
	}
	return list, nil
}

// jobOf returns the record of the Job that owns an object of a namespace, nil if
// it is not owned by a Job, or by one that was not decided on.
func jobOf(ctx context.Context, reader client.Reader, namespace string, object metav1.Object) *metav1.PartialObjectMetadata {
	owner := JobOf(object)
	if owner == nil {
		return nil
	}
	job := metadata(jobKind())
	key := types.NamespacedName{Namespace: namespace, Name: owner.Name}
	// the only error of a cache is that it has no such object
	if err := reader.Get(ctx, key, job, client.UnsafeDisableDeepCopy); err != nil || job.UID != owner.UID {
		return nil
	}
	return job
}

// JobOf returns the reference to the Job that owns an object, nil if none does.
func JobOf(object metav1.Object) *metav1.OwnerReference {
	owner := metav1.GetControllerOfNoCopy(object)
	if owner == nil || owner.Kind != "Job" || !strings.HasPrefix(owner.APIVersion, "batch/") {
		return nil
	}
	return owner
}

// Released reports whether the Job that owns a pod of a namespace has been
// released, by what the cache knows.
func Released(ctx context.Context, reader client.Reader, namespace string, pod metav1.Object) bool {
	job := jobOf(ctx, reader, namespace, pod)
	return job != nil && job.Labels[State] == StateReleased
}

// PlannedWithJob returns where the Job that owns a pod of a namespace was released
// to or, if the cache does not know of the release yet, what the Job's template
// says.
func PlannedWithJob(ctx context.Context, reader client.Reader, namespace string, pod metav1.Object) string {
	template := pod.GetAnnotations()[PlannedLocation]
	if job := jobOf(ctx, reader, namespace, pod); job != nil && job.Labels[State] == StateReleased {
		return cmp.Or(job.Annotations[PlannedLocation], template)
	}
	return template
}

// NamespacePolicy returns the policy that a namespace names, empty if none.
func NamespacePolicy(ctx context.Context, reader client.Reader, namespace string) string {
	object := metadata(namespaceKind())
	if err := reader.Get(ctx, types.NamespacedName{Name: namespace}, object, client.UnsafeDisableDeepCopy); err != nil {
		return "" // not cached yet: as if it named none
	}
	return object.Annotations[PolicyName]
}

// PrepareCache makes a cache that has not started yet ready for the readers of
// this package: they fail rather than start an informer of their own.
func PrepareCache(ctx context.Context, c cache.Cache) (*Records, error) {
	for _, object := range []client.Object{&v1alpha1.CarbonPolicy{}, metadata(namespaceKind()), metadata(nodeKind())} {
		if _, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false)); err != nil {
			return nil, fmt.Errorf("watch: %w", err)
		}
	}
	r := &Records{reader: c}
	for kind, to := range map[schema.GroupVersionKind]*indexed{podKind(): &r.pods, jobKind(): &r.jobs} {
		informer, err := c.GetInformer(ctx, metadata(kind), cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("watch %ss: %w", kind.Kind, err)
		}
		if err := informer.AddIndexers(byPolicy()); err != nil {
			return nil, fmt.Errorf("index %ss by policy: %w", kind.Kind, err)
		}
		shared, ok := informer.(toolscache.SharedIndexInformer)
		if !ok {
			return nil, fmt.Errorf("index %ss by policy: the cache has a %T", kind.Kind, informer)
		}
		to.Indexer = shared.GetIndexer()
	}
	return r, nil
}
