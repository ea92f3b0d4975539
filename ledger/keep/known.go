package keep

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// known is what the keeper knows of work that was decided on, and that is not booked yet. Watches
// write to it, and a pass of the keeper reads it.
type known struct {
	mu     sync.Mutex
	pods   map[types.UID]*pod
	owners map[types.UID]*owner
	// done has what is booked or never will be, and still exists, with the watch that brings it.
	done map[types.UID]string
	// folded has the energy of attempts that are too many to be kept one by one.
	folded map[types.UID]*folded
	// lastPass is when a pass last saw everything.
	lastPass time.Time
	// shared has the notes of the newest pod of each owner.
	shared map[types.UID]*notes
}

// maxSharingOwners bounds the owners whose pods share notes. The pods of one owner come together.
const maxSharingOwners = 1024

func newKnown() *known {
	return &known{
		pods: map[types.UID]*pod{}, owners: map[types.UID]*owner{}, done: map[types.UID]string{}, folded: map[types.UID]*folded{},
		shared: map[types.UID]*notes{},
	}
}

// setPod notes a pod as it is now.
func (k *known) setPod(p *pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.putPod(p)
}

func (k *known) putPod(p *pod) {
	if _, isDone := k.done[p.UID]; isDone {
		return
	}
	p.wasLive = p.wasLive || !p.isOver()
	if before := k.pods[p.UID]; before != nil {
		p.Start = earlier(before.Start, p.Start) // the statuses of containers that restart forget the first start
		p.wasLive = p.wasLive || before.wasLive
		if before.isOver() && p.isOver() && !before.Gone {
			p.End = before.End
		}
		if p.nodeLabels == nil {
			p.nodeLabels = before.nodeLabels
		}
	}
	p.Notes = k.share(p.Owner.UID, p.Notes)
	k.pods[p.UID] = p
}

// share returns the same notes as the pod before, of the same owner, if they are equal.
func (k *known) share(owner types.UID, n *notes) *notes {
	if owner == "" {
		return n
	}
	if before := k.shared[owner]; before != nil && *before == *n {
		return before
	}
	if len(k.shared) >= maxSharingOwners {
		clear(k.shared)
	}
	k.shared[owner] = n
	return n
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// dropPod notes that a watch brings a pod no more. last is what the event says of the pod; nil if
// the pod has not started.
func (k *known) dropPod(uid types.UID, watch string, last *pod, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.done, uid)
	before := k.pods[uid]
	if before != nil && before.Watch != watch {
		return // another watch has the pod now
	}
	if last != nil {
		k.putPod(last)
	}
	k.losePod(uid, now, true)
}

// losePod notes that a pod is gone. now counts as the end of a pod that ran, if the end was seen.
func (k *known) losePod(uid types.UID, now time.Time, isSeen bool) {
	before := k.pods[uid]
	if before == nil || before.Gone {
		return
	}
	p := *before // a pass may read what was there before
	p.Gone = true
	if !p.isOver() {
		p.End, p.IsUnseen = now, !isSeen
		if !isSeen {
			p.End = later(p.seen, k.lastPass)
		}
		p.End = later(p.End, p.Start)
	}
	k.pods[uid] = &p
}

// replacePods notes that a watch begins anew with these pods and no others. uids has all pods of
// the watch, also those that have not started.
func (k *known) replacePods(watch string, pods []*pod, uids map[types.UID]bool, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for uid, p := range k.pods {
		if p.Watch == watch && !uids[uid] {
			k.losePod(uid, now, false)
		}
	}
	k.forgetDone(watch, uids)
	for _, p := range pods {
		k.putPod(p)
	}
}

// forgetDone forgets what a watch brings no more.
func (k *known) forgetDone(watch string, uids map[types.UID]bool) {
	for uid, of := range k.done {
		if of == watch && !uids[uid] {
			delete(k.done, uid)
		}
	}
}

// setOwner notes an owner as it is now.
func (k *known) setOwner(o *owner) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.putOwner(o)
}

func (k *known) putOwner(o *owner) {
	if _, isDone := k.done[o.UID]; isDone {
		return
	}
	before := k.owners[o.UID]
	o.wasLive = o.wasLive || !o.isOver() || before != nil && before.wasLive
	o.follow(before)
	k.owners[o.UID] = o
}

// dropOwner notes that a watch brings an owner no more. last is what the event says of the owner.
func (k *known) dropOwner(uid types.UID, last *owner, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.done, uid)
	if last != nil {
		k.putOwner(last)
	}
	k.loseOwner(uid, now, true)
}

func (k *known) loseOwner(uid types.UID, now time.Time, isSeen bool) {
	before := k.owners[uid]
	if before == nil || !before.Gone.IsZero() {
		return
	}
	o := *before
	o.Gone, o.IsUnseen = now, !isSeen
	if !isSeen {
		o.Gone = later(later(o.seen, k.lastPass), o.Created)
	}
	k.owners[uid] = &o
}

// replaceOwners notes that a watch begins anew with these owners and no others.
func (k *known) replaceOwners(watch string, owners []*owner, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	uids := map[types.UID]bool{}
	for _, o := range owners {
		uids[o.UID] = true
	}
	for uid, o := range k.owners {
		if o.Watch == watch && !uids[uid] {
			k.loseOwner(uid, now, false)
		}
	}
	k.forgetDone(watch, uids)
	for _, o := range owners {
		k.putOwner(o)
	}
}

// group is what is known of a group of work.
type group struct {
	uid    types.UID
	owner  *owner // nil if the group is one pod
	pods   []*pod
	folded *folded
	rules  *rules // a pass finds them
}

// joinPause is how long a pod waits for the event that brings its owner.
const joinPause = time.Minute

// groups returns what is known by groups, sorted by UID. isBooked says what was booked before. A
// pod whose owner was booked comes too late, and is left out.
func (k *known) groups(isBooked func(types.UID) bool, now time.Time) []*group {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := map[types.UID]*group{}
	for uid, o := range k.owners {
		if k.topOf(uid) == uid {
			all[uid] = &group{uid: uid, owner: o, folded: k.folded[uid]}
		}
	}
	pieces := k.pieces()
	for uid, p := range k.pods {
		if head := cmp.Or(pieces.of(p), k.headOf(p)); head != "" {
			all[head].pods = append(all[head].pods, p)
		} else if k.standsAlone(p, isBooked, now) {
			all[uid] = &group{uid: uid, pods: []*pod{p}}
		}
	}
	sorted := slices.SortedFunc(maps.Values(all), func(a, b *group) int { return cmp.Compare(a.uid, b.uid) })
	for _, g := range sorted {
		slices.SortFunc(g.pods, func(a, b *pod) int { return cmp.Compare(a.UID, b.UID) })
	}
	return sorted
}

// standsAlone reports whether a pod without a known owner is a group of its own. A pod that will never
// be in a group is done.
func (k *known) standsAlone(p *pod, isBooked func(types.UID) bool, now time.Time) bool {
	hasOwner, hasState := p.Owner.UID != "", p.Notes.State != ""
	_, isDone := k.done[p.Owner.UID]
	switch {
	case !hasOwner && hasState:
		return true
	case hasOwner && (isDone || isBooked(p.Owner.UID)):
		k.finishPod(p)
		return false
	case now.Sub(p.seen) < joinPause:
		return false
	case !hasState:
		k.finishPod(p) // neither the pod nor its owner was decided on
		return false
	default:
		return true
	}
}

// pieces has the heads of the groups whose pods have a label of an engine, by namespace and piece.
type pieces map[[2]string]types.UID

func (k *known) pieces() pieces {
	all := pieces{}
	for uid, o := range k.owners {
		if o.Piece != "" {
			all[[2]string{o.Namespace, o.Piece}] = k.topOf(uid)
		}
	}
	return all
}

// of returns the head of the group of a pod by its labels; "" if there is none.
func (all pieces) of(p *pod) types.UID {
	for _, one := range p.Pieces {
		if head := all[[2]string{p.Namespace, one}]; head != "" {
			return head
		}
	}
	return ""
}

// confirmOwners notes that a watch has brought all its owners: what it has not brought has gone.
func (k *known) confirmOwners(watch string, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for uid, o := range k.owners {
		if o.Watch == watch && o.seen.IsZero() {
			k.loseOwner(uid, now, false)
		}
	}
}

// maxDepth bounds the owners above each other.
const maxDepth = 4

// headOf returns the head of the group of a pod by its owner; "" if there is none. Anybody can write any
// owner on a pod, but what counts in a namespace is of that namespace.
func (k *known) headOf(p *pod) types.UID {
	if o := k.owners[p.Owner.UID]; o == nil || o.Namespace != p.Namespace {
		return ""
	}
	return k.topOf(p.Owner.UID)
}

// topOf returns the highest known owner from one upwards; "" if the one is not known. The highest owner
// of the result is the result. Where owners are in a circle, or too many are above each other, the one is
// the highest itself: the API server does not check owner references.
func (k *known) topOf(uid types.UID) types.UID {
	if k.owners[uid] == nil {
		return ""
	}
	top := uid
	for range maxDepth {
		above := k.owners[top].Controller.UID
		if o := k.owners[above]; o == nil || o.Namespace != k.owners[top].Namespace {
			return top
		}
		top = above
	}
	return uid
}

// finish forgets groups that are booked, or never will be. What still exists is remembered as done.
func (k *known) finish(groups []*group) {
	k.mu.Lock()
	defer k.mu.Unlock()
	finished := map[types.UID]bool{}
	for _, g := range groups {
		finished[g.uid] = true
		delete(k.folded, g.uid)
		for _, p := range g.pods {
			if now := k.pods[p.UID]; now != nil {
				k.finishPod(now)
			}
		}
	}
	var owners []*owner
	for uid, o := range k.owners {
		if finished[k.topOf(uid)] {
			owners = append(owners, o)
		}
	}
	for _, o := range owners {
		if o.Gone.IsZero() {
			k.done[o.UID] = o.Watch
		}
		delete(k.owners, o.UID)
	}
}

func (k *known) finishPod(p *pod) {
	if !p.Gone {
		k.done[p.UID] = p.Watch
	}
	delete(k.pods, p.UID)
}

// fold replaces what is known of pods of a group by their energy.
func (k *known) fold(g *group, pods []*pod, into *folded) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range pods {
		delete(k.pods, p.UID)
	}
	k.folded[g.uid] = into
}

// passed notes that a pass has seen everything.
func (k *known) passed(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lastPass = now
}

// size returns how many owners and pods without known owners are not booked. Owners whose pods have
// not started count, too.
func (k *known) size() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := len(k.owners)
	for _, p := range k.pods {
		if k.owners[p.Owner.UID] == nil {
			n++
		}
	}
	return n
}
