package feed

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// firstPause is the pause after the first failure. The pauses are for sources that only
	// CarbonAwareKedaScalers name: anybody who may write a scaler may name a source that cannot be
	// read.
	firstPause = time.Second
	// maxPause bounds the pauses, which double after each failure.
	maxPause = 5 * time.Minute
)

// retryPauses makes a caller who fails wait longer before each next attempt. One goroutine may use
// retryPauses at a time. The zero value does not wait.
type retryPauses struct {
	backoff *wait.Backoff
	next    time.Duration
}

// attempt waits for the pause that is due, calls, and notes whether the call has failed.
func (r *retryPauses) attempt(ctx context.Context, call func() error) error {
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

func (r *retryPauses) note(err error) {
	switch {
	case err == nil:
		r.backoff, r.next = nil, 0
	case r.backoff == nil:
		r.backoff = &wait.Backoff{Duration: firstPause, Factor: 2, Steps: 100, Cap: maxPause, Jitter: 0.2}
		fallthrough
	default:
		r.next = r.backoff.Step()
	}
}
