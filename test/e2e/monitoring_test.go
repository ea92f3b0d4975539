package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/test/gridserver"
)

// monitored is a cluster with the monitoring component, whose parts of Gridlatch run beside it, and a Prometheus.
type monitored struct {
	cluster    *env.Cluster
	controller *env.Controller
	parts      map[string]*env.Program // by PodMonitor
	prometheus *env.Prometheus
}

func newMonitored(t *testing.T) *monitored {
	t.Helper()
	env.RequirePrometheus(t)
	t.Parallel()
	c := env.Start(t, env.Nodes(2))
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	if err := c.InstallMonitoringAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.InstallKEDA(t.Context()); err != nil {
		t.Fatal(err)
	}
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.InstallWithDeployment(t.Context(), port, "monitoring", "keda"); err != nil {
		t.Fatal(err)
	}
	secure := secureFlag(t, c)
	certs := c.Certs(t, secure)
	m := &monitored{cluster: c, controller: c.Controller(t, port, secure, "--cert-dir=", "--deployment=gridlatch", "--ledger-interval=2s")} // certs runs already
	m.parts = map[string]*env.Program{"gridlatch": m.controller.Program, "gridlatch-certs": certs, "gridlatch-export": c.Exporter(t, secure)}
	env.Eventually(t, patience, c.AskWebhook)
	m.prometheus = c.Prometheus(t, m.parts)
	return m
}

// secureFlag returns the flag that the component gives to each part in a cluster.
func secureFlag(t *testing.T, c *env.Cluster) string {
	t.Helper()
	rendered, err := c.Kustomize(t.Context(), "resources: [MANIFESTS/base]\n"+env.Components("monitoring"))
	if err != nil {
		t.Fatal(err)
	}
	const flag = "--metrics-secure"
	if n := strings.Count(rendered, "- "+flag+"\n"); n != 3 {
		t.Errorf("%d parts have the flag %s, want 3", n, flag)
	}
	return flag
}

// await waits until a query returns series.
func (m *monitored) await(t *testing.T, query string) {
	t.Helper()
	env.Eventually(t, 4*patience, func(ctx context.Context) error {
		found, err := m.prometheus.Query(ctx, query)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("no series for %s", query)
		}
		return err
	})
}

// events makes what the metrics are about: work that is held and released, a provider, an object with a ceiling.
func (m *monitored) events(t *testing.T) {
	t.Helper()
	server := provider(t, gridserver.Behaviour{})
	providerPolicy(t, m.cluster, "britain", inBritain(server), v1alpha1.Location{Name: "GB"})
	ns := namespace(t, m.cluster)
	scaled := env.ScaledObject(ns, "web", 3, 50) // nobody scales it
	scaled.SetAnnotations(map[string]string{v1alpha1.CeilingsAnnotation: "200=20,*=1", v1alpha1.PolicyAnnotation: "britain"})
	create(t, m.cluster, env.Deployment(ns, "web"), scaled)
	m.accounts(t)
}

// accounts makes the accounts of work that was held, and of work that was audited: the work ends, and its actual
// intensities become known.
func (m *monitored) accounts(t *testing.T) {
	t.Helper()
	held, audited := namespace(t, m.cluster), namespace(t, m.cluster)
	change(t, m.cluster, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: audited}}, func(ns *corev1.Namespace) {
		ns.Labels[v1alpha1.AuditLabel] = v1alpha1.AuditAsking
	})
	const deadline = 90 * time.Second
	clean := dirtyThenClean(t, m.cluster, 30*time.Second)
	for _, ns := range []string{held, audited} {
		patient := job(ns, "patient", tolerant(v1alpha1.DeadlineAnnotation, deadline.String()), 2)
		patient.Spec.Template.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
		env.Eventually(t, patience, func(ctx context.Context) error { // until it is known that the namespace is audited
			probe := patient.DeepCopy()
			if err := m.cluster.Client.Create(ctx, probe, client.DryRunAll); err != nil {
				return err
			}
			if isAudited := probe.Labels[v1alpha1.StateLabel] == v1alpha1.StateAudited; isAudited != (ns == audited) {
				return fmt.Errorf("the state is %q", probe.Labels[v1alpha1.StateLabel])
			}
			return nil
		})
		create(t, m.cluster, patient)
	}
	created := time.Now()
	m.await(t, "policy:gridlatch_held_pods:sum > 0")
	awaitComplete(t, m.cluster, held, "patient")
	awaitComplete(t, m.cluster, audited, "patient")
	pause(t, time.Until(created.Add(deadline+5*time.Second))) // perfect foresight could have started as late
	now := time.Now()
	was := forecast.NewSeries([]forecast.Slot{
		{Start: clean.Add(-10 * time.Minute), End: clean, Intensity: 430}, {Start: clean, End: clean.Add(2 * time.Second), Intensity: 120},
		{Start: clean.Add(2 * time.Second), End: now, Intensity: 400},
	})
	document := forecast.Document{
		Issued: now, Actuals: map[string]*forecast.Series{location: was},
		Series:  map[string]*forecast.Series{location: forecast.NewSeries([]forecast.Slot{{Start: now, End: now.Add(2 * time.Hour), Intensity: 400}})},
		Details: map[string]forecast.Details{location: {Issued: now, Origin: forecast.Origin{Provider: "Test"}}},
	}
	if err := m.cluster.DeleteForecast(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := publishDocument(t.Context(), m.cluster, document); err != nil {
		t.Fatal(err)
	}
}

// selector is a metric with its labels in a query, such as gridlatch_reviews_total{outcome="busy"}.
var selector = regexp.MustCompile(`[a-z_:]*(?:gridlatch|apiserver)_[a-z0-9_:]+(?:\{[^}]*\})?`)

// queries returns all queries of the shipped rules and of the dashboard that return series where Gridlatch is healthy. Of
// an alert, these are the metrics that its expression names.
func queries(t *testing.T) []string {
	t.Helper()
	const dir = "../../manifests/components/monitoring/"
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Record, Expr string }
		}
	}
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	rulesText, err := os.ReadFile(dir + "rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(rulesText, &rules); err != nil {
		t.Fatal(err)
	}
	dashboardText, err := os.ReadFile(dir + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(dashboardText, &dashboard); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, group := range rules.Groups {
		for _, r := range group.Rules {
			if r.Record != "" {
				all = append(all, r.Record, r.Expr)
			} else {
				all = append(all, selector.FindAllString(r.Expr, -1)...)
			}
		}
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			all = append(all, strings.NewReplacer("$policy", ".*", "$__rate_interval", "1m").Replace(target.Expr))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestPrometheusSeesAllThatRulesAndDashboardAskFor(t *testing.T) {
	m := newMonitored(t)
	m.expectRefusals(t)
	m.events(t)
	m.await(t, `up{job="apiserver"} == 1`)
	for name := range m.parts {
		m.await(t, `up{job="`+env.Namespace+`/`+name+`"} == 1`)
	}

	// An alert of each source: a location without a forecast, a forecast that is broken, a webhook that does not answer.
	nowhere := v1alpha1.Default()
	nowhere.Name, nowhere.Spec.Locations = "nowhere", []v1alpha1.Location{{Name: "NOWHERE"}}
	create(t, m.cluster, nowhere)
	m.await(t, `ALERTS{alertname="GridlatchNoForecast",alertstate="firing",policy="nowhere",location="NOWHERE"}`)
	if firing, err := m.prometheus.Query(t.Context(), `ALERTS{alertname=~"GridlatchDown|GridlatchHoldsNothing|GridlatchWorkOverdue|GridlatchCertificateNearExpiry"}`); err != nil || len(firing) > 0 {
		t.Errorf("alerts of a healthy Gridlatch: %v %v", firing, err)
	}
	missing := m.missing(t)
	if err := m.cluster.ForecastData(t.Context(), []byte("broken")); err != nil {
		t.Fatal(err)
	}
	m.await(t, `ALERTS{alertname="GridlatchForecastBroken",alertstate="firing"}`)

	if err := m.controller.Stop(); err != nil {
		t.Fatal(err)
	}
	m.await(t, `ALERTS{alertname="GridlatchDown",alertstate="firing",severity="critical"}`)
	ns := namespace(t, m.cluster)
	const unanswered = `apiserver_admission_webhook_fail_open_count{name="pods.gridlatch.dev"}`
	create(t, m.cluster, pod(ns, "first", tolerant()))
	m.await(t, unanswered)
	create(t, m.cluster, pod(ns, "second", tolerant()))
	m.await(t, `ALERTS{alertname="GridlatchWebhookUnreachable",alertstate="firing",name="pods.gridlatch.dev"}`)
	for _, query := range missing {
		if !strings.Contains(query, "fail_open_count") {
			t.Errorf("no series for %s", query)
			continue
		}
		m.await(t, query)
	}
}

// missing returns the queries that return nothing, after some patience.
func (m *monitored) missing(t *testing.T) []string {
	t.Helper()
	all := queries(t)
	if len(all) < 50 {
		t.Fatalf("only %d queries are found", len(all))
	}
	deadline := time.Now().Add(4 * patience)
	for {
		all = slices.DeleteFunc(all, func(query string) bool {
			found, err := m.prometheus.Query(t.Context(), query)
			if err != nil {
				t.Errorf("%s: %v", query, err)
			}
			return err != nil || len(found) > 0
		})
		if len(all) <= 1 || time.Now().After(deadline) {
			return all
		}
		time.Sleep(time.Second)
	}
}

// expectRefusals scrapes each part without a token, with one of an account without the right, and without TLS.
func (m *monitored) expectRefusals(t *testing.T) {
	t.Helper()
	stranger, err := m.cluster.ServiceAccountConfig(t.Context(), corev1.NamespaceDefault, "default")
	if err != nil {
		t.Fatal(err)
	}
	reader, err := m.cluster.ServiceAccountConfig(t.Context(), env.Namespace, "gridlatch-metrics")
	if err != nil {
		t.Fatal(err)
	}
	anybody := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer anybody.CloseIdleConnections()
	for name, part := range m.parts {
		for what, tt := range map[string]struct {
			scheme, token string
			want          int
		}{
			"with the token of the reader":                   {"https://", reader.BearerToken, http.StatusOK},
			"without a token":                                {"https://", "", http.StatusUnauthorized},
			"with a forged token":                            {"https://", reader.BearerToken + "x", http.StatusUnauthorized},
			"with a token of an account without the right":   {"https://", stranger.BearerToken, http.StatusForbidden},
			"without TLS, even with the token of the reader": {"http://", reader.BearerToken, http.StatusBadRequest},
		} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tt.scheme+strings.TrimPrefix(part.Metrics, "http://")+"/metrics", nil)
			if err != nil {
				t.Fatal(err)
			}
			if tt.token != "" {
				request.Header.Set("Authorization", "Bearer "+tt.token)
			}
			response, err := anybody.Do(request)
			if err != nil {
				t.Errorf("%s %s: %v", name, what, err)
				continue
			}
			_ = response.Body.Close()
			if response.StatusCode != tt.want {
				t.Errorf("%s %s: status %d, want %d", name, what, response.StatusCode, tt.want)
			}
		}
	}
}
