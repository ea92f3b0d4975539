package env

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestContainersRunOnARealNode(t *testing.T) {
	c := Start(t, Nodes(1)) // a simulated one, too
	n := c.Node(t)
	pod := runWork(t, c, n, "--for=1s", "--exit=3")
	awaitPhase(t, c, pod, corev1.PodFailed)
	if ended := pod.Status.ContainerStatuses[0].State.Terminated; ended.ExitCode != 3 {
		t.Errorf("exit code %d, want 3", ended.ExitCode)
	}
	logs, err := c.Kubectl(t.Context(), "logs", pod.Name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(logs, "as user 65532") || !strings.Contains(logs, "done") {
		t.Errorf("kubectl logs printed %q", logs)
	}
}

func TestARealNodeReachesAddressesOfThisMachine(t *testing.T) {
	asked := make(chan string, 1)
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.Path:
		default:
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(registry.Close)
	c := Start(t, Nodes(0))
	n := c.Node(t, strings.TrimPrefix(registry.URL, "http://"))
	if _, err := n.ctr(t.Context(), "images", "pull", "--plain-http", strings.TrimPrefix(registry.URL, "http://")+"/some/image:v1"); err == nil {
		t.Error("an image was pulled that is not there")
	}
	if path := <-asked; !strings.HasPrefix(path, "/v2/some/image/") {
		t.Errorf("the node asked for %s", path)
	}
}

func TestNothingIsLeftOfARealNode(t *testing.T) {
	c := Start(t, Nodes(0))
	start := func(t *testing.T) *Node {
		t.Helper()
		n := c.Node(t)
		// What is running ends with the node.
		awaitPhase(t, c, runWork(t, c, n, "--for=1h"), corev1.PodRunning)
		return n
	}
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, n *Node)
	}{
		{"a node that is stopped", func(t *testing.T, n *Node) {
			if err := n.Stop(); err != nil {
				t.Error(err)
			}
		}},
		{"a node whose test is killed", func(_ *testing.T, n *Node) {
			n.stdin.Close() // as the kernel does
			<-n.done
		}},
		{"a node that is killed, when the next node starts", func(t *testing.T, n *Node) {
			if err := n.Kill(); err != nil {
				t.Error(err)
			}
			Eventually(t, 10*time.Second, func(context.Context) error { return n.processes() })
			if next := start(t); next.Stop() != nil {
				t.Error("the next node does not stop")
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t)
			if n.leftovers() == nil {
				t.Fatal("a node that runs leaves traces")
			}
			tt.end(t, n)
			// The kernel removes a network in its own time.
			Eventually(t, 10*time.Second, func(context.Context) error { return n.leftovers() })
		})
	}
}

func TestTwoRealNodesRunAtTheSameTime(t *testing.T) {
	clusters := []*Cluster{Start(t, Nodes(0)), Start(t, Nodes(0))}
	var pods []*corev1.Pod
	hosts := map[string]bool{}
	for _, c := range clusters {
		n := c.Node(t)
		hosts[n.Host] = true
		pods = append(pods, runWork(t, c, n, "--for=15s")) // longer than a kubelet takes to remove what it does not know
	}
	if len(hosts) != 2 {
		t.Errorf("the nodes share a network: %v", hosts)
	}
	for i, c := range clusters {
		awaitPhase(t, c, pods[i], corev1.PodSucceeded)
	}
}

// runWork runs a pod on the node.
func runWork(t *testing.T, c *Cluster, n *Node, args ...string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, GenerateName: "work-"},
		Spec: corev1.PodSpec{
			NodeSelector:  map[string]string{corev1.LabelHostname: n.Name},
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "work", Image: WorkImage, Args: args}},
		},
	}
	if err := c.Client.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func awaitPhase(t *testing.T, c *Cluster, pod *corev1.Pod, phase corev1.PodPhase) {
	t.Helper()
	Eventually(t, time.Minute, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		if pod.Status.Phase != phase {
			return fmt.Errorf("pod is %s: %v", pod.Status.Phase, pod.Status.ContainerStatuses)
		}
		return nil
	})
}

// leftovers says what there is of the node on this machine.
func (n *Node) leftovers() error {
	name := "gridlatch-node-" + strconv.Itoa(n.PID)
	all := n.processes()
	for _, pattern := range []string{
		filepath.Join(os.TempDir(), name), "/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name,
		"/sys/class/net/gl-node-" + strings.TrimPrefix(n.Name, "real-"), "/run/netns/cni-*",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, path := range found {
			all = errors.Join(all, fmt.Errorf("%s is left", path))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	if strings.Contains(string(mounts), name) {
		all = errors.Join(all, errors.New("mounts are left"))
	}
	return all
}

// processes says which processes run in the node's containers, or run the node.
func (n *Node) processes() error {
	var all error
	for _, pattern := range []string{"/proc/[0-9]*/cgroup", "/proc/[0-9]*/cmdline"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(text), "gridlatch-node-"+strconv.Itoa(n.PID)) {
				all = errors.Join(all, fmt.Errorf("process %s is left", path))
			}
		}
	}
	return all
}
