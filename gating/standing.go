package gating

import (
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/lru"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// maxQuietPieces bounds how many pieces of work of a namespace are remembered of which nothing
	// waits or runs. So no namespace makes Gridlatch forget the pieces of another.
	maxQuietPieces = 256
	// pieceRemembered is for how long they are remembered: a later step of a workflow, or a pod that
	// is created again after a failure, starts at once.
	pieceRemembered = time.Hour
)

// standing is how an object stands, or what is known of the objects of one owner.
type standing struct {
	// runs says that something was released and may not be over, and location where to.
	runs     bool
	location string
	// isWaiting says that something waits, and latestStart for how long at most. It is zero if no
	// promise can be read.
	isWaiting   bool
	latestStart time.Time
}

// standingOf returns how an object stands.
func standingOf(r *record) (s standing) {
	switch isPod := r.Kind == hold.PodKind().Kind; {
	case isPod && r.isGated:
		s.isWaiting = r.DeletionTimestamp == nil
	case isPod:
		s.runs = true
	default:
		s.isWaiting = r.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld
		s.runs = (r.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased || isAudited(r)) && r.podsToRun > 0 && !r.isOver
	}
	if s.isWaiting {
		s.latestStart, _ = time.Parse(time.RFC3339, r.Annotations[v1alpha1.LatestStartAnnotation])
	}
	s.runs = s.runs && !wasWithdrawn(r)
	if s.runs {
		s.location = r.Annotations[v1alpha1.PlannedLocationAnnotation]
	}
	return s
}

// standingOfOwner returns how an owner stands that is no object that can be held whole. Only a pod
// that runs makes other pods.
func standingOfOwner(owner *metav1.OwnerReference, known *record) standing {
	switch {
	case known != nil:
		return standingOf(known)
	default:
		return standing{runs: ownerKind(owner) == hold.PodKind().GroupKind()}
	}
}

// wasWithdrawn reports whether a released object was released because it did not ask to wait any
// more. Its siblings go on waiting. A Job whose pod template asks has no wish of its own, unless it
// was held.
func wasWithdrawn(r *record) bool {
	wish, isSet := policy.Wish(r)
	return isSet && wish != "true" || !isSet && r.Annotations[v1alpha1.StartedAnnotation] != ""
}

// pieces knows how the objects of owners stand, by what the caches have told. It is the same in every
// replica. A restart forgets only of what something ran before.
type pieces struct {
	clock policy.Clock

	mu sync.Mutex
	// busy has the owners of which something waits or runs. It is as large as the caches at most.
	busy map[groupKey]*members
	// quiet has, by namespace, the owners of which something ran before, each with a quietPiece.
	quiet map[string]*lru.Cache
}

// members counts the objects of one owner.
type members struct {
	running, waiting int
	// latestStart is the earliest of all objects that have waited since nothing waited.
	latestStart time.Time
	location    string    // of the newest release
	ranUntil    time.Time // when something was last seen to run, and nothing runs; zero if nothing ran
}

// quietPiece is what is remembered of an owner once nothing waits or runs.
type quietPiece struct {
	ranUntil time.Time
	location string
}

func newPieces(clock policy.Clock) *pieces {
	return &pieces{clock: clock, busy: map[groupKey]*members{}, quiet: map[string]*lru.Cache{}}
}

// standing returns what is known of the objects of an owner.
func (p *pieces) standing(owner groupKey, now time.Time) standing {
	if p == nil {
		return standing{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.busy[owner]
	if m == nil {
		q, isQuiet := p.quietPiece(owner)
		return standing{runs: isQuiet && now.Sub(q.ranUntil) < pieceRemembered, location: q.location}
	}
	ranLately := !m.ranUntil.IsZero() && now.Sub(m.ranUntil) < pieceRemembered
	return standing{runs: m.running > 0 || ranLately, location: m.location, isWaiting: m.waiting > 0, latestStart: m.latestStart}
}

func (p *pieces) quietPiece(owner groupKey) (quietPiece, bool) {
	of := p.quiet[owner.namespace]
	if of == nil {
		return quietPiece{}, false
	}
	found, _ := of.Get(owner)
	q, ok := found.(quietPiece)
	return q, ok
}

// remember remembers an owner of which nothing waits or runs any more.
func (p *pieces) remember(owner groupKey, q quietPiece) {
	of := p.quiet[owner.namespace]
	if of == nil {
		of = lru.New(maxQuietPieces)
		p.quiet[owner.namespace] = of
	}
	of.Add(owner, q)
}

// forget forgets an owner of which something waits or runs again.
func (p *pieces) forget(owner groupKey) {
	of := p.quiet[owner.namespace]
	if of.Remove(owner); of.Len() == 0 {
		delete(p.quiet, owner.namespace)
	}
}

// change notes that a record has changed. before is nil for a new record, and after for one that is
// gone.
func (p *pieces) change(r *Records, before, after *record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if before != nil {
		r.eachDirectOwner(before, func(owner groupKey) { p.member(owner).leave(standingOf(before), p.clock.Now()) })
	}
	if after != nil {
		r.eachDirectOwner(after, func(owner groupKey) { p.member(owner).join(standingOf(after)) })
	}
	for _, o := range []*record{before, after} {
		if o != nil {
			r.eachDirectOwner(o, p.settle)
		}
	}
}

// eachDirectOwner calls f for each owner of a record that makes the record part of a piece of work.
func (r *Records) eachDirectOwner(o *record, f func(owner groupKey)) {
	controller, labelled := r.directOwners(kindOf(o), o)
	if controller != nil {
		f(groupKey{o.Namespace, controller.UID})
	}
	if labelled != nil && (controller == nil || labelled.UID != controller.UID) {
		f(groupKey{o.Namespace, labelled.UID})
	}
}

// member returns the counts of an owner, as long as they are being changed.
func (p *pieces) member(owner groupKey) *members {
	m := p.busy[owner]
	if m == nil {
		m = &members{}
		if q, isQuiet := p.quietPiece(owner); isQuiet {
			m.ranUntil, m.location = q.ranUntil, q.location
			p.forget(owner)
		}
		p.busy[owner] = m
	}
	return m
}

func (m *members) join(s standing) {
	if s.runs {
		m.running++
		m.ranUntil, m.location = time.Time{}, s.location
	}
	if s.isWaiting {
		m.waiting++
		if !s.latestStart.IsZero() && (m.latestStart.IsZero() || s.latestStart.Before(m.latestStart)) {
			m.latestStart = s.latestStart
		}
	}
}

func (m *members) leave(s standing, now time.Time) {
	if s.runs {
		m.running--
		m.ranUntil = now
	}
	if s.isWaiting {
		m.waiting--
	}
}

// settle forgets what does not count any more of an owner.
func (p *pieces) settle(owner groupKey) {
	m := p.busy[owner]
	if m == nil {
		return
	}
	if m.waiting <= 0 {
		m.latestStart = time.Time{}
	}
	if m.running > 0 || m.waiting > 0 {
		return
	}
	delete(p.busy, owner)
	if !m.ranUntil.IsZero() && !isPodGroup(owner) {
		p.remember(owner, quietPiece{m.ranUntil, m.location})
	}
}

// isPodGroup reports whether an owner is known by a name only. Another one may have the name later,
// so nothing is remembered of it.
func isPodGroup(owner groupKey) bool { return door.IsPodGroup(owner.uid) }

// handler returns what tells pieces about the records of a cache.
func (p *pieces) handler(r *Records) toolscache.ResourceEventHandler {
	changed := func(before, after any) {
		if tombstone, ok := before.(toolscache.DeletedFinalStateUnknown); ok {
			before = tombstone.Obj
		}
		was, _ := before.(*record)
		is, _ := after.(*record)
		p.change(r, was, is)
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { changed(nil, o) },
		UpdateFunc: changed,
		DeleteFunc: func(o any) { changed(o, nil) },
	}
}
