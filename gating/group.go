package gating

import (
	"cmp"
	"math"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// group is what is decided together: a held Job with its held pods, the held
// pods of another owner, or one pod.
type group struct {
	// job records the decision for a Job; nil for other owners.
	job  *record
	pods []*record
	task plan.Task
	// released says that the decision was made before: pods that came late, or
	// were left over when a release was interrupted.
	wasReleased bool
	// parked says that it is not planned before its user resumes it.
	waitsForUser bool
	decision     plan.Decision
	// reason and cause are told on release, as is what all of it still waits for;
	// recorded says that it is on record.
	reason     string
	otherWaits string
	cause      plan.Cause
	isRecorded bool
	// to is the location that it is released to, where the policy chooses.
	location string
}

// head returns the object that speaks for the group.
func (g *group) head() *record {
	if g.job != nil {
		return g.job
	}
	return g.pods[0]
}

// whole reports whether the Job itself is held, so that it has no pods yet.
func (g *group) holdsJobItself() bool {
	return g.job != nil && g.job.Annotations[v1alpha1.HeldByAnnotation] != ""
}

// letGo reports whether a Job that we held whole is not held any more, though that may
// not be recorded yet.
func (g *group) isResumed() bool {
	return g.holdsJobItself() && !hold.HoldsItself(g.job.Annotations, g.job.isSuspended)
}

// awaitsResume reports whether a group is not planned before its user resumes it.
func (g *group) awaitsResume() bool {
	return g.job != nil && !g.wasReleased && g.askingRecord() == g.job && g.job.awaitsResume() && !isWithdrawn(g.job)
}

// needsRoom reports whether a group is planned below the ceilings. Others go, have gone, or
// are not to go.
func (g *group) needsRoom() bool { return !g.wasReleased && !g.isResumed() && !g.awaitsResume() }

// size is how many pods wait.
func (g *group) heldPods() int {
	if g.holdsJobItself() {
		return int(g.job.podsToRun)
	}
	return len(g.pods)
}

// pending is how many pods will run once the group is released: some of a Job
// may still have to be created.
func (g *group) podsToStart() int {
	if g.job != nil {
		return max(int(g.job.podsToRun), len(g.pods))
	}
	return len(g.pods)
}

// due reports whether the group is to be released.
func (g *group) isDue() bool { return g.wasReleased || !g.waitsForUser && !g.decision.Holds() }

// told returns the reason of the release of what still waits for something else,
// if that is not empty.
func (g *group) releaseReason(waits string) string {
	if g.wasReleased {
		return plan.Truncate("its Job has been released: " + g.job.Annotations[v1alpha1.ReasonAnnotation])
	}
	d := g.decision
	d.StillWaitsFor = waits
	return policy.ReleaseReason(d, g.head().Annotations)
}

// notes returns the annotations that tell on a pod or Job of the group until when
// and why it waits and, where that is chosen, where it is to run. A Job that came
// suspended is promised its latest start now.
func (g *group) notes(o *record) map[string]string {
	notes := map[string]string{v1alpha1.ReasonAnnotation: g.decision.Reason(), v1alpha1.PlannedStartAnnotation: policy.Stamp(g.decision.Start)}
	if g.location != "" {
		notes[v1alpha1.PlannedLocationAnnotation] = g.location
	}
	if o == g.job && o.Annotations[v1alpha1.LatestStartAnnotation] == "" {
		notes[v1alpha1.LatestStartAnnotation], notes[v1alpha1.IntensityAtCreationAnnotation] = policy.Stamp(g.task.LatestStart), policy.EmittedAtOnce(g.decision)
	}
	return notes
}

// groupKey is what groups are told apart by. An owner is in the namespace of what it
// owns: a reference from another namespace is to something else of the same UID.
type groupKey struct {
	namespace string
	uid       types.UID
}

// groups gathers what a policy holds, except for what was released although
// the cache does not show it yet, which is leaving.
func (r *Records) groups(policy string, done func(types.UID) (string, bool)) (all []*group, leaving []unseenRelease, err error) {
	jobs, err := r.jobs.list(heldIndex, policy)
	if err != nil {
		return nil, nil, err
	}
	pods, err := r.pods.list(heldIndex, policy)
	if err != nil {
		return nil, nil, err
	}
	byKey := make(map[groupKey]*group, len(jobs)) // most pods are of Jobs
	all = make([]*group, 0, len(jobs))
	add := func(key groupKey, g *group) *group {
		byKey[key] = g
		all = append(all, g)
		return g
	}
	for _, job := range jobs {
		if to, gone := done(releaseID(job)); gone {
			leaving = append(leaving, unseenRelease{job, to})
			continue
		}
		add(groupKey{job.Namespace, job.UID}, &group{job: job})
	}
	for _, pod := range pods {
		if to, gone := done(pod.UID); gone {
			leaving = append(leaving, unseenRelease{pod, to})
			continue
		}
		key := groupKey{pod.Namespace, pod.UID}
		if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
			key.uid = owner.UID
		}
		g := byKey[key]
		if g == nil {
			g = add(key, r.newGroup(pod, done))
		}
		g.pods = append(g.pods, pod)
	}
	return all, leaving, nil
}

// open starts the group of a pod whose Job is not among those that the policy
// holds.
func (r *Records) newGroup(pod *record, done func(types.UID) (string, bool)) *group {
	job := r.owningJob(pod.Namespace, pod)
	if job == nil {
		return &group{}
	}
	to, gone := done(releaseID(job))
	return &group{job: job, wasReleased: gone || job.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased, location: to}
}

// schedule gives each group its task, and orders the groups by latest start.
func setTasks(rules *policy.Policy, groups []*group) {
	for _, g := range groups {
		g.task = rules.TaskOf(g.askingRecord())
		g.task.Held = true
		if g.job == nil {
			g.advanceLatestStart(rules)
		}
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return a.task.LatestStart.Compare(b.task.LatestStart) })
}

// hurry has a group without a Job start no later than was promised to any of its
// pods. A pod that has no promise which can be read starts no later than it asks for
// itself: any of its siblings may be the head. Where a Job heads the group, its
// promise alone counts: it is what was decided for all, and whoever makes a pod that
// names the Job as its owner decides nothing.
func (g *group) advanceLatestStart(rules *policy.Policy) {
	last := ""
	for _, pod := range g.pods {
		promise := pod.Annotations[v1alpha1.LatestStartAnnotation]
		if promise == last && last != "" { // as mostly: they are siblings
			continue
		}
		promised, err := time.Parse(time.RFC3339, promise)
		if err == nil {
			last = promise
		} else {
			promised = rules.TaskOf(pod).LatestStart
		}
		if promised.Before(g.task.LatestStart) {
			g.task.LatestStart = promised.UTC()
		}
	}
}

// decide plans every group at one moment: each by itself or, below ceilings, all
// of a location together.
func (p *pass) decide() {
	if len(p.groups) == 0 {
		return
	}
	until := p.groups[len(p.groups)-1].task.LatestStart
	if p.policy.Movable() {
		p.decideAcrossLocations(until)
		return
	}
	at := map[string][]*group{}
	for _, g := range p.groups {
		location := p.policy.ResolveLocation(g.head().Annotations[v1alpha1.LocationAnnotation])
		at[location] = append(at[location], g)
	}
	for location, groups := range at {
		outlook := p.policy.Planner(p.snapshot, location, p.now, until)
		if p.policy.Limited() {
			p.assign(groups, outlook.Fleet(p.policy.Buckets(), p.runsAt(location, groups)))
			continue
		}
		for _, g := range groups {
			g.decision = outlook.Decide(g.task)
		}
	}
}

// decideWhere plans all groups together, each for the cheapest start of all
// locations that it may run in, below the ceilings of each if there are any.
func (p *pass) decideAcrossLocations(until time.Time) {
	var fleets []*plan.Fleet
	for _, location := range p.policy.LocationNames() {
		outlook := p.policy.Planner(p.snapshot, location, p.now, until)
		fleets = append(fleets, outlook.Fleet(p.policy.Buckets(), p.runsAt(location, p.groups)))
	}
	p.assign(p.groups, fleets[0], fleets[1:]...)
	for _, g := range p.groups {
		p.setLocation(g)
	}
}

// send says where a group is released to: pods that are left over follow their
// Job. If nothing is known of the grid there is nothing to prefer.
func (p *pass) setLocation(g *group) {
	switch {
	case g.wasReleased && g.location == "":
		g.location = g.job.Annotations[v1alpha1.PlannedLocationAnnotation]
	case !g.wasReleased && !math.IsNaN(g.decision.Expected):
		g.location = g.decision.Location
	}
}

// runs is what occupies room at a location: what runs there and, of the groups,
// those that were released before, and go now.
func (p *pass) runsAt(location string, groups []*group) []plan.Run {
	runs := slices.Clip(p.byLocation[location])
	for _, g := range groups {
		if g.wasReleased && cmp.Or(g.location, p.policy.LocationOf(g.job.Annotations)) == location {
			runs = append(runs, plan.Run{Until: p.now.Add(g.task.Duration), Pods: len(g.pods)})
		}
	}
	return runs
}

// assign plans the groups below the ceilings.
func (p *pass) assign(groups []*group, fleet *plan.Fleet, others ...*plan.Fleet) {
	waiting := make([]plan.Group, 0, len(groups))
	for _, g := range groups {
		if g.needsRoom() {
			waiting = append(waiting, plan.Group{Task: g.task, Pods: g.podsToStart()})
		}
	}
	decisions := plan.Assign(waiting, fleet, others...)
	for _, g := range groups {
		switch {
		case g.needsRoom():
			g.decision, decisions = decisions[0], decisions[1:]
		case !g.wasReleased:
			g.decision = plan.Decision{Decided: p.now, Start: p.now, LatestStart: g.task.LatestStart, Expected: math.NaN(), ExpectedAtOnce: math.NaN()}
		}
	}
}
