package gating

import (
	"context"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/log"
)

// failures collects what went wrong with many writes of a kind, so that the log has
// one line of them: in an outage there may be thousands. The zero value has none.
type failures struct {
	mu    sync.Mutex
	count int
	first error
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
	return true
}

// log tells of the failures, if there are any: how many, and why the first of them.
// It returns how many there are.
func (f *failures) log(ctx context.Context, what, policy string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count > 0 {
		log.FromContext(ctx).Error(f.first, what, "policy", policy, "failed", f.count)
	}
	return f.count
}
