package env

import (
	"context"
	"testing"
)

const kubeRay = "ray/ray-operator"

// RunKubeRay installs KubeRay and runs its operator beside the cluster, as its administrator, until it is stopped or
// this process ends. It returns when the operator is ready. log is as for RunController.
func (c *Cluster) RunKubeRay(ctx context.Context, log string) (*Program, error) {
	if err := c.installCRDs(ctx, kubeRay); err != nil {
		return nil, err
	}
	p, err := c.engine(kubeRay, "--enable-leader-election=false", "--qps=1000", "--burst=2000")
	if err != nil {
		return nil, err
	}
	p.cmd.Args = append(p.cmd.Args, "--metrics-addr="+address(p.Metrics), "--health-probe-bind-address="+address(p.Probes))
	return p, p.start(ctx, log)
}

// KubeRay installs KubeRay and runs its operator, for as long as the test.
func (c *Cluster) KubeRay(t testing.TB) *Program {
	t.Helper()
	return during(t, c.RunKubeRay)
}
