package gating

import (
	"crypto/sha256"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// firstSetback is how soon what was refused is tried again. It is twice as long
	// each time.
	firstRefusalPause = retryPause
	// longSetback bounds that: below failureKept, so that a namespace in which
	// nothing can be released counts as one all the while.
	maxRefusalPause = 8 * time.Minute
	// setbackPace is how far apart the attempts are at least, of all that is refused
	// together: 180 a minute at first. Each attempt at the same object costs a
	// quarter more of that time than the one before, and dearest at most.
	attemptPace    = time.Second / 3
	maxAttemptCost = 2
	// afterChange is how soon an object that has changed is tried again.
	changedPause = 10 * time.Second
	// relieved is how often at most all of a namespace is tried again at once.
	retryAllPause = time.Minute
	// mostBusy is how many objects of one namespace are tried at a time: a webhook of its
	// own may hang.
	maxAttemptsPerNamespace = 8
)

// setbacks remember what was refused, and when each is to be tried again: ever later,
// and all together at a pace that costs the API server little. Namespaces share the
// pace. The zero value is empty and ready for use.
type refusals struct {
	// trifling says that it matters little: there are a tenth as many attempts.
	isMinor bool

	mu          sync.Mutex
	byNamespace map[string]*namespaceRefusals // by namespace; none is empty
}

// refusing is a namespace with objects of which something was refused.
type namespaceRefusals struct {
	byUID        map[types.UID]*refusal
	nextSlot     time.Time // when there is room for the next attempt
	retriedAllAt time.Time // when all were let try again
	attempts     int       // how many are being tried
	message      string    // what the API server has said first
}

// setback is of one object.
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

// has reports whether something of an object was refused.
func (s *refusals) has(o *record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(o) != nil
}

// freed reports whether an object is let go, and only that could not be recorded.
func (s *refusals) isReleased(o *record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(o)
	return b != nil && b.isReleased
}

// troubled reports whether something was refused in a namespace.
func (s *refusals) refusesIn(namespace string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byNamespace[namespace] != nil
}

// words are what the API server has said in a namespace where it refuses something.
func (s *refusals) message(namespace string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.byNamespace[namespace]; n != nil {
		return n.message
	}
	return ""
}

// begin reports whether it is time to try an object again, and takes it that this is
// done: the attempt ends with refuse, succeed or leave.
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

// ripe reports whether begin would say that it is time.
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

// end says that an object is not being tried any more.
func (s *refusals) finish(o *record, b *refusal) {
	if b.isTrying {
		b.isTrying = false
		s.byNamespace[o.Namespace].attempts--
	}
}

// refuse notes that an object was refused, and reports whether the words are new.
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

// leave notes that an attempt has come to nothing that tells of the object.
func (s *refusals) endAttempt(o *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(o); b != nil {
		s.finish(o, b)
	}
}

// letGo returns why and when an object was let go, if that could not be recorded.
func (s *refusals) unrecordedRelease(o *record) (reason string, at time.Time, freed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(o); b != nil && b.isReleased {
		return b.releaseReason, b.releasedAt, true
	}
	return "", time.Time{}, false
}

// free notes that an object is let go, and that this could not be recorded.
func (s *refusals) noteReleased(policy string, o *record, reason string, now time.Time) {
	s.note(policy, o, "it could not be recorded that it is let go", now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(o); b != nil && !b.isReleased {
		b.isReleased, b.releaseReason, b.releasedAt = true, reason, now
	}
}

// succeed forgets an object with which all is well. If it is as it was when it was
// refused, it is something else that has changed, so that all of its namespace is to
// be tried again at once.
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

// retain forgets what a policy does not hold any more. What is leaving may be what is
// being tried just now.
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

// abandon hands what was refused under a policy that is gone over to strays.
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

// next returns when the first of what a policy holds is to be tried again; false if
// nothing is.
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

// book notes an attempt, and finds the time for the next.
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
