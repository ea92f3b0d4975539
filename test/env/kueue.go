package env

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
)

// RunKueue installs Kueue and runs it with its webhooks beside the cluster, until it is stopped or this process ends.
// It returns when Kueue is ready. It manages Jobs, plain pods, JobSets, TrainJobs and MPIJobs, except in kube-system, in
// its own namespace and in those that are given. Of a kind whose CustomResourceDefinition comes later, it takes up to
// two minutes to notice. log is as for RunController.
func (c *Cluster) RunKueue(ctx context.Context, log string, unmanaged ...string) (*Program, error) {
	const namespace = "kueue-system"
	namespaces, err := json.Marshal(append([]string{"kube-system", namespace}, unmanaged...))
	if err != nil {
		return nil, fmt.Errorf("write settings: %w", err)
	}
	return c.runEngine(ctx, engine{
		program: "kueue/kueue", manifests: "kueue/kueue.yaml",
		// It manages its certificate itself, and finds one that would do.
		hosts: []string{"kueue-webhook-service." + namespace + ".svc", "kueue-ca"},
		settings: func(s engineSite) string {
			return fmt.Sprintf(`apiVersion: config.kueue.x-k8s.io/v1beta2
kind: Configuration
namespace: %s
health: {healthProbeBindAddress: %q}
metrics: {bindAddress: %q}
webhook: {host: 127.0.0.1, port: %d, certDir: %q}
leaderElection: {leaderElect: false}
internalCertManagement: {enable: true}
clientConnection: {qps: 300, burst: 500}
featureGates: {VisibilityOnDemand: false} # its port is always the same
managedJobsNamespaceSelector:
  matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values: %s
integrations:
  frameworks: [batch/job, pod, jobset.x-k8s.io/jobset, trainer.kubeflow.org/trainjob, kubeflow.org/mpijob]
`, namespace, s.probes, s.metrics, s.port, s.certificates, namespaces)
		},
	}, log)
}

// Kueue installs Kueue and runs it, for as long as the test. It does not manage the namespaces that are given.
func (c *Cluster) Kueue(t testing.TB, unmanaged ...string) *Program {
	t.Helper()
	return during(t, func(ctx context.Context, log string) (*Program, error) { return c.RunKueue(ctx, log, unmanaged...) })
}
