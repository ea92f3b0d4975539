package env

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// WorkImage is an image that every real node has: a workload that prints a line, works for the duration of its flag
	// --for, and exits with the code of its flag --exit.
	WorkImage = "work:test"

	// serviceAddress is where pods reach the API server: the Service default/kubernetes.
	serviceAddress = "10.0.0.1:443"

	nodeRequired = "GRIDLATCH_NODE"
)

// A Node is a real node of a cluster: a kubelet with containerd, in which containers really run. Package
// test/node/machine says how.
type Node struct {
	// Name is the node's name in the cluster.
	Name string `json:"name"`
	// Host is the address of this machine for the pods of the node.
	Host string `json:"host"`
	// Process is the first process in the node's namespaces.
	Process int `json:"process"`

	*Program `json:"-"`
	cluster  *Cluster
	logs     string    // a directory
	stdin    io.Closer // the node ends with it
}

// Node gives the cluster a real node for as long as the test. A cluster for pods that shall really run has no other nodes:
//
//	c := env.Start(t, env.Nodes(0))
//	n := c.Node(t)
//
// The node reaches the addresses of this machine that are given, such as 127.0.0.1:5000 of a registry, as if the node
// were this machine. Where the machine cannot run containers, the test is skipped with the reason; where the
// environment has CI or GRIDLATCH_NODE=required, the test fails.
func (c *Cluster) Node(t testing.TB, reachable ...string) *Node {
	t.Helper()
	SkipIfShort(t)
	if err := checkNode(t.Context()); err != nil {
		if os.Getenv("CI") != "" || os.Getenv(nodeRequired) == "required" {
			t.Fatalf("a real node must run here: %v", err)
		}
		t.Skipf("this machine cannot run a real node: %v", err)
	}
	return during(t, func(ctx context.Context, log string) (*Node, error) { return c.RunNode(ctx, log, reachable...) })
}

func checkNode(ctx context.Context) error {
	binary, err := nodeBinary("gridlatch-node")
	if err != nil {
		return err
	}
	if output, err := exec.CommandContext(ctx, binary, "check").CombinedOutput(); err != nil {
		return fmt.Errorf("%s", strings.TrimSpace(string(output)))
	}
	return nil
}

// nodeBinary returns the path of a program of the real node.
func nodeBinary(name string) (string, error) {
	root, err := sourceTree()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", "node", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find %s: %w; run: make bin/node/gridlatch-node", name, err)
	}
	return path, nil
}

// RunNode gives the cluster a real node until the node is stopped or this process ends, and returns when pods can be
// scheduled there. reachable is as for Node. log is a file for what the node's supervisor writes; it is appended to.
func (c *Cluster) RunNode(ctx context.Context, log string, reachable ...string) (*Node, error) {
	binary, err := nodeBinary("gridlatch-node")
	if err != nil {
		return nil, err
	}
	kubeconfig, server, err := c.nodeKubeconfig()
	if err != nil {
		return nil, err
	}
	n := &Node{cluster: c, logs: log + ".node", Program: &Program{name: "node/gridlatch-node", done: make(chan struct{})}}
	n.cmd = exec.Command(binary, "run", "--logs="+n.logs, "--kubeconfig="+kubeconfig, "--forward="+serviceAddress+"="+server)
	for _, address := range reachable {
		n.cmd.Args = append(n.cmd.Args, "--forward="+address+"="+address)
	}
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// The node ends when its standard input does, and removes what the node leaves.
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	n.ready = func(ctx context.Context) error {
		text, err := os.ReadFile(filepath.Join(n.logs, "node.json"))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, n); err != nil {
			return fmt.Errorf("read the node's announcement: %w", err)
		}
		return n.schedulable(ctx)
	}
	if err := n.start(ctx, log); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, n.Log())
	}
	return n, nil
}

// nodeKubeconfig writes how the kubelet connects, and returns the file and the address of the API server.
func (c *Cluster) nodeKubeconfig() (path, server string, err error) {
	target, err := url.Parse(c.Config.Host)
	if err != nil {
		return "", "", fmt.Errorf("find the API server: %w", err)
	}
	config := rest.CopyConfig(c.Config)
	config.Host = "https://" + serviceAddress
	path = filepath.Join(filepath.Dir(c.Kubeconfig), "node.kubeconfig")
	return path, target.Host, WriteKubeconfig(config, path)
}

// schedulable fails until pods can be scheduled on the node.
func (n *Node) schedulable(ctx context.Context) error {
	var node corev1.Node
	if err := n.cluster.Client.Get(ctx, client.ObjectKey{Name: n.Name}, &node); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue && len(node.Spec.Taints) == 0 {
			return nil
		}
	}
	return fmt.Errorf("node %s is not ready: conditions %v, taints %v", n.Name, node.Status.Conditions, node.Spec.Taints)
}

// Import gives the node an image from an archive, in the format of docker or of OCI. Pods use the image by the name that
// the archive says, and must not have the imagePullPolicy Always.
func (n *Node) Import(ctx context.Context, archive string) error {
	_, err := n.ctr(ctx, "images", "import", archive)
	return err
}

// Tag gives an image that the node has one more name.
func (n *Node) Tag(ctx context.Context, name, another string) error {
	_, err := n.ctr(ctx, "images", "tag", name, another)
	return err
}

// Images returns the names of the images that the node has.
func (n *Node) Images(ctx context.Context) ([]string, error) {
	output, err := n.ctr(ctx, "images", "list", "--quiet")
	return strings.Fields(output), err
}

// ctr runs the command of containerd on the node.
func (n *Node) ctr(ctx context.Context, args ...string) (string, error) {
	binary, err := nodeBinary("ctr")
	if err != nil {
		return "", err
	}
	// The socket, as the node's first process sees it.
	socket := fmt.Sprintf("/proc/%d/root/run/containerd/containerd.sock", n.Process)
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, append([]string{"--address=" + socket, "--namespace=k8s.io"}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// Log returns what the node's supervisor has written, and the ends of the node's logs.
func (n *Node) Log() string {
	paths, err := filepath.Glob(filepath.Join(n.logs, "*.log"))
	if err != nil {
		return err.Error()
	}
	return n.Program.Log() + ends(paths, 40)
}
