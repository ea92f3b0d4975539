package manifests_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

const (
	monitoring = "components/monitoring"
	rulesFile  = monitoring + "/rules.yaml"
	rulesTests = "testdata/monitoring.yaml"
)

// ruleObject is what prometheusrule.yaml has before the rules.
const ruleObject = `# Generated from rules.yaml by go test ./manifests -update. DO NOT EDIT.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: gridlatch
  namespace: gridlatch-system
  labels:
    app.kubernetes.io/name: gridlatch
    app.kubernetes.io/part-of: gridlatch
    app.kubernetes.io/component: monitoring
spec:
`

// A rule is an alert or a record.
type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

func ruleGroups(t *testing.T) [][]rule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	unmarshal(t, rulesFile, &file)
	groups := make([][]rule, len(file.Groups))
	for i, group := range file.Groups {
		groups[i] = group.Rules
	}
	return groups
}

func rules(t *testing.T) []rule { return slices.Concat(ruleGroups(t)...) }

func unmarshal(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestThePrometheusRuleIsMadeFromTheRules(t *testing.T) {
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	_, groups, ok := strings.Cut(string(text), "\ngroups:\n")
	if !ok {
		t.Fatalf("%s has no groups", rulesFile)
	}
	want := ruleObject
	for line := range strings.Lines("groups:\n" + groups) {
		if line != "\n" {
			line = "  " + line
		}
		want += line
	}
	expect(t, monitoring+"/prometheusrule.yaml", want)
}

func TestEveryAlertSaysWhatAUserNeeds(t *testing.T) {
	const runbook = "https://github.com/gridlatch/gridlatch/blob/main/docs/operations.md#"
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		if seen[r.Alert] {
			t.Errorf("there are two alerts %s", r.Alert)
		}
		seen[r.Alert] = true
		if !slices.Contains([]string{"critical", "warning"}, r.Labels["severity"]) {
			t.Errorf("%s: severity %q, want critical or warning", r.Alert, r.Labels["severity"])
		}
		for _, key := range []string{"summary", "description"} {
			if !strings.HasSuffix(r.Annotations[key], ".") {
				t.Errorf("%s: %s %q, want sentences", r.Alert, key, r.Annotations[key])
			}
		}
		if got, want := r.Annotations["runbook_url"], runbook+strings.ToLower(r.Alert); got != want {
			t.Errorf("%s: runbook_url %q, want %q", r.Alert, got, want)
		}
		if !strings.Contains(string(page), "\n### "+r.Alert+"\n") {
			t.Errorf("docs/operations.md has no entry %s", r.Alert)
		}
	}
}

// Prometheus evaluates the rules of a group in order, and groups in any order.
func TestNoRuleReadsARecordThatComesLater(t *testing.T) {
	for _, group := range ruleGroups(t) {
		known := map[string]bool{}
		for _, r := range group {
			for _, other := range rules(t) {
				if other.Record != "" && strings.Contains(r.Expr, other.Record) && !known[other.Record] {
					t.Errorf("%s reads %s, which is not recorded before it in the same group", r.Alert+r.Record, other.Record)
				}
			}
			known[r.Record] = true
		}
	}
}

func TestEveryAlertIsTestedFiringAndNotFiring(t *testing.T) {
	var file struct {
		Tests []struct {
			Alerts []struct {
				Name     string `json:"alertname"`
				Expected []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	unmarshal(t, rulesTests, &file)
	type outcome struct {
		alert string
		fires bool
	}
	tested := map[outcome]bool{}
	for _, test := range file.Tests {
		for _, alert := range test.Alerts {
			tested[outcome{alert.Name, len(alert.Expected) > 0}] = true
		}
	}
	for _, r := range rules(t) {
		for _, fires := range []bool{true, false} {
			if r.Alert != "" && !tested[outcome{r.Alert, fires}] {
				t.Errorf("%s has no test %s in which it fires: %v", rulesTests, r.Alert, fires)
			}
		}
	}
}

func TestPromtoolAcceptsTheRules(t *testing.T) {
	promtool := findPromtool(t)
	for _, args := range [][]string{{"check", "rules", rulesFile}, {"test", "rules", rulesTests}} {
		if printed, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, printed)
		}
	}
}

// TestThePageConfiguresAPrometheusWithoutTheOperator checks the configuration with promtool, and compares it with what
// the operator makes of the PodMonitors.
func TestThePageConfiguresAPrometheusWithoutTheOperator(t *testing.T) {
	page, err := os.ReadFile("../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?m)^```yaml\n(rule_files: (?:[^`].*\n)+)```\n").FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/monitoring.md has no configuration")
	}
	monitors, err := os.ReadFile(monitoring + "/podmonitors.yaml")
	if err != nil {
		t.Fatal(err)
	}
	jobs := regexp.MustCompile(`job_name: (\S+)`)
	selected := regexp.MustCompile(`matchLabels: {app.kubernetes.io/name: (\S+)}`)
	servers := regexp.MustCompile(`server_?[nN]ame: ([a-z.-]+)`)
	if diff := cmp.Diff(firstWords(selected, monitors), firstWords(jobs, block[1])); diff != "" {
		t.Errorf("jobs (-PodMonitors +page):\n%s", diff)
	}
	if diff := cmp.Diff(firstWords(servers, monitors), firstWords(servers, block[1])); diff != "" {
		t.Errorf("names of servers (-PodMonitors +page):\n%s", diff)
	}
	// Debian builds Prometheus without the service discovery of Kubernetes.
	config := regexp.MustCompile("kubernetes_sd_configs: .*").ReplaceAll(block[1], []byte("static_configs: []"))
	file := filepath.Join(t.TempDir(), "prometheus.yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	if printed, err := exec.Command(findPromtool(t), "check", "config", "--syntax-only", file).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, printed)
	}
}

// firstWords returns what the group of an expression matches in a text.
func firstWords(expression *regexp.Regexp, text []byte) []string {
	var all []string
	for _, found := range expression.FindAllSubmatch(text, -1) {
		all = append(all, string(found[1]))
	}
	return all
}

// findPromtool returns the path of promtool. Without promtool, the test is skipped, and fails in CI.
func findPromtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("../bin/prometheus/promtool")
	if err == nil {
		if path, err = filepath.Abs(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if path, err = exec.LookPath("promtool"); err == nil {
		return path
	}
	if os.Getenv("CI") != "" || os.Getenv("GRIDLATCH_PROMETHEUS") == "required" {
		t.Fatal("promtool is missing: make bin/prometheus/prometheus")
	}
	t.Skip("promtool is missing: make bin/prometheus/prometheus")
	return ""
}

// A panel is a part of the dashboard.
type panel struct {
	ID          int
	Type, Title string
	Datasource  struct{ UID string }
	GridPos     area
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct {
		Expr, LegendFormat string
		Datasource         struct{ UID string }
	}
}

// area is where a panel is, in columns and rows.
type area struct{ X, Y, W, H int }

func (a area) overlaps(b area) bool {
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

func TestTheDashboardIsWhole(t *testing.T) {
	text, err := os.ReadFile(monitoring + "/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		UID, Title string
		Templating struct{ List []struct{ Name, Type string } }
		Panels     []panel
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.UID == "" || dashboard.Title == "" || len(dashboard.Panels) == 0 {
		t.Error("want a uid, a title and panels")
	}
	if first := dashboard.Templating.List[0]; first.Name != "datasource" || first.Type != "datasource" {
		t.Errorf("the first variable is %v, want the data source", first)
	}
	ids := map[int]bool{}
	for i, p := range dashboard.Panels {
		if err := p.check(); err != nil {
			t.Errorf("panel %d %q: %v", p.ID, p.Title, err)
		}
		if ids[p.ID] {
			t.Errorf("there are two panels %d", p.ID)
		}
		ids[p.ID] = true
		for _, before := range dashboard.Panels[:i] {
			if p.GridPos.overlaps(before.GridPos) {
				t.Errorf("the panels %q and %q overlap", before.Title, p.Title)
			}
		}
	}
}

// check returns what is wrong with a panel.
func (p panel) check() error {
	at := p.GridPos
	switch {
	case p.Title == "":
		return errors.New("want a title")
	case at.W < 1 || at.H < 1 || at.X < 0 || at.X+at.W > 24:
		return errors.New("want an area within 24 columns")
	case p.Type == "row":
		return nil
	case p.FieldConfig.Defaults.Unit == "":
		return errors.New("want a unit")
	case p.Datasource.UID != "${datasource}" || len(p.Targets) == 0:
		return errors.New("want queries to ${datasource}")
	}
	for _, target := range p.Targets {
		if target.Expr == "" || target.LegendFormat == "" || target.Datasource.UID != "${datasource}" {
			return errors.New("want an expression, a legend and ${datasource} for each query")
		}
	}
	return nil
}
