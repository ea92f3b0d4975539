package gating

import (
	"crypto/sha256"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/gridlatch/gridlatch/gating/hold"
)

const (
	// firstRefusalPause is how soon a refused object is tried again. The pause doubles each time.
	firstRefusalPause = retryPause
	// maxRefusalPause bounds that pause. It is below failureLifetime, so that a namespace in which
	// nothing can be released counts as failing all the while.
	maxRefusalPause = 8 * time.Minute
	// attemptPace is the least time between two attempts, of all that is refused together: 180 a
	// minute at first. Each attempt at the same object takes a quarter more of that time than the
	// attempt before, and at most maxAttemptCost times as much.
	attemptPace    = time.Second / 3
	maxAttemptCost = 2
	// changedPause is how soon an object that has changed is tried again.
	changedPause = 10 * time.Second
	// retryAllPause is how often at most all objects of a namespace are tried again at once.
	retryAllPause = time.Minute
	// maxAttemptsPerNamespace bounds how many objects of one namespace are tried at a time, because
	// its webhook may hang.
	maxAttemptsPerNamespace = 8
)

// refusals remember what the API server has refused, and when each object is tried again: ever
// later, and all together at a pace that costs the API server little. Namespaces share the pace.
// The zero value is empty and ready for use.
type refusals struct {
	// isMinor says that these refusals matter little: there are a tenth as many attempts.
	isMinor bool

	mu          sync.Mutex
	byNamespace map[string]*namespaceRefusals // none is empty
}

// namespaceRefusals are the refused objects of one namespace.
type namespaceRefusals struct {
	byUID        map[types.UID]*refusal
	nextSlot     time.Time // the earliest time of the next attempt
	retriedAllAt time.Time // when all were to be tried again at once
	attempts     int       // how many objects are being tried now
	message      string    // what the API server has said first
}

// refusal is what is remembered of one object.
type refusal struct {
	policy       string
	triedVersion string // the object's resourceVersion at the newest attempt
	triedAt      time.Time
	nextTry      time.Time
	backoff      wait.Backoff
	tries        int
	toldDigest   [sha256.Size]byte // of the newest message that was announced
	isTrying     bool              // an attempt is under way
	isReleased   bool              // the object is released, and only the record of that was refused
	release      hold.ReleaseNote  // what was to be recorded
}

// has reports whether something was refused for an object.
func (r *refusals) has(o *record) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.find(o) != nil
}

// isReleased reports whether an object is released, and only the record of that was refused.
func (r *refusals) isReleased(o *record) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	entry := r.find(o)
	return entry != nil && entry.isReleased
}

// refusesIn reports whether something was refused in a namespace.
func (r *refusals) refusesIn(namespace string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byNamespace[namespace] != nil
}

// message returns what the API server has said first in a namespace where it refuses something.
func (r *refusals) message(namespace string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if in := r.byNamespace[namespace]; in != nil {
		return in.message
	}
	return ""
}

// begin reports whether it is time to try an object again, and starts the attempt if so. The
// attempt ends with note, forget or endAttempt.
func (r *refusals) begin(o *record, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	entry := r.find(o)
	if !r.mayTry(o, entry, now) {
		return false
	}
	entry.isTrying = true
	r.byNamespace[o.Namespace].attempts++
	r.planNext(o, entry, now)
	return true
}

// isDue reports whether begin would start an attempt.
func (r *refusals) isDue(o *record, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mayTry(o, r.find(o), now)
}

func (r *refusals) mayTry(o *record, entry *refusal, now time.Time) bool {
	if entry == nil || entry.isTrying || r.byNamespace[o.Namespace].attempts >= maxAttemptsPerNamespace {
		return false
	}
	at := entry.nextTry
	if soon := entry.triedAt.Add(changedPause); entry.triedVersion != o.ResourceVersion && soon.Before(at) {
		at = soon
	}
	return !now.Before(at)
}

// finish ends an attempt.
func (r *refusals) finish(o *record, entry *refusal) {
	if entry.isTrying {
		entry.isTrying = false
		r.byNamespace[o.Namespace].attempts--
	}
}

// note notes that an object was refused, and reports whether the message is new.
func (r *refusals) note(policy string, o *record, message string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	entry := r.find(o)
	if entry == nil {
		entry = r.add(policy, o, message)
		r.planNext(o, entry, now)
	}
	r.finish(o, entry)
	digest := sha256.Sum256([]byte(message))
	isNew := entry.toldDigest != digest
	entry.toldDigest = digest
	return isNew
}

// endAttempt ends an attempt that says nothing about the object.
func (r *refusals) endAttempt(o *record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if entry := r.find(o); entry != nil {
		r.finish(o, entry)
	}
}

// unrecordedRelease returns the release of an object that could not be recorded.
func (r *refusals) unrecordedRelease(o *record) (release hold.ReleaseNote, isUnrecorded bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if entry := r.find(o); entry != nil && entry.isReleased {
		return entry.release, true
	}
	return hold.ReleaseNote{}, false
}

// noteReleased notes that an object is released, and that this could not be recorded.
func (r *refusals) noteReleased(policy string, o *record, release hold.ReleaseNote) {
	r.note(policy, o, "the release could not be recorded", release.At)
	r.mu.Lock()
	defer r.mu.Unlock()
	if entry := r.find(o); entry != nil && !entry.isReleased {
		entry.isReleased, entry.release = true, release
	}
}

// forget forgets an object after a success. If the object is the same as when it was refused,
// something else has changed, so all objects of its namespace are tried again at once.
func (r *refusals) forget(o *record, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	entry := r.find(o)
	if entry == nil {
		return
	}
	in := r.byNamespace[o.Namespace]
	r.drop(o.Namespace, o.UID)
	if entry.triedVersion != o.ResourceVersion || now.Sub(in.retriedAllAt) < retryAllPause {
		return
	}
	in.retriedAllAt, in.nextSlot = now, now
	for _, other := range in.byUID {
		other.nextTry = now
	}
}

// retain forgets what a policy does not hold any more. An object whose release the cache has not
// seen may be tried just now, so it stays.
func (r *refusals) retain(policy string, groups []*group, unseen []unseenRelease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.byNamespace) == 0 {
		return
	}
	held := map[types.UID]bool{}
	for _, o := range unseen {
		held[o.UID] = true
	}
	for _, g := range groups {
		if g.owner != nil {
			held[g.owner.UID] = true
		}
		for _, pod := range g.pods {
			held[pod.UID] = true
		}
	}
	for namespace, in := range r.byNamespace {
		for uid, entry := range in.byUID {
			if entry.policy == policy && !held[uid] && !entry.isTrying {
				r.drop(namespace, uid)
			}
		}
	}
}

// handOver moves what was refused under a policy that is gone to strayWork.
func (r *refusals) handOver(policy string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, in := range r.byNamespace {
		for _, entry := range in.byUID {
			if entry.policy == policy {
				entry.policy = strayWork
			}
		}
	}
}

// nextTry returns when the first of what a policy holds is tried again; false if nothing is.
func (r *refusals) nextTry(policy string) (next time.Time, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, in := range r.byNamespace {
		for _, entry := range in.byUID {
			if entry.policy == policy && (!found || entry.nextTry.Before(next)) {
				next, found = entry.nextTry, true
			}
		}
	}
	return next, found
}

func (r *refusals) find(o *record) *refusal {
	if in := r.byNamespace[o.Namespace]; in != nil {
		return in.byUID[o.UID]
	}
	return nil
}

func (r *refusals) add(policy string, o *record, message string) *refusal {
	if r.byNamespace == nil {
		r.byNamespace = map[string]*namespaceRefusals{}
	}
	in := r.byNamespace[o.Namespace]
	if in == nil {
		in = &namespaceRefusals{byUID: map[types.UID]*refusal{}, message: message}
		r.byNamespace[o.Namespace] = in
	}
	entry := &refusal{policy: policy, backoff: wait.Backoff{Duration: firstRefusalPause, Factor: 2, Steps: 100, Cap: maxRefusalPause, Jitter: 0.2}}
	in.byUID[o.UID] = entry
	return entry
}

func (r *refusals) drop(namespace string, uid types.UID) {
	in := r.byNamespace[namespace]
	if entry := in.byUID[uid]; entry != nil && entry.isTrying {
		in.attempts--
	}
	if delete(in.byUID, uid); len(in.byUID) == 0 {
		delete(r.byNamespace, namespace)
	}
}

// planNext notes an attempt, and plans the next one.
func (r *refusals) planNext(o *record, entry *refusal, now time.Time) {
	in := r.byNamespace[o.Namespace]
	cost := min(attemptPace+time.Duration(entry.tries)*attemptPace/4, maxAttemptCost*attemptPace)
	if r.isMinor {
		cost *= 10
	}
	in.nextSlot = laterOf(in.nextSlot, now).Add(cost * time.Duration(len(r.byNamespace)))
	entry.tries, entry.triedAt, entry.triedVersion = entry.tries+1, now, o.ResourceVersion
	entry.nextTry = laterOf(in.nextSlot, now.Add(entry.backoff.Step()))
}

func laterOf(a, entry time.Time) time.Time {
	if a.After(entry) {
		return a
	}
	return entry
}
