package env

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// storyPatience is for each step of a story, on a busy machine.
const storyPatience = time.Minute

// Story tells the main story on a cluster with a real node and Gridlatch: a Job is held, explained and released, and its
// container runs to its end. On a busy machine, it may take long until the Job is held and explained, so the grid becomes
// clean only when a second forecast says so.
func Story(t testing.TB, c *Cluster) {
	t.Helper()
	h := HoldJob(t, c, 10*time.Minute)
	h.Replan(t, 30*time.Second)
	h.AwaitCompletion(t)
}

// A HeldJob is a Job of one pod that Gridlatch holds, in a namespace of its own.
type HeldJob struct {
	*batchv1.Job
	// CleanFrom is when the Job is planned to start.
	CleanFrom time.Time

	cluster *Cluster
}

// HoldJob writes a forecast that is clean only after dirty has passed, creates a Job that may wait, and returns when the Job's
// pod is held, and the pod and the plugin explain why.
func HoldJob(t testing.TB, c *Cluster, dirty time.Duration) *HeldJob {
	t.Helper()
	h := &HeldJob{cluster: c, CleanFrom: writeDirtyForecast(t, c, dirty)}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "story-"}}
	if err := c.Client.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	h.Job = StoryJob(namespace.Name)
	if err := c.Client.Create(t.Context(), h.Job); err != nil {
		t.Fatal(err)
	}
	h.AwaitHeld(t)
	describe, err := c.Kubectl(t.Context(), "describe", "pods", "--namespace="+namespace.Name)
	if err != nil {
		t.Fatal(err)
	}
	explain, err := c.Plugin(t.Context(), "explain", "job", h.Name, "--namespace="+namespace.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ in, text string }{
		{describe, v1alpha1.EventHeld}, {describe, v1alpha1.PlannedStartAnnotation + ": " + h.CleanFrom.UTC().Format(time.RFC3339)},
		{explain, "waits until"}, {explain, "120 gCO2eq/kWh in CAISO_NORTH"},
	} {
		if !strings.Contains(want.in, want.text) {
			t.Errorf("the held Job is not explained by %q:\n%s", want.text, want.in)
		}
	}
	return h
}

// Replan writes another forecast, which is clean once dirty has passed.
func (h *HeldJob) Replan(t testing.TB, dirty time.Duration) {
	t.Helper()
	h.CleanFrom = writeDirtyForecast(t, h.cluster, dirty)
}

// AwaitHeld returns when the Job's pod is held, and an Event says so.
func (h *HeldJob) AwaitHeld(t testing.TB) {
	t.Helper()
	Eventually(t, storyPatience, func(ctx context.Context) error {
		pod, err := h.pod(ctx)
		if err != nil {
			return err
		}
		if !hold.HasGate(pod.Spec.SchedulingGates) {
			return fmt.Errorf("the pod is not held: gates %v, annotations %v", pod.Spec.SchedulingGates, pod.Annotations)
		}
		return h.hasEvent(ctx, v1alpha1.EventHeld)
	})
}

// AwaitCompletion returns when the Job is released, not before its time, and its container has really run to its end. A zero
// CleanFrom says that the Job is released with everything else, at any time.
func (h *HeldJob) AwaitCompletion(t testing.TB) {
	t.Helper()
	Eventually(t, max(0, time.Until(h.CleanFrom))+storyPatience, h.isComplete)
	h.expectWorkDone(t)
	if !h.CleanFrom.IsZero() { // who releases everything at once writes no Events
		Eventually(t, storyPatience, func(ctx context.Context) error { return h.hasEvent(ctx, v1alpha1.EventReleased) })
	}
}

func (h *HeldJob) isComplete(ctx context.Context) error {
	if err := h.cluster.Client.Get(ctx, client.ObjectKeyFromObject(h.Job), h.Job); err != nil {
		return err
	}
	for _, condition := range h.Status.Conditions {
		if condition.Type == batchv1.JobComplete && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("the Job is not complete: %+v", h.Status)
}

// expectWorkDone fails the test unless the container has run to its end, from CleanFrom on, in a pod that is released.
func (h *HeldJob) expectWorkDone(t testing.TB) {
	t.Helper()
	pod, err := h.pod(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ended := pod.Status.ContainerStatuses[0].State.Terminated; ended == nil || ended.ExitCode != 0 || ended.StartedAt.Time.Before(h.CleanFrom) {
		t.Errorf("the container ended as %+v, want exit code 0 and a start from %v on", ended, h.CleanFrom)
	}
	if state := pod.Labels[v1alpha1.StateLabel]; state != v1alpha1.StateReleased {
		t.Errorf("the pod's state is %q, want %q", state, v1alpha1.StateReleased)
	}
	logs, err := h.cluster.Kubectl(t.Context(), "logs", "--namespace="+h.Namespace, pod.Name)
	if err != nil || !strings.Contains(logs, "done") {
		t.Errorf("the container has not done its work: %v, %q", err, logs)
	}
}

// pod returns the Job's only pod.
func (h *HeldJob) pod(ctx context.Context) (*corev1.Pod, error) {
	var pods corev1.PodList
	if err := h.cluster.Client.List(ctx, &pods, client.InNamespace(h.Namespace), client.MatchingLabels{batchv1.JobNameLabel: h.Name}); err != nil {
		return nil, err
	}
	if len(pods.Items) != 1 {
		return nil, fmt.Errorf("the Job has %d pods, want 1", len(pods.Items))
	}
	return &pods.Items[0], nil
}

func (h *HeldJob) hasEvent(ctx context.Context, reason string) error {
	var events corev1.EventList
	if err := h.cluster.Client.List(ctx, &events, client.InNamespace(h.Namespace)); err != nil {
		return err
	}
	for _, event := range events.Items {
		if event.Reason == reason {
			return nil
		}
	}
	return fmt.Errorf("there is no Event %s", reason)
}

// StoryJob is a Job that may wait, and whose container runs on the real node for a second.
func StoryJob(namespace string) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "report", Annotations: map[string]string{
			v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "2s", v1alpha1.DeadlineAnnotation: "1h",
		}},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "work", Image: WorkImage, Args: []string{"--for=1s"}}},
		}}},
	}
}

// writeDirtyForecast writes a forecast that is dirty for a while from now, clean for as long as a StoryJob runs, and dirty
// again. It returns when the webhook plans by the forecast: from when on the grid is clean.
func writeDirtyForecast(t testing.TB, c *Cluster, dirty time.Duration) time.Time {
	t.Helper()
	const location = "CAISO_NORTH"
	start := time.Now().Truncate(time.Second)
	clean := start.Add(dirty)
	elements := Elements(location, start.Add(-time.Minute), dirty+time.Minute, 430)
	elements = append(elements, Elements(location, clean, 2*time.Second, 120)...)
	elements = append(elements, Elements(location, clean.Add(2*time.Second), time.Hour, 400, 400)...)
	if err := c.Forecast(t.Context(), elements...); err != nil {
		t.Fatal(err)
	}
	planned := clean.UTC().Format(time.RFC3339)
	Eventually(t, dirty, func(ctx context.Context) error {
		probe := StoryJob(metav1.NamespaceDefault)
		if err := c.Client.Create(ctx, probe, client.DryRunAll); err != nil {
			return err
		}
		if got := probe.Annotations[v1alpha1.PlannedStartAnnotation]; got != planned {
			return fmt.Errorf("the webhook does not know the forecast: planned start %q, want %q", got, planned)
		}
		return nil
	})
	return clean
}

// Plugin runs bin/kubectl-gridlatch as the administrator and returns what the plugin prints.
func (c *Cluster) Plugin(ctx context.Context, args ...string) (string, error) {
	root, err := sourceTree()
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, filepath.Join(root, "bin", "kubectl-gridlatch"), append(args, "--kubeconfig="+c.Kubeconfig, "--gridlatch-namespace="+c.namespace())...)
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl gridlatch %s: %w: %s", strings.Join(args, " "), err, output)
	}
	return string(output), nil
}
