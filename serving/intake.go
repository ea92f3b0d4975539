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

// maxWait bounds how long a request waits for memory.
const maxWait = time.Second

// Limits are the limits of an [Intake].
type Limits struct {
	// MaxBody bounds the body of a request in bytes. The answer to a larger one ends with Hint.
	MaxBody int64
	Hint    string
	// SmallBody is the length up to which a body is small. All small bodies together, and the first
	// part of each larger one, may take SmallMemory bytes until their answers have been sent.
	SmallBody, SmallMemory int64
	// LargeBodies bounds how many larger bodies are read at a time.
	LargeBodies int64
	// Concurrency bounds how many answers are made at a time.
	Concurrency int
}

// Intake reads requests, and bounds the memory for them. A caller who is slow to send or to read
// takes the memory of one small body, and no slot.
type Intake struct {
	limits       Limits
	small, large *semaphore.Weighted
	slots        chan struct{}
	buffers      sync.Pool
}

// buffers are the memory for one request.
type buffers struct{ in, out bytes.Buffer }

// NewIntake returns an intake with limits.
func NewIntake(limits Limits) *Intake {
	return &Intake{
		limits: limits, small: semaphore.NewWeighted(limits.SmallMemory), large: semaphore.NewWeighted(limits.LargeBodies),
		slots: make(chan struct{}, limits.Concurrency), buffers: sync.Pool{New: func() any { return new(buffers) }},
	}
}

// ErrBusy is the error of [Intake.Serve] if there is no memory for a request.
var ErrBusy = errors.New("too many requests at once")

// Answer reads a body, and writes the answer. An error is a mistake of the caller. The body is
// valid only until Answer returns.
type Answer func(ctx context.Context, body []byte, to *bytes.Buffer) error

// Serve answers a POST of JSON with JSON. If Serve fails, the caller has been told why.
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
	if length := req.ContentLength; length >= 0 { // -1 if the caller does not say
		expected = min(length, i.limits.SmallBody)
	}
	free, err := acquire(req.Context(), i.small, expected)
	if err != nil {
		return err
	}
	defer free()
	on, _ := i.buffers.Get().(*buffers)
	defer i.putBack(on)
	free, err = i.read(&on.in, w, req, expected)
	if err != nil {
		return err
	}
	defer free()
	if err := i.answer(req.Context(), on, answer); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(on.out.Len()))
	_, _ = w.Write(on.out.Bytes()) // a caller who has gone needs no answer
	return nil
}

// acquire waits for n units of a semaphore. The caller calls free when the units are not needed any
// more. The wait is bounded, because the server only learns that a caller has gone once the body
// has been read.
func acquire(ctx context.Context, memory *semaphore.Weighted, n int64) (free func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	if memory.Acquire(ctx, n) != nil {
		return nil, &refusal{http.StatusServiceUnavailable, ErrBusy}
	}
	return func() { memory.Release(n) }, nil
}

// read reads a body. A body whose length is known takes its memory at once. A large body waits for
// its memory after the first part was read, until free is called.
func (i *Intake) read(into *bytes.Buffer, w http.ResponseWriter, req *http.Request, expected int64) (free func(), err error) {
	body := http.MaxBytesReader(w, req.Body, i.limits.MaxBody)
	into.Grow(bytes.MinRead + int(expected) + 1)
	if _, err := into.ReadFrom(io.LimitReader(body, i.limits.SmallBody+1)); err != nil {
		return nil, i.readRefusal(err)
	}
	if int64(into.Len()) <= i.limits.SmallBody {
		return func() {}, nil
	}
	free, err = acquire(req.Context(), i.large, 1)
	if err != nil {
		return nil, err
	}
	into.Grow(bytes.MinRead + int(max(req.ContentLength-i.limits.SmallBody, 0))) // within limits.MaxBody
	if _, err := into.ReadFrom(body); err != nil {
		free()
		return nil, i.readRefusal(err)
	}
	return free, nil
}

// answer makes the answer to a request that has been read. An answer waits for nobody while it
// takes a slot, so that few slots are enough.
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

// putBack keeps the buffers for the next request. Large buffers are dropped, or their memory would
// never be given back.
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

// readRefusal says why a body cannot be read.
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
