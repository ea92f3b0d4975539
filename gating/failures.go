package gating

import (
	"context"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/gating/hold"
)

// failures collects the errors of many writes, so that the log has one line about them. An outage
// may cause thousands. The zero value has none.
type failures struct {
	mu      sync.Mutex
	count   int
	refused int // of these, not to be tried again soon
	first   error
}

// add adds the result of a write, and reports whether the write failed.
func (f *failures) add(err error) bool {
	if err == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count++; f.count == 1 {
		f.first = err
	}
	if hold.IsRefusal(err) {
		f.refused++
	}
	return true
}

// report logs how many writes have failed, and why the first of them. It returns how many are to be
// tried again soon.
func (f *failures) report(ctx context.Context, what, policy string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count > 0 {
		log.FromContext(ctx).Error(f.first, what, "policy", policy, "failed", f.count)
	}
	return f.count - f.refused
}

// retryable returns how many writes are to be tried again soon.
func (f *failures) retryable() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count - f.refused
}

// tally counts what succeeded, beside the failures.
type tally struct {
	failures
	succeeded int
}

// observe adds the result for one object.
func (t *tally) observe(err error) {
	if !t.add(err) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.succeeded++
	}
}
