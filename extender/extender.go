package extender

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/serving"
)

// The paths of the two verbs, as they stand in the scheduler's configuration.
const (
	PrioritizePath = "/prioritize"
	FilterPath     = "/filter"
)

// keptNodes is for how many nodes the memory of a request is kept for the next.
const keptNodes = 1 << 14

// ErrNoPolicy is returned by a source of terms for a pod whose policy does not
// exist.
var ErrNoPolicy = errors.New("no such policy")

// Extender answers kube-scheduler. Its exported fields are required.
type Extender struct {
	Nodes *Nodes
	// Terms returns what the placing of a pod depends on; the name of its policy
	// also with [ErrNoPolicy].
	Terms func(ctx context.Context, pod *metav1.PartialObjectMetadata, now time.Time) (Terms, error)
	// Now is the clock.
	Now     func() time.Time
	Metrics *Metrics
}

// limits are those of an intake of requests. The names of 5,000 nodes are 0.3 MB;
// of whole nodes, at some 10 KB each, 3,000 fit into the largest body. An answer is
// at most three times as long as its request, and takes some 30 MB to make at
// worst. A scheduler asks for one at a time.
func limits() serving.Limits {
	return serving.Limits{
		Body: 32 << 20, Hint: "; with nodeCacheCapable: true, the scheduler sends names only",
		Small: 1 << 20, Room: 32 << 20, Large: 1, Turns: 4,
	}
}

// Handler serves the verbs.
func (e *Extender) Handler() http.Handler {
	intake := serving.NewIntake(limits())
	desks := &sync.Pool{New: func() any { return new(desk) }}
	mux := http.NewServeMux()
	for verb, answer := range map[string]answer{PrioritizePath: e.prioritize, FilterPath: e.filter} {
		mux.Handle(verb, &verbHandler{extender: e, name: verb[1:], answer: answer, intake: intake, desks: desks})
	}
	return mux
}

// desk is the memory for the nodes of a request.
type desk struct {
	out   *bytes.Buffer
	names [][]byte
	spots []spot
}

// answer writes the answer to a request, whose nodes are at the spots of the desk
// once they have been located.
type answer func(on *desk, a *args, terms Terms, now time.Time)

type verbHandler struct {
	extender *Extender
	name     string
	answer   answer
	intake   *serving.Intake
	desks    *sync.Pool
}

// ServeHTTP answers one request. Only what is no request is an error: what
// cannot be told makes all nodes alike.
func (h *verbHandler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	began := h.extender.Now()
	o := refused
	err := h.intake.Serve(w, req, func(ctx context.Context, body []byte, to *bytes.Buffer) (err error) {
		o, err = h.work(ctx, body, to, began)
		return err
	})
	if errors.Is(err, serving.ErrBusy) {
		o = busy
	}
	h.extender.Metrics.done(h.name, o, h.extender.Now().Sub(began))
}

// work makes the answer to a request.
func (h *verbHandler) work(ctx context.Context, body []byte, to *bytes.Buffer, now time.Time) (outcome, error) {
	on, _ := h.desks.Get().(*desk)
	defer h.leave(on)
	on.out = to
	a, err := parse(body, on.names)
	if err != nil {
		return refused, err
	}
	on.names = a.names
	o := answered
	terms, err := h.extender.Terms(ctx, &a.pod, now)
	if err != nil {
		o = neutral
		if errors.Is(err, ErrNoPolicy) {
			h.extender.Nodes.Forget(terms.Policy)
		}
		log.FromContext(ctx).V(1).Info("all nodes are alike", "verb", h.name, "namespace", a.pod.Namespace, "pod", a.pod.Name, "because", err.Error())
		terms = Terms{}
	}
	h.answer(on, a, terms, now)
	return o, nil
}

// leave leaves a desk for the next request, without what one for many nodes took.
func (h *verbHandler) leave(d *desk) {
	if max(cap(d.names), cap(d.spots)) > keptNodes {
		d.names, d.spots = nil, nil
	}
	clear(d.names) // they are parts of a body
	d.out = nil
	h.desks.Put(d)
}

// prioritize answers with the points of each node: an
// [extenderv1.HostPriorityList].
func (e *Extender) prioritize(on *desk, a *args, terms Terms, now time.Time) {
	on.spots = e.Nodes.locate(terms.Policy, terms.Locations, a.names, on.spots)
	scale, scored := terms.scale(on.spots, now), 0
	to := append(on.out.AvailableBuffer(), '[')
	for i, name := range a.names {
		points, known := scale(on.spots[i])
		if known {
			scored++
		}
		to = append(comma(to, i), `{"Host":`...)
		to = append(to, name...)
		to = append(to, `,"Score":`...)
		to = append(strconv.AppendInt(to, points, 10), '}')
	}
	on.out.Write(append(to, ']'))
	e.Metrics.saw("prioritize", "scored", scored)
	e.Metrics.saw("prioritize", "unknown", len(a.names)-scored)
}

// filter answers with the nodes that are kept, and why the others are not: an
// [extenderv1.ExtenderFilterResult]. Evicting pods would make no node cleaner,
// so that what is dropped is unresolvable.
func (e *Extender) filter(on *desk, a *args, terms Terms, now time.Time) {
	kept, open, end := a.names, `{"NodeNames":[`, `]`
	if a.nodes != nil {
		kept, open, end = a.nodes, `{"Nodes":{"metadata":{},"items":[`, `]}`
	}
	why := e.why(on, a, terms, now)
	failed := extenderv1.FailedNodesMap{}
	to := append(on.out.AvailableBuffer(), open...)
	n := 0
	for i, value := range kept {
		if reason := why(i); reason != "" {
			failed[string(a.names[i][1:len(a.names[i])-1])] = reason
			continue
		}
		to = append(comma(to, n), value...)
		n++
	}
	to = append(to, end...)
	if len(failed) > 0 {
		encoded, _ := json.Marshal(failed) // of strings alone: no error is possible
		to = append(append(to, `,"FailedAndUnresolvableNodes":`...), encoded...)
	}
	on.out.Write(append(to, '}'))
	e.Metrics.saw("filter", "kept", n)
	e.Metrics.saw("filter", "dropped", len(failed))
}

// why says of the i-th node why it is dropped; empty if it is kept.
func (e *Extender) why(on *desk, a *args, terms Terms, now time.Time) func(i int) string {
	if !terms.Strict {
		return func(int) string { return "" }
	}
	on.spots = e.Nodes.locate(terms.Policy, terms.Locations, a.names, on.spots)
	reasons := terms.dropped(on.spots, now)
	return func(i int) string {
		if at := on.spots[i].location; at != nowhere {
			return reasons[at]
		}
		return ""
	}
}

// comma separates the i-th item from the one before.
func comma(to []byte, i int) []byte {
	if i == 0 {
		return to
	}
	return append(to, ',')
}
