package env

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	tektonController = "tekton/controller"
	tektonWebhook    = "tekton/webhook"
	tektonNamespace  = "tekton-pipelines"
)

// A Tekton is Tekton Pipelines at work: its controller, and its webhooks.
type Tekton struct {
	*Program
	webhook *Program
}

// Stop ends the controller as a kubelet would, and the webhooks, which would answer for 45 seconds more. They may have
// ended before.
func (t *Tekton) Stop() error { return errors.Join(t.Program.Stop(), t.webhook.Kill()) }

// RunTekton installs Tekton Pipelines and runs its controller and its webhooks beside the cluster, as its administrator,
// until they are stopped or this process ends. It returns when the controller is ready and the API server calls the
// webhooks. log is as for RunController.
func (c *Cluster) RunTekton(ctx context.Context, log string) (*Tekton, error) {
	webhook, err := c.runTektonWebhook(ctx, log)
	if err != nil {
		return nil, err
	}
	controller, err := c.tektonProgram(tektonController,
		"--entrypoint-image=entrypoint", "--nop-image=nop", "--sidecarlogresults-image=results",
		"--workingdirinit-image=workingdir", "--shell-image=shell", "--shell-image-win=shell")
	if err == nil {
		err = controller.start(ctx, log)
	}
	if err == nil {
		err = Poll(ctx, c.askTekton)
	}
	if err != nil {
		return nil, errors.Join(err, webhook.Kill())
	}
	return &Tekton{Program: controller, webhook: webhook}, nil
}

// Tekton installs Tekton Pipelines and runs its controller and its webhooks, for as long as the test.
func (c *Cluster) Tekton(t testing.TB) *Tekton {
	t.Helper()
	return during(t, c.RunTekton)
}

// runTektonWebhook applies all that Tekton Pipelines is made of, and runs its webhooks.
func (c *Cluster) runTektonWebhook(ctx context.Context, log string) (*Program, error) {
	address, err := reserveAddress()
	if err != nil {
		return nil, err
	}
	if err := c.installTekton(ctx, "https://localhost:"+port(address)); err != nil {
		return nil, err
	}
	p, err := c.tektonProgram(tektonWebhook)
	if err != nil {
		return nil, err
	}
	p.cmd.Env = append(p.cmd.Env, "WEBHOOK_PORT="+port(address), "CONFIG_LEADERELECTION_NAME=config-leader-election-webhook")
	return p, p.start(ctx, log)
}

// tektonWebhooks are the certificate of Tekton's webhooks and their configurations, which they would complete by
// themselves if they were reached by a Service.
const tektonWebhooks = `---
apiVersion: v1
kind: Secret
metadata: {namespace: NAMESPACE, name: webhook-certs}
data: {server-key.pem: KEY, server-cert.pem: CA, ca-cert.pem: CA}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: webhook.pipeline.tekton.dev}
webhooks:
- name: webhook.pipeline.tekton.dev
  admissionReviewVersions: [v1]
  clientConfig: {url: "WEBHOOK/defaulting", caBundle: CA}
  failurePolicy: Fail
  sideEffects: None
  rules: RULES
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: validation.webhook.pipeline.tekton.dev}
webhooks:
- name: validation.webhook.pipeline.tekton.dev
  admissionReviewVersions: [v1]
  clientConfig: {url: "WEBHOOK/resource-validation", caBundle: CA}
  failurePolicy: Fail
  sideEffects: None
  rules: RULES
`

const tektonRules = `[{apiGroups: [tekton.dev], apiVersions: [v1, v1beta1], operations: [CREATE, UPDATE],
    resources: [pipelineruns, pipelineruns/status, pipelines, taskruns, taskruns/status, tasks]}]`

// tektonService finds the Service by which definitions say where their objects are converted.
var tektonService = regexp.MustCompile(`(?m)^( +)service:\n +name: tekton-pipelines-webhook\n +namespace: tekton-pipelines$`)

// installTekton applies what Tekton Pipelines is made of, with its webhooks at a URL.
func (c *Cluster) installTekton(ctx context.Context, webhook string) error {
	if err := c.ensureNamespace(ctx, tektonNamespace); err != nil {
		return err
	}
	dir := filepath.Join(filepath.Dir(c.Kubeconfig), "tekton")
	certificate, err := WriteCertificate(dir, "localhost")
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(dir, "tls.key"))
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	text, err := engineFiles("tekton/install")
	if err != nil {
		return err
	}
	text = tektonService.ReplaceAllString(text, "${1}url: WEBHOOK/resource-conversion\n${1}caBundle: CA") + tektonWebhooks
	text = strings.NewReplacer("WEBHOOK/", webhook+"/", "RULES", tektonRules, "NAMESPACE", tektonNamespace,
		": CA", ": "+base64.StdEncoding.EncodeToString(certificate), ": KEY", ": "+base64.StdEncoding.EncodeToString(key)).Replace(text)
	// On the server's side: some are too large for the annotation of the client's.
	if _, err := c.KubectlInput(ctx, text, "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		return err
	}
	return c.awaitDefinitions(ctx, "crd", "--selector=app.kubernetes.io/part-of=tekton-pipelines")
}

// askTekton fails if the API server does not reach Tekton's webhooks now: they would refuse this TaskRun.
func (c *Cluster) askTekton(ctx context.Context) error {
	run := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"status": "neither"}}}
	run.SetAPIVersion("tekton.dev/v1")
	run.SetKind("TaskRun")
	run.SetNamespace(metav1.NamespaceDefault)
	run.SetName("probe")
	if err := c.Client.Create(ctx, run, client.DryRunAll); !apierrors.IsBadRequest(err) {
		return fmt.Errorf("the webhooks of Tekton do not answer: a bad TaskRun gave %v", err) //nolint:errorlint // often nil
	}
	return nil
}

// tektonProgram makes one of Tekton's programs, with the environment of its Deployment.
func (c *Cluster) tektonProgram(name string, args ...string) (*Program, error) {
	p, err := c.engine(name, append(args, "--disable-ha")...)
	if err != nil {
		return nil, err
	}
	profiling, err := reserveAddress()
	if err != nil {
		return nil, err
	}
	p.ready, p.deaf = answers(p.Probes+"/readiness"), true
	p.cmd.Env = append(p.cmd.Env, "SYSTEM_NAMESPACE="+tektonNamespace, "PROBES_PORT="+port(p.Probes),
		"PROFILING_PORT="+port(profiling), "METRICS_DOMAIN=tekton.dev/pipeline", "KUBERNETES_MIN_VERSION=v1.28.0")
	return p, nil
}
