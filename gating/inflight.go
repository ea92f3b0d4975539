package gating

import (
	"fmt"
	"maps"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ledger remembers what was released until the cache shows it too, so that
// nothing is released twice. The zero value is empty and ready for use.
type inFlight struct {
	mu       sync.Mutex
	released map[string]map[types.UID]string // by policy: where it was released to
	// before is what done was before the last turn of each policy.
	releasedBefore map[string]map[types.UID]string
}

// releaseOf is what the release of a Job is remembered by: one that is held
// again by hand has another spec, and is not done.
func releaseID(job metav1.Object) types.UID {
	return types.UID(fmt.Sprintf("%s@%d", job.GetUID(), job.GetGeneration()))
}

// turn starts a pass: it returns a function that reports what is done, and where
// to, and forgets all that is not asked about, which the cache no longer has.
func (l *inFlight) beginPass(policy string) func(types.UID) (to string, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, kept := l.released[policy], map[types.UID]string{}
	if l.released == nil {
		l.released, l.releasedBefore = map[string]map[types.UID]string{}, map[string]map[types.UID]string{}
	}
	l.released[policy], l.releasedBefore[policy] = kept, before
	return func(uid types.UID) (string, bool) {
		l.mu.Lock() // for what is tried again, and dropped, beside the pass
		defer l.mu.Unlock()
		to, done := before[uid]
		if done {
			kept[uid] = to // while the watch asks what it has
		}
		return to, done
	}
}

// has reports whether something was released, under whatever policy, and not
// forgotten since: its policy may have gone meanwhile.
func (l *inFlight) has(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, released := range l.released {
		if _, done := released[uid]; done {
			return true
		}
	}
	return false
}

// leave hands what was released under a policy that is gone over to strays, so
// that nothing is left of the policy's name.
func (l *inFlight) handOver(policy string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	released := l.released[policy]
	delete(l.released, policy)
	delete(l.releasedBefore, policy)
	if len(released) == 0 {
		return
	}
	if l.released[strayWork] == nil {
		l.released[strayWork] = map[types.UID]string{}
	}
	maps.Copy(l.released[strayWork], released)
}

// drop forgets what was not released after all.
func (l *inFlight) drop(policy string, uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range []string{policy, strayWork} { // the policy may have gone meanwhile
		delete(l.released[name], uid)
		delete(l.releasedBefore[name], uid)
	}
}

func (l *inFlight) add(policy string, uid types.UID, to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released[policy] == nil { // it has gone meanwhile
		policy = strayWork
	}
	if l.released[policy] == nil {
		l.released[policy] = map[types.UID]string{}
	}
	l.released[policy][uid] = to
}
