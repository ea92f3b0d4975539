package keep

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/resource"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/ledger/energy"
	"github.com/gridlatch/gridlatch/policy"
)

// notes are what an object says of a decision: its labels and annotations of Gridlatch. Pods of one
// owner share their notes. Nobody may write to notes.
type notes struct {
	State           string    `json:"state"`
	Policy          string    `json:"policy,omitempty"`
	Started         time.Time `json:"started,omitzero"`
	PlannedStart    time.Time `json:"plannedStart,omitzero"`
	LatestStart     time.Time `json:"latestStart,omitzero"`
	Location        string    `json:"location,omitempty"`
	PlannedLocation string    `json:"plannedLocation,omitempty"`
	Watts           float64   `json:"watts,omitempty"`
	Units           float64   `json:"units,omitempty"`
	// Pauses is how often the work was paused. RestartCost is what the work says that a resume costs.
	Pauses      int       `json:"pauses,omitempty"`
	RestartCost string    `json:"restartCost,omitempty"`
	FinishBy    time.Time `json:"finishBy,omitzero"`
}

// The bounds of what work may state of itself, and request.
const (
	maxPowerWatts = 1e7
	maxUnits      = 1e12
	maxRequested  = 1e18 // bytes, too
)

func notesOf(o metav1.Object) notes {
	a := o.GetAnnotations()
	text := func(key string) string { return policy.Truncate(a[key], policy.MaxValue) }
	runs := policy.ReadRuns(a)
	return notes{
		Pauses: runs.Pauses, RestartCost: text(v1alpha1.RestartCostAnnotation), FinishBy: instant(a[v1alpha1.FinishByAnnotation]),
		State: o.GetLabels()[v1alpha1.StateLabel], Policy: text(v1alpha1.PolicyAnnotation),
		Started: instant(a[v1alpha1.StartedAnnotation]), PlannedStart: instant(a[v1alpha1.PlannedStartAnnotation]),
		LatestStart: instant(a[v1alpha1.LatestStartAnnotation]),
		Location:    text(v1alpha1.LocationAnnotation), PlannedLocation: text(v1alpha1.PlannedLocationAnnotation),
		Watts: number(a[v1alpha1.PowerWattsAnnotation], maxPowerWatts), Units: number(a[v1alpha1.FunctionalUnitsAnnotation], maxUnits),
	}
}

// instant reads an instant of the years 2000 to 2200; zero if a text is no such instant.
func instant(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 2000 || t.Year() > 2200 {
		return time.Time{}
	}
	return t.UTC()
}

// number reads a positive number up to a limit; 0 if a text is no such number.
func number(text string, limit float64) float64 {
	x, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(x > 0 && x <= limit) { // NaN is neither
		return 0
	}
	return x
}

// reference names an object.
type reference struct {
	Kind string    `json:"kind,omitempty"`
	Name string    `json:"name,omitempty"`
	UID  types.UID `json:"uid,omitempty"`
}

// maxReferenceBytes bounds each part of a reference. The API server does not check references.
const maxReferenceBytes = 253

// controllerOf returns the controller of an object; zero if it has none.
func controllerOf(o metav1.Object) reference {
	owner := metav1.GetControllerOfNoCopy(o)
	if owner == nil || max(len(owner.Kind), len(owner.Name), len(owner.UID)) > maxReferenceBytes {
		return reference{}
	}
	return reference{Kind: owner.Kind, Name: owner.Name, UID: owner.UID}
}

// pod is what is kept of a pod that has started.
type pod struct {
	UID       types.UID       `json:"uid"`
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Owner     reference       `json:"owner,omitzero"`
	Pieces    []string        `json:"pieces,omitempty"` // by the labels of engines
	Notes     *notes          `json:"notes,omitempty"`
	Created   time.Time       `json:"created"`
	Start     time.Time       `json:"start"`
	End       time.Time       `json:"end,omitzero"` // zero while the pod runs
	Phase     corev1.PodPhase `json:"phase,omitempty"`
	Requests  energy.Requests `json:"requests,omitzero"`
	Node      string          `json:"node,omitempty"`
	// Watch is the watch that brings the pod. Gone says that the pod does not exist any more.
	// IsUnseen says that nobody saw its end.
	Watch    string `json:"watch"`
	Gone     bool   `json:"gone,omitempty"`
	IsUnseen bool   `json:"isUnseen,omitempty"`

	nodeLabels map[string]string // they belong to a cache
	seen       time.Time         // when the newest event came
	wasLive    bool              // somebody has seen the pod run, so that nobody has booked it
}

// isOver reports whether a pod runs no more.
func (p *pod) isOver() bool { return !p.End.IsZero() }

// podOf returns what is kept of a pod; nil if the pod has not started. now is when the pod was
// seen.
func podOf(o *corev1.Pod, watch string, now time.Time) *pod {
	start := startOf(o)
	if start.IsZero() {
		return nil
	}
	n := notesOf(o)
	p := &pod{
		UID: o.UID, Namespace: o.Namespace, Name: o.Name, Owner: controllerOf(o), Notes: &n, Created: o.CreationTimestamp.UTC(), Start: start,
		Phase: o.Status.Phase, Requests: requestsOf(&o.Spec), Node: o.Spec.NodeName, Watch: watch, seen: now,
	}
	if p.Phase == corev1.PodSucceeded || p.Phase == corev1.PodFailed {
		p.End = endOf(o, now)
	}
	return p
}

// startOf returns when a pod started: when its node took it, or when its first container started,
// if that was later. The result is zero if the pod has not started.
func startOf(o *corev1.Pod) time.Time {
	if o.Status.StartTime == nil || o.Spec.NodeName == "" {
		return time.Time{}
	}
	start, first := o.Status.StartTime.UTC(), time.Time{}
	for s := range statuses(o) {
		for _, began := range []time.Time{began(s.State), began(s.LastTerminationState)} {
			if !began.IsZero() && (first.IsZero() || began.Before(first)) {
				first = began
			}
		}
	}
	if first.After(start) {
		return first
	}
	return start
}

func began(s corev1.ContainerState) time.Time {
	switch {
	case s.Running != nil && !s.Running.StartedAt.IsZero():
		return s.Running.StartedAt.UTC()
	case s.Terminated != nil && !s.Terminated.StartedAt.IsZero():
		return s.Terminated.StartedAt.UTC()
	default:
		return time.Time{}
	}
}

// endOf returns when a pod that has ended did so: when its last container finished, or else when
// its last condition changed. Where neither is known, the end is when the pod was seen.
func endOf(o *corev1.Pod, seen time.Time) time.Time {
	var last time.Time
	for s := range statuses(o) {
		if t := s.State.Terminated; t != nil && t.FinishedAt.After(last) {
			last = t.FinishedAt.UTC()
		}
	}
	if last.IsZero() {
		for _, c := range o.Status.Conditions {
			if c.Status == corev1.ConditionFalse && c.LastTransitionTime.After(last) {
				last = c.LastTransitionTime.UTC()
			}
		}
	}
	if last.IsZero() || last.After(seen) {
		return seen
	}
	return last
}

// statuses yields the states of all containers of a pod.
func statuses(o *corev1.Pod) func(yield func(*corev1.ContainerStatus) bool) {
	return func(yield func(*corev1.ContainerStatus) bool) {
		for _, list := range [][]corev1.ContainerStatus{o.Status.InitContainerStatuses, o.Status.ContainerStatuses} {
			for i := range list {
				if !yield(&list[i]) {
					return
				}
			}
		}
	}
}

// requestsOf returns what the containers of a pod request, without the labels of its node.
func requestsOf(spec *corev1.PodSpec) energy.Requests {
	var r energy.Requests
	for name, quantity := range resource.PodRequests(&corev1.Pod{Spec: *spec}, resource.PodResourcesOptions{}) {
		amount := quantity.AsApproximateFloat64()
		if math.IsNaN(amount) || amount < 0 {
			continue
		}
		amount = min(amount, maxRequested) // 1e400 is infinite, and JSON has no such number
		switch {
		case name == corev1.ResourceCPU:
			r.Cores = amount
		case name == corev1.ResourceMemory:
			r.GiB = amount / (1 << 30)
		case strings.HasSuffix(string(name), "/gpu"):
			r.GPUs += amount
		}
	}
	return r
}

// owner is what is kept of a Job, or of an object of an engine, that was decided on.
type owner struct {
	Kind       string    `json:"kind"`
	Namespace  string    `json:"namespace"`
	Name       string    `json:"name"`
	UID        types.UID `json:"uid"`
	Controller reference `json:"controller,omitzero"`
	// Piece is the label that the pods of an object of an engine have, and its value.
	Piece   string    `json:"piece,omitempty"`
	Notes   notes     `json:"notes"`
	Created time.Time `json:"created"`
	// Arrived is when the work came, or when its user resumed it.
	Arrived time.Time `json:"arrived"`
	// Began is when the Job controller began with the Job. Ended is when the Job ended; zero while
	// it has not.
	Began  time.Time `json:"began,omitzero"`
	Ended  time.Time `json:"ended,omitzero"`
	Failed bool      `json:"failed,omitempty"`
	// Succeeded and FailedPods count pods. Parallel is how many run at once, and Requests is what
	// each requests.
	Succeeded  int32           `json:"succeeded,omitempty"`
	FailedPods int32           `json:"failedPods,omitempty"`
	Parallel   int32           `json:"parallel,omitempty"`
	Requests   energy.Requests `json:"requests,omitzero"`
	Watch      string          `json:"watch"`
	Gone       time.Time       `json:"gone,omitzero"` // when the object went; zero while it exists
	// First is when the work was released before any pause, if HasFirst; zero if it never waited.
	First    time.Time `json:"first,omitzero"`
	HasFirst bool      `json:"hasFirst,omitempty"`
	// Stops are the times for which no watch has brought the object, which exists: it was paused.
	Stops    []stop `json:"stops,omitempty"`
	IsUnseen bool   `json:"isUnseen,omitempty"`

	seen    time.Time
	wasLive bool
}

// A stop is the time of a pause.
type stop struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// maxStops bounds the stops that are kept.
const maxStops = 16

// follow notes what was known of an owner before. An owner that was thought to be gone was paused.
func (o *owner) follow(before *owner) {
	if o.Notes.Pauses == 0 {
		o.First, o.HasFirst = o.Notes.Started, true
	}
	if before == nil {
		return
	}
	if o.Notes.Pauses > 0 {
		o.First, o.HasFirst = before.First, before.HasFirst
	}
	o.Stops = before.Stops
	if !before.Gone.IsZero() && o.Notes.Pauses > 0 && len(o.Stops) < maxStops {
		o.Stops = append(slices.Clip(o.Stops), stop{before.Gone, later(o.Notes.Started, before.Gone)})
	}
}

// stopMargin is by how much clocks, and the end of a pod, may differ from a stop.
const stopMargin = time.Minute

// wasStopped reports whether a pod ended because its work was paused.
func (o *owner) wasStopped(p *pod) bool {
	return o != nil && p.isOver() && slices.ContainsFunc(o.Stops, func(s stop) bool {
		return !p.End.Before(s.From.Add(-stopMargin)) && !p.End.After(s.To.Add(stopMargin))
	})
}

// isOver reports whether the work of an owner has ended, or its object has gone.
func (o *owner) isOver() bool { return !o.Ended.IsZero() || !o.Gone.IsZero() }

// hasRun reports whether pods of a Job have run.
func (o *owner) hasRun() bool { return o.Succeeded > 0 || o.FailedPods > 0 }

func ownerOfJob(job *batchv1.Job, watch string, now time.Time) *owner {
	o := &owner{
		Kind: hold.JobKind().Kind, Namespace: job.Namespace, Name: job.Name, UID: job.UID, Controller: controllerOf(job), Notes: notesOf(job),
		Created: job.CreationTimestamp.UTC(), Arrived: arrivalOf(job), Succeeded: max(0, job.Status.Succeeded), FailedPods: max(0, job.Status.Failed),
		Parallel: max(0, min(ptr.Deref(job.Spec.Parallelism, 1), ptr.Deref(job.Spec.Completions, math.MaxInt32))),
		Requests: requestsOf(&job.Spec.Template.Spec), Watch: watch, seen: now,
	}
	if o.Notes.Watts == 0 {
		o.Notes.Watts = number(job.Spec.Template.Annotations[v1alpha1.PowerWattsAnnotation], maxPowerWatts)
	}
	if job.Status.StartTime != nil {
		o.Began = job.Status.StartTime.UTC()
	}
	for _, c := range job.Status.Conditions {
		if c.Status != corev1.ConditionTrue || c.Type != batchv1.JobComplete && c.Type != batchv1.JobFailed {
			continue
		}
		o.Ended, o.Failed = c.LastTransitionTime.UTC(), c.Type == batchv1.JobFailed
		if done := job.Status.CompletionTime; done != nil && !o.Failed {
			o.Ended = done.UTC()
		}
		o.Ended = earlier(o.Ended, now) // whatever the status says
	}
	return o
}

// arrivalOf returns when a Job came: its creation, or when its user resumed it. A Job that
// Gridlatch had suspended was resumed by Gridlatch. The pod template of such a Job says that its
// pods start at once, and a Job with gated pods has no such template. A Job in a queue was resumed
// by Kueue.
func arrivalOf(job *batchv1.Job) time.Time {
	created, resumed := job.CreationTimestamp.UTC(), policy.ResumedAt(job)
	if !resumed.After(created) || job.Labels[hold.KueueQueueLabel] != "" {
		return created
	}
	started := instant(job.Annotations[v1alpha1.StartedAnnotation])
	bySuspend := job.Spec.Template.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased
	if !started.IsZero() && (bySuspend || resumed.After(started)) {
		return created
	}
	return resumed
}

// object lets a record pass through a list as an object of Kubernetes.
type object[R any] struct {
	metav1.PartialObjectMetadata
	record *R // nil if nothing is kept of the object
}

// DeepCopyObject implements runtime.Object.
func (o *object[R]) DeepCopyObject() runtime.Object {
	return &object[R]{*o.DeepCopy(), o.record}
}

func newObject[R any](m metav1.Object, record *R) *object[R] {
	o := &object[R]{record: record}
	o.Namespace, o.Name, o.UID, o.ResourceVersion = m.GetNamespace(), m.GetName(), m.GetUID(), m.GetResourceVersion()
	return o
}
