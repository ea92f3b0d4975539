package gating

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// group is what is decided together: a held Job with its held pods, the held pods of another owner,
// or one pod.
type group struct {
	// owner records the decision: a Job, or an object of another kind that is held whole. It is nil for
	// pods of others.
	owner *record
	pods  []*record
	task  plan.Task
	// wasReleased says that the Job was released before. The pods came later, or an interrupted
	// release has left them.
	wasReleased bool
	// piece is the piece of work that the group belongs to, with a UID if there is one. If the piece
	// runs, the group starts at once.
	piece Piece
	// lead is the group of the same piece of work with which this one is planned; nil if the group is
	// planned by itself. followingPods counts the pods that start with a lead, beside its own.
	lead          *group
	followingPods int
	// waitsForUser says that no start is planned before the user resumes the Job.
	waitsForUser bool
	decision     plan.Decision
	// reason, cause and otherWaits are set when the group is released: why, and what else keeps all
	// of the group from starting. isRecorded says that the Job notes the release.
	reason     string
	otherWaits string
	cause      plan.Cause
	// whyNotHeld says why nobody holds the group after all; empty if it is held.
	whyNotHeld string
	isRecorded bool
	// location is where the group is to run, if the policy chooses.
	location string
	// run is set if the group runs and may be paused. Such a group is not held.
	run *policy.RunningTask
}

// head returns the object whose annotations count for the group.
func (g *group) head() *record {
	if g.owner != nil {
		return g.owner
	}
	return g.pods[0]
}

// holdsJobItself reports whether the Job itself is held, so that it has no pods yet.
func (g *group) holdsJobItself() bool {
	return g.owner != nil && hold.HeldBy(g.owner.Annotations) != "" && !g.owner.hasNoQueue()
}

// isResumed reports whether a Job that was held itself is not held any more, or whether Kueue has
// started a held Job. The release may not be recorded yet.
func (g *group) isResumed() bool {
	return g.whyNotHeld == "" && g.holdsJobItself() && !hold.HoldsItself(g.owner.Annotations, g.owner.isSuspended) || g.isStartedByKueue()
}

// awaitsResume reports whether no start is planned for the group before its user resumes the Job.
func (g *group) awaitsResume() bool {
	return g.owner != nil && !g.wasReleased && g.askingRecord() == g.owner && g.owner.awaitsResume() && !isWithdrawn(g.owner)
}

// startsInAnyCase reports whether the group was released before, or belongs to a piece of work that
// runs.
func (g *group) startsInAnyCase() bool { return g.wasReleased || g.piece.Runs }

// isPlanned reports whether a start is planned for the group. Other groups start in any case, or
// wait for their user.
func (g *group) isPlanned() bool {
	return g.run != nil || !g.startsInAnyCase() && !g.isResumed() && !g.awaitsResume()
}

// needsRoom reports whether the group is planned below the ceilings. A group that follows another is
// planned with that one.
func (g *group) needsRoom() bool { return g.isPlanned() && g.lead == nil }

// heldPods returns how many pods wait.
func (g *group) heldPods() int {
	if g.holdsJobItself() {
		return int(g.owner.podsToRun)
	}
	return len(g.pods)
}

// podsToStart returns how many pods will run once the group is released. Some pods of a Job may not
// exist yet.
func (g *group) podsToStart() int {
	if g.owner != nil {
		return max(int(g.owner.podsToRun), len(g.pods))
	}
	return len(g.pods)
}

// podsLeftToStart returns how many pods of a group that starts in any case do not run yet.
func (g *group) podsLeftToStart() int {
	if g.wasReleased {
		return len(g.pods)
	}
	return g.podsToStart()
}

// isDue reports whether the group is to be released now.
func (g *group) isDue() bool { return g.startsInAnyCase() || !g.waitsForUser && !g.decision.Holds() }

// releaseReason returns the reason of the release. waits says what else keeps the work from
// starting, if anything does.
func (g *group) releaseReason(waits string) string {
	switch {
	case g.wasReleased:
		return plan.Truncate("its " + g.owner.Kind + " has been released: " + g.owner.Annotations[v1alpha1.ReasonAnnotation])
	case g.piece.Runs:
		return g.piece.StartReason
	}
	d := g.decision
	d.StillWaitsFor = waits
	if policy.IsPaused(g.head()) { // what its first wait has saved is another matter
		return d.Reason()
	}
	return policy.ReleaseReason(d, g.head().Annotations)
}

// notes returns the annotations that tell, on the group's Job or on one of its pods, until when and
// why it waits, and where it is to run if the policy chooses. A Job that was created suspended is
// promised its latest start here.
func (g *group) notes(o *record) map[string]string {
	notes := map[string]string{v1alpha1.ReasonAnnotation: g.decision.Reason(), v1alpha1.PlannedStartAnnotation: policy.FormatTime(g.decision.Start)}
	if g.location != "" {
		notes[v1alpha1.PlannedLocationAnnotation] = g.location
	}
	promised := o.Annotations[v1alpha1.LatestStartAnnotation]
	switch latest := policy.FormatTime(g.task.LatestStart); {
	case o == g.owner && promised == "":
		notes[v1alpha1.LatestStartAnnotation], notes[v1alpha1.IntensityAtCreationAnnotation] = latest, policy.EmittedAtOnce(g.decision)
	case (g.piece.UID != "" || o.timeLimit > 0 || policy.IsPaused(o)) && promised != "" && promised != latest: // the earliest of the piece, or of its engine, or what the paused work says, counts
		notes[v1alpha1.LatestStartAnnotation] = latest
	}
	return notes
}

// groupKey tells groups apart. An owner is in the namespace of what it owns. A reference from
// another namespace means something else with the same UID.
type groupKey struct {
	namespace string
	uid       types.UID
}

// groups returns what a policy holds, in groups. What was released already, but is still held in
// the cache, is returned apart.
func (r *Records) groups(policy string, isReleased func(types.UID) (string, bool)) (all []*group, unseen []unseenRelease, err error) {
	owners, err := r.listOwners(heldIndex, policy)
	if err != nil {
		return nil, nil, err
	}
	pods, err := r.pods.list(heldIndex, policy)
	if err != nil {
		return nil, nil, err
	}
	gathered := groupsByKey{byKey: make(map[groupKey]*group, len(owners)), all: make([]*group, 0, len(owners))} // most pods belong to Jobs
	for _, owner := range owners {
		if location, released := isReleased(releaseID(owner)); released {
			unseen = append(unseen, unseenRelease{owner, location})
			continue
		}
		gathered.add(groupKey{owner.Namespace, owner.UID}, &group{owner: owner})
	}
	for _, pod := range pods {
		if location, released := isReleased(pod.UID); released {
			unseen = append(unseen, unseenRelease{pod, location})
			continue
		}
		gathered.of(r, pod, isReleased).join(pod)
	}
	return gathered.all, unseen, nil
}

// groupsByKey are groups that are being gathered.
type groupsByKey struct {
	byKey map[groupKey]*group
	all   []*group
}

func (s *groupsByKey) add(key groupKey, g *group) {
	s.byKey[key] = g
	s.all = append(s.all, g)
}

// of returns the group of a pod: that of its controller, which is known for all its pods but the
// first, or else that of the highest owner that is known.
func (s *groupsByKey) of(r *Records, pod *record, isReleased func(types.UID) (string, bool)) *group {
	direct := groupKey{pod.Namespace, pod.UID}
	if len(pod.OwnerReferences) > 0 { // the controller, or what a label names
		direct.uid = pod.OwnerReferences[0].UID
	}
	if g := s.byKey[direct]; g != nil {
		return g
	}
	top, decided := direct, r.owningJob(pod.Namespace, pod)
	for owner, known := range r.owners(pod.Namespace, hold.PodKind().GroupKind(), pod) {
		top.uid = owner.UID
		if known != nil && known.Kind != hold.PodKind().Kind { // it was decided on itself
			decided = known
		}
	}
	g := s.byKey[top]
	if g == nil {
		g = newGroup(decided, isReleased)
		s.add(top, g)
	}
	s.byKey[direct] = g
	return g
}

// join adds a pod. The first that was created is the head of the group, if there is no owner.
func (g *group) join(pod *record) {
	g.pods = append(g.pods, pod)
	if last := len(g.pods) - 1; g.owner == nil && isOlder(pod, g.pods[0]) {
		g.pods[0], g.pods[last] = pod, g.pods[0]
	}
}

// isOlder reports whether a was created before b.
func isOlder(a, b *record) bool {
	if a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.Name < b.Name
	}
	return a.CreationTimestamp.Before(&b.CreationTimestamp)
}

// newGroup starts the group of a pod whose owner is not among what the policy holds. decided is the
// owner that was decided on for all its pods; nil if there is none.
func newGroup(decided *record, isReleased func(types.UID) (string, bool)) *group {
	if decided == nil {
		return &group{}
	}
	location, released := isReleased(releaseID(decided))
	released = released || isAudited(decided) || decided.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased
	return &group{owner: decided, wasReleased: released, location: location}
}
