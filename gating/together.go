package gating

import (
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
)

// findPieces finds the piece of work that each group belongs to. unseen are the releases that the
// cache does not show yet. They run, too.
func (r *Records) findPieces(groups []*group, unseen []unseenRelease, now time.Time) {
	released := r.releasedPieces(unseen)
	for _, g := range groups {
		if g.wasReleased {
			continue
		}
		head := g.head()
		g.piece = r.pieceAt(head.Namespace, head, now)
		if g.owner != nil && g.owner.Kind != hold.JobKind().Kind && g.piece.UID == "" { // it is the highest owner itself
			g.piece = Piece{Kind: g.owner.Kind, Name: g.owner.Name, UID: g.owner.UID}
		}
		if location, runs := released[groupKey{head.Namespace, g.piece.UID}]; runs && !g.piece.IsDecided {
			g.piece.Runs, g.piece.Location, g.piece.StartReason = true, location, runsAlready(g.piece.Kind, g.piece.Name)
		}
	}
}

// releasedPieces returns the highest owners of releases that the cache does not show yet, with the
// locations. What does not ask to wait any more is released alone.
func (r *Records) releasedPieces(unseen []unseenRelease) map[groupKey]string {
	released := map[groupKey]string{}
	for _, u := range unseen {
		if isWithdrawn(u.record) {
			continue
		}
		top := groupKey{namespace: u.Namespace}
		for owner := range r.owners(u.Namespace, kindOf(u.record), u.record) {
			top.uid = owner.UID
		}
		if top.uid != "" {
			released[top] = u.location
		}
	}
	return released
}

// pieceAndPin is what groups that are planned together have in common: the piece of work, and the
// location that they are pinned to. A part of a piece that is pinned elsewhere is planned by itself,
// and starts once another part runs.
type pieceAndPin struct {
	groupKey
	pin string
}

// planTogether gives the groups of a piece of work one task. The first of them leads, and the others
// follow. The task has the earliest latest start of all and the longest duration.
func planTogether(groups []*group) {
	leads := map[pieceAndPin]*group{}
	var parts []*group
	for _, g := range groups {
		if g.piece.UID == "" || !g.isPlanned() || g.owner != nil && isWithdrawn(g.owner) {
			continue
		}
		parts = append(parts, g)
		if lead := leads[g.pieceAndPin()]; lead == nil || isOlder(g.head(), lead.head()) {
			leads[g.pieceAndPin()] = g
		}
	}
	for _, g := range parts {
		if lead := leads[g.pieceAndPin()]; lead != g {
			g.lead = lead
			lead.cover(g)
		}
	}
	for _, g := range parts {
		if g.lead != nil {
			g.task = g.lead.task
		}
	}
}

func (g *group) pieceAndPin() pieceAndPin {
	head := g.head()
	return pieceAndPin{groupKey{head.Namespace, g.piece.UID}, head.Annotations[v1alpha1.LocationAnnotation]}
}

// cover plans a group for what another group needs, too.
func (g *group) cover(other *group) {
	g.followingPods += other.podsToStart()
	if other.task.LatestStart.Before(g.task.LatestStart) {
		g.task.LatestStart = other.task.LatestStart
	}
	g.coverDuration(other.task)
}

// coverDuration plans a group for as long as another task runs, if that is longer.
func (g *group) coverDuration(other plan.Task) {
	if other.Duration > g.task.Duration {
		g.task.Duration, g.task.EstimatedDuration = other.Duration, other.EstimatedDuration
	}
}

// follow gives the groups that follow another the decision on that one.
func (p *pass) follow() {
	for _, g := range p.groups {
		if g.lead != nil {
			g.decision = g.lead.decision
		}
	}
}

// hasWaitingSiblings reports whether something waits of the piece of work that an object belongs to.
func (r *Records) hasWaitingSiblings(o *record) (waits bool) {
	if r == nil {
		return false
	}
	r.eachDirectOwner(o, func(owner groupKey) { waits = waits || r.pieces.standing(owner, o.CreationTimestamp.Time).isWaiting })
	return waits
}
