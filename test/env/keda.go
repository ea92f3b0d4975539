package env

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// InstallKEDA makes KEDA's namespace and applies KEDA's CustomResourceDefinitions, and returns when they are served.
func (c *Cluster) InstallKEDA(ctx context.Context) error {
	home := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: kedaNamespace}}
	if err := c.Client.Create(ctx, home); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace: %w", err)
	}
	return c.installDefinitions(ctx, "keda/operator")
}

// installDefinitions applies the CustomResourceDefinitions that were put beside bin/NAME when it was built.
func (c *Cluster) installDefinitions(ctx context.Context, name string) error {
	root, err := sourceTree()
	if err != nil {
		return err
	}
	// On the server's side: some are too large for the annotation of the client's.
	definitions := filepath.Join(root, "bin", filepath.Dir(name), "crds")
	if _, err := c.Kubectl(ctx, "apply", "--server-side", "-f", definitions); err != nil {
		return fmt.Errorf("%w (are they there? make bin/%s)", err, name)
	}
	return c.awaitDefinitions(ctx, "-f", definitions)
}

// awaitDefinitions returns when the CustomResourceDefinitions that kubectl finds by args are served. kubectl asks until
// they are, but fails at one that says nothing about itself yet.
func (c *Cluster) awaitDefinitions(ctx context.Context, args ...string) error {
	return Poll(ctx, func(ctx context.Context) error {
		_, err := c.Kubectl(ctx, append([]string{"wait", "--for=condition=Established", "--timeout=30s"}, args...)...)
		return err
	})
}

// kedaNamespace is where KEDA would be, and where it looks for what is for all namespaces.
const kedaNamespace = "keda"

// RunKEDA installs KEDA and runs its operator beside the cluster, as its administrator, until it is stopped or this
// process ends. It returns when the operator is ready. log is as for RunController.
func (c *Cluster) RunKEDA(ctx context.Context, log string) (*Program, error) {
	metrics, err := reserveAddress()
	if err != nil {
		return nil, err
	}
	if err := c.InstallKEDA(ctx); err != nil {
		return nil, err
	}
	return c.runKEDAOperator(ctx, log, metrics)
}

// runKEDAOperator runs KEDA's operator, which serves metrics to the adapter at an address. KEDA is installed.
func (c *Cluster) runKEDAOperator(ctx context.Context, log, metrics string) (*Program, error) {
	p, _, err := c.kedaProgram(command, "keda/operator", "--enable-cert-rotation=false", "--enable-webhook-patching=false",
		"--enable-apiservice-patching=false", "--metrics-service-bind-address="+metrics,
		"--kube-api-qps=1000", "--kube-api-burst=2000")
	if err != nil {
		return nil, err
	}
	return p, p.start(ctx, log)
}

// KEDA installs KEDA and runs its operator, for as long as the test.
func (c *Cluster) KEDA(t testing.TB) *Program {
	t.Helper()
	return during(t, c.RunKEDA)
}

// RunKEDAWebhook runs KEDA's admission webhook and has the API server ask it about ScaledObjects. KEDA is installed.
// log is as for RunController.
func (c *Cluster) RunKEDAWebhook(ctx context.Context, log string) (*Program, error) {
	port, err := ReservePort()
	if err != nil {
		return nil, err
	}
	p, ca, err := c.kedaProgram(command, "keda/webhooks", "--port="+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	if err := p.start(ctx, log); err != nil {
		return nil, err
	}
	if err := c.Client.Create(ctx, kedaWebhook(port, ca)); err != nil {
		return nil, errors.Join(fmt.Errorf("configure KEDA's webhook: %w", err), p.Kill())
	}
	return p, nil
}

// KEDAWebhook runs KEDA's admission webhook, for as long as the test.
func (c *Cluster) KEDAWebhook(t testing.TB) *Program {
	t.Helper()
	return during(t, c.RunKEDAWebhook)
}

// kedaWebhook is the part of KEDA's configuration that is about ScaledObjects.
func kedaWebhook(port int, ca []byte) client.Object {
	url := fmt.Sprintf("https://localhost:%d/validate-keda-sh-v1alpha1-scaledobject", port)
	ignore, none := admissionv1.Ignore, admissionv1.SideEffectClassNone
	return &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "keda-admission"},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "vscaledobject.kb.io", AdmissionReviewVersions: []string{"v1"}, SideEffects: &none, FailurePolicy: &ignore,
			ClientConfig: admissionv1.WebhookClientConfig{URL: &url, CABundle: ca},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{"keda.sh"}, APIVersions: []string{"v1alpha1"}, Resources: []string{"scaledobjects"}},
			}},
		}},
	}
}

// kedaProgram makes one of KEDA's programs, with the certificate that all of them have. It returns who signed that, too.
// Unlike Gridlatch, KEDA would go on without a cluster: it is made to end with this process.
func (c *Cluster) kedaProgram(make func(string, ...string) (*Program, error), name string, args ...string) (*Program, []byte, error) {
	dir, ca, err := c.kedaCertificate()
	if err != nil {
		return nil, nil, err
	}
	p, err := make(name, append(args, "--cert-dir="+dir)...)
	if err != nil {
		return nil, nil, err
	}
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	p.cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig,
		"POD_NAMESPACE="+kedaNamespace, "POD_NAME=keda-0", "KEDA_CLUSTER_OBJECT_NAMESPACE="+kedaNamespace, "WATCH_NAMESPACE=")
	return p, ca, nil
}

// kedaCertificate returns the directory of the certificate by which KEDA's programs know each other, and the certificate.
// A program that is started again has the same.
func (c *Cluster) kedaCertificate() (dir string, ca []byte, err error) {
	dir = filepath.Join(filepath.Dir(c.Kubeconfig), "keda")
	ca, err = os.ReadFile(filepath.Join(dir, "ca.crt"))
	if errors.Is(err, os.ErrNotExist) {
		ca, err = WriteCertificate(dir, "localhost", adapterService+"."+kedaNamespace+".svc")
	}
	return dir, ca, err
}
