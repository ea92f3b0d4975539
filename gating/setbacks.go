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
	firstSetback = retry
	// longSetback bounds that: below failureKept, so that a namespace in which
	// nothing can be released counts as one all the while.
	longSetback = 8 * time.Minute
	// setbackPace is how far apart the attempts are at least, of all that is refused
	// together: 180 a minute at first. Each attempt at the same object costs a
	// quarter more of that time than the one before, and dearest at most.
	setbackPace = time.Second / 3
	dearest     = 2
	// afterChange is how soon an object that has changed is tried again.
	afterChange = 10 * time.Second
	// relieved is how often at most all of a namespace is tried again at once.
	relieved = time.Minute
	// mostBusy is how many objects of one namespace are tried at a time: a webhook of its
	// own may hang.
	mostBusy = 8
)

// setbacks remember what was refused, and when each is to be tried again: ever later,
// and all together at a pace that costs the API server little. Namespaces share the
// pace. The zero value is empty and ready for use.
type setbacks struct {
	// trifling says that it matters little: there are a tenth as many attempts.
	trifling bool

	mu sync.Mutex
	in map[string]*refusing // by namespace; none is empty
}

// refusing is a namespace with objects of which something was refused.
type refusing struct {
	of       map[types.UID]*setback
	slot     time.Time // when there is room for the next attempt
	relieved time.Time // when all were let try again
	busy     int       // how many are being tried
	words    string    // what the API server has said first
}

// setback is of one object.
type setback struct {
	policy  string
	version string // of the object when it was tried last
	tried   time.Time
	next    time.Time
	rest    wait.Backoff
	tries   int
	told    [sha256.Size]byte // the digest of what was said of the object last
	busy    bool              // it is being tried
	freed   bool              // it is let go, and only that could not be recorded: why, and when
	reason  string
	at      time.Time
}

// has reports whether something of an object was refused.
func (s *setbacks) has(o *record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(o) != nil
}

// freed reports whether an object is let go, and only that could not be recorded.
func (s *setbacks) freed(o *record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(o)
	return b != nil && b.freed
}

// troubled reports whether something was refused in a namespace.
func (s *setbacks) troubled(namespace string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in[namespace] != nil
}

// words are what the API server has said in a namespace where it refuses something.
func (s *setbacks) words(namespace string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.in[namespace]; n != nil {
		return n.words
	}
	return ""
}

// begin reports whether it is time to try an object again, and takes it that this is
// done: the attempt ends with refuse, succeed or leave.
func (s *setbacks) begin(o *record, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(o)
	if !s.isRipe(o, b, now) {
		return false
	}
	b.busy = true
	s.in[o.Namespace].busy++
	s.book(o, b, now)
	return true
}

// ripe reports whether begin would say that it is time.
func (s *setbacks) ripe(o *record, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isRipe(o, s.find(o), now)
}

func (s *setbacks) isRipe(o *record, b *setback, now time.Time) bool {
	if b == nil || b.busy || s.in[o.Namespace].busy >= mostBusy {
		return false
	}
	at := b.next
	if soon := b.tried.Add(afterChange); b.version != o.ResourceVersion && soon.Before(at) {
		at = soon
	}
	return !now.Before(at)
}

// end says that an object is not being tried any more.
func (s *setbacks) end(o *record, b *setback) {
	if b.busy {
		b.busy = false
		s.in[o.Namespace].busy--
	}
}

// refuse notes that an object was refused, and reports whether the words are new.
func (s *setbacks) refuse(policy string, o *record, words string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(o)
	if b == nil {
		b = s.add(policy, o, words)
		s.book(o, b, now)
	}
	s.end(o, b)
	said := sha256.Sum256([]byte(words))
	news := b.told != said
	b.told = said
	return news
}

// leave notes that an attempt has come to nothing that tells of the object.
func (s *setbacks) leave(o *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(o); b != nil {
		s.end(o, b)
	}
}

// letGo returns why and when an object was let go, if that could not be recorded.
func (s *setbacks) letGo(o *record) (reason string, at time.Time, freed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(o); b != nil && b.freed {
		return b.reason, b.at, true
	}
	return "", time.Time{}, false
}

// free notes that an object is let go, and that this could not be recorded.
func (s *setbacks) free(policy string, o *record, reason string, now time.Time) {
	s.refuse(policy, o, "it could not be recorded that it is let go", now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.find(o); b != nil && !b.freed {
		b.freed, b.reason, b.at = true, reason, now
	}
}

// succeed forgets an object with which all is well. If it is as it was when it was
// refused, it is something else that has changed, so that all of its namespace is to
// be tried again at once.
func (s *setbacks) succeed(o *record, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(o)
	if b == nil {
		return
	}
	n := s.in[o.Namespace]
	s.drop(o.Namespace, o.UID)
	if b.version != o.ResourceVersion || now.Sub(n.relieved) < relieved {
		return
	}
	n.relieved, n.slot = now, now
	for _, other := range n.of {
		other.next = now
	}
}

// retain forgets what a policy does not hold any more. What is leaving may be what is
// being tried just now.
func (s *setbacks) retain(policy string, groups []*group, leaving []freed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.in) == 0 {
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
	for namespace, n := range s.in {
		for uid, b := range n.of {
			if b.policy == policy && !held[uid] && !b.busy {
				s.drop(namespace, uid)
			}
		}
	}
}

// abandon hands what was refused under a policy that is gone over to strays.
func (s *setbacks) abandon(policy string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.in {
		for _, b := range n.of {
			if b.policy == policy {
				b.policy = strays
			}
		}
	}
}

// next returns when the first of what a policy holds is to be tried again; false if
// nothing is.
func (s *setbacks) next(policy string) (next time.Time, any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.in {
		for _, b := range n.of {
			if b.policy == policy && (!any || b.next.Before(next)) {
				next, any = b.next, true
			}
		}
	}
	return next, any
}

func (s *setbacks) find(o *record) *setback {
	if n := s.in[o.Namespace]; n != nil {
		return n.of[o.UID]
	}
	return nil
}

func (s *setbacks) add(policy string, o *record, words string) *setback {
	if s.in == nil {
		s.in = map[string]*refusing{}
	}
	n := s.in[o.Namespace]
	if n == nil {
		n = &refusing{of: map[types.UID]*setback{}, words: words}
		s.in[o.Namespace] = n
	}
	b := &setback{policy: policy, rest: wait.Backoff{Duration: firstSetback, Factor: 2, Steps: 100, Cap: longSetback, Jitter: 0.2}}
	n.of[o.UID] = b
	return b
}

func (s *setbacks) drop(namespace string, uid types.UID) {
	n := s.in[namespace]
	if b := n.of[uid]; b != nil && b.busy {
		n.busy--
	}
	if delete(n.of, uid); len(n.of) == 0 {
		delete(s.in, namespace)
	}
}

// book notes an attempt, and finds the time for the next.
func (s *setbacks) book(o *record, b *setback, now time.Time) {
	n := s.in[o.Namespace]
	price := min(setbackPace+time.Duration(b.tries)*setbackPace/4, dearest*setbackPace)
	if s.trifling {
		price *= 10
	}
	n.slot = latest(n.slot, now).Add(price * time.Duration(len(s.in)))
	b.tries, b.tried, b.version = b.tries+1, now, o.ResourceVersion
	b.next = latest(n.slot, now.Add(b.rest.Step()))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
