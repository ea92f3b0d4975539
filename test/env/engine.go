package env

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// An engine is a controller of batch work with webhooks of its own, which reads its settings from a file.
type engine struct {
	// program is the path of the program below bin, and manifests that of a file with all that its makers have a cluster
	// install.
	program, manifests string
	// hosts are the names, besides localhost, that its certificate is for.
	hosts []string
	// settings returns what its file says.
	settings func(engineSite) string
}

// An engineSite is where an engine runs: beside a cluster.
type engineSite struct {
	// dir is the engine's own, also for temporary files.
	dir string
	// certificates is the directory with its certificate and its key, where controller-runtime looks for them unless it
	// is told otherwise.
	certificates string
	// port is where its webhooks are called.
	port int
	// metrics and probes are the addresses on which it serves them.
	metrics, probes string
}

// runEngine installs an engine and runs it as the cluster's administrator, until it is stopped or this process ends. It
// returns when the engine is ready. log is as for RunController.
func (c *Cluster) runEngine(ctx context.Context, e engine, log string) (*Program, error) {
	p, err := program(e.program)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(filepath.Dir(c.Kubeconfig), filepath.Base(e.program))
	site := engineSite{
		dir: dir, certificates: filepath.Join(dir, "k8s-webhook-server", "serving-certs"),
		metrics: address(p.Metrics), probes: address(p.Probes),
	}
	if site.port, err = ReservePort(); err != nil {
		return nil, err
	}
	if _, err := writeRSACertificate(site.certificates, append([]string{"localhost"}, e.hosts...)...); err != nil {
		return nil, err
	}
	if err := c.installEngine(ctx, e, site); err != nil {
		return nil, err
	}
	settings := filepath.Join(dir, "settings.yaml")
	if err := os.WriteFile(settings, []byte(e.settings(site)), 0o600); err != nil {
		return nil, fmt.Errorf("write settings: %w", err)
	}
	p.cmd.Args = append(p.cmd.Args, "--config="+settings)
	p.cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "TMPDIR="+dir)
	// It would go on without a cluster, as KEDA would.
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return p, p.start(ctx, log)
}

// installEngine applies what an engine's makers ship of these: its CustomResourceDefinitions, the configurations of its
// webhooks, which are called beside the cluster, and the Secret of its certificate with its namespace. It returns when the
// definitions are served.
func (c *Cluster) installEngine(ctx context.Context, e engine, site engineSite) error {
	shipped, err := readManifests(filepath.Join("bin", e.manifests))
	if err != nil {
		return fmt.Errorf("%w (is it there? make bin/%s)", err, e.program)
	}
	certificate, err := site.readCertificate()
	if err != nil {
		return err
	}
	var chosen strings.Builder
	var definitions []string
	for _, object := range shipped {
		switch object.GetKind() {
		case "CustomResourceDefinition", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
			callBeside(object.Object, site.port, certificate["ca.crt"])
			if object.GetKind() == "CustomResourceDefinition" {
				definitions = append(definitions, "crd/"+object.GetName())
			}
		case "Secret":
			object.Object["data"] = certificate
		case "Namespace":
		default:
			continue
		}
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			return fmt.Errorf("write manifests: %w", err)
		}
		chosen.WriteString("---\n" + string(text))
	}
	// On the server's side: some are too large for the annotation of the client's.
	if _, err := c.KubectlInput(ctx, chosen.String(), "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		return err
	}
	return c.awaitDefinitions(ctx, definitions...)
}

// readCertificate returns the certificate of an engine as the data of a Secret. It has signed itself.
func (s engineSite) readCertificate() (map[string]any, error) {
	data := map[string]any{}
	for _, name := range []string{"crt", "key"} {
		content, err := os.ReadFile(filepath.Join(s.certificates, "tls."+name))
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		encoded := base64.StdEncoding.EncodeToString(content)
		data["tls."+name], data["ca."+name] = encoded, encoded
	}
	return data, nil
}

// readManifests reads the objects in a file of the source tree.
func readManifests(path string) ([]*unstructured.Unstructured, error) {
	root, err := sourceTree()
	if err != nil {
		return nil, err
	}
	file, err := os.Open(filepath.Join(root, path))
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	defer file.Close()
	var objects []*unstructured.Unstructured
	for decoder := utilyaml.NewYAMLOrJSONDecoder(file, 4096); ; {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// callBeside has whatever part of an object would call a Service call a port of the loopback interface. ca is encoded; nil if
// somebody else writes it.
func callBeside(part any, port int, ca any) {
	switch part := part.(type) {
	case []any:
		for _, item := range part {
			callBeside(item, port, ca)
		}
	case map[string]any:
		if path, ok, _ := unstructured.NestedString(part, "clientConfig", "service", "path"); ok {
			called := map[string]any{"url": fmt.Sprintf("https://localhost:%d%s", port, path)}
			if ca != nil {
				called["caBundle"] = ca
			}
			part["clientConfig"] = called
			// The API server passes over our webhook when the time is up, and then the work is not held. All programs of a
			// test share one busy machine, so they get more time than in a cluster.
			if _, limited := part["timeoutSeconds"]; limited {
				part["timeoutSeconds"] = 20
			}
			return
		}
		for _, item := range part {
			callBeside(item, port, ca)
		}
	}
}
