package gating

import (
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// What else keeps work that is let go from starting, as its reason tells.
const (
	waitsForSuspend     = "its suspend"
	waitsForKueue       = "its queue in Kueue"
	waitsForParallelism = "parallelism 0"
)

// PodStillWaits says for what else a pod waits once it is let go: the scheduling
// gates of others. It is empty if there are none.
func PodStillWaits(gates []corev1.PodSchedulingGate) string {
	return describeGates(joinOtherGates(gates))
}

// JobStillWaits says for what else a Job waits once it is let go; empty if for
// nothing. What Gridlatch itself suspends does not count.
func JobStillWaits(job *batchv1.Job) string {
	o := record{facts: factsOfJob(job)}
	o.Kind, o.ObjectMeta = hold.JobKind().Kind, job.ObjectMeta
	return o.stillWaits(job.Labels[hold.KueueQueueLabel] != "")
}

// stillWaits says for what else a record waits once it is let go; empty if for
// nothing.
func (r *record) stillWaits(queued bool) string {
	switch {
	case r.Kind == hold.PodKind().Kind:
		return describeGates(r.otherGates)
	case queued || r.Annotations[v1alpha1.HeldByAnnotation] == v1alpha1.HoldByKueue:
		return waitsForKueue
	case r.isSuspended && r.Annotations[v1alpha1.HeldByAnnotation] != v1alpha1.HoldBySuspend:
		return waitsForSuspend
	case r.hasNoParallelism:
		return waitsForParallelism
	default:
		return ""
	}
}

// stillWaits says for what else all of a group wait once it is let go; empty if any
// of it can start.
func (g *group) stillWaits() string {
	if g.job != nil {
		if waits := g.job.stillWaits(false); waits != "" || len(g.pods) == 0 {
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

// otherGates returns the names of gates that are not ours, separated by commas.
func joinOtherGates(gates []corev1.PodSchedulingGate) string {
	var others []string
	for _, gate := range gates {
		if gate.Name != v1alpha1.Gate {
			others = append(others, gate.Name)
		}
	}
	return policy.Truncate(strings.Join(others, ", "), policy.MaxValue)
}

// namedGates makes of names of gates what a reason tells.
func describeGates(names string) string {
	switch {
	case names == "":
		return ""
	case strings.Contains(names, ","):
		return "the gates " + names
	default:
		return "the gate " + names
	}
}

// awaitsResume is AwaitsResume for the record of a held Job: it was promised
// nothing yet.
func (r *record) awaitsResume() bool {
	return hold.HasNoPromise(r.isSuspendedOrJustResumed, r.Annotations)
}

// asks returns the object of the group whose asks and promises count: its head. But
// pods may come before it is noted that their Job was resumed: till then they know
// better from when on it waits.
func (g *group) askingRecord() *record {
	if g.job != nil && g.job.awaitsResume() && !g.job.isSuspended && len(g.pods) > 0 {
		return g.pods[0]
	}
	return g.head()
}
