package faults

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	location = "CAISO_NORTH"

	// jobsAtOnce bounds how many pods the Job controller creates at the same time. Beyond 512, the
	// webhook would not take the connections of this API server, whose limit is not the usual 200.
	jobsAtOnce       = 8
	podsPerJob       = 40
	podsPerSuspended = 5
	wavePause        = 2 * time.Second
	jobsInBurst      = 10 // that are due at one moment, in the middle of the waves

	ordinaryPause = 100 * time.Millisecond // between two ordinary pods
	tolerantPause = 200 * time.Millisecond // between two pods that ask to wait
	createTimeout = 30 * time.Second
)

// falling is a forecast by which later is always cleaner: in the next minutes by 1.5 % every three
// seconds, then from hour to hour. So all work waits until its latest start.
func falling(now time.Time) []env.Element {
	const step = 3 * time.Second
	var soon, later []float64
	for value := 600.0; value > 100; value *= 0.985 {
		soon = append(soon, value)
	}
	for value := 98.0; value > 50; value -= 2 {
		later = append(later, value)
	}
	elements := env.Elements(location, now.Add(-step), step, soon...)
	return append(elements, env.Elements(location, now.Add(time.Duration(len(soon)-1)*step), time.Hour, later...)...)
}

// rising is one by which it never gets cleaner than now, also in the hours of which the one before told.
func rising(now time.Time) []env.Element {
	const step = 10 * time.Second
	soon, later := []float64{100}, []float64{1000}
	for len(soon) < 100 {
		soon = append(soon, soon[len(soon)-1]*1.02)
	}
	for len(later) < 48 {
		later = append(later, later[len(later)-1]+10)
	}
	return append(env.Elements(location, now, step, soon...), env.Elements(location, now.Add(time.Duration(len(soon))*step), time.Hour, later...)...)
}

// waits are the annotations of work that may wait.
func waits(deadline time.Time) map[string]string {
	return map[string]string{
		v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "1s", v1alpha1.DeadlineAnnotation: deadline.UTC().Format(time.RFC3339),
	}
}

// podSpec is that of a pod whose scheduler does not exist: what the test looks at ends with the release.
func podSpec() corev1.PodSpec {
	return corev1.PodSpec{
		SchedulerName: "none", RestartPolicy: corev1.RestartPolicyNever,
		Containers: []corev1.Container{{Name: "main", Image: "registry.example.com/media/render:1.27.3", Args: []string{"--all"}}},
	}
}

func newPod(namespace, name string, annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: name, Annotations: annotations}, Spec: podSpec()}
}

func newJob(namespace string, pods int32, annotations map[string]string) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "job-", Annotations: annotations},
		Spec:       batchv1.JobSpec{Parallelism: &pods, Completions: &pods, Template: corev1.PodTemplateSpec{Spec: podSpec()}},
	}
}

// newSuspendedJob returns a Job that is held by spec.suspend.
func newSuspendedJob(namespace string, deadline time.Time) *batchv1.Job {
	annotations := waits(deadline)
	annotations[v1alpha1.HoldAnnotation] = v1alpha1.HoldBySuspend
	return newJob(namespace, podsPerSuspended, annotations)
}

// waves returns Jobs that are due one after the other, and many at one moment.
func waves(namespace string, first time.Time, n int) []*batchv1.Job {
	var jobs []*batchv1.Job
	for i := range n {
		due := first.Add(time.Duration(i) * wavePause)
		jobs = append(jobs, newJob(namespace, podsPerJob, waits(due)), newSuspendedJob(namespace, due))
		if i == n/2 {
			for range jobsInBurst {
				jobs = append(jobs, newJob(namespace, podsPerJob, waits(due)))
			}
		}
	}
	return jobs
}

// heldBy returns how many pods and Jobs are held when these Jobs are.
func heldBy(jobs []*batchv1.Job) int {
	n := len(jobs)
	for _, job := range jobs {
		if job.Annotations[v1alpha1.HoldAnnotation] == "" {
			n += int(*job.Spec.Parallelism)
		}
	}
	return n
}

// A stream creates pods one after the other, and does not wait for one before it creates the next.
type stream struct {
	clientset kubernetes.Interface
	pause     time.Duration
	pod       func() *corev1.Pod

	mu      sync.Mutex
	created int
	held    int // with our gate
	refused []error
	failed  int // for another reason: the API server or etcd was away
	slowest time.Duration
}

// run creates pods until the context ends, and returns once all are created or have failed.
func (s *stream) run(ctx context.Context) {
	var group sync.WaitGroup
	for ticks := time.Tick(s.pause); ; {
		select {
		case <-ctx.Done():
			group.Wait()
			return
		case <-ticks:
			group.Go(func() { s.create(context.WithoutCancel(ctx)) })
		}
	}
}

func (s *stream) create(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	pod, began := s.pod(), time.Now()
	got, err := s.clientset.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	took := time.Since(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.created++
		s.slowest = max(s.slowest, took)
		if hold.HasGate(got.Spec.SchedulingGates) {
			s.held++
		}
	case isRefusal(err):
		s.refused = append(s.refused, err)
	default:
		s.failed++
	}
}

// isRefusal reports whether admission has refused a pod, as against an API server that is away.
func isRefusal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || strings.Contains(err.Error(), "webhook")
}
