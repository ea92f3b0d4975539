package gating

import (
	"fmt"
	"maps"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// inFlight remembers releases until the cache shows them, so that nothing is released twice. The
// zero value is empty and ready for use.
type inFlight struct {
	mu       sync.Mutex
	released map[string]map[types.UID]string // by policy: where it was released to
	// releasedBefore is what released was before the newest pass of each policy.
	releasedBefore map[string]map[types.UID]string
}

// releaseID names the release of a Job. A Job that is held again by hand has another generation, so
// its earlier release does not count.
func releaseID(job metav1.Object) types.UID {
	return types.UID(fmt.Sprintf("%s@%d", job.GetUID(), job.GetGeneration()))
}

// beginPass returns a function for the pass that begins. The function reports whether something was
// released, and to which location. What the pass does not ask for is gone from the cache, and is
// forgotten with the next pass.
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

// has reports whether something was released under any policy, and not forgotten since. Its policy
// may be gone.
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

// handOver moves the releases of a policy that is gone to strayWork, so that nothing is left of the
// policy's name.
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

// drop forgets a release that has failed.
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
