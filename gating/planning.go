package gating

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// setTasks sets the task of each group, and orders the groups by latest start. Groups of one piece of
// work have one task.
func setTasks(rules *policy.Policy, groups []*group) {
	for _, g := range groups {
		g.task = rules.TaskOf(g.askingRecord())
		g.task.Held = true
		if g.owner == nil {
			g.coverPods(rules)
		} else {
			g.limitLatestStart()
		}
	}
	planTogether(groups)
	slices.SortStableFunc(groups, func(a, b *group) int { return a.task.LatestStart.Compare(b.task.LatestStart) })
}

// limitLatestStart makes an object that is held whole start early enough for its engine, which may show
// a limit or locks only after the object is held.
func (g *group) limitLatestStart() {
	if g.owner.keepsLocks {
		g.task.LatestStart = g.owner.CreationTimestamp.UTC()
	}
	if limit := g.owner.timeLimit; limit > 0 {
		ask := policy.Ask{Tool: policy.LimitOfWork("", "", limit)}
		ask.LimitLatestStart(&g.task, g.owner.CreationTimestamp.Time, g.task.Duration)
	}
}

// coverPods makes a group without a Job start no later than what any of its pods was promised. The
// longest duration of the pods of a piece of work counts. For a pod without a readable promise, the annotations of the pod count. A group with a
// Job is left as it is: the Job has the promise for all of its pods, and anybody can make a pod
// that names the Job as its owner.
func (g *group) coverPods(rules *policy.Policy) {
	lastRead, lastDuration := "", g.head().Annotations[v1alpha1.DurationAnnotation]
	for _, pod := range g.pods {
		if duration := pod.Annotations[v1alpha1.DurationAnnotation]; g.piece.UID != "" && duration != lastDuration {
			lastDuration = duration
			g.coverDuration(rules.TaskOf(pod))
		}
		promise := pod.Annotations[v1alpha1.LatestStartAnnotation]
		if promise == lastRead && lastRead != "" { // the usual case
			continue
		}
		promised, err := time.Parse(time.RFC3339, promise)
		if err == nil {
			lastRead = promise
		} else {
			promised = rules.TaskOf(pod).LatestStart
		}
		if promised.Before(g.task.LatestStart) {
			g.task.LatestStart = promised.UTC()
		}
	}
}

// decide plans all groups at one moment: each by itself or, below ceilings, all groups of a
// location together.
func (p *pass) decide() {
	planned := append(slices.Clip(p.groups), p.pausable...)
	if len(planned) == 0 {
		return
	}
	until := slices.MaxFunc(planned, func(a, b *group) int { return a.task.LatestStart.Compare(b.task.LatestStart) }).task.LatestStart
	if p.policy.ChoosesLocation() {
		p.decideAcrossLocations(planned, until)
		return
	}
	at := map[string][]*group{}
	for _, g := range planned {
		location := p.policy.ResolveLocation(g.head().Annotations[v1alpha1.LocationAnnotation])
		at[location] = append(at[location], g)
	}
	for location, groups := range at {
		planner := p.policy.Planner(p.snapshot, location, p.now, until)
		if p.policy.HasBuckets() {
			p.assign(groups, planner.Fleet(p.policy.Buckets(), p.runsAt(location, groups)))
			continue
		}
		decideAlone(groups, planner)
	}
	p.follow()
}

// decideAlone plans each group by itself. Groups that can be interrupted share the memory that their plans
// take.
func decideAlone(groups []*group, planner *plan.Planner) {
	var interruptible []*group
	var tasks []plan.Group
	for _, g := range groups {
		if g.task.Pauses == nil {
			g.decision = planner.Decide(g.task)
			continue
		}
		interruptible, tasks = append(interruptible, g), append(tasks, plan.Group{Task: g.task})
	}
	for i, decision := range plan.Assign(tasks, planner.Fleet(plan.Buckets{}, nil)) {
		interruptible[i].decision = decision
	}
}

// decideAcrossLocations plans all groups together, each for the cheapest start in all locations
// that it may run in, below the ceilings of each location.
func (p *pass) decideAcrossLocations(planned []*group, until time.Time) {
	var fleets []*plan.Fleet
	for _, location := range p.policy.LocationNames() {
		planner := p.policy.Planner(p.snapshot, location, p.now, until)
		fleets = append(fleets, planner.Fleet(p.policy.Buckets(), p.runsAt(location, p.groups)))
	}
	p.assign(planned, fleets[0], fleets[1:]...)
	p.follow()
	for _, g := range p.groups {
		p.setLocation(g)
	}
}

// setLocation sets where a group is to run. Pods that an interrupted release has left follow their
// Job. If nothing is known of the grid, no location is preferred.
func (p *pass) setLocation(g *group) {
	switch {
	case g.wasReleased && g.location == "":
		g.location = g.owner.Annotations[v1alpha1.PlannedLocationAnnotation]
	case g.piece.Runs:
		g.location = g.piece.Location
	case !g.wasReleased && !math.IsNaN(g.decision.Expected):
		g.location = g.decision.Location
	}
}

// runsAt returns what occupies room at a location: what runs there, and the groups that were
// released before and start now.
func (p *pass) runsAt(location string, groups []*group) []plan.Run {
	runs := slices.Clip(p.byLocation[location])
	for _, g := range groups {
		if g.startsInAnyCase() && cmp.Or(g.location, g.piece.Location, p.policy.LocationOf(g.head().Annotations)) == location {
			runs = append(runs, plan.Run{Until: p.now.Add(g.task.Duration), Pods: g.podsLeftToStart()})
		}
	}
	return runs
}

// assign plans the groups below the ceilings. What runs comes first: its room is its own, and a pause
// has to gain something. Otherwise work that waits would stop work that runs, only to run in its place.
func (p *pass) assign(groups []*group, fleet *plan.Fleet, others ...*plan.Fleet) {
	for _, isRunning := range []bool{true, false} {
		var planned []*group
		var tasks []plan.Group
		for _, g := range groups {
			if g.needsRoom() && (g.run != nil) == isRunning {
				planned, tasks = append(planned, g), append(tasks, plan.Group{Task: g.task, Pods: g.podsToStart() + g.followingPods})
			}
		}
		for i, decision := range plan.Assign(tasks, fleet, others...) {
			planned[i].decision = decision
		}
	}
	for _, g := range groups {
		if !g.needsRoom() && !g.wasReleased {
			g.decision = plan.Decision{Decided: p.now, Start: p.now, LatestStart: g.task.LatestStart, Expected: math.NaN(), ExpectedAtOnce: math.NaN()}
		}
	}
}

// awaitForecast lets work wait for a first forecast after the start of the program, for a moment
// and not beyond its latest start.
func (l *Loop) awaitForecast(p *pass) {
	l.startedAt.CompareAndSwap(nil, &p.now)
	first := l.startedAt.Load().Add(firstForecastWait)
	if p.policy.IsAbandoned() || p.snapshot.HasForecast() || !p.now.Before(first) {
		return
	}
	for _, g := range p.groups {
		if g.decision.Cause == plan.CauseNoForecast {
			g.decision.Start = first
			if g.task.LatestStart.Before(first) {
				g.decision.Start = g.task.LatestStart
			}
		}
	}
}

// makeResumedDue makes due what somebody else has released, so that the release is recorded.
func (p *pass) makeResumedDue() {
	for _, g := range p.groups {
		if !g.isDue() && g.isResumed() {
			g.decision.Start = p.now
		}
	}
}

// makeRefusedDue makes due what the API server has refused to have released. Its next attempt has a
// time of its own, so it is not spread over time again.
func (l *Loop) makeRefusedDue(p *pass) {
	for _, g := range p.groups {
		if g.decision.Cause == plan.CauseSpread && !g.isDue() && l.refusals.has(g.head()) {
			g.decision.Start = p.now
		}
	}
}

// makeWithdrawnDue makes due what does not ask to wait any more. The Job decides for its pods.
// Where there is no Job, each pod decides for itself.
func (p *pass) makeWithdrawnDue() {
	all := p.groups
	p.groups = make([]*group, 0, len(all))
	for _, g := range all {
		p.groups = append(p.groups, g)
		switch {
		case g.startsInAnyCase():
		case g.owner != nil:
			if isWithdrawn(g.owner) || policy.IsPaused(g.owner) && g.owner.progress == nil {
				g.withdraw()
			}
		default:
			p.groups = append(p.groups, g.splitWithdrawn()...)
		}
	}
}

// waitForUsers marks the groups that wait for their user to resume the Job.
func (p *pass) waitForUsers() {
	for _, g := range p.groups {
		if g.awaitsResume() {
			g.waitsForUser, g.decision.Cause = true, plan.CauseSuspended
		}
	}
}
