package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

// pods is how many each Job has.
const pods = 3

// A snapshot is what the two Jobs and their pods look like at a moment.
type snapshot struct {
	at time.Time
	// The pods of the Job that can wait; how many of them are gated by Gridlatch, with what they should say of it.
	waiting          []corev1.Pod
	gated, explained int
	// running and ordinary are how many pods run, of the Job that can wait and of the other; or have run.
	running, ordinary int
	// planned and latest are the starts that the Job's annotations tell; zero if there are none.
	planned, latest time.Time
	// wasHeld is whether the Job that can wait was held at first; complete whether both Jobs are.
	wasHeld, complete bool
}

// look takes a snapshot.
func (d *demo) look(ctx context.Context) (snapshot, error) {
	var s snapshot
	waiting, job, err := d.lookAt(ctx, "can-wait")
	if err != nil {
		return s, err
	}
	others, other, err := d.lookAt(ctx, "ordinary")
	if err != nil {
		return s, err
	}
	s.at, s.waiting = time.Now(), waiting
	for i := range waiting {
		if hold.HasGate(waiting[i].Spec.SchedulingGates) {
			s.gated++
		}
		if explained(&waiting[i]) {
			s.explained++
		}
	}
	s.running, s.ordinary = countStarted(waiting), countStarted(others)
	s.planned, _ = time.Parse(time.RFC3339, job.Annotations[v1alpha1.PlannedStartAnnotation]) // zero if absent
	s.latest, _ = time.Parse(time.RFC3339, job.Annotations[v1alpha1.LatestStartAnnotation])
	s.wasHeld = job.Annotations[v1alpha1.IntensityAtCreationAnnotation] != ""
	s.complete = isComplete(job) && isComplete(other)
	return s, nil
}

func (d *demo) lookAt(ctx context.Context, name string) ([]corev1.Pod, *batchv1.Job, error) {
	var list corev1.PodList
	if err := d.cluster.Client.List(ctx, &list, client.InNamespace("default"), client.MatchingLabels{batchv1.JobNameLabel: name}); err != nil {
		return nil, nil, fmt.Errorf("list pods: %w", err)
	}
	var job batchv1.Job
	if err := d.cluster.Client.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, &job); err != nil {
		return nil, nil, fmt.Errorf("get job: %w", err)
	}
	return list.Items, &job, nil
}

// explained tells whether a pod says that it is held, until when and why.
func explained(pod *corev1.Pod) bool {
	reported := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonSchedulingGated
	})
	return reported && pod.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld &&
		pod.Annotations[v1alpha1.PlannedStartAnnotation] != "" && pod.Annotations[v1alpha1.ReasonAnnotation] != ""
}

func countStarted(list []corev1.Pod) int {
	count := 0
	for i := range list {
		if phase := list[i].Status.Phase; phase == corev1.PodRunning || phase == corev1.PodSucceeded {
			count++
		}
	}
	return count
}

func isComplete(job *batchv1.Job) bool {
	return job.Status.Succeeded == pods && slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
	})
}

// settled fails until the ordinary Job's pods run, and the others either run too or are held and say why.
func (s snapshot) settled() error {
	held := s.gated == pods && s.explained == pods && s.running == 0
	if s.ordinary == pods && (held || s.gated == 0 && s.running == pods) {
		return nil
	}
	return surprise{"all pods of the ordinary Job run, and those of the other are gated and say why, or run too", s.String()}
}

// held tells whether the Job that can wait is held, all of it.
func (s snapshot) held() bool { return s.gated == pods }

// started is when the pods of the Job that can wait have started: what they say is cut to whole seconds, and the
// moment of the snapshot is better if it was taken at once.
func (s snapshot) started() time.Time {
	at := s.at
	for i := range s.waiting {
		if start := s.waiting[i].Status.StartTime; start != nil && start.Add(time.Second).Before(at) {
			at = start.Add(time.Second / 2)
		}
	}
	return at
}

// String says it all in a line.
func (s snapshot) String() string {
	planned := "none"
	if !s.planned.IsZero() {
		planned = s.planned.UTC().Format(time.TimeOnly)
	}
	return fmt.Sprintf("at %s UTC: of the Job that can wait %d pods, %d gated, %d of them saying why, %d started, planned start %s;"+
		" of the ordinary one %d started; both complete: %t",
		s.at.UTC().Format(time.TimeOnly), len(s.waiting), s.gated, s.explained, s.running, planned, s.ordinary, s.complete)
}

// final is an error that no further look can change.
type final struct{ error }

// Unwrap returns what is wrong.
func (f final) Unwrap() error { return f.error }

// await looks ten times a second until check is content, fails for good, or the time is up.
func (d *demo) await(ctx context.Context, patience time.Duration, check func(snapshot) error) (snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last snapshot
	var broken final
	err := env.Poll(ctx, func(ctx context.Context) error {
		now, err := d.look(ctx)
		if err != nil {
			return err
		}
		last = now
		if err := check(now); !errors.As(err, &broken) {
			return err
		}
		return nil
	})
	if broken.error != nil {
		return last, broken.error
	}
	return last, unmet(err)
}

// unmet returns the surprise in an error, if there is one: that the time is up says less.
func unmet(err error) error {
	if s, ok := errors.AsType[surprise](err); ok {
		return s
	}
	return err
}
