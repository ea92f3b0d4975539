package gating

import (
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// What else keeps released work from starting, as its reason says.
const (
	waitsForSuspend     = "its suspend"
	waitsForKueue       = "its queue in Kueue"
	waitsForParallelism = "parallelism 0"
)

// kueuePrefix begins the names of the gates of Kueue.
const kueuePrefix = "kueue.x-k8s.io/"

// PodStillWaits says what else a pod waits for once it is released: the scheduling gates of others.
// It is empty if there are none.
func PodStillWaits(gates []corev1.PodSchedulingGate) string {
	return describeGates(joinOtherGates(gates))
}

// JobStillWaits says what else a Job waits for once it is released; empty if nothing. What
// Gridlatch itself suspends does not count.
func JobStillWaits(job *batchv1.Job) string {
	o := record{facts: factsOfJob(job)}
	o.Kind, o.ObjectMeta = hold.JobKind().Kind, job.ObjectMeta
	return o.stillWaits(job.Labels[hold.KueueQueueLabel] != "")
}

// WholeStillWaits says what else an object of another kind waits for once it is released; empty if
// nothing. isQueued says that the object is in a queue of Kueue.
func WholeStillWaits(isQueued bool) string {
	if isQueued {
		return waitsForKueue
	}
	return ""
}

// stillWaits says what else an object waits for once it is released; empty if nothing.
func (r *record) stillWaits(queued bool) string {
	switch {
	case r.Kind == hold.PodKind().Kind:
		return describeGates(r.otherGates)
	case r.isSuspended && (queued || hold.IsAtQueue(r.Annotations)): // else Kueue does not manage it
		return waitsForKueue
	case r.isSuspended && r.Annotations[v1alpha1.HeldByAnnotation] != v1alpha1.HoldBySuspend:
		return waitsForSuspend
	case r.hasNoParallelism:
		return waitsForParallelism
	default:
		return ""
	}
}

// stillWaits says what else all of a group wait for once it is released; empty if any of it can
// start.
func (g *group) stillWaits() string {
	if g.owner != nil {
		if waits := g.owner.stillWaits(false); waits != "" || len(g.pods) == 0 {
			return waits
		}
	}
	for _, pod := range g.pods {
		if pod.otherGates == "" {
			return ""
		}
	}
	return g.pods[0].stillWaits(false)
}

// joinOtherGates returns the names of the gates that are not ours, separated by commas.
func joinOtherGates(gates []corev1.PodSchedulingGate) string {
	var others []string
	for _, gate := range gates {
		if gate.Name != v1alpha1.Gate {
			others = append(others, gate.Name)
		}
	}
	return policy.Truncate(strings.Join(others, ", "), policy.MaxValue)
}

// describeGates says in a reason that work waits for gates.
func describeGates(names string) string {
	switch {
	case names == "":
		return ""
	case areOfKueue(names):
		return waitsForKueue
	case strings.Contains(names, ","):
		return "the gates " + names
	default:
		return "the gate " + names
	}
}

// areOfKueue reports whether gates, separated by commas, are all of Kueue.
func areOfKueue(gates string) bool {
	for gate := range strings.SplitSeq(gates, ",") {
		if !strings.HasPrefix(strings.TrimSpace(gate), kueuePrefix) {
			return false
		}
	}
	return true
}

// awaitsResume is hold.AwaitsResume for the record of a held Job.
func (r *record) awaitsResume() bool {
	return hold.HasNoPromise(r.isSuspendedOrJustResumed, r.Annotations)
}

// askingRecord returns the object of the group whose annotations and promises count: its head. Pods
// may come before the Job controller has noted that their Job was resumed. Until it has, the pods
// know better since when the group waits.
func (g *group) askingRecord() *record {
	if g.owner != nil && g.owner.awaitsResume() && !g.owner.isSuspended && len(g.pods) > 0 {
		return g.pods[0]
	}
	return g.head()
}
