package env

import (
	"context"
	"syscall"
	"testing"
)

const certManager = "cert-manager/controllers"

// InstallCertManager applies cert-manager's CustomResourceDefinitions, and returns when they are served.
func (c *Cluster) InstallCertManager(ctx context.Context) error {
	return c.installDefinitions(ctx, certManager)
}

// RunCertManager installs cert-manager and runs its controllers and its cainjector beside the cluster, as its
// administrator, until it is stopped or this process ends. It returns when they run. log is as for RunController.
func (c *Cluster) RunCertManager(ctx context.Context, log string) (*Program, error) {
	if err := c.InstallCertManager(ctx); err != nil {
		return nil, err
	}
	p, err := command(certManager, "--kubeconfig="+c.Kubeconfig)
	if err != nil {
		return nil, err
	}
	// It would go on without a cluster, as KEDA would.
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return p, p.start(ctx, log)
}

// CertManager installs cert-manager and runs it, for as long as the test.
func (c *Cluster) CertManager(t testing.TB) *Program {
	t.Helper()
	return during(t, c.RunCertManager)
}
