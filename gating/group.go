package gating

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	// waitsForUser says that no start is planned before the user resumes the Job.
	waitsForUser bool
	decision     plan.Decision
	// reason, cause and otherWaits are set when the group is released: why, and what else keeps all
	// of the group from starting. isRecorded says that the Job notes the release.
	reason     string
	otherWaits string
	cause      plan.Cause
	isRecorded bool
	// location is where the group is to run, if the policy chooses.
	location string
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
	return g.owner != nil && g.owner.Annotations[v1alpha1.HeldByAnnotation] != ""
}

// isResumed reports whether a Job that was held itself is not held any more. The release may not be
// recorded yet.
func (g *group) isResumed() bool {
	return g.holdsJobItself() && !hold.HoldsItself(g.owner.Annotations, g.owner.isSuspended)
}

// awaitsResume reports whether no start is planned for the group before its user resumes the Job.
func (g *group) awaitsResume() bool {
	return g.owner != nil && !g.wasReleased && g.askingRecord() == g.owner && g.owner.awaitsResume() && !isWithdrawn(g.owner)
}

// needsRoom reports whether the group is planned below the ceilings. Other groups are released in
// any case, were released before, or wait for their user.
func (g *group) needsRoom() bool { return !g.wasReleased && !g.isResumed() && !g.awaitsResume() }

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

// isDue reports whether the group is to be released now.
func (g *group) isDue() bool { return g.wasReleased || !g.waitsForUser && !g.decision.Holds() }

// releaseReason returns the reason of the release. waits says what else keeps the work from
// starting, if anything does.
func (g *group) releaseReason(waits string) string {
	if g.wasReleased {
		return plan.Truncate("its Job has been released: " + g.owner.Annotations[v1alpha1.ReasonAnnotation])
	}
	d := g.decision
	d.StillWaitsFor = waits
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
	if o == g.owner && o.Annotations[v1alpha1.LatestStartAnnotation] == "" {
		notes[v1alpha1.LatestStartAnnotation], notes[v1alpha1.IntensityAtCreationAnnotation] = policy.FormatTime(g.task.LatestStart), policy.EmittedAtOnce(g.decision)
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
	byKey := make(map[groupKey]*group, len(owners)) // most pods belong to Jobs
	all = make([]*group, 0, len(owners))
	add := func(key groupKey, g *group) *group {
		byKey[key] = g
		all = append(all, g)
		return g
	}
	for _, owner := range owners {
		if location, released := isReleased(releaseID(owner)); released {
			unseen = append(unseen, unseenRelease{owner, location})
			continue
		}
		add(groupKey{owner.Namespace, owner.UID}, &group{owner: owner})
	}
	for _, pod := range pods {
		if location, released := isReleased(pod.UID); released {
			unseen = append(unseen, unseenRelease{pod, location})
			continue
		}
		key := groupKey{pod.Namespace, pod.UID}
		if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
			key.uid = owner.UID
		}
		g := byKey[key]
		if g == nil {
			g = add(key, r.newGroup(pod, isReleased))
		}
		g.pods = append(g.pods, pod)
	}
	return all, unseen, nil
}

// newGroup starts the group of a pod whose Job is not among those that the policy holds.
func (r *Records) newGroup(pod *record, isReleased func(types.UID) (string, bool)) *group {
	job := r.owningJob(pod.Namespace, pod)
	if job == nil {
		return &group{}
	}
	location, released := isReleased(releaseID(job))
	return &group{owner: job, wasReleased: released || job.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased, location: location}
}
