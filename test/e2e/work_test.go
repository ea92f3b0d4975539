package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

// location is the one of the forecasts in these tests.
const location = "CAISO_NORTH"

// patience is for what should happen at once, on a busy machine.
const patience = 60 * time.Second

// tolerant are the annotations of work that may wait, with others on top.
func tolerant(more ...string) map[string]string {
	annotations := map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "2s", v1alpha1.DeadlineAnnotation: "10m"}
	for i := 0; i < len(more); i += 2 {
		if more[i+1] == "" {
			delete(annotations, more[i])
			continue
		}
		annotations[more[i]] = more[i+1]
	}
	return annotations
}

// namespace makes a namespace for one test.
func namespace(t *testing.T, c *env.Cluster, annotations ...string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}
	if len(annotations) > 0 {
		ns.Annotations = map[string]string{annotations[0]: annotations[1]}
	}
	create(t, c, ns)
	env.Eventually(t, patience, func(ctx context.Context) error {
		return c.Client.Get(ctx, client.ObjectKey{Namespace: ns.Name, Name: "default"}, &corev1.ServiceAccount{})
	})
	return ns.Name
}

// dirtyThenClean writes a forecast that is dirty for a while from now, then
// clean, then dirty again, and returns when it is clean: for as long as tolerant
// work runs, so that no other start is as good.
func dirtyThenClean(t *testing.T, c *env.Cluster, dirty time.Duration) time.Time {
	t.Helper()
	start := time.Now().Truncate(time.Second)
	clean := start.Add(dirty)
	elements := env.Elements(location, start.Add(-time.Minute), clean.Sub(start.Add(-time.Minute)), 430)
	elements = append(elements, env.Elements(location, clean, 2*time.Second, 120)...)
	elements = append(elements, env.Elements(location, clean.Add(2*time.Second), time.Hour, 400, 400)...)
	if err := c.Forecast(t.Context(), elements...); err != nil {
		t.Fatal(err)
	}
	awaitIntensity(t, c, 430)
	return clean
}

// awaitIntensity waits until the controller plans with a forecast whose
// running slot has this intensity: it places a pod in dry run and reads what
// starting at once would cost from the webhook's answer.
func awaitIntensity(t *testing.T, c *env.Cluster, want float64) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		probe := pod("default", "probe", tolerant(v1alpha1.DurationAnnotation, "1s"))
		probe.Labels = wish("true") // by which the component by-label selects
		if err := c.Client.Create(ctx, probe, client.DryRunAll); err != nil {
			return err
		}
		for _, text := range []string{probe.Annotations[v1alpha1.IntensityAtCreationAnnotation] + ".", probe.Annotations[v1alpha1.ReasonAnnotation]} {
			if strings.Contains(text, fmt.Sprintf("%.0f", want)) {
				return nil
			}
		}
		return fmt.Errorf("the webhook does not know %v yet: %v", want, probe.Annotations)
	})
}

func pod(namespace, name string, annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: maps.Clone(annotations)},
		Spec:       spec(corev1.RestartPolicyAlways),
	}
}

func job(namespace, name string, annotations map[string]string, pods int32) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: maps.Clone(annotations)},
		Spec: batchv1.JobSpec{
			Parallelism: &pods, Completions: &pods,
			Template: corev1.PodTemplateSpec{Spec: spec(corev1.RestartPolicyNever)},
		},
	}
}

func spec(restart corev1.RestartPolicy) corev1.PodSpec {
	return corev1.PodSpec{RestartPolicy: restart, Containers: []corev1.Container{{Name: "work", Image: "work"}}}
}

func create(t *testing.T, c *env.Cluster, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

func podsOf(ctx context.Context, c *env.Cluster, namespace string) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := c.Client.List(ctx, &list, client.InNamespace(namespace))
	return list.Items, err
}

// awaitGated waits until there are as many pods in the namespace, all with our
// gate, and returns them.
func awaitGated(t *testing.T, c *env.Cluster, namespace string, want int) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	env.Eventually(t, patience, func(ctx context.Context) (err error) {
		if pods, err = podsOf(ctx, c, namespace); err != nil {
			return err
		}
		gated := 0
		for _, p := range pods {
			if hold.HasGate(p.Spec.SchedulingGates) && p.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld {
				gated++
			}
		}
		if gated != want || len(pods) != want {
			return fmt.Errorf("%d of %d pods are gated, want %d", gated, len(pods), want)
		}
		return nil
	})
	return pods
}

// awaitScheduled waits until as many pods in the namespace are on a node, and
// none is gated, and returns them.
func awaitScheduled(t *testing.T, c *env.Cluster, namespace string, want int, timeout time.Duration) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	env.Eventually(t, timeout, func(ctx context.Context) (err error) {
		if pods, err = podsOf(ctx, c, namespace); err != nil {
			return err
		}
		scheduled := 0
		for _, p := range pods {
			if p.Spec.NodeName != "" && !hold.HasGate(p.Spec.SchedulingGates) {
				scheduled++
			}
		}
		if scheduled != want || len(pods) != want {
			return fmt.Errorf("%d of %d pods are scheduled, want %d", scheduled, len(pods), want)
		}
		return nil
	})
	return pods
}

func awaitComplete(t *testing.T, c *env.Cluster, namespace, name string) *batchv1.Job {
	t.Helper()
	job := &batchv1.Job{}
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, job); err != nil {
			return err
		}
		for _, condition := range job.Status.Conditions {
			if condition.Type == batchv1.JobComplete && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("job is not complete: %+v", job.Status)
	})
	return job
}

// events returns how many Events of a reason there are on an object.
func events(ctx context.Context, c *env.Cluster, o client.Object, reason string) (int, error) {
	var list corev1.EventList
	if err := c.Client.List(ctx, &list, client.InNamespace(o.GetNamespace())); err != nil {
		return 0, err
	}
	n := 0
	for _, e := range list.Items {
		if e.InvolvedObject.UID == o.GetUID() && e.Reason == reason {
			n++
		}
	}
	return n, nil
}

func awaitEvent(t *testing.T, c *env.Cluster, o client.Object, reason string) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		n, err := events(ctx, c, o, reason)
		if err == nil && n != 1 {
			err = fmt.Errorf("%d Events %s on %s, want 1", n, reason, o.GetName())
		}
		return err
	})
}

// bound returns when a pod was put on its node.
func bound(t *testing.T, p corev1.Pod) time.Time {
	t.Helper()
	for _, condition := range p.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionTrue {
			return condition.LastTransitionTime.Time
		}
	}
	t.Fatalf("pod %s is not scheduled: %+v", p.Name, p.Status.Conditions)
	return time.Time{}
}
