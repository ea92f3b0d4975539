package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ceiling"
	"github.com/gridlatch/gridlatch/certs"
	"github.com/gridlatch/gridlatch/exporter"
	"github.com/gridlatch/gridlatch/extender"
	"github.com/gridlatch/gridlatch/feed"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/gating/widen"
	"github.com/gridlatch/gridlatch/leaving"
	"github.com/gridlatch/gridlatch/ledger/keep"
	"github.com/gridlatch/gridlatch/nodegroup"
	"github.com/gridlatch/gridlatch/nodepool"
	"github.com/gridlatch/gridlatch/serving"
	"github.com/gridlatch/gridlatch/trigger/scaler"
	"github.com/gridlatch/gridlatch/webhook"
)

var (
	wholeKey    = regexp.MustCompile(`^gridlatch\.dev/[a-z]+(-[a-z]+)*$`)
	keyInText   = regexp.MustCompile(`(?:^|[^a-z.])(gridlatch\.dev/[a-z]+(?:-[a-z]+)*)`)
	wholeMetric = regexp.MustCompile(`^(gridlatch|carbon_aware_keda_scaler)_[a-z0-9]+(_[a-z0-9]+)*$`)
	metricText  = regexp.MustCompile(`(?:gridlatch|carbon_aware_keda_scaler)_[a-z0-9]+(?:_[a-z0-9]+)+`)
	wholeReason = regexp.MustCompile(`^[A-Z][A-Za-z]+$`)
)

// keys returns every key of Gridlatch that the program or a manifest reads or writes.
func keys(t *testing.T) set {
	t.Helper()
	found := set{}
	for text := range read(t).texts() {
		if wholeKey.MatchString(text) {
			found[text] = true
		}
	}
	manifests, err := filepath.Glob(filepath.Join(top, "manifests/*/*.yaml"))
	components, alsoErr := filepath.Glob(filepath.Join(top, "manifests/components/*/*.yaml"))
	if err != nil || alsoErr != nil || len(manifests) == 0 || len(components) == 0 {
		t.Fatal("no manifests", err, alsoErr)
	}
	for _, path := range append(manifests, components...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keysIn(string(text)) {
			found[key] = true
		}
	}
	return found
}

// keysIn returns the keys of Gridlatch that a text names.
func keysIn(text string) []string {
	var found []string
	for _, key := range keyInText.FindAllStringSubmatch(text, -1) {
		if key[1] != "gridlatch.dev/v" { // gridlatch.dev/v1alpha1 is the version of the API
			found = append(found, key[1])
		}
	}
	return found
}

func TestTheAnnotationsPageHasEveryKey(t *testing.T) {
	onPage := set{}
	for _, title := range []string{
		"What users write", "What users read", "On objects of KEDA: what users write", "On objects of KEDA: what users read",
		"On Jobs that run wider: what users write", "On Jobs that run wider: what users read",
		"On NodePools of Karpenter: what users write", "On NodePools of Karpenter: what users read",
		"On the ConfigMap of Cluster Autoscaler: what users read",
		"On nodes and namespaces", "In node selectors", "Resources", "On objects of Gridlatch",
	} {
		for key := range column(t, "docs/annotations.md", title) {
			onPage[v1alpha1.Prefix+key] = true
		}
	}
	if diff := cmp.Diff(keys(t).sorted(), onPage.sorted()); diff != "" {
		t.Errorf("keys in docs/annotations.md (-code +page):\n%s", diff)
	}
}

func TestNoPageNamesAKeyThatIsNotThere(t *testing.T) {
	known := keys(t)
	for name, text := range pages(t) {
		for _, key := range keysIn(text) {
			if !known[key] {
				t.Errorf("%s names %s, which no code reads or writes", name, key)
			}
		}
	}
}

// A metric is what its description says.
type metric struct{ name, kind, labels, help string }

// recorder is a registry that remembers what is registered.
type recorder struct{ collectors []prometheus.Collector }

// Register implements prometheus.Registerer.
func (r *recorder) Register(c prometheus.Collector) error {
	r.MustRegister(c)
	return nil
}

// MustRegister implements prometheus.Registerer.
func (r *recorder) MustRegister(all ...prometheus.Collector) {
	r.collectors = append(r.collectors, all...)
}

// Unregister implements prometheus.Registerer.
func (r *recorder) Unregister(prometheus.Collector) bool { return false }

// metrics returns every metric that the program registers.
func metrics(t *testing.T) []metric {
	t.Helper()
	r := &recorder{}
	gating.NewMetrics(r)
	gating.NewSwitch(nil, "", clock.RealClock{}, r)
	gating.NewClock(clock.RealClock{}, r)
	leaving.NewKeeper(leaving.Installation{}, nil, "", nil, r)
	webhook.NewMetrics(r)
	extender.NewMetrics(r)
	scaler.NewMetrics(r)
	serving.NewMetrics(r, clock.RealClock{}.Now)
	ceiling.NewMetrics(r)
	nodepool.NewMetrics(r)
	nodegroup.NewMetrics(r)
	widen.NewMetrics(r)
	keep.NewMetrics(r)
	exporter.NewMetrics(r)
	r.MustRegister(&feed.GridCollector{}, &exporter.Exporter{}, &certs.ExpiryCollector{})
	var found []metric
	for _, collector := range r.collectors {
		descriptions := make(chan *prometheus.Desc)
		go func() {
			defer close(descriptions)
			collector.Describe(descriptions)
		}()
		for d := range descriptions {
			found = append(found, describe(t, collector, d))
		}
	}
	slices.SortFunc(found, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return found
}

var description = regexp.MustCompile(`^Desc\{fqName: "(.*)", help: "(.*)", unit: ".*", constLabels: \{\}, variableLabels: \{(.*)\}\}$`)

func describe(t *testing.T, collector prometheus.Collector, d *prometheus.Desc) metric {
	t.Helper()
	parts := description.FindStringSubmatch(d.String())
	if parts == nil {
		t.Fatalf("a description of another form: %s", d)
	}
	kind := "gauge"
	switch collector.(type) {
	case *prometheus.CounterVec, prometheus.Counter:
		kind = "counter"
	case *prometheus.HistogramVec, prometheus.Histogram:
		kind = "histogram"
	}
	if _, ok := collector.(prometheus.Gauge); ok { // a Gauge has all that a Counter has
		kind = "gauge"
	}
	labels := "–"
	if parts[3] != "" {
		labels = "`" + strings.ReplaceAll(parts[3], ",", "`, `") + "`"
	}
	return metric{name: parts[1], kind: kind, labels: labels, help: strings.ReplaceAll(parts[2], `\"`, `"`)}
}

func TestTheMetricsPageHasEveryMetric(t *testing.T) {
	const name = "docs/metrics.md"
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	registered := set{}
	for _, m := range metrics(t) {
		registered[m.name] = true
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, m.labels, m.help)
	}
	expect(t, name, generated(t, name, "metrics", b.String()))
	inCode := set{}
	for text := range read(t).texts() {
		if wholeMetric.MatchString(text) {
			inCode[text] = true
		}
	}
	if diff := cmp.Diff(inCode.sorted(), registered.sorted()); diff != "" {
		t.Errorf("the test does not register every metric of the program (-code +registered):\n%s", diff)
	}
}

func orDash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

func TestTheMonitoringPageHasEveryAlert(t *testing.T) {
	const name = "docs/monitoring.md"
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, For          string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(page(t, "manifests/components/monitoring/rules.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| alert | severity | for | meaning |\n|---|---|---|---|\n")
	for _, group := range file.Groups {
		for _, r := range group.Rules {
			if r.Alert == "" {
				continue
			}
			fmt.Fprintf(&b, "| [%s](operations.md#%s) | %s | %s | %s |\n", r.Alert, strings.ToLower(r.Alert), r.Labels["severity"], orDash(r.For), r.Annotations["summary"])
		}
	}
	expect(t, name, generated(t, name, "alerts", b.String()))
}

func TestNoPageNamesAMetricThatIsNotThere(t *testing.T) {
	known := set{}
	for _, m := range metrics(t) {
		known[m.name] = true
		if m.kind == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				known[m.name+suffix] = true
			}
		}
	}
	for name, text := range pages(t) {
		for _, found := range metricText.FindAllString(text, -1) {
			if !known[found] {
				t.Errorf("%s names %s, which is no metric", name, found)
			}
		}
	}
}

func TestTheMetricsPageHasEveryCause(t *testing.T) {
	causes := read(t).of(module + "/plan.Cause")
	if diff := cmp.Diff(causes.sorted(), column(t, "docs/metrics.md", "Causes").sorted()); diff != "" {
		t.Errorf("causes in docs/metrics.md (-code +page):\n%s", diff)
	}
}

func TestTheEventsPageHasEveryEvent(t *testing.T) {
	code := read(t)
	events := code.arguments("Announce", 2)
	for _, reason := range code.constants("Event") {
		events[reason] = true
	}
	onPage := column(t, "docs/events.md", "Events on work and on policies")
	for _, title := range []string{"Events on Jobs that run wider", "Events on objects of KEDA", "Events on NodePools of Karpenter", "Events on node groups of Cluster Autoscaler", "Events on CarbonAwareKedaScalers"} {
		for reason := range column(t, "docs/events.md", title) {
			onPage[reason] = true
		}
	}
	if diff := cmp.Diff(events.sorted(), onPage.sorted()); diff != "" {
		t.Errorf("Events in docs/events.md (-code +page):\n%s", diff)
	}
}

func TestTheEventsPageHasEveryCondition(t *testing.T) {
	for api, titles := range map[string][]string{
		module + "/api/v1alpha1":             {"Ready", "ForecastUsable", "ReleasesFailing"},
		module + "/api/carbonaware/v1alpha1": {"OperatorDegraded"},
	} {
		code, onPage := set{}, set{}
		for name, condition := range read(t).constants("Condition") {
			if strings.HasPrefix(name, api+".") {
				code[condition] = true
			}
		}
		if diff := cmp.Diff(code.sorted(), slices.Sorted(slices.Values(titles))); diff != "" {
			t.Errorf("conditions of %s (-code +expected here):\n%s", api, diff)
		}
		reasons := set{}
		for name, reason := range read(t).constants("Reason") {
			if strings.HasPrefix(name, api+".") && wholeReason.MatchString(reason) {
				reasons[reason] = true
			}
		}
		for _, title := range titles {
			for reason := range column(t, "docs/events.md", title) {
				onPage[reason] = true
			}
		}
		if diff := cmp.Diff(reasons.sorted(), onPage.sorted()); diff != "" {
			t.Errorf("reasons of the conditions of %s in docs/events.md (-code +page):\n%s", api, diff)
		}
	}
}
