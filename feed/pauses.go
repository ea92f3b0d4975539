package feed

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// A source that only CarbonAwareKedaScalers name, and that cannot be read, is
	// asked again after a second, then after twice as long each time. Anybody
	// who may write a scaler may name one.
	firstRest = time.Second
	longRest  = 5 * time.Minute
)

// pauses make one who fails wait ever longer before the next attempt. They are for
// one goroutine at a time. The zero value waits for nothing.
type pauses struct {
	backoff *wait.Backoff
	next    time.Duration
}

// attempt waits as long as is due, and notes what came of the call.
func (r *pauses) attempt(ctx context.Context, call func() error) error {
	if r.next > 0 {
		timer := time.NewTimer(r.next)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
	}
	err := call()
	r.note(err)
	return err
}

func (r *pauses) note(err error) {
	switch {
	case err == nil:
		r.backoff, r.next = nil, 0
	case r.backoff == nil:
		r.backoff = &wait.Backoff{Duration: firstRest, Factor: 2, Steps: 100, Cap: longRest, Jitter: 0.2}
		fallthrough
	default:
		r.next = r.backoff.Step()
	}
}
