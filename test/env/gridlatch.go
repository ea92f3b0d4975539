package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Namespace is where manifests/base puts Gridlatch.
const Namespace = "gridlatch-system"

// A Controller is Gridlatch at work: bin/gridlatch beside the cluster, as its own service account with exactly the
// rights of the shipped manifests.
type Controller struct {
	// Metrics and Probes are the base URLs of what it serves.
	Metrics, Probes string
	// Webhook is the port at which the API server calls it, if it is the one that is called.
	Webhook int
	// PID is its process.
	PID int

	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

// Install applies manifests/local, with the webhook called at port.
func (c *Cluster) Install(ctx context.Context, port int) error {
	root, err := sourceTree()
	if err != nil {
		return err
	}
	manifests, err := c.Kubectl(ctx, "kustomize", filepath.Join(root, "manifests", "local"))
	if err != nil {
		return err
	}
	manifests = strings.ReplaceAll(manifests, "localhost:9443", "localhost:"+strconv.Itoa(port))
	if _, err := c.KubectlInput(ctx, manifests, "apply", "-f", "-"); err != nil {
		return err
	}
	_, err = c.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=30s", "crd/carbonpolicies.gridlatch.dev")
	return err
}

// RunController starts Gridlatch with further flags, and returns when it is ready. log is a file for what it writes;
// it is appended to.
func (c *Cluster) RunController(ctx context.Context, port int, log string, flags ...string) (*Controller, error) {
	root, err := sourceTree()
	if err != nil {
		return nil, err
	}
	kubeconfig, err := c.gridlatchKubeconfig(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	output, err := openLog(log)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	metrics, probes := "127.0.0.1:"+strconv.Itoa(ports[0]), "127.0.0.1:"+strconv.Itoa(ports[1])
	args := append([]string{
		"--kubeconfig=" + kubeconfig, "--webhook-port=" + strconv.Itoa(port), "--webhook-bind-address=127.0.0.1", "--webhook-host=localhost",
		"--metrics-bind-address=" + metrics, "--health-probe-bind-address=" + probes,
	}, flags...)
	g := &Controller{Metrics: "http://" + metrics, Probes: "http://" + probes, Webhook: port, log: log, done: make(chan struct{})}
	g.cmd = exec.Command(filepath.Join(root, "bin", "gridlatch"), args...)
	g.cmd.Stdout, g.cmd.Stderr = output, output
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it may outlive this process
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start gridlatch (is it built? make build): %w", err)
	}
	g.PID = g.cmd.Process.Pid
	go func() {
		_ = g.cmd.Wait() // its log says more
		close(g.done)
	}()
	if err := g.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, g.Kill())
	}
	return g, nil
}

// openLog opens a file to append to.
func openLog(path string) (*os.File, error) {
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return log, nil
}

// RunGridlatch installs Gridlatch and runs one controller, and returns when the API server calls its webhook. log is as
// for RunController.
func (c *Cluster) RunGridlatch(ctx context.Context, log string, flags ...string) (*Controller, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	if err := c.Install(ctx, port); err != nil {
		return nil, err
	}
	g, err := c.RunController(ctx, port, log, flags...)
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

// Controller runs one more controller with its webhook at port, for as long as the test.
func (c *Cluster) Controller(t testing.TB, port int, flags ...string) *Controller {
	t.Helper()
	return during(t, func(ctx context.Context, log string) (*Controller, error) {
		return c.RunController(ctx, port, log, flags...)
	})
}

// during runs a controller for as long as the test.
func during(t testing.TB, run func(ctx context.Context, log string) (*Controller, error)) *Controller {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log := filepath.Join(t.TempDir(), "gridlatch.log")
	g, err := run(ctx, log)
	if err != nil {
		text, _ := os.ReadFile(log) // for the failure's sake only
		t.Fatalf("%v\n%s", err, text)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(g.Log())
		}
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func (c *Cluster) gridlatchKubeconfig(ctx context.Context) (string, error) {
	config, err := c.ServiceAccountConfig(ctx, Namespace, "gridlatch")
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(c.Kubeconfig), "gridlatch.kubeconfig")
	return path, WriteKubeconfig(config, path)
}

func (g *Controller) awaitReady(ctx context.Context) error {
	for {
		if _, err := get(ctx, g.Probes+"/readyz"); err == nil {
			return nil
		}
		select {
		case <-g.done:
			return fmt.Errorf("gridlatch has ended:\n%s", g.Log())
		case <-ctx.Done():
			return fmt.Errorf("gridlatch is not ready: %w\n%s", ctx.Err(), g.Log())
		case <-time.After(pollInterval):
		}
	}
}

// Stop ends the controller as a kubelet would. It may have ended before.
func (g *Controller) Stop() error { return g.end(syscall.SIGTERM, 40*time.Second) }

// Kill ends it without warning.
func (g *Controller) Kill() error { return g.end(syscall.SIGKILL, 10*time.Second) }

func (g *Controller) end(signal syscall.Signal, patience time.Duration) error {
	select {
	case <-g.done:
		return nil
	default:
	}
	if err := g.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end gridlatch: %w", err)
	}
	select {
	case <-g.done:
		return nil
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("gridlatch did not end within %s", patience), g.cmd.Process.Kill())
	}
}

// Log returns what the controller has written.
func (g *Controller) Log() string {
	text, err := os.ReadFile(g.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Metric returns the sum of all samples of a metric whose line has all of parts, as in
// Metric(ctx, "gridlatch_released_pods_total", `cause="latest-start"`).
func (g *Controller) Metric(ctx context.Context, name string, parts ...string) (float64, error) {
	text, err := get(ctx, g.Metrics+"/metrics")
	if err != nil {
		return 0, err
	}
	sum := 0.0
lines:
	for line := range strings.Lines(text) {
		labels, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || labels != name && !strings.HasPrefix(labels, name+"{") {
			continue
		}
		for _, part := range parts {
			if !strings.Contains(labels, part) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum += v
	}
	return sum, nil
}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("get %s: %w", url, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("get %s: %w", url, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s: %s", response.Status, body)
	}
	if err != nil {
		return "", fmt.Errorf("get %s: %w", url, err)
	}
	return string(body), nil
}

// freePorts returns ports of the loopback interface that nobody listens on now.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer listener.Close()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// FreePort returns a port of the loopback interface that nobody listens on now.
func FreePort() (int, error) {
	ports, err := freePorts(1)
	if err != nil {
		return 0, err
	}
	return ports[0], nil
}

// AwaitWebhook returns once the API server trusts and reaches the webhook.
func (c *Cluster) AwaitWebhook(ctx context.Context) error {
	return Poll(ctx, func(ctx context.Context) error {
		probe := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: metav1.NamespaceDefault, GenerateName: "probe-",
				Annotations: map[string]string{"gridlatch.dev/delay-tolerant": "neither"},
			},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "probe", Image: "probe"}}},
		}
		if err := c.Client.Create(ctx, probe, client.DryRunAll); !apierrors.IsInvalid(err) {
			return fmt.Errorf("the webhook does not answer: a bad annotation gave %v", err) //nolint:errorlint // often nil
		}
		return nil
	})
}
