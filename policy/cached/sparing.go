package cached

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// Anybody can name things that do not exist. So the API server is asked for at most livePerSecond of them a
	// second, and liveBurst at once.
	livePerSecond = 5
	liveBurst     = 10
	// liveTimeout bounds a question. Whoever is answered waits meanwhile.
	liveTimeout = time.Second
)

var errTooMany = errors.New("too many questions to the API server")

// sparingReader asks the API server, but seldom.
type sparingReader struct {
	client.Reader
	limiter *rate.Limiter
}

// Sparing returns a reader of single objects for what a cache does not have yet. It refuses to ask the API server more
// often than a few times a second, and waits a second at most.
func Sparing(live client.Reader) client.Reader {
	return &sparingReader{live, rate.NewLimiter(livePerSecond, liveBurst)}
}

// Get asks for an object.
func (r *sparingReader) Get(ctx context.Context, key client.ObjectKey, into client.Object, options ...client.GetOption) error {
	if !r.limiter.Allow() {
		return errTooMany
	}
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	return r.Reader.Get(ctx, key, into, options...) //nolint:wrapcheck // the caller knows what was asked
}
