package serving

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// patience is how long a request waits for room.
const maxWait = time.Second

// Limits of an [Intake], in bytes and in numbers of requests.
type Limits struct {
	// Body bounds the body of a request; Hint, if there is one, is told to who
	// sends more.
	MaxBody int64
	Hint    string
	// Small is up to which length a body is small. All small ones, and what of
	// larger ones has come in before it is known that they are, have Room in
	// common until their answers have gone out.
	SmallBody, SmallMemory int64
	// Large is how many larger bodies are taken in at a time.
	LargeBodies int64
	// Turns bounds the answers that are in the making at a time.
	Concurrency int
}

// Intake takes requests in, and bounds the memory that they take. Who is slow to
// send or to read takes the room of one body, which has to have come in before
// it counts as a large one, and no turn.
type Intake struct {
	limits       Limits
	small, large *semaphore.Weighted
	slots        chan struct{}
	buffers      sync.Pool
}

// desk is the memory for a request.
type buffers struct{ in, out bytes.Buffer }

// NewIntake returns an intake with these limits.
func NewIntake(limits Limits) *Intake {
	return &Intake{
		limits: limits, small: semaphore.NewWeighted(limits.SmallMemory), large: semaphore.NewWeighted(limits.LargeBodies),
		slots: make(chan struct{}, limits.Concurrency), buffers: sync.Pool{New: func() any { return new(buffers) }},
	}
}

// ErrBusy is what [Intake.Serve] fails with if there is no room for a request.
var ErrBusy = errors.New("too many requests at once")

// An Answer reads a body, and writes the answer to it. An error is a mistake of
// the caller. The body is only there until it returns.
type Answer func(ctx context.Context, body []byte, to *bytes.Buffer) error

// Serve answers a POST of JSON by JSON. If it fails the caller has been told why.
func (i *Intake) Serve(w http.ResponseWriter, req *http.Request, answer Answer) error {
	err := i.serve(w, req, answer)
	var why *refusal
	if errors.As(err, &why) {
		if why.code == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		http.Error(w, why.Error(), why.code)
	}
	return err
}

func (i *Intake) serve(w http.ResponseWriter, req *http.Request, answer Answer) error {
	if err := i.check(req); err != nil {
		return err
	}
	expected := i.limits.SmallBody
	if length := req.ContentLength; length >= 0 { // -1 if it is not said
		expected = min(length, i.limits.SmallBody)
	}
	leave, err := acquire(req.Context(), i.small, expected)
	if err != nil {
		return err
	}
	defer leave()
	on, _ := i.buffers.Get().(*buffers)
	defer i.putBack(on)
	leave, err = i.read(&on.in, w, req, expected)
	if err != nil {
		return err
	}
	defer leave()
	if err := i.answer(req.Context(), on, answer); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(on.out.Len()))
	_, _ = w.Write(on.out.Bytes()) // who does not listen any more has an answer of its own
	return nil
}

// enter makes room for n, until leave is called. The server sees that a caller has
// gone only once the body has been read.
func acquire(ctx context.Context, room *semaphore.Weighted, n int64) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	if room.Acquire(ctx, n) != nil {
		return nil, &refusal{http.StatusServiceUnavailable, ErrBusy}
	}
	return func() { room.Release(n) }, nil
}

// read reads a body, without growing step by step if it says how long it is. A
// large one waits for the room of one until leave is called, once so much of it
// has come in that it is large.
func (i *Intake) read(into *bytes.Buffer, w http.ResponseWriter, req *http.Request, expected int64) (leave func(), err error) {
	body := http.MaxBytesReader(w, req.Body, i.limits.MaxBody)
	into.Grow(bytes.MinRead + int(expected) + 1)
	if _, err := into.ReadFrom(io.LimitReader(body, i.limits.SmallBody+1)); err != nil {
		return nil, i.readRefusal(err)
	}
	if int64(into.Len()) <= i.limits.SmallBody {
		return func() {}, nil
	}
	leave, err = acquire(req.Context(), i.large, 1)
	if err != nil {
		return nil, err
	}
	into.Grow(bytes.MinRead + int(max(req.ContentLength-i.limits.SmallBody, 0))) // within limits.Body
	if _, err := into.ReadFrom(body); err != nil {
		leave()
		return nil, i.readRefusal(err)
	}
	return leave, nil
}

// answer makes the answer to a request that has been read. In its turn it waits
// for nobody, so that few at a time are enough.
func (i *Intake) answer(ctx context.Context, on *buffers, answer Answer) error {
	select {
	case i.slots <- struct{}{}:
		defer func() { <-i.slots }()
	case <-ctx.Done():
		return &refusal{http.StatusServiceUnavailable, ErrBusy}
	}
	if err := answer(ctx, on.in.Bytes(), &on.out); err != nil {
		return &refusal{http.StatusBadRequest, err}
	}
	return nil
}

// clear leaves a desk for the next request. A large one would never go.
func (i *Intake) putBack(d *buffers) {
	if kept := int64(max(d.in.Cap(), d.out.Cap())); kept <= i.limits.SmallBody+2*bytes.MinRead {
		d.in.Reset()
		d.out.Reset()
		i.buffers.Put(d)
	}
}

// refusal is why a request is not answered.
type refusal struct {
	code int
	error
}

// Unwrap returns the reason itself.
func (r *refusal) Unwrap() error { return r.error }

func (i *Intake) check(req *http.Request) error {
	kind := req.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(kind)
	switch {
	case req.Method != http.MethodPost:
		return &refusal{http.StatusMethodNotAllowed, fmt.Errorf("method %.20q: want POST", req.Method)}
	case err != nil || media != "application/json":
		return &refusal{http.StatusUnsupportedMediaType, fmt.Errorf("Content-Type %.60q: want application/json", kind)}
	case req.ContentLength > i.limits.MaxBody:
		return i.tooLarge()
	default:
		return nil
	}
}

// unread says why a body cannot be read.
func (i *Intake) readRefusal(err error) error {
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return i.tooLarge()
	}
	return &refusal{http.StatusBadRequest, fmt.Errorf("read the body: %w", err)}
}

func (i *Intake) tooLarge() error {
	return &refusal{http.StatusRequestEntityTooLarge, fmt.Errorf("want a body of at most %d MiB%s", i.limits.MaxBody>>20, i.limits.Hint)}
}
