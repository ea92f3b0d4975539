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
	released map[string]map[types.UID]string // by policy: the locations
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
func (f *inFlight) beginPass(policy string) func(types.UID) (location string, isReleased bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, kept := f.released[policy], map[types.UID]string{}
	if f.released == nil {
		f.released, f.releasedBefore = map[string]map[types.UID]string{}, map[string]map[types.UID]string{}
	}
	f.released[policy], f.releasedBefore[policy] = kept, before
	return func(uid types.UID) (string, bool) {
		f.mu.Lock() // drop may be called during the pass
		defer f.mu.Unlock()
		location, found := before[uid]
		if found {
			kept[uid] = location // has may be called meanwhile
		}
		return location, found
	}
}

// has reports whether something was released under any policy, and not forgotten since. Its policy
// may be gone.
func (f *inFlight) has(uid types.UID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, released := range f.released {
		if _, found := released[uid]; found {
			return true
		}
	}
	return false
}

// handOver moves the releases of a policy that is gone to strayWork, so that nothing is left of the
// policy's name.
func (f *inFlight) handOver(policy string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	released := f.released[policy]
	delete(f.released, policy)
	delete(f.releasedBefore, policy)
	if len(released) == 0 {
		return
	}
	if f.released[strayWork] == nil {
		f.released[strayWork] = map[types.UID]string{}
	}
	maps.Copy(f.released[strayWork], released)
}

// drop forgets a release that has failed.
func (f *inFlight) drop(policy string, uid types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range []string{policy, strayWork} { // the policy may be gone
		delete(f.released[name], uid)
		delete(f.releasedBefore[name], uid)
	}
}

func (f *inFlight) add(policy string, uid types.UID, location string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.released[policy] == nil { // the policy is gone
		policy = strayWork
	}
	if f.released[policy] == nil {
		f.released[policy] = map[types.UID]string{}
	}
	f.released[policy][uid] = location
}
