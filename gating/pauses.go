package gating

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// pausePatience is how soon a pause is tried again that could not be made.
	pausePatience = time.Minute
	// refusedPausePatience is how soon a pause is tried again that the API server has refused. Work that is
	// not paused only costs more carbon.
	refusedPausePatience = 10 * time.Minute
	// maxPausesInPass bounds the pauses of a pass. Each takes three requests, and what is due for its start
	// waits for the end of the pass. The next pass follows at once.
	maxPausesInPass = 256
	// creationGrace is how much earlier than its run a pod may seem to be created: clocks differ.
	creationGrace = 5 * time.Second
)

// pausingPolicy returns the policy that may pause an object that runs; none if nobody may. Work that
// somebody else has started, or that could not be held, is never paused.
func pausingPolicy(r *record) []string {
	wish, _ := policy.Wish(r)
	mayPause := r.progress != nil && r.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased && r.DeletionTimestamp == nil &&
		wish == "true" && r.Annotations[v1alpha1.OutcomeAnnotation] == "" && r.podsToRunOrWhole() > 0
	return policyNames(r, mayPause)
}

// podsToRunOrWhole returns how many pods an object has still to run.
func (r *record) podsToRunOrWhole() int32 {
	if r.isOver {
		return 0
	}
	return r.podsToRun
}

// enqueuePausable requests a pass of the policies that may pause an object, if what they look at has
// changed. The progress of an object changes often, and is looked at each minute. before is nil for a new
// object.
func (l *Loop) enqueuePausable(ctx context.Context, before, after *record, q queue) {
	names := pausingPolicy(after)
	if before != nil && len(pausingPolicy(before)) == len(names) && before.isSuspended == after.isSuspended &&
		maps.Equal(before.Annotations, after.Annotations) && (before.progress == nil || after.progress == nil || (before.progress.Ready > 0) == (after.progress.Ready > 0)) {
		return
	}
	for _, policy := range names {
		if l.Policies.Exists(ctx, policy) {
			q.AddAfter(request(policy), l.gatherTime())
		}
	}
}

// findPausable finds the work of a policy that runs and may be paused now. What may not be paused for
// whatever reason is left out, and counts as work that runs.
func (l *Loop) findPausable(ctx context.Context, p *pass) error {
	if p.policy.IsAbandoned() || p.policy.IsAudit() {
		return nil
	}
	owners, err := l.Records.listOwners(pausableIndex, p.policy.Name)
	if err != nil {
		return err
	}
	l.pauses.forget(p.now)
	isUnable := map[[2]string]bool{} // by namespace and component
	for _, owner := range owners {
		task, isKnown := p.policy.RunningTaskOf(owner, policy.RunBegan(owner), p.now)
		switch {
		case owner.isSuspended:
			p.suspendedByOthers = append(p.suspendedByOthers, owner)
			continue
		case !isKnown || task.IsNearlyDone() || owner.progress.Ready == 0 || l.pauses.isBlocked(owner, p.now):
			continue
		}
		key := [2]string{owner.Namespace, componentOf(owner)}
		if _, known := isUnable[key]; !known {
			isUnable[key] = l.mayNotPauseIn(ctx, key[0], key[1])
		}
		if isUnable[key] {
			continue
		}
		p.pausable = append(p.pausable, &group{owner: owner, task: task.Task, run: &task})
	}
	return nil
}

// componentOf returns the component that Gridlatch needs to resume an object; empty for a Job.
func componentOf(owner *record) string {
	if d := door.Of(owner.GroupVersionKind().GroupKind()); d != nil {
		return d.Component
	}
	return ""
}

// mayNotPauseIn reports whether nothing is paused in a namespace that needs a component: its work is
// audited, or might not be resumed.
func (l *Loop) mayNotPauseIn(ctx context.Context, namespace, component string) bool {
	if l.WhyUnable != nil && l.WhyUnable(namespace, component) != "" {
		return true
	}
	audits, err := policy.IsAuditedNamespace(ctx, l.Policies.Reader, namespace)
	return audits || err != nil
}

// pausableOwners returns the UIDs of what runs and is planned.
func (p *pass) pausableOwners() map[types.UID]bool {
	uids := make(map[types.UID]bool, len(p.pausable))
	for _, g := range p.pausable {
		uids[g.owner.UID] = true
	}
	return uids
}

// nextPause returns when the first of what runs is to be paused by the plan; zero if nothing is.
func (p *pass) nextPause() time.Time {
	var next time.Time
	for _, g := range p.pausable {
		if runs := g.decision.Runs; len(runs) > 1 && !g.decision.Holds() && (next.IsZero() || runs[0].End.Before(next)) {
			next = runs[0].End
		}
	}
	return next
}

// pause pauses the work that the plan pauses now, and notes on work that others have suspended that it is
// theirs. It returns how many writes failed that are to be tried again soon: none, because each has its
// own time.
func (l *Loop) pause(ctx context.Context, p *pass) int {
	var failed failures
	writes := l.workers()
	for _, owner := range p.suspendedByOthers {
		if l.pauses.isBlocked(owner, p.now) {
			continue
		}
		writes.Go(func() error {
			l.pauses.block(owner, l.Clock.Now().Add(pausePatience))
			failed.add(l.patch(ctx, owner, hold.TakenPatch(owner)))
			return nil
		})
	}
	pauses := 0
	for _, g := range p.pausable {
		if !g.decision.Holds() {
			continue
		}
		if pauses++; pauses <= maxPausesInPass {
			writes.Go(func() error {
				failed.add(l.pauseGroup(ctx, p, g))
				return nil
			})
		}
	}
	_ = writes.Wait() // failed has the errors
	p.hasMoreToPause = pauses > maxPausesInPass
	failed.report(ctx, "cannot pause work, which runs on", p.policy.Name)
	return 0
}

// pauseGroup pauses a group that runs, if the object as it is now, and its pods, leave time for that.
func (l *Loop) pauseGroup(ctx context.Context, p *pass, g *group) error {
	l.pauses.block(g.owner, l.Clock.Now().Add(pausePatience)) // whatever comes of it
	kind := g.owner.GroupVersionKind()
	live, err := hold.ReadOwner(ctx, l.APIReader, kind, client.ObjectKeyFromObject(g.owner))
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	owner, began, err := l.liveRun(ctx, live)
	if err != nil || owner == nil || owner.UID != g.owner.UID || began.IsZero() {
		return err
	}
	note, ok := p.pauseNote(g, owner, began, l.Clock.Now())
	if !ok {
		return nil
	}
	err = l.write(ctx, owner, note.Patch(owner, kind.GroupKind()))
	if hold.IsRefusal(err) {
		l.pauses.block(g.owner, note.At.Add(refusedPausePatience))
	}
	if err != nil {
		return ignoreGone(owner, err)
	}
	l.Metrics.pauses.WithLabelValues(p.policy.Name).Inc()
	l.Events.PausedWork(&owner.PartialObjectMetadata, note.Reason)
	return nil
}

// pauseNote returns what is written at the pause that was decided for a group, given its record of this
// moment, and since when its pods really run. ok is false if the pause would come too soon, or would leave
// too little time.
func (p *pass) pauseNote(g *group, owner *record, began, now time.Time) (note hold.PauseNote, ok bool) {
	run, isKnown := p.policy.RunningTaskOf(owner, began, now)
	if !isKnown || run.IsNearlyDone() || run.Pauses.RanFor < run.Pauses.MinRun || run.Pauses.Runs < 1 {
		return note, false
	}
	d := g.decision
	if d.LatestStart = run.ResumeBy(); d.Start.After(d.LatestStart) || !d.Start.After(now) {
		return note, false
	}
	return hold.PauseNote{
		Reason: d.Reason(), At: now, PlannedStart: d.Start, LatestStart: d.LatestStart, FinishBy: run.FinishBy, Ran: run.Done, Pauses: run.PausedBefore + 1,
	}, true
}

// liveRun returns the record of an owner as the API server has it, and since when its pods really run:
// not while they waited for a node or an image. The record is nil if the owner may not be paused any
// more, and the time is zero if no pod runs: not yet, or not any more, because the work is done and its
// status does not show that yet.
func (l *Loop) liveRun(ctx context.Context, live hold.Owner) (*record, time.Time, error) {
	kept, err := newRecordMaker().transform(live.DeepCopyObject())
	owner, ok := kept.(*record)
	if err != nil || !ok || len(pausingPolicy(owner)) == 0 || owner.isSuspended {
		return nil, time.Time{}, err
	}
	pods, err := l.podsOf(ctx, live)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("see since when it runs: %w", err)
	}
	return owner, runBegan(pods, policy.RunBegan(owner)), nil
}

// runBegan returns since when the pods of a run really run, that began at some time; zero if no pod runs.
func runBegan(pods []corev1.Pod, began time.Time) (first time.Time) {
	if !slices.ContainsFunc(pods, podRuns) {
		return first
	}
	for i := range pods {
		start := podBegan(&pods[i])
		if !start.IsZero() && !pods[i].CreationTimestamp.Time.Before(began.Add(-creationGrace)) && (first.IsZero() || start.Before(first)) {
			first = start
		}
	}
	if first.IsZero() {
		return first
	}
	return laterOf(first, began)
}

// podsOf returns the pods of an owner.
func (l *Loop) podsOf(ctx context.Context, live hold.Owner) ([]corev1.Pod, error) {
	if job, ok := live.Object.(*batchv1.Job); ok {
		return hold.PodsOf(ctx, l.APIReader, job)
	}
	whole, ok := live.Object.(*unstructured.Unstructured)
	d := door.Of(live.Kind.GroupKind())
	if !ok || d == nil || d.PodLabelOf(whole.Object) == "" {
		return nil, nil
	}
	var list corev1.PodList
	if err := l.APIReader.List(ctx, &list, client.InNamespace(live.GetNamespace()), client.MatchingLabels{d.PodLabel: d.PodLabelOf(whole.Object)}); err != nil {
		return nil, fmt.Errorf("list its pods: %w", err)
	}
	return list.Items, nil
}

// podRuns reports whether a container of a pod runs.
func podRuns(pod corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.State.Running != nil })
}

// podBegan returns when the first container of a pod began to run; zero if none has.
func podBegan(pod *corev1.Pod) (first time.Time) {
	for i := range pod.Status.ContainerStatuses {
		for _, state := range []corev1.ContainerState{pod.Status.ContainerStatuses[i].State, pod.Status.ContainerStatuses[i].LastTerminationState} {
			var at time.Time
			switch {
			case state.Running != nil:
				at = state.Running.StartedAt.UTC()
			case state.Terminated != nil:
				at = state.Terminated.StartedAt.UTC()
			default:
				continue
			}
			if first.IsZero() || at.Before(first) {
				first = at
			}
		}
	}
	return first
}

// pauseTries remember until when no pause of an object is tried: it was tried a moment ago. So the cache
// has time to show the pause, and what cannot be paused is not tried in every pass. The zero value is
// empty and ready for use.
type pauseTries struct {
	mu    sync.Mutex
	until map[types.UID]time.Time
}

func (t *pauseTries) block(o *record, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.until == nil {
		t.until = map[types.UID]time.Time{}
	}
	t.until[o.UID] = until
}

func (t *pauseTries) isBlocked(o *record, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return isAhead(t.until[o.UID], now)
}

// isAhead reports whether a try has its time ahead. A clock that was set back would keep it there for
// longer than any try waits.
func isAhead(until, now time.Time) bool {
	return now.Before(until) && until.Sub(now) <= refusedPausePatience
}

// forget forgets what may be tried again.
func (t *pauseTries) forget(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.until, func(_ types.UID, until time.Time) bool { return !isAhead(until, now) })
}
