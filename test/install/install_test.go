// Package install_test installs Gridlatch into a cluster with a real node, as users do.
package install_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/test/env"
)

func TestGridlatchRunsInAClusterWithARealNode(t *testing.T) {
	c := env.Start(t, env.Nodes(0))
	n := c.Node(t)
	if err := c.InstallIn(t.Context(), n); err != nil {
		t.Fatal(err)
	}

	t.Run("a Job is held, explained and released, and its container runs", func(t *testing.T) { env.Story(t, c) })
	t.Run("no process of Gridlatch is root or can write to its root", func(t *testing.T) { wantUnprivileged(t, c, n) })
	t.Run("the namespace refuses pods with more rights", func(t *testing.T) {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "root"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "root", Image: env.WorkImage}}},
		}
		err := c.Client.Create(t.Context(), pod, client.DryRunAll)
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "restricted") {
			t.Errorf("a pod that may be root: %v, want it forbidden", err)
		}
	})
	t.Run("commands run in its container", func(t *testing.T) {
		_, err := c.Kubectl(t.Context(), "exec", "--namespace="+env.Namespace, "deployment/gridlatch", "--", "/gridlatch", "release", "--all")
		if err != nil {
			t.Error(err)
		}
	})
}

// wantUnprivileged looks at the processes that run, and not at what the manifests ask for.
func wantUnprivileged(t *testing.T, c *env.Cluster, n *env.Node) {
	t.Helper()
	var pods corev1.PodList
	if err := c.Client.List(t.Context(), &pods, client.InNamespace(env.Namespace)); err != nil {
		t.Fatal(err)
	}
	processes, err := processesOf(n, "/gridlatch")
	if err != nil {
		t.Fatal(err)
	}
	if len(processes) != len(pods.Items) || len(processes) == 0 {
		t.Errorf("%d processes in %d pods, want one in each", len(processes), len(pods.Items))
	}
	for _, process := range processes {
		status, err := os.ReadFile(filepath.Join(process, "status"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"\nUid:\t65532\t65532\t65532\t65532\n", "\nCapEff:\t0000000000000000\n", "\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n",
		} {
			if !strings.Contains(string(status), want) {
				t.Errorf("%s has no %q:\n%s", process, want, status)
			}
		}
		mounts, err := os.ReadFile(filepath.Join(process, "mounts"))
		if err != nil {
			t.Fatal(err)
		}
		if root := strings.Fields(string(mounts)); root[1] != "/" || !strings.HasPrefix(root[3], "ro,") {
			t.Errorf("the root of %s is mounted as %s, want it read-only", process, root[3])
		}
	}
}

// processesOf returns the directories in /proc of the processes that run a program in a container of the node.
func processesOf(n *env.Node, program string) ([]string, error) {
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("find processes: %w", err)
	}
	var found []string
	for _, process := range all {
		cgroup, _ := os.ReadFile(filepath.Join(process, "cgroup")) // it may have ended
		executable, _ := os.Readlink(filepath.Join(process, "exe"))
		if executable == program && strings.Contains(string(cgroup), "gridlatch-node-"+strconv.Itoa(n.PID)+"/") {
			found = append(found, process)
		}
	}
	return found, nil
}
