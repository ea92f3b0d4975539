package gating

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	eventsPerSecond       = 5
	eventsBurst           = 50
	maxEvents             = 5000
	maxEventsPerNamespace = 100 // in the queue
)

// Announcer writes Events about holds and releases, at a pace that leaves the API server to the
// releases. Namespaces take turns, so that a storm in one of them delays no Events of others. What
// does not fit into the queue is dropped: the annotations say the same.
type Announcer struct {
	recorder events.EventRecorder
	queue    fairQueue
}

type announcement struct {
	about          *metav1.PartialObjectMetadata
	kind           string
	reason, action string
	note           string
}

// NewAnnouncer returns an announcer, which writes Events once it is started.
func NewAnnouncer(recorder events.EventRecorder) *Announcer {
	return &Announcer{recorder: recorder, queue: fairQueue{lines: map[string][]announcement{}, added: make(chan struct{}, 1)}}
}

// ReleasedWork announces that work was released.
func (h *Announcer) ReleasedWork(o *metav1.PartialObjectMetadata, reason string) {
	h.Announce(o, corev1.EventTypeNormal, v1alpha1.EventReleased, "Release", reason)
}

// PausedWork announces that work that has started waits again.
func (h *Announcer) PausedWork(o *metav1.PartialObjectMetadata, reason string) {
	h.Announce(o, corev1.EventTypeNormal, v1alpha1.EventPaused, "Pause", reason)
}

// ResumedWork announces that paused work was released.
func (h *Announcer) ResumedWork(o *metav1.PartialObjectMetadata, reason string) {
	h.Announce(o, corev1.EventTypeNormal, v1alpha1.EventResumed, "Resume", reason)
}

// RefusedRelease announces that the API server refuses to have work released, in its words.
func (h *Announcer) RefusedRelease(o *metav1.PartialObjectMetadata, message string) {
	h.Announce(o, corev1.EventTypeWarning, v1alpha1.EventRefused, "Release", plan.Truncate("the API server refuses to release it, and Gridlatch will try again: "+message))
}

// NotHeldWork announces that work which was shown as held is not held.
func (h *Announcer) NotHeldWork(o *metav1.PartialObjectMetadata, reason string) {
	h.Announce(o, corev1.EventTypeNormal, v1alpha1.EventNotHeld, "LeaveAlone", reason)
}

// CreatedWork announces that new work is held, that it asked to be held and is not, or that it is
// audited and would have been held. A Job speaks for its pods.
func (h *Announcer) CreatedWork(o *metav1.PartialObjectMetadata) {
	reason := o.Annotations[v1alpha1.ReasonAnnotation]
	wish, _ := policy.Wish(o)
	switch {
	case o.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld:
		h.Announce(o, corev1.EventTypeNormal, v1alpha1.EventHeld, "Hold", reason)
	case o.Labels[v1alpha1.StateLabel] == v1alpha1.StateAudited:
		planned, err := time.Parse(time.RFC3339, o.Annotations[v1alpha1.PlannedStartAnnotation])
		if err == nil && planned.After(o.CreationTimestamp.Time) && hold.OwningJob(o) == nil {
			h.Announce(o, corev1.EventTypeNormal, v1alpha1.EventAudited, "Audit", reason)
		}
	case wish == "true" && o.Annotations[v1alpha1.OutcomeAnnotation] == v1alpha1.OutcomeNotHeld:
		h.NotHeldWork(o, reason)
	}
}

// DisbelievedForecast announces that the forecast of a policy is not wholly believed.
func (h *Announcer) DisbelievedForecast(policy *v1alpha1.CarbonPolicy, why string) {
	about := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: policy.Name, UID: policy.UID}}
	about.SetGroupVersionKind(v1alpha1.GroupVersion().WithKind("CarbonPolicy"))
	h.Announce(about, corev1.EventTypeWarning, v1alpha1.EventNotBelieved, "ReadForecast", why)
}

// Announce queues an Event on an object. kind is Normal or Warning; reason and action are words in
// camel case.
func (h *Announcer) Announce(about *metav1.PartialObjectMetadata, kind, reason, action, note string) {
	if note == "" {
		note = "no reason is given"
	}
	h.queue.add(announcement{about, kind, reason, action, note})
}

// Start writes the queued Events until the context ends; for a manager.
func (h *Announcer) Start(ctx context.Context) error {
	pace := rate.NewLimiter(eventsPerSecond, eventsBurst)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.queue.added:
		}
		for a, found := h.queue.next(); found; a, found = h.queue.next() {
			if pace.Wait(ctx) != nil {
				return nil // the context has ended
			}
			h.recorder.Eventf(a.about, nil, a.kind, a.reason, a.action, "%s", a.note)
		}
	}
}

// NeedLeaderElection makes a manager run the announcer on the leader, beside the loop.
func (h *Announcer) NeedLeaderElection() bool { return true }

// fairQueue is a bounded queue in which each namespace has a line of its own, and the lines take
// turns.
type fairQueue struct {
	mu      sync.Mutex
	lines   map[string][]announcement // by namespace, the oldest first; none is empty
	order   []string                  // the namespaces that have a line, in the order of their turns
	waiting int                       // in all lines
	added   chan struct{}             // has an element once something was added
}

// add appends an announcement to the line of its namespace, if the queue has space.
func (q *fairQueue) add(a announcement) {
	q.mu.Lock()
	defer q.mu.Unlock()
	namespace := a.about.Namespace
	line := q.lines[namespace]
	if q.waiting == maxEvents || len(line) == maxEventsPerNamespace {
		return
	}
	if len(line) == 0 {
		q.order = append(q.order, namespace)
	}
	q.lines[namespace] = append(line, a)
	q.waiting++
	select {
	case q.added <- struct{}{}:
	default:
	}
}

// next takes the oldest announcement of the namespace whose turn it is.
func (q *fairQueue) next() (a announcement, found bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting == 0 {
		return announcement{}, false
	}
	namespace := q.order[0]
	q.order = q.order[1:]
	line := q.lines[namespace]
	if len(line) == 1 {
		delete(q.lines, namespace)
	} else {
		q.lines[namespace] = line[1:]
		q.order = append(q.order, namespace)
	}
	q.waiting--
	return line[0], true
}
