package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// carbonPolicy makes a CarbonPolicy from its spec in YAML, for as long as the test.
func carbonPolicy(t *testing.T, name, spec string) *v1alpha1.CarbonPolicy {
	t.Helper()
	if err := tryPolicy(t.Context(), name, spec); err != nil {
		t.Fatal(err)
	}
	p := &v1alpha1.CarbonPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	t.Cleanup(func() {
		if err := client.IgnoreNotFound(cluster.Client.Delete(context.WithoutCancel(t.Context()), p)); err != nil {
			t.Error(err)
		}
	})
	if err := cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
		t.Fatal(err)
	}
	return p
}

func tryPolicy(ctx context.Context, name, spec string) error {
	manifest := "apiVersion: gridlatch.dev/v1alpha1\nkind: CarbonPolicy\nmetadata: {name: " + name + "}\n" + spec
	_, err := cluster.KubectlInput(ctx, manifest, "create", "-f", "-")
	return err
}

// awaitPolicy waits until check has nothing to say on the policy.
func awaitPolicy(t *testing.T, name string, check func(*v1alpha1.CarbonPolicy) error) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		p := &v1alpha1.CarbonPolicy{}
		if err := cluster.Client.Get(ctx, client.ObjectKey{Name: name}, p); err != nil {
			return err
		}
		return check(p)
	})
}

func wantCondition(kind, reason, message string) func(*v1alpha1.CarbonPolicy) error {
	return func(p *v1alpha1.CarbonPolicy) error {
		c := apimeta.FindStatusCondition(p.Status.Conditions, kind)
		if c == nil || c.Reason != reason || !strings.Contains(c.Message, message) {
			return fmt.Errorf("condition %s is %+v, want %s: %s", kind, c, reason, message)
		}
		return nil
	}
}

func TestAnEmptyPolicyIsTheBuiltInOne(t *testing.T) {
	typed := &v1alpha1.CarbonPolicy{ObjectMeta: metav1.ObjectMeta{Name: "typed"}}
	create(t, cluster, typed)
	t.Cleanup(func() { _ = cluster.Client.Delete(context.WithoutCancel(t.Context()), typed) })
	for _, p := range []*v1alpha1.CarbonPolicy{carbonPolicy(t, "empty", ""), typed} {
		if diff := cmp.Diff(v1alpha1.Default().Spec, p.Spec); diff != "" {
			t.Errorf("%s: the schema's defaults are not those of v1alpha1.Default: %s", p.Name, diff)
		}
	}
}

func TestAPolicyIsValidated(t *testing.T) {
	for name, tt := range map[string]struct{ spec, want string }{
		"a delay that is no duration":      {"spec: {maxDelay: soon}", "spec.maxDelay"},
		"a negative delay":                 {"spec: {maxDelay: -1h}", "spec.maxDelay: Invalid value: \"-1h\": must be a duration from 0s to 366d"},
		"a delay of more than a year":      {"spec: {maxDelay: 53w}", "spec.maxDelay: Invalid value: \"53w\": must be a duration from 0s to 366d"},
		"a delay that overflows":           {"spec: {maxDelay: 99999w99999d}", "spec.maxDelay: Invalid value: \"99999w99999d\""},
		"no duration":                      {"spec: {defaultDuration: 0s}", "spec.defaultDuration: Invalid value: \"0s\": must be more than 0s"},
		"a gain over 100 %":                {"spec: {minGainPercent: \"101\"}", "spec.minGainPercent: Invalid value: \"101\""},
		"a gain that is a quantity":        {"spec: {minGainPercent: 100m}", "spec.minGainPercent: Invalid value: \"100m\""},
		"a negative price":                 {"spec: {waitPricePercentPerHour: \"-0.1\"}", "spec.waitPricePercentPerHour: Invalid value: \"-0.1\""},
		"an exemption that is nothing":     {"spec: {exemptions: [{}]}", "must have either schedule, or from and to"},
		"an exemption that is both":        {"spec: {exemptions: [{schedule: \"* * * * *\", from: \"2026-01-01T00:00:00Z\", to: \"2026-01-02T00:00:00Z\"}]}", "must have either schedule, or from and to"},
		"an exemption that ends first":     {"spec: {exemptions: [{from: \"2026-01-02T00:00:00Z\", to: \"2026-01-01T00:00:00Z\"}]}", "from must be before to"},
		"an exemption without an end":      {"spec: {exemptions: [{from: \"2026-01-02T00:00:00Z\"}]}", "from and to go together"},
		"a schedule of seconds":            {"spec: {exemptions: [{schedule: \"0 0 9 * * *\"}]}", "spec.exemptions[0].schedule: Invalid value: \"0 0 9 * * *\": must have five fields"},
		"a zone that cannot be":            {"spec: {exemptions: [{schedule: \"* * * * *\", timeZone: ../etc}]}", "spec.exemptions[0].timeZone: Invalid value: \"../etc\""},
		"a window with a zone":             {"spec: {exemptions: [{timeZone: UTC, from: \"2026-01-01T00:00:00Z\", to: \"2026-01-02T00:00:00Z\"}]}", "timeZone needs schedule"},
		"two open buckets":                 {"spec: {buckets: [{ceiling: 2}, {ceiling: 1}]}", "must have upTo in every bucket but the last"},
		"an open bucket before another":    {"spec: {buckets: [{ceiling: 2}, {upTo: 5, ceiling: 1}]}", "must have upTo in every bucket but the last"},
		"a location without a name":        {"spec: {locations: [{name: \"\"}]}", "spec.locations[0].name"},
		"two locations of one name":        {"spec: {locations: [{name: A}, {name: A}]}", "spec.locations: Invalid value: must have a different name for each location"},
		"node groups of no pattern":        {"spec: {clusterAutoscaler: {nodeGroups: [{pattern: a}, {location: A}]}}", "spec.clusterAutoscaler.nodeGroups[1].pattern: Required value"},
		"a pattern that is none":           {"spec: {clusterAutoscaler: {nodeGroups: [{pattern: a}, {pattern: '('}]}}", "spec.clusterAutoscaler.nodeGroups[1].pattern: Invalid value"},
		"one node group":                   {"spec: {clusterAutoscaler: {nodeGroups: [{pattern: a}]}}", "spec.clusterAutoscaler.nodeGroups in body should have at least 2 items"},
		"two node groups of one pattern":   {"spec: {clusterAutoscaler: {nodeGroups: [{pattern: a}, {pattern: a}]}}", "spec.clusterAutoscaler.nodeGroups: Invalid value: must have a different pattern for each entry"},
		"a power factor of nearly nothing": {"spec: {clusterAutoscaler: {nodeGroups: [{pattern: a}, {pattern: b, powerFactor: \"0.0009\"}]}}", "spec.clusterAutoscaler.nodeGroups[1].powerFactor: Invalid value: \"0.0009\": must be a number from 0.001 to 1000, such as 0.6"},
		"no power factor":                  {"spec: {clusterAutoscaler: {nodeGroups: [{pattern: a}, {pattern: b, powerFactor: \"0.0\"}]}}", "spec.clusterAutoscaler.nodeGroups[1].powerFactor: Invalid value: \"0.0\": must be a number from 0.001 to 1000, such as 0.6"},
		"a label that no node can have":    {"spec: {locations: [{name: A, nodeSelector: {\"a b\": c}}]}", "spec.locations[0].nodeSelector: Invalid value: must have keys that a node's label can have"},
		"a value that no label can have":   {"spec: {locations: [{name: A, nodeSelector: {a: \"" + strings.Repeat("b", 64) + "\"}}]}", "spec.locations[0].nodeSelector: Invalid value: must have values that a node's label can have"},
		"a ConfigMap that cannot be":       {"spec: {forecast: {configMap: {name: Not/Valid}}}", "spec.forecast.configMap.name"},
		"a forecast that is never trusted": {"spec: {forecast: {maxAge: 0s}}", "spec.forecast.maxAge: Invalid value: \"0s\": must be more than 0s"},
		"a provider that nobody knows":     {"spec: {forecast: {provider: {type: Oracle}}}", "spec.forecast.provider.type: Unsupported value: \"Oracle\""},
		"a provider without its key":       {"spec: {forecast: {provider: {type: WattTime}}}", "must have secretRef: this provider needs a key"},
		"a key that nobody asks for":       {"spec: {forecast: {provider: {type: EnergyCharts, secretRef: {name: k}}}}", "must have no secretRef: this provider needs no key"},
		"a name that no Secret can have":   {"spec: {forecast: {provider: {type: WattTime, secretRef: {name: ../k}}}}", "spec.forecast.provider.secretRef.name: Invalid value: \"../k\""},
		"HTTP without a URL":               {"spec: {forecast: {provider: {type: HTTP}}}", "must have http if the type is HTTP, and only then"},
		"a URL for another provider":       {"spec: {forecast: {provider: {type: Mock, http: {pastURL: \"https://a\"}}}}", "must have http if the type is HTTP, and only then"},
		"HTTP that asks for nothing":       {"spec: {forecast: {provider: {type: HTTP, http: {}}}}", "must have forecastURL or pastURL, or both"},
		"a URL with a password":            {"spec: {forecast: {provider: {type: HTTP, http: {pastURL: \"https://me:secret@a/\"}}}}", "spec.forecast.provider.http.pastURL: Invalid value"},
		"an address with a password":       {"spec: {forecast: {provider: {type: CarbonAwareSDK, baseURL: \"https://me:secret@a/\"}}}", "spec.forecast.provider.baseURL: Invalid value"},
		"a URL of a file":                  {"spec: {forecast: {provider: {type: HTTP, http: {pastURL: \"file:///etc/passwd\"}}}}", "spec.forecast.provider.http.pastURL: Invalid value"},
		"an SDK that is nowhere":           {"spec: {forecast: {provider: {type: CarbonAwareSDK}}}", "must have baseURL: the address of your WebApi"},
		"an address that is not asked":     {"spec: {forecast: {provider: {type: Mock, baseURL: \"https://a\"}}}", "must have no baseURL"},
		"a signal that it does not have":   {"spec: {forecast: {provider: {type: EnergyCharts, signal: {kind: Marginal}}}}", "must have signal.kind Average: this provider has no marginal intensities"},
		"factors that nobody states":       {"spec: {forecast: {provider: {type: EnergyCharts, signal: {emissionFactors: LifeCycle}}}}", "must have no signal.emissionFactors"},
		"life-cycle of the chimney":        {"spec: {forecast: {provider: {type: WattTime, secretRef: {name: key}, signal: {emissionFactors: LifeCycle}}}}", "must have signal.emissionFactors Direct: this provider has no life-cycle intensities"},
		"life-cycle of Great Britain":      {"spec: {forecast: {provider: {type: UKCarbonIntensity, signal: {kind: Average, emissionFactors: LifeCycle}}}}", "must have signal.emissionFactors Direct: this provider has no life-cycle intensities"},
		"a signal that nobody has":         {"spec: {forecast: {provider: {type: Mock, signal: {kind: Green}}}}", "spec.forecast.provider.signal.kind: Unsupported value: \"Green\""},
		"a second source of nothing":       {"spec: {forecast: {actuals: {}}}", "actuals needs provider, whose past it completes"},
		"a second source that is first":    {"spec: {forecast: {provider: {type: EnergyCharts}, actuals: {type: EnergyCharts}}}", "must have an actuals.type other than provider.type"},
		"a second source that is nowhere":  {"spec: {forecast: {provider: {type: Mock}, actuals: {baseURL: \"https://a\"}}}", "must have a type other than Auto with baseURL or zone"},
		"wind and sun without a provider":  {"spec: {forecast: {renewables: {}}}", "renewables needs provider, which tells how the intensity was"},
		"an operator that nobody knows":    {"spec: {forecast: {provider: {type: EnergyCharts}, renewables: {type: Oracle}}}", "spec.forecast.renewables.type: Unsupported value: \"Oracle\""},
		"an address of any operator":       {"spec: {forecast: {provider: {type: EnergyCharts}, renewables: {baseURL: \"https://a\"}}}", "must have a type other than Auto with baseURL"},
		"a PUE below one":                  {"spec: {accounting: {pue: \"0.9\"}}", "spec.accounting.pue: Invalid value: \"0.9\": must be a decimal number from 1 to 10, such as 1.2"},
		"a PUE in words":                   {"spec: {accounting: {pue: good}}", "spec.accounting.pue: Invalid value: \"good\": must be a decimal number from 1 to 10, such as 1.2"},
		"negative grams":                   {"spec: {accounting: {embodiedGramsPerNodeHour: \"-1\"}}", "spec.accounting.embodiedGramsPerNodeHour: Invalid value: \"-1\": must be a decimal number of gCO2eq from 0 to 99999, such as 34.2"},
		"watts with their unit":            {"spec: {accounting: {power: {memoryWattsPerGiB: 1W}}}", "spec.accounting.power.memoryWattsPerGiB: Invalid value: \"1W\": must be a decimal number of watts from 0 to 99999, such as 3.5"},
		"a use over 100 %":                 {"spec: {accounting: {power: {utilizationPercent: \"101\"}}}", "spec.accounting.power.utilizationPercent: Invalid value: \"101\""},
		"a core that draws less at work":   {"spec: {accounting: {power: {core: {idleWatts: \"10\", maxWatts: \"9\"}}}}", "spec.accounting.power.core: Invalid value: must have an idleWatts that is at most maxWatts"},
		"a core without its maximum":       {"spec: {accounting: {power: {core: {idleWatts: \"10\"}}}}", "spec.accounting.power.core.maxWatts: Required value"},
		"watts of a GPU in words":          {"spec: {accounting: {power: {gpus: [{kind: H100, idleWatts: low, maxWatts: high}]}}}", "spec.accounting.power.gpus[0].idleWatts: Invalid value: \"low\": must be a decimal number of watts"},
		"a GPU of no kind":                 {"spec: {accounting: {power: {gpus: [{kind: \"-\", idleWatts: \"1\", maxWatts: \"2\"}]}}}", "spec.accounting.power.gpus[0].kind: Invalid value: \"-\": must have a letter or a digit"},
		"a GPU with two powers":            {"spec: {accounting: {power: {gpus: [{kind: H100, idleWatts: \"1\", maxWatts: \"2\"}, {kind: H100, idleWatts: \"1\", maxWatts: \"3\"}]}}}", "spec.accounting.power.gpus[1]: Duplicate value"},
		"a Prometheus without http":        {"spec: {accounting: {prometheus: {address: \"prometheus:9090\"}}}", "spec.accounting.prometheus.address: Invalid value: \"prometheus:9090\": must be an address with http or https"},
		"a Prometheus with a password":     {"spec: {accounting: {prometheus: {address: \"http://me:secret@a/\"}}}", "must be an address with http or https, without user, query or fragment"},
		"a Prometheus that is nowhere":     {"spec: {accounting: {prometheus: {}}}", "spec.accounting.prometheus.address: Required value"},
		"a zone without a name":            {"spec: {locations: [{name: A, zone: \"\"}]}", "spec.locations[0].zone"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tryPolicy(t.Context(), "bad", tt.spec)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %q in it", err, tt.want)
			}
		})
	}
}

func TestAccountingIsAccepted(t *testing.T) {
	p := carbonPolicy(t, "accounting", `spec: {accounting: {pue: "10.0", embodiedGramsPerNodeHour: "0", prometheus: {address: "https://prometheus.example.com:9090/prefix/"},
		power: {utilizationPercent: "62.5", memoryWattsPerGiB: "0.3", core: {idleWatts: "1", maxWatts: "1.0"}, gpu: {idleWatts: "9", maxWatts: "10"},
		architectures: [{name: arm64, idleWatts: "0.4", maxWatts: "1.5"}], gpus: [{kind: H100, idleWatts: "70", maxWatts: "700"}]}}}`)
	if p.Spec.Accounting == nil || p.Spec.Accounting.PUE != "10.0" || len(p.Spec.Accounting.Power.GPUs) != 1 || p.Spec.Accounting.Power.GPUs[0].MaxWatts != "700" {
		t.Errorf("got %+v", p.Spec.Accounting)
	}
}

func TestEachProviderIsAccepted(t *testing.T) {
	for name, provider := range map[string]string{
		"great-britain":    "{type: UKCarbonIntensity}",
		"europe":           "{type: EnergyCharts, signal: {kind: Average}}",
		"denmark":          "{type: Energinet, signal: {emissionFactors: Direct}}",
		"the-past":         "{type: GridCarbon}",
		"a-key":            "{type: ElectricityMaps, secretRef: {name: key}, baseURL: \"https://gateway.example.com/electricity-maps/v4\"}",
		"marginal":         "{type: WattTime, secretRef: {name: key}, signal: {kind: Marginal}}",
		"an-sdk-of-ones":   "{type: CarbonAwareSDK, baseURL: \"http://sdk.carbon:8080\"}",
		"a-file-behind-it": "{type: HTTP, secretRef: {name: key}, http: {forecastURL: \"https://a.example.com/{zone}.csv?day=1\", keyHeader: X-Key, attribution: ours}}",
		"made-up":          "{type: Mock, signal: {kind: Marginal, emissionFactors: Direct}}",
	} {
		manifest := "apiVersion: gridlatch.dev/v1alpha1\nkind: CarbonPolicy\nmetadata: {name: " + name + "}\nspec: {forecast: {provider: " + provider + "}, locations: [{name: home, zone: DE}]}\n"
		if _, err := cluster.KubectlInput(t.Context(), manifest, "create", "--dry-run=server", "-f", "-"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhoeverCoversTheLocationIsTheOperator(t *testing.T) {
	p := carbonPolicy(t, "wind-and-sun", "spec: {forecast: {provider: {type: Mock}, renewables: {}}, locations: [{name: XX}]}")
	if got := p.Spec.Forecast.Renewables; got == nil || got.Type != "Auto" {
		t.Errorf("got %+v, want the type Auto", got)
	}
	p = carbonPolicy(t, "wind-and-sun-of-ones-own", "spec: {forecast: {provider: {type: Mock}, renewables: {type: Elexon, baseURL: \"https://gateway.example.com/elexon\"}}, locations: [{name: XX}]}")
	if got := p.Spec.Forecast.Renewables.BaseURL; got != "https://gateway.example.com/elexon" {
		t.Errorf("got the address %q", got)
	}
}

func TestPolicyStatusTellsOfGridAndHeldWork(t *testing.T) {
	clean := dirtyThenClean(t, cluster, 2*time.Hour)
	carbonPolicy(t, "told", "spec: {locations: [{name: CAISO_NORTH}]}")
	ns := namespace(t, cluster)
	create(t, cluster, job(ns, "waiting", tolerant(v1alpha1.DeadlineAnnotation, "8h", v1alpha1.PolicyAnnotation, "told"), 3))
	awaitGated(t, cluster, ns, 3)
	awaitPolicy(t, "told", func(p *v1alpha1.CarbonPolicy) error {
		if p.Status.Held.Groups < 1 || p.Status.Held.Pods < 3 || p.Status.NextRelease == nil || p.Status.NextRelease.Sub(clean) < -time.Second || p.Status.NextRelease.Sub(clean) > 5*time.Minute {
			return fmt.Errorf("held %+v, next release %s, want 3 pods until %s", p.Status.Held, p.Status.NextRelease, clean)
		}
		if l := p.Status.Locations; len(l) != 1 || l[0].Name != location || l[0].Intensity == nil || *l[0].Intensity != 430 || l[0].ForecastUntil == nil {
			return fmt.Errorf("locations %+v", l)
		}
		return wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonCurrent, "")(p)
	})
	table, err := cluster.Kubectl(t.Context(), "get", "carbonpolicies")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"LOCATION", "GCO2EQ/KWH", "HELD", "NEXT-RELEASE", location, "430", "Current", clean.UTC().Format("2006-01-02T15:")} {
		if !strings.Contains(strings.ToUpper(table), strings.ToUpper(want)) {
			t.Errorf("kubectl get carbonpolicies does not show %q:\n%s", want, table)
		}
	}
}

func TestExemptionsReleaseWhatIsHeld(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	p := carbonPolicy(t, "default", "")
	ns := namespace(t, cluster)
	create(t, cluster, pod(ns, "exempt", tolerant()))
	awaitGated(t, cluster, ns, 1)
	before := p.DeepCopy()
	p.Spec.Exemptions = []v1alpha1.Exemption{{Schedule: "* * * * *"}}
	if err := cluster.Client.Patch(t.Context(), p, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	released := awaitScheduled(t, cluster, ns, 1, patience)[0]
	if !strings.Contains(released.Annotations[v1alpha1.ReasonAnnotation], "the policy exempts this time, at 430 gCO2eq/kWh") {
		t.Errorf("reason %q", released.Annotations[v1alpha1.ReasonAnnotation])
	}
}

func TestAScheduleThatCannotBeUsedIsReportedAndIgnored(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	carbonPolicy(t, "mistaken", `spec: {exemptions: [{schedule: "0 0 31 2 *"}, {schedule: "every night at nine sharp"}, {schedule: "* 22-24 * * *"}, {schedule: "* 22 * * *", timeZone: Europe/Nowhere}]}`)
	awaitPolicy(t, "mistaken", func(p *v1alpha1.CarbonPolicy) error {
		for _, want := range []string{"spec.exemptions[0]: schedule \"0 0 31 2 *\": this expression matches no future time", "spec.exemptions[1]: ", "spec.exemptions[2]: ", "spec.exemptions[3]: timeZone: zone \"Europe/Nowhere\" is not known"} {
			if err := wantCondition(v1alpha1.ConditionReady, v1alpha1.ReasonInvalid, want)(p); err != nil {
				return err
			}
		}
		return nil
	})
	ns := namespace(t, cluster)
	create(t, cluster, pod(ns, "held-all-the-same", tolerant(v1alpha1.PolicyAnnotation, "mistaken")))
	awaitGated(t, cluster, ns, 1)
}

func TestDeletingAPolicyReleasesWhatItHolds(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	p := carbonPolicy(t, "passing", "")
	ns := namespace(t, cluster, v1alpha1.PolicyAnnotation, "passing")
	env.Eventually(t, patience, func(ctx context.Context) error {
		probe := pod(ns, "probe", tolerant())
		if err := cluster.Client.Create(ctx, probe, client.DryRunAll); err != nil {
			return err
		}
		if got := probe.Annotations[v1alpha1.PolicyAnnotation]; got != "passing" {
			return fmt.Errorf("policy %q, want that of the namespace", got)
		}
		return nil
	})
	create(t, cluster, job(ns, "orphan", tolerant(), 1))
	create(t, cluster, job(ns, "orphan-without-a-deadline", tolerant(v1alpha1.DeadlineAnnotation, ""), 1))
	awaitGated(t, cluster, ns, 2)
	if err := cluster.Client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for _, released := range awaitScheduled(t, cluster, ns, 2, patience) {
		if !strings.Contains(released.Annotations[v1alpha1.ReasonAnnotation], "its policy does not exist") {
			t.Errorf("%s: reason %q", released.Name, released.Annotations[v1alpha1.ReasonAnnotation])
		}
	}
	// and what comes now is not held, with a warning
	create(t, cluster, pod(ns, "later", tolerant()))
	awaitScheduled(t, cluster, ns, 3, patience)
}

func TestAConfigMapThatMayNotBeReadIsReportedAndReadOnceItMay(t *testing.T) {
	carbonPolicy(t, "elsewhere", "spec: {forecast: {configMap: {namespace: default, name: our-forecast}}}")
	awaitPolicy(t, "elsewhere", wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonMissing, "cannot watch ConfigMap default/our-forecast: "))
	start := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	rights := `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {namespace: default, name: gridlatch-forecast},
  rules: [{apiGroups: [""], resources: [configmaps], resourceNames: [our-forecast], verbs: [get, list, watch]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {namespace: default, name: gridlatch-forecast},
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: gridlatch-forecast},
  subjects: [{kind: ServiceAccount, namespace: gridlatch-system, name: gridlatch}]}
---
{apiVersion: v1, kind: ConfigMap, metadata: {namespace: default, name: our-forecast},
  data: {data: '[{"location": "X", "timestamp": "` + start + `", "duration": 60, "value": 321}]'}}
`
	if _, err := cluster.KubectlInput(t.Context(), rights, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, time.Minute, func(ctx context.Context) error { // the watch is tried again ever more slowly
		p := &v1alpha1.CarbonPolicy{}
		if err := cluster.Client.Get(ctx, client.ObjectKey{Name: "elsewhere"}, p); err != nil {
			return err
		}
		if l := p.Status.Locations; len(l) != 1 || l[0].Intensity == nil || *l[0].Intensity != 321 {
			return fmt.Errorf("locations %+v", l)
		}
		return wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonCurrent, "")(p)
	})
}

// TestTheDefaultPolicyShips applies what the README tells to apply. What has no image does not run.
func TestTheDefaultPolicyShips(t *testing.T) {
	t.Parallel()
	c := env.Start(t)
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	manifests := filepath.Join("..", "..", "manifests")
	for _, args := range [][]string{
		{"apply", "-k", filepath.Join(manifests, "base")},
		{"apply", "-f", filepath.Join(manifests, "default-policy.yaml")},
	} {
		if out, err := c.Kubectl(t.Context(), args...); err != nil {
			t.Fatalf("kubectl %v: %v\n%s", args, err, out)
		}
	}
	shipped := &v1alpha1.CarbonPolicy{}
	if err := c.Client.Get(t.Context(), client.ObjectKey{Name: v1alpha1.DefaultPolicy}, shipped); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v1alpha1.Default().Spec, shipped.Spec); diff != "" {
		t.Errorf("the policy that ships is not the built-in one: %s", diff)
	}
	if table, err := c.Kubectl(t.Context(), "get", "cpol"); err != nil || !strings.Contains(table, "default") {
		t.Errorf("%v\n%s", err, table)
	}
	owner := []string{"--as=platform-owner"}
	if _, err := c.Kubectl(t.Context(), "create", "clusterrolebinding", "owner", "--clusterrole=gridlatch-edit", "--user=platform-owner"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Kubectl(t.Context(), append(owner, "patch", "cpol", "default", "--type=merge", "-p", `{"spec":{"maxDelay":"1d12h"}}`)...); err != nil {
		t.Errorf("who has the role gridlatch-edit may not edit: %v", err)
	}
}
