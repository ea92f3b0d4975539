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
	// atOnce bounds the requests in work, and so the memory: 256 MiB if the worst
	// come together. A scheduler makes one at a time.
	atOnce = 4
	// keptBuffer is the largest buffer that is kept for the next request.
	keptBuffer = 1 << 20
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
	turns := make(chan struct{}, atOnce)
	buffers := &sync.Pool{New: func() any { return new(bytes.Buffer) }}
	mux := http.NewServeMux()
	for verb, answer := range map[string]answer{PrioritizePath: e.prioritize, FilterPath: e.filter} {
		mux.Handle(verb, &verbHandler{extender: e, name: verb[1:], answer: answer, turns: turns, buffers: buffers})
	}
	return mux
}

// answer appends the answer to a request to a buffer.
type answer func(to []byte, a *args, terms Terms, now time.Time) []byte

type verbHandler struct {
	extender *Extender
	name     string
	answer   answer
	turns    chan struct{}
	buffers  *sync.Pool
}

// ServeHTTP answers one request. Only what is no request is an error: what
// cannot be told makes all nodes alike.
func (h *verbHandler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	began := h.extender.Now()
	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	case <-req.Context().Done():
		return
	}
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
	in, _ := h.buffers.Get().(*bytes.Buffer)
	out, _ := h.buffers.Get().(*bytes.Buffer)
	defer h.giveBack(in, out)
	if err := readBody(in, w, req); err != nil {
		return refused, err
	}
	a, err := parse(in.Bytes())
	if err != nil {
		return refused, &badRequest{http.StatusBadRequest, err}
	}
	o := answered
	terms, err := h.extender.Terms(req.Context(), &a.pod, now)
	if err != nil {
		o = neutral
		if errors.Is(err, ErrNoPolicy) {
			h.extender.Nodes.forget(terms.Policy)
		}
		log.FromContext(req.Context()).V(1).Info("all nodes are alike", "verb", h.name, "namespace", a.pod.Namespace, "pod", a.pod.Name, "because", err.Error())
		terms = Terms{}
	}
	out.Write(h.answer(out.AvailableBuffer(), a, terms, now))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	_, _ = w.Write(out.Bytes()) // who does not listen any more has an answer of its own
	return o, nil
}

// giveBack keeps buffers for the next request. Large ones would never go.
func (h *verbHandler) giveBack(buffers ...*bytes.Buffer) {
	for _, b := range buffers {
		if b.Cap() <= keptBuffer {
			b.Reset()
			h.buffers.Put(b)
		}
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
func (e *Extender) prioritize(to []byte, a *args, terms Terms, now time.Time) []byte {
	points, known := terms.scores(e.Nodes.locate(terms.Policy, terms.Locations, a.names), now)
	e.Metrics.saw("prioritize", "scored", known)
	e.Metrics.saw("prioritize", "unknown", len(points)-known)
	to = append(to, '[')
	for i, name := range a.names {
		to = append(comma(to, i), `{"Host":`...)
		to = append(to, name...)
		to = append(to, `,"Score":`...)
		to = strconv.AppendInt(to, points[i], 10)
		to = append(to, '}')
	}
	return append(to, ']')
}

// filter answers with the nodes that are kept, and why the others are not: an
// [extenderv1.ExtenderFilterResult]. Evicting pods would make no node cleaner,
// so that what is dropped is unresolvable.
func (e *Extender) filter(to []byte, a *args, terms Terms, now time.Time) []byte {
	why := make([]string, len(a.names))
	if terms.Strict {
		spots := e.Nodes.locate(terms.Policy, terms.Locations, a.names)
		reasons := terms.dropped(spots, now)
		for i, s := range spots {
			if s.location != nowhere {
				why[i] = reasons[s.location]
			}
		}
	}
	kept, open, end := a.names, `{"NodeNames":[`, `]`
	if a.nodes != nil {
		kept, open, end = a.nodes, `{"Nodes":{"metadata":{},"items":[`, `]}`
	}
	failed := extenderv1.FailedNodesMap{}
	to = append(to, open...)
	n := 0
	for i, value := range kept {
		if why[i] != "" {
			failed[string(a.names[i][1:len(a.names[i])-1])] = why[i]
			continue
		}
		to = append(comma(to, n), value...)
		n++
	}
	e.Metrics.saw("filter", "kept", n)
	e.Metrics.saw("filter", "dropped", len(failed))
	to = append(to, end...)
	if len(failed) > 0 {
		encoded, _ := json.Marshal(failed) // of strings alone: no error is possible
		to = append(append(to, `,"FailedAndUnresolvableNodes":`...), encoded...)
	}
	return append(to, '}')
}

// comma separates the i-th item from the one before.
func comma(to []byte, i int) []byte {
	if i == 0 {
		return to
	}
	return append(to, ',')
}
