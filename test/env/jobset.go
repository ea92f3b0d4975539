package env

import (
	"context"
	"fmt"
	"testing"
)

// RunJobSet installs JobSet and runs its controller with its webhooks beside the cluster, until it is stopped or this
// process ends. It returns when the controller is ready. log is as for RunController.
func (c *Cluster) RunJobSet(ctx context.Context, log string) (*Program, error) {
	return c.runEngine(ctx, engine{
		program: "kueue/jobset", manifests: "kueue/jobset.yaml",
		settings: func(s engineSite) string {
			return fmt.Sprintf(`apiVersion: config.jobset.x-k8s.io/v1alpha1
kind: Configuration
health: {healthProbeBindAddress: %q}
metrics: {bindAddress: %q, certDir: %q}
webhook: {host: 127.0.0.1, port: %d, certDir: %q}
leaderElection: {leaderElect: false}
internalCertManagement: {enable: false}
`, s.probes, s.metrics, s.certificates, s.port, s.certificates)
		},
	}, log)
}

// JobSet installs JobSet and runs its controller, for as long as the test.
func (c *Cluster) JobSet(t testing.TB) *Program {
	t.Helper()
	return during(t, c.RunJobSet)
}
