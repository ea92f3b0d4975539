package faults

import (
	"context"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// watchPause is how soon a watch that has ended is begun again.
const watchPause = 100 * time.Millisecond

// item is what the watcher knows of a pod or a Job.
type item struct {
	namespace   string
	owner       types.UID // of a pod, if a Job owns it
	createdAt   time.Time
	latestStart time.Time
	wasHeld     bool
	isHeld      bool
	releases    int // how often it was seen to go from held to not held
	releasedAt  time.Time
	seenAt      time.Time // when the watcher saw the release
}

// watcher follows all pods and Jobs of the cluster.
type watcher struct {
	mu    sync.Mutex
	items map[types.UID]*item
}

// newWatcher follows the pods and Jobs until the context ends.
func newWatcher(ctx context.Context, clientset kubernetes.Interface) *watcher {
	w := &watcher{items: map[types.UID]*item{}}
	pods, jobs := clientset.CoreV1().Pods(""), clientset.BatchV1().Jobs("")
	go w.follow(ctx, func(ctx context.Context) (string, error) {
		list, err := pods.List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return "", err
		}
		for i := range list.Items {
			w.notePod(&list.Items[i])
		}
		return list.ResourceVersion, nil
	}, pods.Watch)
	go w.follow(ctx, func(ctx context.Context) (string, error) {
		list, err := jobs.List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return "", err
		}
		for i := range list.Items {
			w.noteJob(&list.Items[i])
		}
		return list.ResourceVersion, nil
	}, jobs.Watch)
	return w
}

// follow lists and watches until the context ends. It goes on where a watch has ended, as long as the
// API server still knows that version, so that no change is missed.
func (w *watcher) follow(ctx context.Context, list func(context.Context) (string, error), open func(context.Context, metav1.ListOptions) (watch.Interface, error)) {
	version := ""
	for ; ctx.Err() == nil; time.Sleep(watchPause) {
		if version == "" {
			var err error
			if version, err = list(ctx); err != nil {
				continue
			}
		}
		events, err := open(ctx, metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true})
		if err != nil {
			continue
		}
		version = w.read(events, version)
	}
}

// read notes what a watch says until it ends, and returns the version at which to go on; empty if the
// API server knows the version no more.
func (w *watcher) read(events watch.Interface, version string) string {
	defer events.Stop()
	for event := range events.ResultChan() {
		object, ok := event.Object.(metav1.Object)
		if !ok { // a status
			return ""
		}
		version = object.GetResourceVersion()
		if event.Type == watch.Added || event.Type == watch.Modified {
			w.note(event.Object)
		}
	}
	return version
}

func (w *watcher) note(o runtime.Object) {
	switch o := o.(type) {
	case *corev1.Pod:
		w.notePod(o)
	case *batchv1.Job:
		w.noteJob(o)
	}
}

func (w *watcher) notePod(pod *corev1.Pod) {
	var owner types.UID
	if controller := metav1.GetControllerOf(pod); controller != nil {
		owner = controller.UID
	}
	w.noteState(pod, owner, hold.HasGate(pod.Spec.SchedulingGates))
}

// noteJob notes a Job as held by what it is held by: the suspension, or the decision that is on record
// for its pods.
func (w *watcher) noteJob(job *batchv1.Job) {
	isHeld := job.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld
	if job.Annotations[v1alpha1.HoldAnnotation] == v1alpha1.HoldBySuspend {
		isHeld = job.Spec.Suspend != nil && *job.Spec.Suspend
	}
	w.noteState(job, "", isHeld)
}

func (w *watcher) noteState(o metav1.Object, owner types.UID, isHeld bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.items[o.GetUID()]
	if known == nil {
		known = &item{namespace: o.GetNamespace(), owner: owner, createdAt: o.GetCreationTimestamp().Time}
		w.items[o.GetUID()] = known
	}
	if isHeld {
		if latest, err := time.Parse(time.RFC3339, o.GetAnnotations()[v1alpha1.LatestStartAnnotation]); err == nil {
			known.latestStart = latest
		}
	}
	if known.isHeld && !isHeld {
		known.releases++
		known.seenAt = time.Now()
		known.releasedAt = earlierOf(known.seenAt, writtenBefore(o))
	}
	known.isHeld = isHeld
	known.wasHeld = known.wasHeld || isHeld
}

// writtenBefore returns a time before which Gridlatch has last written an object by the API server's
// clock, which gives no fractions of seconds. The watcher may see a change later, when the API server
// was away.
func writtenBefore(o metav1.Object) time.Time {
	var last time.Time
	for _, entry := range o.GetManagedFields() {
		if strings.HasPrefix(entry.Manager, "gridlatch") && entry.Time != nil && entry.Time.After(last) {
			last = entry.Time.Time
		}
	}
	if last.IsZero() {
		return time.Now() // somebody else has released the object
	}
	return last.Add(time.Second)
}

func earlierOf(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// held returns how many pods and Jobs of a namespace are held.
func (w *watcher) held(namespace string) int {
	return w.count(namespace, func(i *item) bool { return i.isHeld })
}

// everHeld returns how many are or were.
func (w *watcher) everHeld(namespace string) int {
	return w.count(namespace, func(i *item) bool { return i.wasHeld })
}

// overdue returns how many are still held although their latest start passed so long ago.
func (w *watcher) overdue(namespace string, grace time.Duration) int {
	now := time.Now()
	return w.count(namespace, func(i *item) bool { return i.isHeld && now.Sub(i.latestStart) > grace })
}

func (w *watcher) count(namespace string, counts func(*item) bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, i := range w.items {
		if i.namespace == namespace && counts(i) {
			n++
		}
	}
	return n
}

// releases is what the watcher has seen of the releases of a namespace.
type releases struct {
	held  int // pods and Jobs that ever were
	lost  int // that still are
	twice int // released more than once, or held after their Job was released
	late  time.Duration
	// mostPerSecond is how many were released within the busiest second.
	mostPerSecond int
	duringOutage  int // whose latest start came while nobody could release
}

// releases sums a namespace up. The outage is from begin to end.
func (w *watcher) releases(namespace string, begin, end time.Time) releases {
	w.mu.Lock()
	defer w.mu.Unlock()
	sum, seconds := releases{}, map[int64]int{}
	for _, i := range w.items {
		if i.namespace != namespace || !i.wasHeld {
			continue
		}
		sum.held++
		if i.latestStart.After(begin) && i.latestStart.Before(end) {
			sum.duringOutage++
		}
		if i.isHeld {
			sum.lost++
			continue
		}
		owner := w.items[i.owner]
		if i.releases > 1 || owner != nil && !owner.releasedAt.IsZero() && i.createdAt.After(owner.releasedAt.Add(time.Second)) {
			sum.twice++
		}
		sum.late = max(sum.late, i.releasedAt.Sub(i.latestStart))
		seconds[i.seenAt.Unix()]++
		sum.mostPerSecond = max(sum.mostPerSecond, seconds[i.seenAt.Unix()])
	}
	return sum
}
