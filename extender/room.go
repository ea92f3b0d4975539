package extender

import (
	"context"
	"errors"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// atOnce bounds the answers in the making, each of which takes some 30 MB at
	// worst. A scheduler asks for one at a time.
	atOnce = 4
	// maxSmall bounds what all bodies of up to keptBody have in common, while they
	// come in and until their answers, at most three times as long, have gone out.
	// Of larger ones there is one at a time.
	maxSmall = 32 << 20
	// patience is how long a request waits for room: longer than a scheduler waits
	// for its answer, by our configuration.
	patience = time.Second
)

// room bounds the memory that requests take. Who is slow to send or to read takes
// the room of one body, and no turn.
type room struct {
	small, large *semaphore.Weighted
	turns        chan struct{}
}

func newRoom() *room {
	return &room{small: semaphore.NewWeighted(maxSmall), large: semaphore.NewWeighted(1), turns: make(chan struct{}, atOnce)}
}

// enter makes room for a body and its answer, until leave is called.
func (r *room) enter(req *http.Request) (leave func(), err error) {
	of, n := r.large, int64(1)
	if length := req.ContentLength; 0 <= length && length <= keptBody { // -1 if it is not said
		of, n = r.small, length
	}
	// The server sees that a caller has gone only once the body has been read.
	ctx, cancel := context.WithTimeout(req.Context(), patience)
	defer cancel()
	if of.Acquire(ctx, n) != nil {
		return nil, tooMany()
	}
	return func() { of.Release(n) }, nil
}

// turn waits until an answer may be made; done is to be called behind it.
func (r *room) turn(ctx context.Context) (done func(), err error) {
	select {
	case r.turns <- struct{}{}:
		return func() { <-r.turns }, nil
	case <-ctx.Done():
		return nil, tooMany()
	}
}

func tooMany() error {
	return &badRequest{http.StatusServiceUnavailable, errors.New("too many requests at once")}
}
