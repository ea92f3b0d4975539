package env

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	karpenter = "karpenter/karpenter"
	// nodeClass is the name of the KWOKNodeClass of all NodePools.
	nodeClass = "default"
)

// InstallKarpenter applies Karpenter's CustomResourceDefinitions and the class of its simulated nodes, and returns when
// both are there.
func (c *Cluster) InstallKarpenter(ctx context.Context) error {
	if err := c.installDefinitions(ctx, karpenter); err != nil {
		return err
	}
	class := karpenterObject("karpenter.kwok.sh/v1alpha1", "KWOKNodeClass", nodeClass, map[string]any{})
	if err := c.Client.Create(ctx, class); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create the class of nodes: %w", err)
	}
	return nil
}

// RunKarpenter installs Karpenter and runs it beside the cluster, as its administrator, until it is stopped or this
// process ends. It returns when Karpenter is ready. Karpenter creates the nodes of its NodePools itself, and the cluster
// simulates them. flags are Karpenter's, as in --feature-gates=NodeOverlay=true,StaticCapacity=true, which are off. With
// NodeOverlay, pods may wait ten seconds for the first node of a new NodePool. log is as for RunController.
func (c *Cluster) RunKarpenter(ctx context.Context, log string, flags ...string) (*Program, error) {
	if err := c.InstallKarpenter(ctx); err != nil {
		return nil, err
	}
	// It waits for more pods before it makes a node for them, by default for a second after each.
	p, err := program(karpenter, append(flags, "--batch-idle-duration=200ms", "--batch-max-duration=1s",
		"--disable-leader-election", "--kube-client-qps=1000", "--kube-client-burst=2000")...)
	if err != nil {
		return nil, err
	}
	for flag, url := range map[string]string{"--metrics-port=": p.Metrics, "--health-probe-port=": p.Probes} {
		_, port, err := net.SplitHostPort(address(url))
		if err != nil {
			return nil, fmt.Errorf("read the address of a program: %w", err)
		}
		p.cmd.Args = append(p.cmd.Args, flag+port)
	}
	p.cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	// It would go on without a cluster, as KEDA would.
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return p, p.start(ctx, log)
}

// Karpenter installs Karpenter and runs it, for as long as the test.
func (c *Cluster) Karpenter(t testing.TB, flags ...string) *Program {
	t.Helper()
	return during(t, func(ctx context.Context, log string) (*Program, error) { return c.RunKarpenter(ctx, log, flags...) })
}

// NodePool makes a NodePool whose nodes have labels that Karpenter knows, such as kubernetes.io/arch or
// topology.kubernetes.io/zone, with one value each. The zones of simulated nodes are test-zone-a to test-zone-d, and their
// regions any. Karpenter replaces no node to save money.
func NodePool(name string, labels map[string]string) *unstructured.Unstructured {
	all := map[string]string{"kubernetes.io/os": "linux", "karpenter.sh/capacity-type": "on-demand"}
	maps.Copy(all, labels)
	var requirements []any
	for _, key := range slices.Sorted(maps.Keys(all)) {
		requirements = append(requirements, map[string]any{"key": key, "operator": "In", "values": []any{all[key]}})
	}
	return karpenterObject("karpenter.sh/v1", "NodePool", name, map[string]any{
		"disruption": map[string]any{"consolidationPolicy": "WhenEmpty", "consolidateAfter": "Never"},
		"template": map[string]any{
			// By this label, the cluster finds the nodes that it simulates.
			"metadata": map[string]any{"labels": map[string]any{"type": "kwok"}},
			"spec": map[string]any{
				"nodeClassRef": map[string]any{"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": nodeClass},
				"requirements": requirements,
			},
		},
	})
}

// karpenterObject makes one of Karpenter's objects, none of which are in a namespace.
func karpenterObject(apiVersion, kind, name string, spec map[string]any) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	if spec != nil {
		object.Object["spec"] = spec
	}
	object.SetAPIVersion(apiVersion)
	object.SetKind(kind)
	object.SetName(name)
	return object
}
