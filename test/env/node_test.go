package env

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestContainersRunOnARealNode(t *testing.T) {
	c := Start(t, Nodes(0))
	n := c.Node(t)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "work"},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "work", Image: WorkImage, Args: []string{"--for=1s", "--exit=3"}}},
		},
	}
	if err := c.Client.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	Eventually(t, time.Minute, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		if pod.Status.Phase != corev1.PodFailed {
			return fmt.Errorf("pod is %s: %v", pod.Status.Phase, pod.Status.ContainerStatuses)
		}
		return nil
	})
	if ended := pod.Status.ContainerStatuses[0].State.Terminated; ended.ExitCode != 3 {
		t.Errorf("exit code %d, want 3", ended.ExitCode)
	}
	if pod.Spec.NodeName != n.Name {
		t.Errorf("the pod ran on %s, want %s", pod.Spec.NodeName, n.Name)
	}
	logs, err := c.Kubectl(t.Context(), "logs", "work")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(logs, "as user 65532") || !strings.Contains(logs, "done") {
		t.Errorf("kubectl logs printed %q", logs)
	}
}
