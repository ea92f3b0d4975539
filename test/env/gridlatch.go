package env

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// Namespace is where manifests/base puts Gridlatch.
const Namespace = "gridlatch-system"

// namespace returns where Gridlatch is in this cluster.
func (c *Cluster) namespace() string { return cmp.Or(c.Home, Namespace) }

// A Controller is Gridlatch at work: bin/gridlatch beside the cluster, as its own service account with exactly the
// rights of the shipped manifests. Unless it is given its certificates, the part that makes them runs beside it.
type Controller struct {
	*Program
	// Webhook is the port at which the API server calls it, if it is the one that is called.
	Webhook int

	certs *Program // nil if it is given them
}

// Stop ends both parts as a kubelet would. They may have ended before.
func (c *Controller) Stop() error { return errors.Join(c.Program.Stop(), c.endCerts()) }

// Kill ends both without warning.
func (c *Controller) Kill() error { return errors.Join(c.Program.Kill(), c.endCerts()) }

func (c *Controller) endCerts() error {
	if c.certs == nil {
		return nil
	}
	return c.certs.Kill()
}

// Install applies manifests/local with components, with the webhook called at port.
func (c *Cluster) Install(ctx context.Context, port int, components ...string) error {
	return c.install(ctx, "local", port, components)
}

// InstallWithDeployment is Install for manifests/base, whose Deployments have simulated pods.
func (c *Cluster) InstallWithDeployment(ctx context.Context, port int, components ...string) error {
	return c.install(ctx, "base", port, components)
}

func (c *Cluster) install(ctx context.Context, resources string, port int, components []string) error {
	text := "resources: [MANIFESTS/" + resources + "]\n" + Components(components...)
	if c.Home != "" {
		text += "namespace: " + c.Home + "\ntransformers: [MANIFESTS/namespace]\n"
	}
	manifests, err := c.Kustomize(ctx, text)
	if err != nil {
		return err
	}
	return c.InstallRendered(ctx, manifests, port)
}

// Components is the part of a kustomization that takes components of ours, by their names.
func Components(names ...string) string {
	text := "components:\n"
	for _, name := range names {
		text += "- MANIFESTS/components/" + name + "\n"
	}
	return text
}

// Kustomize renders a kustomization, in which MANIFESTS is ours.
func (c *Cluster) Kustomize(ctx context.Context, text string) (string, error) {
	var rendered string
	err := inKustomization(text, func(dir string) (err error) {
		rendered, err = c.Kubectl(ctx, "kustomize", dir)
		return err
	})
	return rendered, err
}

// inKustomization calls use with a directory that has a kustomization, in which MANIFESTS is ours.
func inKustomization(text string, use func(dir string) error) error {
	root, err := sourceTree()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gridlatch-kustomize-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	up, err := filepath.Rel(dir, filepath.Join(root, "manifests"))
	if err != nil {
		return fmt.Errorf("find the manifests: %w", err)
	}
	text = strings.ReplaceAll(text, "MANIFESTS", up)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write a kustomization: %w", err)
	}
	return use(dir)
}

// InstallRendered is Install for an overlay of manifests/local, as kustomize renders it.
func (c *Cluster) InstallRendered(ctx context.Context, manifests string, port int) error {
	manifests, err := callHere(manifests, port)
	if err != nil {
		return err
	}
	if _, err := c.KubectlInput(ctx, manifests, "apply", "-f", "-"); err != nil {
		return err
	}
	return c.awaitDefinitions(ctx, "crd/carbonpolicies.gridlatch.dev")
}

// callHere returns rendered manifests in which the webhooks are called at port of this machine, and not at a service of
// the cluster.
func callHere(manifests string, port int) (string, error) {
	documents := strings.Split(manifests, "\n---\n")
	for i, document := range documents {
		if !strings.Contains(document, "\nkind: MutatingWebhookConfiguration\n") {
			continue
		}
		var configuration map[string]any
		if err := yaml.Unmarshal([]byte(document), &configuration); err != nil {
			return "", fmt.Errorf("read the webhook configuration: %w", err)
		}
		callBeside(configuration, port, nil)
		text, err := yaml.Marshal(configuration)
		if err != nil {
			return "", fmt.Errorf("write the webhook configuration: %w", err)
		}
		documents[i] = string(text)
	}
	return strings.Join(documents, "\n---\n"), nil
}

// RunController starts Gridlatch with further flags, and returns when it is ready. log is a file for what it writes;
// it is appended to.
func (c *Cluster) RunController(ctx context.Context, port int, log string, flags ...string) (*Controller, error) {
	return c.runController(ctx, Clock{}, port, log, flags...)
}

// runController is RunController with a clock.
func (c *Cluster) runController(ctx context.Context, clock Clock, port int, log string, flags ...string) (*Controller, error) {
	kubeconfig, err := c.accountKubeconfig(ctx, "gridlatch")
	if err != nil {
		return nil, err
	}
	p, err := clock.command(append(controllerFlags(kubeconfig, port, "--namespace="+c.namespace()), flags...)...)
	if err != nil {
		return nil, err
	}
	g := &Controller{Program: p, Webhook: port}
	if !slices.ContainsFunc(flags, func(flag string) bool { return strings.HasPrefix(flag, "--cert-dir=") }) {
		if g.certs, err = c.runCerts(ctx, log); err != nil {
			return nil, err
		}
	}
	if err := p.start(ctx, log); err != nil {
		return nil, errors.Join(err, g.endCerts())
	}
	return g, nil
}

// controllerFlags are those by which Gridlatch runs beside the cluster, and further ones.
func controllerFlags(kubeconfig string, port int, further ...string) []string {
	return append([]string{
		"--kubeconfig=" + kubeconfig, "--webhook-port=" + strconv.Itoa(port), "--webhook-bind-address=127.0.0.1", "--webhook-host=localhost",
	}, further...)
}

// runCerts runs the part that makes certificates, as its own service account, until it is stopped or this process ends.
func (c *Cluster) runCerts(ctx context.Context, log string, flags ...string) (*Program, error) {
	kubeconfig, err := c.accountKubeconfig(ctx, "gridlatch-certs")
	if err != nil {
		return nil, err
	}
	p, err := command("gridlatch", append([]string{"certs", "--kubeconfig=" + kubeconfig, "--namespace=" + c.namespace()}, flags...)...)
	if err != nil {
		return nil, err
	}
	// It has no lease to lose, and would go on without a cluster.
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return p, p.start(ctx, log)
}

// Certs runs the part that makes certificates for as long as the test, for a test that runs the rest itself.
func (c *Cluster) Certs(t testing.TB, flags ...string) *Program {
	t.Helper()
	return during(t, func(ctx context.Context, log string) (*Program, error) { return c.runCerts(ctx, log, flags...) })
}

// RunGridlatch installs Gridlatch and runs one controller, and returns when the API server calls its webhook. log is as
// for RunController.
func (c *Cluster) RunGridlatch(ctx context.Context, log string, flags ...string) (*Controller, error) {
	return c.runGridlatch(ctx, Clock{}, log, flags...)
}

// runGridlatch is RunGridlatch with a clock.
func (c *Cluster) runGridlatch(ctx context.Context, clock Clock, log string, flags ...string) (*Controller, error) {
	port, err := ReservePort()
	if err != nil {
		return nil, err
	}
	if err := c.Install(ctx, port); err != nil {
		return nil, err
	}
	g, err := c.runController(ctx, clock, port, log, flags...)
	if err != nil {
		return nil, err
	}
	if err := c.AwaitWebhook(ctx); err != nil {
		return nil, errors.Join(err, g.Kill())
	}
	return g, nil
}

// Gridlatch installs Gridlatch and runs one controller, for as long as the test.
func (c *Cluster) Gridlatch(t testing.TB, flags ...string) *Controller {
	t.Helper()
	return during(t, func(ctx context.Context, log string) (*Controller, error) { return c.RunGridlatch(ctx, log, flags...) })
}

// ShiftedGridlatch is Gridlatch for a controller whose clock is ahead, or behind. All else has the right time.
func (c *Cluster) ShiftedGridlatch(t testing.TB, ahead time.Duration, flags ...string) *Controller {
	t.Helper()
	program, err := BuildShifted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	clock := Clock{Program: program, Ahead: ahead}
	return during(t, func(ctx context.Context, log string) (*Controller, error) {
		return c.runGridlatch(ctx, clock, log, flags...)
	})
}

// Controller runs one more controller with its webhook at port, for as long as the test.
func (c *Cluster) Controller(t testing.TB, port int, flags ...string) *Controller {
	t.Helper()
	return during(t, func(ctx context.Context, log string) (*Controller, error) {
		return c.RunController(ctx, port, log, flags...)
	})
}

// accountKubeconfig writes a kubeconfig for a service account of Gridlatch beside the cluster's own.
func (c *Cluster) accountKubeconfig(ctx context.Context, account string) (string, error) {
	config, err := c.ServiceAccountConfig(ctx, c.namespace(), account)
	if err != nil {
		return "", err
	}
	return c.writeKubeconfig(config, account)
}

// writeKubeconfig writes a kubeconfig of a name beside the cluster's own.
func (c *Cluster) writeKubeconfig(config *rest.Config, name string) (string, error) {
	path := filepath.Join(filepath.Dir(c.Kubeconfig), name+".kubeconfig")
	return path, WriteKubeconfig(config, path)
}

// ReleaseAll runs gridlatch release --all as the cluster's administrator, and returns what it prints.
func (c *Cluster) ReleaseAll(ctx context.Context) (string, error) {
	root, err := sourceTree()
	if err != nil {
		return "", err
	}
	printed, err := exec.CommandContext(ctx, filepath.Join(root, "bin", "gridlatch"), "release", "--all", "--kubeconfig="+c.Kubeconfig).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("gridlatch release --all: %w: %s", err, printed)
	}
	return string(printed), nil
}

// AwaitWebhook returns once the API server trusts and reaches the webhook.
func (c *Cluster) AwaitWebhook(ctx context.Context) error { return Poll(ctx, c.AskWebhook) }

// AskWebhook fails if the API server does not trust or reach the webhook now.
func (c *Cluster) AskWebhook(ctx context.Context) error {
	probe := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceDefault, GenerateName: "probe-",
			Annotations: map[string]string{"gridlatch.dev/delay-tolerant": "neither"},
			Labels:      map[string]string{"gridlatch.dev/delay-tolerant": "neither"}, // which the component by-label selects by
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "probe", Image: "probe"}}},
	}
	if err := c.Client.Create(ctx, probe, client.DryRunAll); !apierrors.IsInvalid(err) {
		return fmt.Errorf("the webhook does not answer: a bad annotation gave %v", err) //nolint:errorlint // often nil
	}
	return nil
}
