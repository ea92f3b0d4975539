package env

import (
	"context"
	"fmt"
	"testing"
)

// RunTrainer installs Kubeflow Trainer and runs its controller with its webhooks beside the cluster, until it is stopped
// or this process ends. It returns when the controller is ready. JobSet is installed, of which a TrainJob makes one. log
// is as for RunController.
func (c *Cluster) RunTrainer(ctx context.Context, log string) (*Program, error) {
	return c.runEngine(ctx, engine{
		program: "kueue/trainer-controller-manager", manifests: "kueue/trainer.yaml",
		settings: func(s engineSite) string {
			return fmt.Sprintf(`apiVersion: config.trainer.kubeflow.org/v1alpha1
kind: Configuration
health: {healthProbeBindAddress: %q, readinessEndpointName: readyz, livenessEndpointName: healthz}
metrics: {bindAddress: %q, secureServing: false}
webhook: {host: 127.0.0.1, port: %d}
leaderElection: {leaderElect: false}
certManagement: {enable: false}
clientConnection: {qps: 300, burst: 500}
`, s.probes, s.metrics, s.port)
		},
	}, log)
}

// Trainer installs Kubeflow Trainer and runs its controller, for as long as the test.
func (c *Cluster) Trainer(t testing.TB) *Program {
	t.Helper()
	return during(t, c.RunTrainer)
}
