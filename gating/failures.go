package gating

import (
	"context"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/gating/hold"
)

// failures collects what went wrong with many writes of a kind, so that the log has
// one line of them: in an outage there may be thousands. The zero value has none.
type failures struct {
	mu      sync.Mutex
	count   int
	refused int // of them, of no use to be tried again at once
	first   error
}

// add takes up what a write came to, and reports whether it failed.
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

// log tells of the failures, if there are any: how many, and why the first of them.
// It returns how many are to be tried again at once.
func (f *failures) report(ctx context.Context, what, policy string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count > 0 {
		log.FromContext(ctx).Error(f.first, what, "policy", policy, "failed", f.count)
	}
	return f.count - f.refused
}

// again returns how many are to be tried again at once.
func (f *failures) retryable() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count - f.refused
}

// tally counts what a walk has done, beside what it could not do.
type tally struct {
	failures
	succeeded int
}

// note takes up what became of one object.
func (t *tally) observe(err error) {
	if !t.add(err) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.succeeded++
	}
}
