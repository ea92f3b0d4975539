package gating

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	sweepTick  = 10 * time.Second
	sweepTicks = 60 // between two sweeps that nobody asked for
)

// Sweeper finds pods that have our gate, and Jobs that we hold, but that are not known as held, because
// somebody has changed their label or made them so while the webhook was away.
// It gives the label back, and the loop does the rest: no pod may wait unseen.
type Sweeper struct {
	// Reader asks the API server itself.
	Reader client.Reader
	Writer client.Writer
	Clock  policy.Clock

	asked atomic.Bool
}

// Ask has it sweep within ten seconds.
func (s *Sweeper) Ask() { s.asked.Store(true) }

// Start sweeps at once, every ten minutes, and when it is asked to, until the
// context ends; for a manager, on the leader.
func (s *Sweeper) Start(ctx context.Context) error {
	ticker := time.NewTicker(sweepTick)
	defer ticker.Stop()
	for n := 0; ; n++ {
		if s.asked.Swap(false) || n%sweepTicks == 0 {
			if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
				log.FromContext(ctx).Error(err, "cannot look for gated pods that nobody holds, trying again")
				s.Ask()
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// NeedLeaderElection makes a manager run it once.
func (s *Sweeper) NeedLeaderElection() bool { return true }

// sweep takes over all that it finds. What cannot be taken over, since the API server
// will not have it changed, is let go: nobody would know when.
func (s *Sweeper) sweep(ctx context.Context) error {
	var jobs, pods tally
	defer func() {
		log := log.FromContext(ctx)
		if jobs.done+pods.done > 0 { // one line: anybody may make as many as there may be
			log.Info("took over what is held and nobody knew of", "jobs", jobs.done, "pods", pods.done)
		}
		if jobs.count+pods.count > 0 {
			log.Error(cmp.Or(jobs.first, pods.first), "cannot take over what is held and nobody knew of", "jobs", jobs.count, "pods", pods.count)
		}
	}()
	made := release{reason: strayReason, at: s.Clock.Now()}
	errJobs := eachHeldUnseen(ctx, s.Reader, "", func(job *batchv1.Job) {
		jobs.note(s.adopt(ctx, job, made.jobWrites(job)))
	})
	errPods := eachGated(ctx, s.Reader, "", selection.NotEquals, func(pod *corev1.Pod) {
		pods.note(s.adopt(ctx, pod, made.podWrites(pod)))
	})
	if jobs.again()+pods.again() > 0 {
		s.Ask()
	}
	return errors.Join(errJobs, errPods)
}

// strayReason is shown on what is let go because it could not be taken over.
const strayReason = "let go: it was held and nobody knew of it, and it could not be taken over"

// adopt has the loop know an object that is held or, where that is refused, lets it
// go.
func (s *Sweeper) adopt(ctx context.Context, o client.Object, w writes) error {
	err := s.Writer.Patch(ctx, bare(o), adopt(o))
	if refusal(err) {
		_, err = w.apply(true, func(patch client.Patch) error { return s.Writer.Patch(ctx, bare(o), patch) })
	}
	return client.IgnoreNotFound(err)
}

// bare is an object without what the API server answers and nobody needs.
func bare(o client.Object) *metav1.PartialObjectMetadata {
	target := policy.Metadata(podKind())
	if _, ok := o.(*batchv1.Job); ok {
		target = policy.Metadata(jobKind())
	}
	target.Namespace, target.Name = o.GetNamespace(), o.GetName()
	return target
}

// letGo records that a Job is released, and lets it go if it is held whole. It
// returns how many pods that is; those that wait by themselves do not count.
func letGo(ctx context.Context, c client.Client, job *batchv1.Job, reason string, now time.Time) (int, error) {
	pods := 0
	if job.Annotations[v1alpha1.HeldByAnnotation] != "" {
		pods = PodsToRun(job)
	}
	write := func(patch client.Patch) error { return persist(func() error { return c.Patch(ctx, bare(job), patch) }) }
	_, err := release{reason: reason, at: now}.jobWrites(job).apply(false, write)
	if apierrors.IsInvalid(err) && taken(ctx, c, job) {
		pods, err = 0, write(release{reason: takenReason, at: now}.record(job))
	}
	if err != nil && goneOn(ctx, c, job) {
		return 0, nil // the loop has released it meanwhile
	}
	return pods, client.IgnoreNotFound(err)
}

// goneOn reports whether a Job was released meanwhile.
func goneOn(ctx context.Context, live client.Reader, job *batchv1.Job) bool {
	var now batchv1.Job
	err := live.Get(ctx, client.ObjectKeyFromObject(job), &now)
	return err == nil && now.UID == job.UID && now.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased && !holdsWhole(&now)
}

// takeGateOff releases a pod. The error is nil as well if its gate is off already:
// the loop goes on with what a user has begun.
func takeGateOff(ctx context.Context, c client.Client, pod *corev1.Pod, made release) error {
	_, err := made.podWrites(pod).apply(false, func(patch client.Patch) error {
		return persist(func() error { return c.Patch(ctx, bare(pod), patch) })
	})
	if err == nil {
		return nil
	}
	var now corev1.Pod
	if c.Get(ctx, client.ObjectKeyFromObject(pod), &now) == nil && now.UID == pod.UID && !HasGate(now.Spec.SchedulingGates) {
		return nil
	}
	return err
}

// takenReason is shown on a Job that we do not let go, since we no longer hold
// it.
const takenReason = "not held any more: somebody else has let it go"

// taken reports whether a Job that we held whole is not held by us any more:
// it was resumed, or our mark on it was removed.
func taken(ctx context.Context, live client.Reader, job metav1.Object) bool {
	var now batchv1.Job
	if err := live.Get(ctx, client.ObjectKey{Namespace: job.GetNamespace(), Name: job.GetName()}, &now); err != nil {
		return apierrors.IsNotFound(err)
	}
	return now.UID != job.GetUID() || !holdsWhole(&now)
}

// holdsWhole reports whether we hold a Job by other means than the gates of its
// pods.
func holdsWhole(job *batchv1.Job) bool {
	return heldWhole(job.Annotations, ptr.Deref(job.Spec.Suspend, false))
}

// heldWhole is holdsWhole for what is known of a Job.
func heldWhole(annotations map[string]string, suspended bool) bool {
	switch annotations[v1alpha1.HeldByAnnotation] {
	case v1alpha1.HoldBySuspend:
		return suspended
	case v1alpha1.HoldByKueue:
		gates := annotations[KueueGates]
		return suspended && (LeaveQueue(gates) != gates || len(gates) > maxList) // ours is among them, or may be
	default:
		return false
	}
}

// eachHeldUnseen calls f for each Job in a namespace, or in the cluster if that
// is empty, that we hold whole and whose label does not say so any more.
func eachHeldUnseen(ctx context.Context, reader client.Reader, namespace string, f func(*batchv1.Job)) error {
	return eachJob(ctx, reader, namespace, v1alpha1.StateLabel, selection.NotEquals, func(job *batchv1.Job) {
		if holdsWhole(job) {
			f(job)
		}
	})
}

// eachJob calls f for each Job of a namespace, or of the cluster if that is empty,
// with a label that is there, or that is held or not.
func eachJob(ctx context.Context, reader client.Reader, namespace, label string, is selection.Operator, f func(*batchv1.Job)) error {
	options := client.ListOptions{Namespace: namespace}
	if err := selectHeld(&options, label, is); err != nil {
		return err
	}
	err := Walk(ctx, reader, &batchv1.JobList{}, options, func(o client.Object) {
		if job, ok := o.(*batchv1.Job); ok {
			f(job)
		}
	})
	if err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	return nil
}

// eachGated calls f for each pod in a namespace, or in the cluster if that is
// empty, that waits with our gate and whose state is, or is not, held.
func eachGated(ctx context.Context, reader client.Reader, namespace string, is selection.Operator, f func(*corev1.Pod)) error {
	options := client.ListOptions{
		Namespace:     namespace,
		FieldSelector: fields.SelectorFromSet(fields.Set{"spec.nodeName": "", "status.phase": string(corev1.PodPending)}),
	}
	if err := selectHeld(&options, v1alpha1.StateLabel, is); err != nil {
		return err
	}
	err := Walk(ctx, reader, &corev1.PodList{}, options, func(o client.Object) {
		if pod, ok := o.(*corev1.Pod); ok && HasGate(pod.Spec.SchedulingGates) {
			f(pod)
		}
	})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	return nil
}

// selectHeld selects what has a label or, for one operator, whether that is held.
func selectHeld(options *client.ListOptions, label string, is selection.Operator) error {
	values := []string{v1alpha1.StateHeld}
	if is == selection.Exists {
		values = nil
	}
	required, err := labels.NewRequirement(label, is, values)
	if err != nil {
		return fmt.Errorf("select by label: %w", err)
	}
	options.LabelSelector = labels.NewSelector().Add(*required)
	return nil
}

// HasGate reports whether our gate is among them.
func HasGate(gates []corev1.PodSchedulingGate) bool {
	return slices.ContainsFunc(gates, func(g corev1.PodSchedulingGate) bool { return g.Name == v1alpha1.Gate })
}
