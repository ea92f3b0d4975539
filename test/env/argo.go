package env

import (
	"context"
	"testing"
)

const argo = "argo/workflow-controller"

// RunArgo installs Argo Workflows and runs its controller beside the cluster, as its administrator, until it is stopped
// or this process ends. It returns when the controller runs. log is as for RunController.
func (c *Cluster) RunArgo(ctx context.Context, log string) (*Program, error) {
	if err := c.installCRDs(ctx, argo); err != nil {
		return nil, err
	}
	if err := c.ensureNamespace(ctx, "argo"); err != nil {
		return nil, err
	}
	p, err := c.engine(argo, "--namespace=argo", "--executor-image=argoexec", "--qps=1000", "--burst=2000")
	if err != nil {
		return nil, err
	}
	// Its health is served at a port that cannot be chosen.
	p.ready, p.deaf = answers(p.Metrics+"/metrics"), true
	p.cmd.Env = append(p.cmd.Env, "LEADER_ELECTION_DISABLE=true", "DEFAULT_REQUEUE_TIME=1s")
	configuration := `{apiVersion: v1, kind: ConfigMap, metadata: {namespace: argo, name: workflow-controller-configmap},
data: {metricsConfig: "{enabled: true, secure: false, port: ` + port(p.Metrics) + `}"}}`
	if _, err := c.KubectlInput(ctx, configuration, "apply", "-f", "-"); err != nil {
		return nil, err
	}
	return p, p.start(ctx, log)
}

// Argo installs Argo Workflows and runs its controller, for as long as the test.
func (c *Cluster) Argo(t testing.TB) *Program {
	t.Helper()
	return during(t, c.RunArgo)
}
