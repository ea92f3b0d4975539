package gating

import (
	"context"
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
)

const (
	sweepTick  = 10 * time.Second
	sweepTicks = 60 // between two sweeps that nobody asked for
	sweepPage  = 500
)

// Sweeper finds pods that have our gate, and Jobs that we hold, but that are not known as held, because
// somebody has changed their label or made them so while the webhook was away.
// It gives the label back, and the loop does the rest: no pod may wait unseen.
type Sweeper struct {
	// Reader asks the API server itself.
	Reader client.Reader
	Writer client.Writer

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

func (s *Sweeper) sweep(ctx context.Context) error {
	jobs, pods := 0, 0
	defer func() {
		if jobs+pods > 0 { // one line: anybody may make as many as there may be
			log.FromContext(ctx).Info("took over what is held and nobody knew of", "jobs", jobs, "pods", pods)
		}
	}()
	err := eachHeldUnseen(ctx, s.Reader, "", func(job *batchv1.Job) error {
		jobs++
		return client.IgnoreNotFound(s.Writer.Patch(ctx, job, adopt(job)))
	})
	if err != nil {
		return err
	}
	return eachGated(ctx, s.Reader, "", selection.NotEquals, func(pod *corev1.Pod) error {
		pods++
		return client.IgnoreNotFound(s.Writer.Patch(ctx, pod, adopt(pod)))
	})
}

// ReleaseAll takes our gate off every pod in a namespace, or in the cluster if
// that is empty, and lets every Job go that we hold whole, known as held or not,
// and says how many pods there were: the way to leave. Held Jobs are recorded as
// released first, so that their later pods do not wait either.
func ReleaseAll(ctx context.Context, c client.Client, namespace, reason string, now time.Time) (int, error) {
	held, err := labels.NewRequirement(State, selection.Equals, []string{StateHeld})
	if err != nil {
		return 0, fmt.Errorf("select jobs: %w", err)
	}
	released := 0
	add := func(job *batchv1.Job) error {
		pods, err := letGo(ctx, c, job, reason, now)
		released += pods
		if err != nil {
			return fmt.Errorf("patch job %s/%s: %w", job.Namespace, job.Name, err)
		}
		return nil
	}
	if err := eachJob(ctx, c, namespace, *held, add); err != nil {
		return released, err
	}
	if err := eachHeldUnseen(ctx, c, namespace, add); err != nil {
		return released, err
	}
	pods, err := ungate(ctx, c, namespace, reason, now, func(*corev1.Pod) bool { return true })
	return released + pods, err
}

// letGo records that a Job is released, and lets it go if it is held whole. It
// returns how many pods that is; those that wait by themselves do not count.
func letGo(ctx context.Context, c client.Client, job *batchv1.Job, reason string, now time.Time) (int, error) {
	pods := 0
	if job.Annotations[HeldBy] != "" {
		pods = PodsToRun(job)
	}
	head := &metav1.PartialObjectMetadata{ObjectMeta: job.ObjectMeta} // what the API server answers is not needed whole
	head.SetGroupVersionKind(jobKind())
	err := c.Patch(ctx, head, release{reason: reason, at: now}.job(job))
	if apierrors.IsInvalid(err) && taken(ctx, c, job) {
		pods, err = 0, c.Patch(ctx, head, release{reason: takenReason, at: now}.record(job))
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
	return err == nil && now.UID == job.UID && now.Labels[State] == StateReleased && !holdsWhole(&now)
}

// takeGateOff releases a pod. The error is nil as well if its gate is off already:
// the loop goes on with what a user has begun.
func takeGateOff(ctx context.Context, c client.Client, pod *corev1.Pod, made release) error {
	err := c.Patch(ctx, pod.DeepCopy(), made.pod(pod))
	if err == nil {
		return nil
	}
	var now corev1.Pod
	if c.Get(ctx, client.ObjectKeyFromObject(pod), &now) == nil && now.UID == pod.UID && !HasGate(now.Spec.SchedulingGates) {
		return nil
	}
	return err
}

// ungate takes our gate off the wanted pods in a namespace, or in the cluster if
// that is empty, and returns how many there were.
func ungate(ctx context.Context, c client.Client, namespace, reason string, now time.Time, wanted func(*corev1.Pod) bool) (int, error) {
	released := 0
	for _, known := range []selection.Operator{selection.Equals, selection.NotEquals} {
		err := eachGated(ctx, c, namespace, known, func(pod *corev1.Pod) error {
			if !wanted(pod) {
				return nil
			}
			err := takeGateOff(ctx, c, pod, release{reason: reason, at: now})
			if err == nil {
				released++
			}
			return client.IgnoreNotFound(err)
		})
		if err != nil {
			return released, err
		}
	}
	return released, nil
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
	switch annotations[HeldBy] {
	case HoldBySuspend:
		return suspended
	case HoldByKueue:
		gates := annotations[KueueGates]
		return suspended && (LeaveQueue(gates) != gates || len(gates) > maxList) // ours is among them, or may be
	default:
		return false
	}
}

// eachHeldUnseen calls f for each Job in a namespace, or in the cluster if that
// is empty, that we hold whole and whose label does not say so any more.
func eachHeldUnseen(ctx context.Context, reader client.Reader, namespace string, f func(*batchv1.Job) error) error {
	state, err := labels.NewRequirement(State, selection.NotEquals, []string{StateHeld})
	if err != nil {
		return fmt.Errorf("select jobs: %w", err)
	}
	return eachJob(ctx, reader, namespace, *state, func(job *batchv1.Job) error {
		if !holdsWhole(job) {
			return nil
		}
		return f(job)
	})
}

// eachJob calls f for each Job of a namespace, or of the cluster if that is empty,
// whose labels are as required, page by page.
func eachJob(ctx context.Context, reader client.Reader, namespace string, required labels.Requirement, f func(*batchv1.Job) error) error {
	options := &client.ListOptions{Namespace: namespace, LabelSelector: labels.NewSelector().Add(required), Limit: sweepPage}
	for {
		var jobs batchv1.JobList
		if err := reader.List(ctx, &jobs, options); err != nil {
			return fmt.Errorf("list jobs: %w", err)
		}
		for i := range jobs.Items {
			if err := f(&jobs.Items[i]); err != nil {
				return err
			}
		}
		if options.Continue = jobs.Continue; options.Continue == "" {
			return nil
		}
	}
}

// eachGated calls f for each pod in a namespace, or in the cluster if that is
// empty, that waits with our gate and whose state is, or is not, held.
func eachGated(ctx context.Context, reader client.Reader, namespace string, held selection.Operator, f func(*corev1.Pod) error) error {
	state, err := labels.NewRequirement(State, held, []string{StateHeld})
	if err != nil {
		return fmt.Errorf("select pods: %w", err)
	}
	options := &client.ListOptions{
		Namespace:     namespace,
		LabelSelector: labels.NewSelector().Add(*state),
		FieldSelector: fields.SelectorFromSet(fields.Set{"spec.nodeName": "", "status.phase": string(corev1.PodPending)}),
		Limit:         sweepPage,
	}
	for {
		var pods corev1.PodList
		if err := reader.List(ctx, &pods, options); err != nil {
			return fmt.Errorf("list pods: %w", err)
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			if !HasGate(pod.Spec.SchedulingGates) {
				continue
			}
			if err := f(pod); err != nil {
				return fmt.Errorf("patch pod %s/%s: %w", pod.Namespace, pod.Name, err)
			}
		}
		if options.Continue = pods.Continue; options.Continue == "" {
			return nil
		}
	}
}

// HasGate reports whether our gate is among them.
func HasGate(gates []corev1.PodSchedulingGate) bool {
	return slices.ContainsFunc(gates, func(g corev1.PodSchedulingGate) bool { return g.Name == Gate })
}
