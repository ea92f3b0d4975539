package gating

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clientretry "k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// maxRetries bounds how many writes of what was refused are in flight. The pace of refusals
	// bounds how many are sent; these wait for webhooks that hang.
	maxRetries = 128
	// slowRefusal is how long a refusal may take for the minimal patch to be tried in the same
	// pass.
	slowRefusal = time.Second
	// retryTimeout bounds each of these writes. A webhook has 30 seconds at most.
	retryTimeout = 35 * time.Second
)

// release releases what is due, the most urgent first, and returns how many writes failed that are
// to be tried again soon. It writes the record of a Job before it releases the Job's pods. In the
// other order, a crash between the two would leave a started Job whose retries are held. From the
// latest start on no retry is held, so the pods are released even if the record fails. What was
// refused before has a time of its own, and nothing waits for it.
func (l *Loop) release(ctx context.Context, p *pass) int {
	var records failures
	var results podReleases
	pods := l.workers()
	for batch := range slices.Chunk(l.dueGroups(p), l.Workers) {
		var jobs sync.WaitGroup
		for _, g := range batch {
			g.setReason()
			if g.owner == nil || !l.refusals.has(g.owner) {
				jobs.Go(func() { records.add(l.recordRelease(ctx, p, g, false)) })
			}
		}
		jobs.Wait()
		for pod, g := range p.releasablePods(batch) {
			if !l.refusals.has(pod) {
				pods.Go(func() error { return l.firstRelease(ctx, p, g, pod, &results) })
			}
		}
	}
	_ = pods.Wait() // results has the errors
	pods = l.workers()
	for pod, g := range results.refused {
		pods.Go(func() error { return results.add(nil, g, l.releasePod(ctx, p, g, pod, true)) })
	}
	_ = pods.Wait()
	if results.released > 0 {
		log.FromContext(ctx).Info("released pods", "policy", p.policy.Name, "pods", results.released)
	}
	l.Metrics.releaseErrors.WithLabelValues(p.policy.Name).Add(float64(results.failed.count))
	p.withoutPreference.report(ctx, "released pods without a preference for nodes", p.policy.Name)
	failed := records.report(ctx, "cannot record releases on Jobs, will try again", p.policy.Name) +
		results.failed.report(ctx, "cannot release pods, will try again", p.policy.Name)
	l.retryRefused(ctx, p)
	return failed
}

// firstRelease releases a pod that was not refused yet. Where the API server takes long to refuse,
// the minimal patch is tried beside the passes.
func (l *Loop) firstRelease(ctx context.Context, p *pass, g *group, pod *record, results *podReleases) error {
	began := l.Clock.Now()
	err := l.releasePod(ctx, p, g, pod, false)
	if hold.IsRefusal(err) && l.Clock.Now().Sub(began) > slowRefusal {
		l.noteRefusal(p, pod, err)
		return results.add(nil, g, err)
	}
	return results.add(pod, g, err)
}

// podReleases collects the results of releases. Pods whose full patch was refused are kept for
// later: the minimal patch is tried once all other pods are released.
type podReleases struct {
	mu       sync.Mutex
	released int
	refused  map[*record]*group
	failed   failures
}

// add adds the result for one pod. Without a pod, nothing is kept for later. It returns nil, for an
// errgroup.
func (o *podReleases) add(pod *record, g *group, err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case pod != nil && hold.IsRefusal(err) && o.refused == nil:
		o.refused = map[*record]*group{pod: g}
	case pod != nil && hold.IsRefusal(err):
		o.refused[pod] = g
	case !o.failed.add(err):
		o.released++
	}
	return nil
}

// workers returns a group that runs as many writes at once as there are workers.
func (l *Loop) workers() *errgroup.Group {
	group := &errgroup.Group{}
	group.SetLimit(l.Workers)
	return group
}

// dueGroups returns the groups that are to be released, the most urgent first. Groups in namespaces
// where something was refused come last.
func (l *Loop) dueGroups(p *pass) []*group {
	var due, last []*group
	for _, g := range p.groups {
		switch {
		case !g.isDue():
		case l.refusals.refusesIn(g.head().Namespace):
			last = append(last, g)
		default:
			due = append(due, g)
		}
	}
	return append(due, last...)
}

// releasablePods yields the pods that may be released, with their groups: those whose Job is
// recorded as released or is resumed, and all whose latest start has come.
func (p *pass) releasablePods(groups []*group) func(yield func(*record, *group) bool) {
	return func(yield func(*record, *group) bool) {
		for _, g := range groups {
			if !g.isRecorded && !g.isResumed() && p.now.Before(g.task.LatestStart) {
				continue
			}
			for _, pod := range g.pods {
				if !yield(pod, g) {
					return
				}
			}
		}
	}
}

// retryRefused tries again what was refused and whose time has come. It does not wait for the
// writes, because the API server may take long over them.
func (l *Loop) retryRefused(ctx context.Context, p *pass) {
	full := false
	start := func(o *record, attempt func(context.Context) error) {
		if full || !l.refusals.isDue(o, l.Clock.Now()) {
			return
		}
		full = !l.retries.TryGo(func() error {
			if !l.refusals.begin(o, l.Clock.Now()) {
				return nil
			}
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), retryTimeout)
			defer cancel()
			defer l.refusals.endAttempt(o)
			if attempt(ctx) != nil {
				l.Metrics.releaseErrors.WithLabelValues(p.policy.Name).Inc()
			}
			return nil
		})
	}
	due := l.dueGroups(p)
	for _, g := range due {
		if g.owner != nil && !g.wasReleased {
			copied := *g // the reason of the group may change
			start(g.owner, func(ctx context.Context) error { return l.recordRelease(ctx, p, &copied, true) })
		}
	}
	for pod, g := range p.releasablePods(due) {
		start(pod, func(ctx context.Context) error { return l.releasePod(ctx, p, g, pod, true) })
	}
}

// reasonKeepsLocks is the reason on what is released because it has locks while it waits.
const reasonKeepsLocks = "started: its template has spec.synchronization, and work that waits keeps the locks"

// setReason sets why the group is released.
func (g *group) setReason() {
	g.otherWaits, g.cause = g.stillWaits(), g.decision.Cause
	if g.startsInAnyCase() {
		g.cause = causeJoined
	}
	switch {
	case g.isStartedByKueue():
		g.reason = hold.ReasonStartedByKueue
	case g.isResumed():
		g.reason = hold.ReasonTaken
	case g.whyNotHeld != "":
		g.reason = g.whyNotHeld
	case g.owner != nil && g.owner.keepsLocks:
		g.reason = reasonKeepsLocks
	default:
		g.reason = g.releaseReason(g.otherWaits)
	}
	g.isRecorded = g.owner == nil || g.wasReleased
}

// recordRelease records on its Job that a group is released. From then on the decision stands.
func (l *Loop) recordRelease(ctx context.Context, p *pass, g *group, minimal bool) error {
	if g.isRecorded {
		return nil
	}
	l.inFlight.add(p.policy.Name, releaseID(g.owner), g.location) // before the watch can show the release
	noted, err := l.writeRecord(ctx, g, minimal)
	if err != nil {
		l.inFlight.drop(p.policy.Name, releaseID(g.owner))
		l.noteRefusal(p, g.owner, err)
		return err
	}
	g.isRecorded = true
	if !l.refusals.isReleased(g.owner) {
		l.noteOwnRelease(p, g, g.owner)
		l.announceRelease(p, g)
	}
	if noted || !g.holdsJobItself() {
		l.refusals.forget(g.owner, l.Clock.Now())
	} else {
		l.refusals.noteReleased(p.policy.Name, g.owner, hold.ReleaseNote{Reason: g.reason, Outcome: g.outcome(), At: l.Clock.Now()})
	}
	return nil
}

// announceRelease tells that a group was released, or turned out not to be held.
func (l *Loop) announceRelease(p *pass, g *group) {
	if g.whyNotHeld != "" {
		l.Events.NotHeldWork(&g.owner.PartialObjectMetadata, g.reason)
		return
	}
	if g.holdsJobItself() {
		l.countRelease(p, g, g.owner, g.heldPods())
	}
	if policy.IsPaused(g.owner) {
		l.Events.ResumedWork(&g.owner.PartialObjectMetadata, g.reason)
		return
	}
	l.Events.ReleasedWork(&g.owner.PartialObjectMetadata, g.reason)
}

// writeRecord writes the release of a group on its Job, and reports whether the Job notes it.
func (l *Loop) writeRecord(ctx context.Context, g *group, minimal bool) (noted bool, err error) {
	note := hold.ReleaseNote{Reason: g.reason, At: l.Clock.Now(), Location: g.location, MarksTemplate: true}
	switch {
	case g.isResumed() || g.holdsJobItself() && l.refusals.isReleased(g.owner): // suspended again, it is its user's
		return l.recordTaken(ctx, g, note)
	case g.whyNotHeld != "" || l.leavesDoorToKueue(g.owner):
		note.Outcome = g.outcome()
		return l.applyPatches(ctx, g.owner, note.RecordPatches(g.owner), minimal)
	default:
		return l.releaseOwner(ctx, g, note, minimal)
	}
}

// outcome returns the outcome of the release of the group by us; empty if the group was held.
func (g *group) outcome() string {
	if g.whyNotHeld != "" {
		return v1alpha1.OutcomeNotHeld
	}
	return ""
}

// leavesDoorToKueue reports whether Kueue opens the door of an owner that we have suspended, once
// there is quota.
func (l *Loop) leavesDoorToKueue(owner *record) bool {
	return !owner.isAtQueue() && hold.IsAtQueue(owner.Annotations) && l.Workloads.has(owner)
}

// releaseOwner opens the door of an owner that is held itself, and writes the release on the owner.
// Where the owner is not as the cache says, it is read again.
func (l *Loop) releaseOwner(ctx context.Context, g *group, note hold.ReleaseNote, minimal bool) (noted bool, err error) {
	kind := g.owner.GroupVersionKind()
	noted, err = l.applyPatches(ctx, g.owner, note.OwnerPatches(g.owner, kind.GroupKind()), minimal)
	if !apierrors.IsInvalid(err) || !g.holdsJobItself() {
		return noted, err
	}
	now, errNow := hold.ReadOwner(ctx, l.APIReader, kind, client.ObjectKeyFromObject(g.owner))
	if errNow != nil {
		return true, client.IgnoreNotFound(errNow)
	}
	switch {
	case now.GetUID() != g.owner.UID || !now.HoldsItself():
		return l.recordTaken(ctx, g, note)
	case now.GetResourceVersion() == g.owner.ResourceVersion: // what was refused is the owner as it is
		return false, err
	default:
		note.MarksTemplate = false // a Job that has run before has a fixed template
		return l.applyPatches(ctx, g.owner, note.OwnerPatches(now, kind.GroupKind()), minimal)
	}
}

// recordTaken records that a Job which was held itself is not held any more: somebody else has
// released it, or an earlier release of ours could not be recorded.
func (l *Loop) recordTaken(ctx context.Context, g *group, note hold.ReleaseNote) (noted bool, err error) {
	note.Reason, note.Outcome = hold.ReasonTaken, v1alpha1.OutcomeTaken
	if g.isStartedByKueue() {
		note.Reason = hold.ReasonStartedByKueue
	}
	if ours, isOurs := l.refusals.unrecordedRelease(g.owner); isOurs {
		note.Reason, note.At, note.Outcome = ours.Reason, ours.At, ours.Outcome
	}
	g.reason = note.Reason
	return true, ignoreGone(g.owner, l.write(ctx, g.owner, note.RecordPatch(g.owner)))
}

// noteOwnRelease remembers that the loop has released something that takes room.
func (l *Loop) noteOwnRelease(p *pass, g *group, o *record) {
	if !p.policy.HasBuckets() {
		return
	}
	now, plannedEnd := l.Clock.Now(), time.Time{}
	if o == g.owner && o.Kind != hold.JobKind().Kind {
		plannedEnd = now.Add(min(g.task.Duration, maxWholeRun))
	}
	l.ownReleases.add(o.UID, now, plannedEnd, g.cause != plan.CauseLatestStart && p.now.Before(g.task.LatestStart))
}

// releasePod takes the gate off a pod and notes why. With minimal, the minimal patch is tried at
// once.
func (l *Loop) releasePod(ctx context.Context, p *pass, g *group, pod *record, minimal bool) error {
	l.inFlight.add(p.policy.Name, pod.UID, g.location) // before the watch can show the release
	note := hold.ReleaseNote{Reason: g.reason, At: l.Clock.Now(), Location: g.location, Outcome: g.outcome()}
	if waits := pod.stillWaits(false); waits != g.otherWaits && g.whyNotHeld == "" {
		note.Reason = g.releaseReason(waits)
	}
	if minimal || !l.releaseWithPreference(ctx, p, pod, note) {
		patches := note.PodPatches(pod)
		if !minimal {
			patches = hold.ReleasePatches{Full: patches.Full}
		}
		if _, err := l.applyPatches(ctx, pod, patches, minimal); err != nil {
			l.inFlight.drop(p.policy.Name, pod.UID)
			if minimal {
				l.noteRefusal(p, pod, err)
			}
			return err
		}
	}
	l.refusals.forget(pod, l.Clock.Now())
	l.noteOwnRelease(p, g, pod)
	l.announcePodRelease(p, g, pod, note.Reason)
	return nil
}

// announcePodRelease tells that a pod was released, or turned out not to be held.
func (l *Loop) announcePodRelease(p *pass, g *group, pod *record, reason string) {
	if g.whyNotHeld != "" {
		l.Events.NotHeldWork(&pod.PartialObjectMetadata, reason)
		return
	}
	if !g.holdsJobItself() { // else the Job counts
		l.countRelease(p, g, pod, 1)
	}
	l.Events.ReleasedWork(&pod.PartialObjectMetadata, reason)
}

// noteRefusal notes that the API server refuses to have an object released, and announces a message
// that is new.
func (l *Loop) noteRefusal(p *pass, o *record, err error) {
	if !hold.IsRefusal(err) {
		return
	}
	message := hold.Printable(err.Error())
	if l.refusals.note(p.policy.Name, o, message, l.Clock.Now()) {
		l.Events.RefusedRelease(&o.PartialObjectMetadata, message)
	}
}

// releaseWithPreference releases a pod with a preference for the nodes of its location, and reports
// whether it has. If it has not, it has changed nothing, and the pod is to be released without: a
// preference never keeps a pod held.
func (l *Loop) releaseWithPreference(ctx context.Context, p *pass, pod *record, note hold.ReleaseNote) bool {
	term, ok := p.policy.Preference(note.Location)
	if !ok {
		return false
	}
	err := clientretry.OnError(clientretry.DefaultRetry, apierrors.IsConflict, func() error {
		var now corev1.Pod
		if err := l.APIReader.Get(ctx, client.ObjectKeyFromObject(pod), &now); err != nil {
			return err
		}
		if now.UID != pod.UID {
			return apierrors.NewNotFound(corev1.Resource("pods"), pod.Name)
		}
		return l.Client.Patch(ctx, hold.PatchTarget(hold.PodKind(), pod), note.PreferencePatch(&now, term))
	})
	if !apierrors.IsNotFound(err) {
		p.withoutPreference.add(err)
	}
	if err == nil {
		l.health.add(pod.Namespace, nil, l.Clock.Now())
	}
	return err == nil
}

// countRelease adds the release of a pod, or of a Job that is held itself, to the metrics.
func (l *Loop) countRelease(p *pass, g *group, o *record, pods int) {
	planned, _ := time.Parse(time.RFC3339, o.Annotations[v1alpha1.PlannedStartAnnotation]) // zero if absent
	since := o.CreationTimestamp.Time
	if paused := policy.ReadRuns(o.Annotations).Paused; paused.After(since) {
		since = paused
	}
	l.Metrics.countReleased(pods, p.policy.Name, g.cause, since, planned, l.Clock.Now())
}

// applyPatches releases a pod or Job, and notes the result. It reports whether the object notes the
// release.
func (l *Loop) applyPatches(ctx context.Context, o *record, patches hold.ReleasePatches, minimal bool) (noted bool, err error) {
	noted, err = patches.Apply(minimal, func(patch client.Patch) error { return l.write(ctx, o, patch) })
	isLast := minimal || patches.Minimal != nil || !hold.IsRefusal(err) // else the minimal patch is still to be tried
	if isLast && !l.Records.lacksRight(o.GroupVersionKind().GroupKind()) {
		l.health.add(o.Namespace, err, l.Clock.Now())
	}
	return noted, ignoreGone(o, err)
}

// patch writes to a pod or Job. An object that is gone is no error.
func (l *Loop) patch(ctx context.Context, o *record, patch client.Patch) error {
	return ignoreGone(o, l.write(ctx, o, patch))
}

func (l *Loop) write(ctx context.Context, o *record, patch client.Patch) error {
	return l.Client.Patch(ctx, hold.PatchTarget(o.GroupVersionKind(), o), patch)
}

// ignoreGone wraps the error of a write to a pod or Job. It returns nil for an object that is gone,
// or is another one of the same name.
func ignoreGone(o *record, err error) error {
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("patch %s %s/%s: %w", o.Kind, o.Namespace, o.Name, err)
}
