package gating

import (
	"maps"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// record is what is cached of a pod, a Job or what else is held whole, once it was decided on: the metadata that Gridlatch reads,
// and facts that annotations cannot make up. A hundred thousand held pods should cost little, so
// records share what they have in common. Nobody may write to a record.
type record struct {
	metav1.PartialObjectMetadata
	facts
}

// facts are what the spec and status of an object say.
type facts struct {
	// Of a pod: we hold it, or it has a node.
	isGated, hasNode bool
	// Of a pod: the names of its other gates, separated by commas.
	otherGates string
	// Of a Job, or of what else is held whole: it is suspended by anybody, or also was a moment ago (see
	// hold.IsSuspendedOrJustResumed).
	isSuspended, isSuspendedOrJustResumed bool
	// Of a Job: when it was resumed last; zero if it never was.
	resumedAt time.Time
	// Of a Job: its parallelism is 0.
	hasNoParallelism bool
	// Of a Job, or of what else is held whole: how many pods it runs at once, once it is not suspended.
	podsToRun int32
	// Of a Job: a clock of its own runs while its pods are gated.
	hasTimeLimit bool
	// Kueue has given quota to the pod, or to the pods of the Job.
	hasQuota bool
	// Of what is held whole and is no Job: it has ended.
	isOver bool
	// Of what is held whole and is no Job: the time after its creation by which it must end, although it
	// waits; zero if there is no limit. keepsLocks says that others wait for locks that it has.
	timeLimit  time.Duration
	keepsLocks bool
	// Of what may be paused: how far it has come. It is nil for all else.
	progress *policy.Progress
}

// ResumedAt returns when a Job was resumed last; zero if it never was.
func (r *record) ResumedAt() time.Time { return r.resumedAt }

// Progress returns how far work has come that may be paused; nil for other work.
func (r *record) Progress() *policy.Progress { return r.progress }

// DeepCopyObject implements runtime.Object.
func (r *record) DeepCopyObject() runtime.Object {
	return &record{*r.DeepCopy(), r.facts}
}

func factsOfPod(pod *corev1.Pod) facts {
	return facts{
		isGated: hold.HoldsPod(pod), hasNode: pod.Spec.NodeName != "", otherGates: joinOtherGates(pod.Spec.SchedulingGates),
		hasQuota: hold.HasQuota(pod.Labels),
	}
}

func factsOfJob(job *batchv1.Job) facts {
	return facts{
		isSuspended: ptr.Deref(job.Spec.Suspend, false), isSuspendedOrJustResumed: hold.IsSuspendedOrJustResumed(job), resumedAt: policy.ResumedAt(job), hasNoParallelism: ptr.Deref(job.Spec.Parallelism, 1) == 0, podsToRun: int32(hold.PodsToRun(job)),
		hasTimeLimit: job.Spec.ActiveDeadlineSeconds != nil, hasQuota: hold.HasQuota(job.Spec.Template.Labels), progress: hold.ProgressOfJob(job),
	}
}

func factsOfWhole(d *door.Door, content map[string]any) facts {
	isClosed := d.IsClosed(content)
	f := facts{isSuspended: isClosed, isSuspendedOrJustResumed: isClosed, podsToRun: int32(d.Pods(content)), isOver: d.IsOver(content), keepsLocks: d.KeepsLocks(content)}
	if limit, ok := d.TimeLimit(content); ok {
		f.timeLimit = max(limit, time.Second)
	}
	return f
}

// holdingPolicy returns the policy that holds an object; none if it is not held. A pod is held by
// its gate, whatever its labels say. A Job is held by its label, which records the decision for its
// pods.
func holdingPolicy(r *record) []string {
	held := r.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld
	if r.Kind == hold.PodKind().Kind {
		held = r.isGated && r.DeletionTimestamp == nil
	}
	return policyNames(r, held)
}

// releasingPolicy returns the policy that has released an object; none if it was not released.
func releasingPolicy(r *record) []string {
	released := r.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased
	if r.Kind == hold.PodKind().Kind {
		released = !r.isGated
	}
	return policyNames(r, released)
}

// policyNames returns the policy that an object names, or none if the object does not count.
func policyNames(r *record, counts bool) []string {
	switch name := r.Annotations[v1alpha1.PolicyAnnotation]; {
	case !counts:
		return nil
	case name == "":
		return []string{v1alpha1.DefaultPolicy}
	default:
		return []string{name}
	}
}

// maxSharingOwners bounds how many owners are remembered so that their objects can share. The
// objects of one owner come together.
const maxSharingOwners = 1024

const (
	// maxReasonBytes bounds what is kept of a reason, which plan.Truncate has bounded before.
	maxReasonBytes = 1 << 10
	// maxOwnerBytes bounds each part of a reference to an owner. Names have 253 characters at most,
	// but the API server does not check those in a reference.
	maxOwnerBytes = 253
)

// recordMaker makes records. Most pods of an owner have the same labels and
// annotations, and their records share them.
type recordMaker struct {
	limits map[string]int // of the annotations that are read, by their keys

	mu          sync.Mutex
	lastOfOwner map[types.UID]metav1.ObjectMeta // what the last object of an owner said
}

func newRecordMaker() *recordMaker {
	s := &recordMaker{limits: map[string]int{}, lastOfOwner: map[types.UID]metav1.ObjectMeta{}}
	for _, key := range append(append(policy.AskKeys(), policy.WrittenKeys()...), hold.KueueGatesAnnotation) {
		s.limits[key] = policy.MaxValue
	}
	s.limits[v1alpha1.ReasonAnnotation], s.limits[v1alpha1.CandidateLocationsAnnotation], s.limits[hold.KueueGatesAnnotation] = maxReasonBytes, hold.MaxListBytes, hold.MaxListBytes
	return s
}

// transform is the transform of the cache. client-go transforms what it lists twice, the second
// time in any order.
func (s *recordMaker) transform(object any) (any, error) {
	switch o := object.(type) {
	case *corev1.Pod:
		return s.newRecord(hold.PodKind().Kind, "v1", &o.ObjectMeta, factsOfPod(o)), nil
	case *batchv1.Job:
		return s.newRecord(hold.JobKind().Kind, "batch/v1", &o.ObjectMeta, factsOfJob(o)), nil
	case *unstructured.Unstructured:
		if d := door.Of(o.GroupVersionKind().GroupKind()); d != nil {
			known := factsOfWhole(d, o.Object)
			known.progress = hold.ProgressOfWhole(d, o)
			return s.newRecord(d.Kind.Kind, d.Kind.GroupVersion().String(), metaOf(o), known), nil
		}
	}
	return object, nil
}

// metaOf returns the metadata of an object that newRecord reads.
func metaOf(o *unstructured.Unstructured) *metav1.ObjectMeta {
	return &metav1.ObjectMeta{
		Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(), Generation: o.GetGeneration(),
		CreationTimestamp: o.GetCreationTimestamp(), DeletionTimestamp: o.GetDeletionTimestamp(),
		Labels: o.GetLabels(), Annotations: o.GetAnnotations(), OwnerReferences: o.GetOwnerReferences(),
	}
}

func (s *recordMaker) newRecord(kind, version string, full *metav1.ObjectMeta, facts facts) *record {
	r := &record{facts: facts}
	r.Kind, r.APIVersion = kind, version
	r.Namespace, r.Name, r.UID = full.Namespace, full.Name, full.UID
	r.ResourceVersion, r.Generation = full.ResourceVersion, full.Generation
	r.CreationTimestamp, r.DeletionTimestamp = full.CreationTimestamp, full.DeletionTimestamp
	r.Labels, r.Annotations = map[string]string{v1alpha1.StateLabel: full.Labels[v1alpha1.StateLabel]}, s.knownAnnotations(full.Annotations)
	if wish, ok := full.Labels[v1alpha1.DelayTolerantAnnotation]; ok {
		r.Labels[v1alpha1.DelayTolerantAnnotation] = wish
	}
	for _, owner := range knownOwners(kind, full) {
		r.OwnerReferences = append(r.OwnerReferences, *owner)
	}
	if len(r.OwnerReferences) > 0 {
		s.share(r.OwnerReferences[0].UID, &r.ObjectMeta)
	}
	return r
}

// knownOwners returns references to what decides with an object: its controller, and the piece of
// work that the labels of a pod name.
func knownOwners(kind string, full *metav1.ObjectMeta) (all []*metav1.OwnerReference) {
	if owner := metav1.GetControllerOfNoCopy(full); owner != nil && isPlausible(owner) {
		all = append(all, owner)
	}
	if kind != hold.PodKind().Kind {
		return all
	}
	if labelled := door.LabelledOwner(full.Labels); labelled != nil {
		all = append(all, labelled)
	}
	return all
}

// isPlausible reports whether Kubernetes can have made a reference to an owner.
func isPlausible(owner *metav1.OwnerReference) bool {
	return max(len(owner.Name), len(owner.Kind), len(owner.APIVersion), len(owner.UID)) <= maxOwnerBytes
}

// knownAnnotations returns the annotations that Gridlatch reads, each bounded.
func (s *recordMaker) knownAnnotations(all map[string]string) map[string]string {
	kept := map[string]string{}
	for key, limit := range s.limits {
		if value, ok := all[key]; ok {
			kept[key] = policy.Truncate(value, limit)
		}
	}
	return kept
}

// share replaces the parts of an object that equal those of the object before, of the same owner,
// by these parts.
func (s *recordMaker) share(owner types.UID, m *metav1.ObjectMeta) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.lastOfOwner[owner]
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
	if !known && len(s.lastOfOwner) >= maxSharingOwners {
		clear(s.lastOfOwner)
	}
	s.lastOfOwner[owner] = metav1.ObjectMeta{Namespace: m.Namespace, Labels: m.Labels, Annotations: m.Annotations, OwnerReferences: m.OwnerReferences}
}
