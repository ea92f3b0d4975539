package main

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	slots      = 288 // of a forecast: a day
	slotLength = 5 * time.Minute
)

// falling is a forecast by which later is always cleaner: work waits until its latest start.
func falling(now time.Time) []env.Element { return slope(now, 600, -1) }

// rising is one by which it never gets cleaner than now.
func rising(now time.Time) []env.Element { return slope(now, 100, 100) }

func slope(now time.Time, first, step float64) []env.Element {
	values := make([]float64, slots)
	for i := range values {
		values[i] = first + step*float64(i)
	}
	return env.Elements("CAISO_NORTH", now.Truncate(slotLength), slotLength, values...)
}

// newPod makes a pod of about 3 KB, such as a batch framework does. Its scheduler does not exist: neither a scheduler
// nor a node works on it while the API server is measured, gated or not.
func newPod(name string) *corev1.Pod {
	var variables []corev1.EnvVar
	for i := range 20 {
		variables = append(variables, corev1.EnvVar{Name: "SETTING_" + strconv.Itoa(i), Value: "a value of some length, number " + strconv.Itoa(i)})
	}
	resources := corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
	}}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name,
			Labels: map[string]string{
				"app.kubernetes.io/name": "render", "app.kubernetes.io/part-of": "nightly-batch", "team": "media",
			},
			Annotations: map[string]string{"example.com/owner": "media@example.com", "example.com/run": "nightly"},
		},
		Spec: corev1.PodSpec{
			SchedulerName: "none",
			RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{
				Name: "main", Image: "registry.example.com/media/render:1.27.3", Command: []string{"/bin/render", "--all", "--verbose"},
				Env: variables, Resources: resources,
				VolumeMounts: []corev1.VolumeMount{{Name: "scratch", MountPath: "/var/scratch"}},
			}, {
				Name: "sidecar", Image: "registry.example.com/base/logs:3.1", Args: []string{"--follow", "/var/scratch/log"},
				VolumeMounts: []corev1.VolumeMount{{Name: "scratch", MountPath: "/var/scratch"}},
			}},
			Volumes: []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		},
	}
}

// waiting makes a pod ask to wait.
func waiting(pod *corev1.Pod, deadline time.Time) *corev1.Pod {
	maps.Copy(pod.Annotations, map[string]string{
		v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "1h", v1alpha1.DeadlineAnnotation: deadline.UTC().Format(time.RFC3339),
	})
	return pod
}

// podName is the name of the i-th pod.
func podName(i int) string { return fmt.Sprintf("pod-%05d", i) }

// create creates n pods and returns how long that took.
func (r *rig) create(ctx context.Context, n int, pod func(i int) *corev1.Pod) (time.Duration, error) {
	pods := r.clientset.CoreV1().Pods(namespace)
	started := time.Now()
	err := parallel(ctx, n, func(ctx context.Context, i int) error {
		_, err := pods.Create(ctx, pod(i), metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("create pods: %w", err)
	}
	return time.Since(started), nil
}

// expectHeld returns an error unless so many pods are held.
func (r *rig) expectHeld(ctx context.Context, want int) error {
	options := metav1.ListOptions{LabelSelector: v1alpha1.StateLabel + "=" + v1alpha1.StateHeld}
	list, err := r.metadata.Resource(podResource()).Namespace(namespace).List(ctx, options)
	if err != nil {
		return fmt.Errorf("list held pods: %w", err)
	}
	if len(list.Items) != want {
		return fmt.Errorf("%d pods are held, want %d", len(list.Items), want)
	}
	return nil
}

// clear deletes all pods, and gives the cluster a moment to get over it.
func (r *rig) clear(ctx context.Context) error {
	pods := r.clientset.CoreV1().Pods(namespace)
	list, err := r.metadata.Resource(podResource()).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	err = parallel(ctx, len(list.Items), func(ctx context.Context, i int) error {
		return pods.Delete(ctx, list.Items[i].Name, *metav1.NewDeleteOptions(0))
	})
	if err != nil {
		return fmt.Errorf("delete pods: %w", err)
	}
	return pause(ctx, time.Second)
}

// parallel calls f for 0 to n-1, from as many goroutines as there are workers.
func parallel(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i := 0; i < n && ctx.Err() == nil; i++ {
		group.Go(func() error { return f(ctx, i) })
	}
	return group.Wait()
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func podResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "pods"}
}
