package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

const (
	podsOfJob = 50
	idleWatch = time.Minute // how long the controller's CPU time is watched
)

// scaleSteps are how many pods are held at a time, in Jobs of podsOfJob: each step adds to the one before.
func scaleSteps() []int { return []int{1000, 20000, 100000} }

// A scale is what the controller costs while it holds so many pods.
type scale struct{ mib, planMs, idlePercent, restartS float64 }

// measureScale has the controller hold more and more pods of Jobs, each Job with a deadline of its own.
func measureScale(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.install(ctx); err != nil {
		return nil, err
	}
	idle, err := settledMemory(ctx, r.controller.Program)
	if err != nil {
		return nil, err
	}
	steps := scaleSteps()
	before := 0
	for _, n := range steps {
		if err := r.holdJobs(ctx, before/podsOfJob, n/podsOfJob); err != nil {
			return nil, err
		}
		before = n
		s, err := r.scale(ctx, n)
		if err != nil {
			return nil, err
		}
		log.Printf("%d pods held: %+v", n, s)
		values = append(values, s.mib, s.planMs, s.idlePercent, s.restartS)
	}
	largest := values[len(values)-4]
	return append([]float64{(largest - idle) * (1 << 20) / float64(before)}, values...), nil
}

// holdJobs creates Jobs first to last-1, whose pods the Job controller creates, and waits until all of them are held.
func (r *rig) holdJobs(ctx context.Context, first, last int) error {
	log.Printf("creating %d Jobs of %d pods that are held", last-first, podsOfJob)
	deadline := time.Now().Add(12 * time.Hour)
	jobs := r.clientset.BatchV1().Jobs(namespace)
	err := parallel(ctx, last-first, func(ctx context.Context, i int) error {
		i += first
		_, err := jobs.Create(ctx, newJob(i, deadline.Add(time.Duration(i)*time.Second)), metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("create Jobs: %w", err)
	}
	return r.awaitPods(ctx, last*podsOfJob)
}

// newJob makes the i-th Job, with the pods of newPod.
func newJob(i int, deadline time.Time) *batchv1.Job {
	pod := newPod("")
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("job-%04d", i), Annotations: waiting(newPod(""), deadline).Annotations},
		Spec: batchv1.JobSpec{
			Parallelism: ptr.To[int32](podsOfJob), Completions: ptr.To[int32](podsOfJob),
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels, Annotations: pod.Annotations}, Spec: pod.Spec},
		},
	}
	return job
}

// awaitPods waits until the controller says that it holds so many pods, as long as they become more.
func (r *rig) awaitPods(ctx context.Context, want int) error {
	most, since := 0.0, time.Now()
	for time.Since(since) < 2*patience {
		held, err := r.controller.Metric(ctx, "gridlatch_held_pods")
		switch {
		case err == nil && int(held) == want:
			return nil
		case err == nil && held > most:
			most, since = held, time.Now()
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	return fmt.Errorf("the controller holds %.0f pods, want %d, and they become no more", most, want)
}

// scale measures everything about a controller that holds n pods. It is started anew first: how much memory it took to
// see them come is not the question, and would hide what it takes to hold them.
func (r *rig) scale(ctx context.Context, n int) (s scale, err error) {
	if s.restartS, err = r.restartToRelease(ctx); err != nil {
		return s, err
	}
	if err := r.awaitPods(ctx, n); err != nil {
		return s, err
	}
	if s.mib, err = settledMemory(ctx, r.controller.Program); err != nil {
		return s, err
	}
	if s.idlePercent, err = r.idleCPU(ctx); err != nil {
		return s, err
	}
	s.planMs, err = r.planTime(ctx, n)
	return s, err
}

// restartToRelease lets a pod fall due while no controller runs, and returns how many seconds after the start of the
// next one it is released.
func (r *rig) restartToRelease(ctx context.Context) (float64, error) {
	pods := r.clientset.CoreV1().Pods(namespace)
	if _, err := pods.Create(ctx, waiting(newPod("canary"), time.Now().Add(12*time.Hour)), metav1.CreateOptions{}); err != nil {
		return 0, fmt.Errorf("create pod: %w", err)
	}
	if r.canaryGone(ctx) == nil {
		return 0, errors.New("the pod that is to fall due is not held")
	}
	if err := r.stop(); err != nil {
		return 0, err
	}
	past := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.DeadlineAnnotation, time.Now().UTC().Format(time.RFC3339))
	if _, err := pods.Patch(ctx, "canary", types.MergePatchType, past, metav1.PatchOptions{}); err != nil {
		return 0, fmt.Errorf("patch pod: %w", err)
	}
	log.Print("starting the controller with a pod that is due")
	var took time.Duration
	started := time.Now()
	group, watching := errgroup.WithContext(ctx)
	group.Go(func() error { return r.restart(ctx) })
	group.Go(func() error {
		defer func() { took = time.Since(started) }()
		return poll(watching, 2*patience, r.canaryGone)
	})
	if err := group.Wait(); err != nil {
		return 0, err
	}
	if err := pods.Delete(ctx, "canary", *metav1.NewDeleteOptions(0)); err != nil {
		return 0, fmt.Errorf("delete pod: %w", err)
	}
	return took.Seconds(), nil
}

func (r *rig) canaryGone(ctx context.Context) error {
	pod, err := r.clientset.CoreV1().Pods(namespace).Get(ctx, "canary", metav1.GetOptions{})
	if err == nil && hold.HasGate(pod.Spec.SchedulingGates) {
		err = errors.New("the pod that is due is still held")
	}
	return err
}

// idleCPU returns the percentage of one core that the controller uses while nothing changes.
func (r *rig) idleCPU(ctx context.Context) (float64, error) {
	before, err := cpuSeconds(r.controller.PID)
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, idleWatch); err != nil {
		return 0, err
	}
	after, err := cpuSeconds(r.controller.PID)
	return 100 * (after - before) / idleWatch.Seconds(), err
}

// cpuSeconds returns the time that a process has spent on a core. Linux counts it in hundredths of a second.
func cpuSeconds(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // after the name, which may contain spaces
	fields := strings.Fields(rest)
	const user, system = 11, 12 // proc(5): fields 14 and 15
	if len(fields) <= system {
		return 0, fmt.Errorf("read CPU time: %q", stat)
	}
	var ticks float64
	for _, field := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		ticks += n
	}
	return ticks / 100, nil
}
