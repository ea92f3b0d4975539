package env

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

const (
	prometheus       = "prometheus/prometheus"
	prometheusConfig = "prometheus.yml"
)

// A Prometheus scrapes the parts of Gridlatch every two seconds, and the API server every eight. It evaluates the shipped rules. Alerts
// fire at once, and not after their time.
type Prometheus struct{ *Program }

// InstallMonitoringAPI applies the CustomResourceDefinitions of the operator of Prometheus, and returns when they are
// served.
func (c *Cluster) InstallMonitoringAPI(ctx context.Context) error {
	return c.installDefinitions(ctx, prometheus)
}

// Prometheus runs a Prometheus for as long as the test. It scrapes programs as the installed PodMonitors say, which are
// the keys, and with the secrets that these name. The test is skipped without Prometheus, but fails in CI.
func (c *Cluster) Prometheus(t testing.TB, scraped map[string]*Program) *Prometheus {
	t.Helper()
	dir := t.TempDir()
	return during(t, func(ctx context.Context, log string) (*Prometheus, error) {
		if err := c.configurePrometheus(ctx, dir, scraped); err != nil {
			return nil, err
		}
		return runPrometheus(ctx, dir, log)
	})
}

// PrometheusOf runs a Prometheus for as long as the test. It scrapes targets, such as 127.0.0.1:9100, every quarter of a second, and has no
// rules. The test is skipped without Prometheus, but fails in CI.
func PrometheusOf(t testing.TB, targets ...string) *Prometheus {
	t.Helper()
	RequirePrometheus(t)
	dir := t.TempDir()
	return during(t, func(ctx context.Context, log string) (*Prometheus, error) {
		if err := writeYAML(filepath.Join(dir, prometheusConfig), map[string]any{
			"global":         map[string]any{"scrape_interval": "250ms", "scrape_timeout": "250ms"},
			"scrape_configs": []any{map[string]any{"job_name": "targets", "static_configs": []any{map[string]any{"targets": targets}}}},
		}); err != nil {
			return nil, err
		}
		return runPrometheus(ctx, dir, log)
	})
}

// runPrometheus runs the Prometheus that is configured in a directory.
func runPrometheus(ctx context.Context, dir, log string) (*Prometheus, error) {
	p, err := program(prometheus, "--config.file="+filepath.Join(dir, prometheusConfig), "--storage.tsdb.path="+filepath.Join(dir, "data"))
	if err != nil {
		return nil, err
	}
	p.cmd.Args = append(p.cmd.Args, "--web.listen-address="+address(p.Metrics))
	p.ready = answers(p.Metrics + "/-/ready")
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return &Prometheus{p}, p.start(ctx, log)
}

// writeYAML writes a value into a file.
func writeYAML(path string, content any) error {
	text, err := yaml.Marshal(content)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("configure Prometheus: %w", err)
	}
	return nil
}

// RequirePrometheus skips a test without Prometheus, and fails it in CI.
func RequirePrometheus(t testing.TB) {
	t.Helper()
	root, err := sourceTree()
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(filepath.Join(root, "bin", prometheus))
	switch {
	case err == nil:
	case os.Getenv("CI") != "" || os.Getenv("GRIDLATCH_PROMETHEUS") == "required":
		t.Fatalf("Prometheus is missing: make bin/%s", prometheus)
	default:
		t.Skipf("Prometheus is missing: make bin/%s", prometheus)
	}
}

func (c *Cluster) configurePrometheus(ctx context.Context, dir string, scraped map[string]*Program) error {
	rules, err := rulesAtOnce()
	if err != nil {
		return err
	}
	apiServer, err := c.scrapeAPIServer(dir)
	if err != nil {
		return err
	}
	jobs := []any{apiServer}
	for name, p := range scraped {
		job, err := c.scrapeJob(ctx, dir, name, address(p.Metrics))
		if err != nil {
			return err
		}
		jobs = append(jobs, job)
	}
	for name, content := range map[string]any{
		"rules.yml": rules,
		prometheusConfig: map[string]any{
			"global":         map[string]any{"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
			"rule_files":     []string{"rules.yml"},
			"scrape_configs": jobs,
		},
	} {
		if err := writeYAML(filepath.Join(dir, name), content); err != nil {
			return err
		}
	}
	return nil
}

// rulesAtOnce returns the shipped rules without the time that an alert waits.
func rulesAtOnce() (map[string]any, error) {
	root, err := sourceTree()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(root, "manifests", "components", "monitoring", "rules.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	var file struct {
		Groups []struct {
			Name  string           `json:"name"`
			Rules []map[string]any `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			delete(rule, "for")
		}
	}
	return map[string]any{"groups": file.Groups}, nil
}

// scrapeAPIServer returns how to scrape the API server as the cluster's administrator.
func (c *Cluster) scrapeAPIServer(dir string) (map[string]any, error) {
	target, err := url.Parse(c.Config.Host)
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	for name, data := range map[string][]byte{"apiserver.crt": c.Config.CAData, "admin-token": []byte(c.Config.BearerToken)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return nil, fmt.Errorf("configure Prometheus: %w", err)
		}
	}
	return map[string]any{
		"job_name": "apiserver", "scheme": "https", "scrape_interval": "8s", "scrape_timeout": "8s", // it has many metrics
		"static_configs": []any{map[string]any{"targets": []string{target.Host}}},
		"tls_config":     map[string]any{"ca_file": "apiserver.crt"},
		"authorization":  map[string]any{"credentials_file": "admin-token"},
	}, nil
}

// scrapeJob returns how an installed PodMonitor has the operator of Prometheus scrape a pod, with the pod at a target.
func (c *Cluster) scrapeJob(ctx context.Context, dir, name, target string) (map[string]any, error) {
	installed := &unstructured.Unstructured{}
	installed.SetAPIVersion("monitoring.coreos.com/v1")
	installed.SetKind("PodMonitor")
	if err := c.Client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: name}, installed); err != nil {
		return nil, fmt.Errorf("read PodMonitor %s: %w", name, err)
	}
	text, err := installed.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("read PodMonitor %s: %w", name, err)
	}
	var monitor struct {
		Spec struct {
			Endpoints []struct {
				Scheme        string
				Authorization struct{ Credentials secretKey }
				TLS           struct {
					CA                 struct{ Secret *secretKey }
					ServerName         string
					InsecureSkipVerify bool
				} `json:"tlsConfig"`
			} `json:"podMetricsEndpoints"`
		}
	}
	if err := json.Unmarshal(text, &monitor); err != nil || len(monitor.Spec.Endpoints) != 1 {
		return nil, fmt.Errorf("read PodMonitor %s: %d endpoints, %w", name, len(monitor.Spec.Endpoints), err)
	}
	endpoint := monitor.Spec.Endpoints[0]
	token, err := c.writeSecret(ctx, dir, endpoint.Authorization.Credentials)
	if err != nil {
		return nil, err
	}
	secure := map[string]any{"server_name": endpoint.TLS.ServerName, "insecure_skip_verify": endpoint.TLS.InsecureSkipVerify}
	if ca := endpoint.TLS.CA.Secret; ca != nil {
		if secure["ca_file"], err = c.writeSecret(ctx, dir, *ca); err != nil {
			return nil, err
		}
	}
	return map[string]any{
		"job_name": Namespace + "/" + name, "scheme": endpoint.Scheme, "tls_config": secure,
		"authorization":  map[string]any{"credentials_file": token},
		"static_configs": []any{map[string]any{"targets": []string{target}}},
	}, nil
}

// secretKey names a value in a Secret.
type secretKey struct{ Name, Key string }

// writeSecret writes a value of a Secret in the namespace of Gridlatch into a file, as soon as the value is there.
func (c *Cluster) writeSecret(ctx context.Context, dir string, from secretKey) (string, error) {
	file := from.Name + "-" + from.Key
	err := Poll(ctx, func(ctx context.Context) error {
		var secret corev1.Secret
		if err := c.Client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: from.Name}, &secret); err != nil {
			return fmt.Errorf("read Secret %s: %w", from.Name, err)
		}
		if len(secret.Data[from.Key]) == 0 {
			return fmt.Errorf("the Secret %s has no %s", from.Name, from.Key)
		}
		return os.WriteFile(filepath.Join(dir, file), secret.Data[from.Key], 0o600)
	})
	return file, err
}

// A Series is one of the series that a query returns: its labels, and its value as text.
type Series struct {
	Labels map[string]string
	Value  string
}

// Query returns what a query returns now.
func (p *Prometheus) Query(ctx context.Context, query string) ([]Series, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	text, err := get(ctx, p.Metrics+"/api/v1/query?"+url.Values{"query": {query}}.Encode())
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("query %s: %w", query, err)
	}
	var found []Series
	for _, r := range answer.Data.Result {
		found = append(found, Series{r.Metric, fmt.Sprint(r.Value[1])})
	}
	return found, nil
}
