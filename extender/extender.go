package extender

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// The paths of the two verbs, as they stand in the scheduler's configuration.
const (
	PrioritizePath = "/prioritize"
	FilterPath     = "/filter"
)

const (
	// maxBody bounds a request. The names of 5,000 nodes are 0.3 MB; of whole
	// nodes, at some 10 KB each, 3,000 fit.
	maxBody = 32 << 20
	// A request's memory is kept for the next one if it was for no larger a body,
	// and for no more nodes.
	keptBody  = 1 << 20
	keptNodes = 1 << 14
)

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

// Handler serves the verbs.
func (e *Extender) Handler() http.Handler {
	room := newRoom()
	desks := &sync.Pool{New: func() any { return new(desk) }}
	mux := http.NewServeMux()
	for verb, answer := range map[string]answer{PrioritizePath: e.prioritize, FilterPath: e.filter} {
		mux.Handle(verb, &verbHandler{extender: e, name: verb[1:], answer: answer, room: room, desks: desks})
	}
	return mux
}

// desk is the memory for a request.
type desk struct {
	in, out bytes.Buffer
	names   [][]byte
	spots   []spot
}

// answer writes the answer to a request, whose nodes are at the spots of the desk
// once they have been located.
type answer func(on *desk, a *args, terms Terms, now time.Time)

type verbHandler struct {
	extender *Extender
	name     string
	answer   answer
	room     *room
	desks    *sync.Pool
}

// ServeHTTP answers one request. Only what is no request is an error: what
// cannot be told makes all nodes alike.
func (h *verbHandler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	began := h.extender.Now()
	o, err := h.serve(w, req, began)
	var wrong *badRequest
	if errors.As(err, &wrong) {
		if wrong.code == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		http.Error(w, wrong.Error(), wrong.code)
	}
	h.extender.Metrics.done(h.name, o, h.extender.Now().Sub(began))
}

func (h *verbHandler) serve(w http.ResponseWriter, req *http.Request, now time.Time) (outcome, error) {
	if err := check(req); err != nil {
		return refused, err
	}
	leave, err := h.room.enter(req)
	if err != nil {
		return busy, err
	}
	defer leave()
	on, _ := h.desks.Get().(*desk)
	defer h.clear(on)
	if err := readBody(&on.in, w, req); err != nil {
		return refused, err
	}
	o, err := h.work(req.Context(), on, now)
	if err != nil {
		return o, err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(on.out.Len()))
	_, _ = w.Write(on.out.Bytes()) // who does not listen any more has an answer of its own
	return o, nil
}

// work makes the answer to a request that has been read. In its turn it waits for
// nobody, so that few at a time are enough.
func (h *verbHandler) work(ctx context.Context, on *desk, now time.Time) (outcome, error) {
	done, err := h.room.turn(ctx)
	if err != nil {
		return busy, err
	}
	defer done()
	defer on.shrink()
	a, err := parse(on.in.Bytes(), on.names)
	if err != nil {
		return refused, &badRequest{http.StatusBadRequest, err}
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

// shrink gives up what a request for many nodes took.
func (d *desk) shrink() {
	if max(cap(d.names), cap(d.spots)) > keptNodes {
		d.names, d.spots = nil, nil
	}
}

// clear leaves a desk for the next request. A large one would never go.
func (h *verbHandler) clear(d *desk) {
	if max(d.in.Cap(), d.out.Cap()) <= keptBody {
		d.in.Reset()
		d.out.Reset()
		h.desks.Put(d)
	}
}

// badRequest is a mistake of the caller.
type badRequest struct {
	code int
	error
}

func check(req *http.Request) error {
	kind := req.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(kind)
	switch {
	case req.Method != http.MethodPost:
		return &badRequest{http.StatusMethodNotAllowed, fmt.Errorf("method %.20q: want POST", req.Method)}
	case err != nil || media != "application/json":
		return &badRequest{http.StatusUnsupportedMediaType, fmt.Errorf("Content-Type %.60q: want application/json", kind)}
	case req.ContentLength > maxBody:
		return tooLarge()
	default:
		return nil
	}
}

func tooLarge() error {
	return &badRequest{http.StatusRequestEntityTooLarge, fmt.Errorf("want a body of at most %d MiB; with nodeCacheCapable: true, the scheduler sends names only", maxBody>>20)}
}

// readBody reads a request, without growing step by step if it says how long it
// is.
func readBody(into *bytes.Buffer, w http.ResponseWriter, req *http.Request) error {
	into.Grow(bytes.MinRead + int(max(req.ContentLength, 0))) // within maxBody
	_, err := into.ReadFrom(http.MaxBytesReader(w, req.Body, maxBody))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return tooLarge()
	case err != nil:
		return &badRequest{http.StatusBadRequest, fmt.Errorf("read the body: %w", err)}
	default:
		return nil
	}
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
