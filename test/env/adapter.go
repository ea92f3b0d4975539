package env

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// adapterService is the name by which the API server knows KEDA's metrics adapter.
	adapterService = "keda-metrics-apiserver"
	// externalMetrics is the API that HorizontalPodAutoscalers ask for metrics from outside of the cluster.
	externalMetrics = "v1beta1.external.metrics.k8s.io"
)

// QuickAutoscaler has the HorizontalPodAutoscalers of the cluster look every second, not every 15, and scale down without
// the usual wait of 5 minutes. What a HorizontalPodAutoscaler says of itself counts as ever. One that says nothing gives 4
// pods, or twice as many as there are, at each look.
func QuickAutoscaler() Option { return flag("quick-autoscaler", "true") }

// WholeKEDA is KEDA with all that takes part in scaling: its operator and its metrics adapter, which
// HorizontalPodAutoscalers ask through the API server.
type WholeKEDA struct {
	// Operator is the operator that runs, or that ran last.
	Operator *Program
	// Adapter is the metrics adapter.
	Adapter *Program

	cluster *Cluster
	metrics string // where the operator serves metrics to the adapter
	log     string
}

// RunWholeKEDA installs KEDA, and runs its operator and its metrics adapter beside the cluster, as its administrator,
// until they are stopped or this process ends. It returns when the API server serves external metrics. log is as for
// RunController.
func (c *Cluster) RunWholeKEDA(ctx context.Context, log string) (_ *WholeKEDA, err error) {
	k := &WholeKEDA{cluster: c, log: log}
	if k.metrics, err = reserveAddress(); err != nil {
		return nil, err
	}
	if err := c.InstallKEDA(ctx); err != nil {
		return nil, err
	}
	if err := k.StartOperator(ctx); err != nil {
		return nil, err
	}
	if k.Adapter, err = c.runKEDAAdapter(ctx, log, k.metrics); err != nil {
		return nil, errors.Join(err, k.Operator.Kill())
	}
	return k, nil
}

// WholeKEDA installs KEDA, and runs its operator and its metrics adapter, for as long as the test.
func (c *Cluster) WholeKEDA(t testing.TB) *WholeKEDA {
	t.Helper()
	return during(t, c.RunWholeKEDA)
}

// StartOperator runs the operator, which does not run, and returns when it is ready.
func (k *WholeKEDA) StartOperator(ctx context.Context) (err error) {
	k.Operator, err = k.cluster.runKEDAOperator(ctx, k.log, k.metrics)
	return err
}

// Stop ends both parts.
func (k *WholeKEDA) Stop() error { return errors.Join(k.Adapter.Stop(), k.Operator.Stop()) }

// Log returns what both parts have written.
func (k *WholeKEDA) Log() string { return k.Adapter.Log() }

// runKEDAAdapter runs KEDA's metrics adapter, which asks the operator at an address.
func (c *Cluster) runKEDAAdapter(ctx context.Context, log, operator string) (*Program, error) {
	port, err := ReservePort()
	if err != nil {
		return nil, err
	}
	_, operatorPort, err := net.SplitHostPort(operator)
	if err != nil {
		return nil, fmt.Errorf("find the operator's port: %w", err)
	}
	dir := filepath.Join(filepath.Dir(c.Kubeconfig), "keda")
	p, ca, err := c.kedaProgram(program, "keda/adapter",
		"--lister-kubeconfig="+c.Kubeconfig, "--authentication-kubeconfig="+c.Kubeconfig, "--authorization-kubeconfig="+c.Kubeconfig,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port),
		"--client-ca-file="+filepath.Join(dir, "ca.crt"), "--tls-cert-file="+filepath.Join(dir, "tls.crt"), "--tls-private-key-file="+filepath.Join(dir, "tls.key"),
		// The certificate is for the name, not for the address.
		"--metrics-service-address=localhost:"+operatorPort, "--kube-api-qps=1000", "--kube-api-burst=2000")
	if err != nil {
		return nil, err
	}
	_, metricsPort, err := net.SplitHostPort(address(p.Metrics))
	if err != nil {
		return nil, fmt.Errorf("find the adapter's port: %w", err)
	}
	p.cmd.Args = append(p.cmd.Args, "--port="+metricsPort)
	p.ready = c.servesExternalMetrics
	if _, err := c.KubectlInput(ctx, adapterManifests(port, ca), "apply", "-f", "-"); err != nil {
		return nil, err
	}
	return p, p.start(ctx, log)
}

// servesExternalMetrics fails until the API server reaches who serves external metrics.
func (c *Cluster) servesExternalMetrics(ctx context.Context) error {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("apiregistration.k8s.io/v1")
	o.SetKind("APIService")
	if err := c.Client.Get(ctx, client.ObjectKey{Name: externalMetrics}, o); err != nil {
		return fmt.Errorf("get the APIService: %w", err)
	}
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, each := range conditions {
		if c, isObject := each.(map[string]any); isObject && c["type"] == "Available" && c["status"] == "True" {
			return nil
		}
	}
	return fmt.Errorf("external metrics are not available: %v", conditions)
}

// adapterManifests registers the adapter, which is at a port of this machine, with the API server. An EndpointSlice of
// addresses may have none of the loopback interface. One of names may have a name that is such an address.
func adapterManifests(port int, ca []byte) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: %[2]s}
spec: {ports: [{name: https, port: 443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s, namespace: %[2]s, labels: {kubernetes.io/service-name: %[1]s}}
addressType: FQDN
endpoints: [{addresses: ["127.0.0.1"]}]
ports: [{name: https, port: %[3]d}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: %[4]s}
spec:
  group: external.metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  service: {name: %[1]s, namespace: %[2]s}
  caBundle: %[5]s
`, adapterService, kedaNamespace, port, externalMetrics, base64.StdEncoding.EncodeToString(ca))
}
