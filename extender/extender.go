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

// These paths of the two verbs are in the scheduler's configuration.
const (
	PrioritizePath = "/prioritize"
	FilterPath     = "/filter"
)

// maxKeptNodes bounds the memory of a request that is kept for the next one, in nodes.
const maxKeptNodes = 1 << 14

// ErrNoPolicy is the error for a pod whose policy does not exist.
var ErrNoPolicy = errors.New("no such policy")

// Extender answers kube-scheduler. The exported fields are required.
type Extender struct {
	Nodes *Nodes
	// Terms returns what the placement of a pod depends on. With [ErrNoPolicy], Terms returns the
	// name of the policy only.
	Terms func(ctx context.Context, pod *metav1.PartialObjectMetadata, now time.Time) (Terms, error)
	// Now returns the time.
	Now     func() time.Time
	Metrics *Metrics
}

// intakeLimits returns the limits for requests. The names of 5,000 nodes take 0.3 MB. Of whole
// nodes, at some 10 KB each, 3,000 fit into the largest body. An answer is at most three times as
// long as its request, and takes some 30 MB at worst. A scheduler asks for one answer at a time.
func intakeLimits() serving.Limits {
	return serving.Limits{
		MaxBody: 32 << 20, Hint: "; with nodeCacheCapable: true, the scheduler sends names only",
		SmallBody: 1 << 20, SmallMemory: 32 << 20, LargeBodies: 1, Concurrency: 4,
	}
}

// Handler returns the HTTP handler of both verbs.
func (e *Extender) Handler() http.Handler {
	intake := serving.NewIntake(intakeLimits())
	desks := &sync.Pool{New: func() any { return new(scratch) }}
	mux := http.NewServeMux()
	for verb, answer := range map[string]answer{PrioritizePath: e.prioritize, FilterPath: e.filter} {
		mux.Handle(verb, &verbHandler{extender: e, name: verb[1:], answer: answer, intake: intake, scratches: desks})
	}
	return mux
}

// scratch is the memory for the nodes of a request.
type scratch struct {
	out   *bytes.Buffer
	names [][]byte
	sites []nodeSite
}

// answer writes the answer to a request. The answer itself finds the sites of the request's nodes.
type answer func(on *scratch, a *args, terms Terms, now time.Time)

// verbHandler answers the requests of one verb.
type verbHandler struct {
	extender  *Extender
	name      string
	answer    answer
	intake    *serving.Intake
	scratches *sync.Pool
}

// ServeHTTP answers one request. Only an invalid request is an error. If the terms are not known,
// all nodes are alike.
func (h *verbHandler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	began := h.extender.Now()
	o := refused
	err := h.intake.Serve(w, req, func(ctx context.Context, body []byte, to *bytes.Buffer) (err error) {
		o, err = h.makeAnswer(ctx, body, to, began)
		return err
	})
	if errors.Is(err, serving.ErrBusy) {
		o = busy
	}
	h.extender.Metrics.observe(h.name, o, h.extender.Now().Sub(began))
}

// makeAnswer makes the answer to a request.
func (h *verbHandler) makeAnswer(ctx context.Context, body []byte, to *bytes.Buffer, now time.Time) (outcome, error) {
	on, _ := h.scratches.Get().(*scratch)
	defer h.putBack(on)
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
		log.FromContext(ctx).V(1).Info("all nodes get the same points", "verb", h.name, "namespace", a.pod.Namespace, "pod", a.pod.Name, "because", err.Error())
		terms = Terms{}
	}
	h.answer(on, a, terms, now)
	return o, nil
}

// putBack keeps the memory for the next request, but not what a request with many nodes took.
func (h *verbHandler) putBack(d *scratch) {
	if max(cap(d.names), cap(d.sites)) > maxKeptNodes {
		d.names, d.sites = nil, nil
	}
	clear(d.names) // the names are parts of a body
	d.out = nil
	h.scratches.Put(d)
}

// prioritize answers with the points of each node: an [extenderv1.HostPriorityList].
func (e *Extender) prioritize(on *scratch, a *args, terms Terms, now time.Time) {
	on.sites = e.Nodes.locate(terms.Policy, terms.Locations, a.names, on.sites)
	scale, scored := terms.scale(on.sites, now), 0
	to := append(on.out.AvailableBuffer(), '[')
	for i, name := range a.names {
		points, known := scale(on.sites[i])
		if known {
			scored++
		}
		to = append(comma(to, i), `{"Host":`...)
		to = append(to, name...)
		to = append(to, `,"Score":`...)
		to = append(strconv.AppendInt(to, points, 10), '}')
	}
	on.out.Write(append(to, ']'))
	e.Metrics.countNodes("prioritize", "scored", scored)
	e.Metrics.countNodes("prioritize", "unknown", len(a.names)-scored)
}

// filter answers with the nodes that are kept, and why the others are not: an
// [extenderv1.ExtenderFilterResult]. Dropped nodes are unresolvable, because evicting pods makes no
// node cleaner.
func (e *Extender) filter(on *scratch, a *args, terms Terms, now time.Time) {
	kept, open, end := a.names, `{"NodeNames":[`, `]`
	if a.nodes != nil {
		kept, open, end = a.nodes, `{"Nodes":{"metadata":{},"items":[`, `]}`
	}
	why := e.whyDropped(on, a, terms, now)
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
		encoded, _ := json.Marshal(failed) // strings never fail
		to = append(append(to, `,"FailedAndUnresolvableNodes":`...), encoded...)
	}
	on.out.Write(append(to, '}'))
	e.Metrics.countNodes("filter", "kept", n)
	e.Metrics.countNodes("filter", "dropped", len(failed))
}

// whyDropped returns a function that says why the i-th node is dropped. The reason is empty if the
// node is kept.
func (e *Extender) whyDropped(on *scratch, a *args, terms Terms, now time.Time) func(i int) string {
	if !terms.Strict {
		return func(int) string { return "" }
	}
	on.sites = e.Nodes.locate(terms.Policy, terms.Locations, a.names, on.sites)
	reasons := terms.dropReasons(on.sites, now)
	return func(i int) string {
		if at := on.sites[i].location; at != nowhere {
			return reasons[at]
		}
		return ""
	}
}

// comma separates the i-th item from the item before.
func comma(to []byte, i int) []byte {
	if i == 0 {
		return to
	}
	return append(to, ',')
}
