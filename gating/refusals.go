package gating

import (
	"crypto/sha256"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
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
	byNamespace map[string]*namespaceRefusals // by namespace; none is empty
}

// namespaceRefusals are the refused objects of one namespace.
type namespaceRefusals struct {
	byUID        map[types.UID]*refusal
	nextSlot     time.Time // when there is room for the next attempt
	retriedAllAt time.Time // when all were let try again
	attempts     int       // how many are being tried
	message      string    // what the API server has said first
}

// refusal is what is remembered of one object.
type refusal struct {
	policy        string
	triedVersion  string // of the object when it was tried last
	triedAt       time.Time
	nextTry       time.Time
	backoff       wait.Backoff
	tries         int
	toldDigest    [sha256.Size]byte // the digest of what was said of the object last
	isTrying      bool              // it is being tried
	isReleased    bool              // it is let go, and only that could not be recorded: why, and when
	releaseReason string
	releasedAt    time.Time
}

// has reports whether something was refused for an object.
func (s *refusals) has(o *record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(o) != nil
}

// isReleased reports whether an object is released, and only the record of that was refused.
func (s *refusals) isReleased(o *record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(o)
	return b != nil && b.isReleased
}

// refusesIn reports whether something was refused in a namespace.
func (s *refusals) refusesIn(namespace string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byNamespace[namespace] != nil
}

// message returns what the API server has said first in a namespace where it refuses something.
func (s *refusals) message(namespace string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.byNamespace[namespace]; n != nil {
		return n.message
	}
	return ""
}

// begin reports whether it is time to try an object again, and starts the attempt if so. The
// attempt ends with note, forget or endAttempt.
func (s *refusals) begin(o *record, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(o)
	if !s.mayTry(o, b, now) {
		return false
	}
	b.isTrying = true
	s.byNamespace[o.Namespace].attempts++
	s.planNext(o, b, now)
	return true
}

// isDue reports whether begin would start an attempt.
func (s *refusals) isDue(o *record, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mayTry(o, s.find(o), now)
}

func (s *refusals) mayTry(o *record, b *refusal, now time.Time) bool {
	if b == nil || b.isTrying || s.byNamespace[o.Namespace].attempts >= maxAttemptsPerNamespace {
		return false
	}
	at := b.nextTry
	if soon := b.triedAt.Add(changedPause); b.triedVersion != o.ResourceVersion && soon.Before(at) {
		at = soon
	}
	return !now.Before(at)
}

// finish ends an attempt.
func (s *refusals) finish(o *record, b *refusal) {
	if b.isTrying {
		b.isTrying = false
		s.byNamespace[o.Namespace].attempts--
	}
}

// note notes that an object was refused, and reports whether the message is new.
func (s *refusals) note(policy string, o *record, words string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(o)
	if b == nil {
		b = s.add(policy, o, words)
		s.planNext(o, b, now)
	}
	s.finish(o, b)
	said := sha256.Sum256([]byte(words))
	news := b.toldDigest != said
	b.toldDigest = said
	return news
}

// endAttempt ends an attempt that says nothing about the object.
func (s *refusals) endAttempt(o *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(o); b != nil {
		s.finish(o, b)
	}
}

// unrecordedRelease returns why and when an object was released, if that could not be recorded.
func (s *refusals) unrecordedRelease(o *record) (reason string, at time.Time, freed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(o); b != nil && b.isReleased {
		return b.releaseReason, b.releasedAt, true
	}
	return "", time.Time{}, false
}

// noteReleased notes that an object is released, and that this could not be recorded.
func (s *refusals) noteReleased(policy string, o *record, reason string, now time.Time) {
	s.note(policy, o, "it could not be recorded that it is let go", now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(o); b != nil && !b.isReleased {
		b.isReleased, b.releaseReason, b.releasedAt = true, reason, now
	}
}

// forget forgets an object after a success. If the object is the same as when it was refused,
// something else has changed, so all objects of its namespace are tried again at once.
func (s *refusals) forget(o *record, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(o)
	if b == nil {
		return
	}
	n := s.byNamespace[o.Namespace]
	s.drop(o.Namespace, o.UID)
	if b.triedVersion != o.ResourceVersion || now.Sub(n.retriedAllAt) < retryAllPause {
		return
	}
	n.retriedAllAt, n.nextSlot = now, now
	for _, other := range n.byUID {
		other.nextTry = now
	}
}

// retain forgets what a policy does not hold any more. An object whose release the cache has not
// seen may be tried just now, so it stays.
func (s *refusals) retain(policy string, groups []*group, leaving []unseenRelease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byNamespace) == 0 {
		return
	}
	held := map[types.UID]bool{}
	for _, o := range leaving {
		held[o.UID] = true
	}
	for _, g := range groups {
		if g.job != nil {
			held[g.job.UID] = true
		}
		for _, pod := range g.pods {
			held[pod.UID] = true
		}
	}
	for namespace, n := range s.byNamespace {
		for uid, b := range n.byUID {
			if b.policy == policy && !held[uid] && !b.isTrying {
				s.drop(namespace, uid)
			}
		}
	}
}

// handOver moves what was refused under a policy that is gone to strayWork.
func (s *refusals) handOver(policy string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.byNamespace {
		for _, b := range n.byUID {
			if b.policy == policy {
				b.policy = strayWork
			}
		}
	}
}

// nextTry returns when the first of what a policy holds is tried again; false if nothing is.
func (s *refusals) nextTry(policy string) (next time.Time, any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.byNamespace {
		for _, b := range n.byUID {
			if b.policy == policy && (!any || b.nextTry.Before(next)) {
				next, any = b.nextTry, true
			}
		}
	}
	return next, any
}

func (s *refusals) find(o *record) *refusal {
	if n := s.byNamespace[o.Namespace]; n != nil {
		return n.byUID[o.UID]
	}
	return nil
}

func (s *refusals) add(policy string, o *record, words string) *refusal {
	if s.byNamespace == nil {
		s.byNamespace = map[string]*namespaceRefusals{}
	}
	n := s.byNamespace[o.Namespace]
	if n == nil {
		n = &namespaceRefusals{byUID: map[types.UID]*refusal{}, message: words}
		s.byNamespace[o.Namespace] = n
	}
	b := &refusal{policy: policy, backoff: wait.Backoff{Duration: firstRefusalPause, Factor: 2, Steps: 100, Cap: maxRefusalPause, Jitter: 0.2}}
	n.byUID[o.UID] = b
	return b
}

func (s *refusals) drop(namespace string, uid types.UID) {
	n := s.byNamespace[namespace]
	if b := n.byUID[uid]; b != nil && b.isTrying {
		n.attempts--
	}
	if delete(n.byUID, uid); len(n.byUID) == 0 {
		delete(s.byNamespace, namespace)
	}
}

// planNext notes an attempt, and plans the next one.
func (s *refusals) planNext(o *record, b *refusal, now time.Time) {
	n := s.byNamespace[o.Namespace]
	price := min(attemptPace+time.Duration(b.tries)*attemptPace/4, maxAttemptCost*attemptPace)
	if s.isMinor {
		price *= 10
	}
	n.nextSlot = laterOf(n.nextSlot, now).Add(price * time.Duration(len(s.byNamespace)))
	b.tries, b.triedAt, b.triedVersion = b.tries+1, now, o.ResourceVersion
	b.nextTry = laterOf(n.nextSlot, now.Add(b.backoff.Step()))
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
