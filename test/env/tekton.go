package env

import (
	"context"
	"errors"
	"regexp"
	"testing"
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

// Stop ends both as a kubelet would. They may have ended before.
func (t *Tekton) Stop() error { return errors.Join(t.Program.Stop(), t.webhook.Stop()) }

// RunTekton installs Tekton Pipelines and runs its controller and its webhooks beside the cluster, as its administrator,
// until they are stopped or this process ends. It returns when both are ready. log is as for RunController.
func (c *Cluster) RunTekton(ctx context.Context, log string) (*Tekton, error) {
	webhook, err := c.runTektonWebhook(ctx, log)
	if err != nil {
		return nil, err
	}
	images := []string{
		"--entrypoint-image=entrypoint", "--nop-image=nop", "--sidecarlogresults-image=results",
		"--workingdirinit-image=workingdir", "--shell-image=shell", "--shell-image-win=shell",
	}
	controller, err := c.tektonProgram(tektonController, images...)
	if err == nil {
		err = controller.start(ctx, log)
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

// runTektonWebhook applies all that Tekton Pipelines is made of, and runs the webhooks.
func (c *Cluster) runTektonWebhook(ctx context.Context, log string) (*Program, error) {
	p, err := c.tektonProgram(tektonWebhook)
	if err != nil {
		return nil, err
	}
	webhook, err := reserveAddress()
	if err != nil {
		return nil, err
	}
	p.cmd.Env = append(p.cmd.Env, "WEBHOOK_PORT="+port(webhook), "CONFIG_LEADERELECTION_NAME=config-leader-election-webhook")
	if err := c.installTekton(ctx, port(webhook)); err != nil {
		return nil, err
	}
	return p, p.start(ctx, log)
}

// tektonService finds where the webhooks' Service is named: in their configurations and in the definitions.
var tektonService = regexp.MustCompile(`(?m)^( +)name: tekton-pipelines-webhook$`)

// installTekton applies what Tekton Pipelines is made of. Its webhooks insist on being reached by their Service, which
// they complete and make certificates for: it stands for the loopback interface, where they are at port.
func (c *Cluster) installTekton(ctx context.Context, port string) error {
	service := `{apiVersion: v1, kind: Service, metadata: {namespace: ` + tektonNamespace + `, name: tekton-pipelines-webhook},
spec: {type: ExternalName, externalName: localhost}}`
	if err := c.ensureNamespace(ctx, tektonNamespace); err != nil {
		return err
	}
	if _, err := c.KubectlInput(ctx, service, "apply", "-f", "-"); err != nil {
		return err
	}
	text, err := engineFiles("tekton/install")
	if err != nil {
		return err
	}
	text = tektonService.ReplaceAllString(text, "${1}name: tekton-pipelines-webhook\n${1}port: "+port)
	// On the server's side: some are too large for the annotation of the client's.
	if _, err := c.KubectlInput(ctx, text, "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	_, err = c.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=30s", "crd", "--selector=app.kubernetes.io/part-of=tekton-pipelines")
	return err
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
	p.ready = p.Probes + "/readiness"
	p.cmd.Env = append(p.cmd.Env, "SYSTEM_NAMESPACE="+tektonNamespace, "PROBES_PORT="+port(p.Probes),
		"PROFILING_PORT="+port(profiling), "METRICS_DOMAIN=tekton.dev/pipeline", "KUBERNETES_MIN_VERSION=v1.28.0")
	return p, nil
}
