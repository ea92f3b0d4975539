package env

import (
	"context"
	"testing"
)

// RunExporter starts `gridlatch export` with further flags, as its own service account with exactly the rights of the
// shipped manifests, and returns when it is ready. log is as for RunController.
func (c *Cluster) RunExporter(ctx context.Context, log string, flags ...string) (*Program, error) {
	kubeconfig, err := c.accountKubeconfig(ctx, "gridlatch-export")
	if err != nil {
		return nil, err
	}
	p, err := command("gridlatch", append([]string{"export", "--kubeconfig=" + kubeconfig}, flags...)...)
	if err != nil {
		return nil, err
	}
	return p, p.start(ctx, log)
}

// Exporter runs one exporter, for as long as the test.
func (c *Cluster) Exporter(t testing.TB, flags ...string) *Program {
	t.Helper()
	return during(t, func(ctx context.Context, log string) (*Program, error) { return c.RunExporter(ctx, log, flags...) })
}
