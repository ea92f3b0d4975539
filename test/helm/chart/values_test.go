package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// container returns the container of a Deployment that Helm makes.
func container(t *testing.T, objects map[string]Object, name string) map[string]any {
	t.Helper()
	return podOf(t, objects, "Deployment carbon/"+name)["containers"].([]any)[0].(map[string]any)
}

func podOf(t *testing.T, objects map[string]Object, id string) map[string]any {
	t.Helper()
	object, ok := objects[id]
	if !ok {
		t.Fatalf("there is no %s", id)
	}
	return object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
}

func TestValuesReachTheObjects(t *testing.T) {
	objects := objectsOf(t, release{namespace: "carbon", set: []string{
		"replicas=1", "image.repository=r.example.com/g", "image.digest=" + digest, "image.pullPolicy=Always", "imagePullSecrets[0].name=pull",
		"args[0]=--workers=4", "exporter.env[0].name=HTTPS_PROXY", "exporter.env[0].value=http://p", "exporter.args[0]=--auto=false",
		"nodeSelector.disk=ssd", "podLabels.team=green", "podAnnotations.note=x", "tolerations[0].operator=Exists", "certificates.resources.limits.memory=1Gi",
		"exporter.provider.type=WattTime", "exporter.provider.secretRef.name=own-key", "exporter.secretNames[0]=another", "defaultPolicy.spec.maxDelay=2d",
		"ledgerDatabase.enabled=true", "ledgerDatabase.secretName=own-database", "networkPolicy.egress[0].ports[0].port=5432",
		"exporter.goMemoryLimit=200MiB", "networkPolicy.enabled=true", "networkPolicy.controlPlane.addresses={10.0.0.1/32}", "networkPolicy.providers.ports={8443}",
	}})
	for _, id := range []string{"Deployment carbon/gridlatch", "Deployment carbon/gridlatch-certs", "Deployment carbon/gridlatch-export", "Job carbon/gridlatch-release"} {
		pod := podOf(t, objects, id)
		if image := pod["containers"].([]any)[0].(map[string]any)["image"]; image != "r.example.com/g@"+digest {
			t.Errorf("%s has the image %s", id, image)
		}
		for _, key := range []string{"imagePullSecrets", "nodeSelector", "tolerations"} {
			if pod[key] == nil {
				t.Errorf("%s has no %s", id, key)
			}
		}
		template := Object(objects[id]["spec"].(map[string]any)["template"].(map[string]any))
		if template.Label("team") != "green" || annotation(template, "note") != "x" {
			t.Errorf("the pods of %s lack a label or an annotation", id)
		}
	}
	if objects["PodDisruptionBudget carbon/gridlatch"] != nil {
		t.Error("one replica has a budget, which keeps its node from being drained")
	}
	for name, want := range map[string]string{"gridlatch": "--deployment=gridlatch,--ledger-database-file=/etc/gridlatch/ledger/url,--workers=4", "gridlatch-export": "export,--auto=false", "gridlatch-certs": "certs"} {
		var args []string
		for _, arg := range container(t, objects, name)["args"].([]any) {
			args = append(args, arg.(string))
		}
		if got := strings.Join(args, ","); got != want {
			t.Errorf("the flags of %s are %s, want %s", name, got, want)
		}
	}
	for _, variable := range container(t, objects, "gridlatch-export")["env"].([]any) {
		if variable := variable.(map[string]any); variable["name"] == "GOMEMLIMIT" && variable["value"] != "200MiB" {
			t.Errorf("the exporter has the environment %v", variable)
		}
	}
	volumes := podOf(t, objects, "Deployment carbon/gridlatch")["volumes"]
	secret := map[string]any{"secretName": "own-database", "optional": true} // Gridlatch starts without it
	if diff := cmp.Diff([]any{map[string]any{"name": "ledger-database", "secret": secret}}, volumes); diff != "" {
		t.Errorf("the volumes (-want +got):\n%s", diff)
	}
	spec := objects["CarbonPolicy default"]["spec"].(map[string]any)
	provider := spec["forecast"].(map[string]any)["provider"].(map[string]any)
	if spec["maxDelay"] != "2d" || provider["type"] != "WattTime" {
		t.Errorf("the policy is %v", spec)
	}
	secrets := objects["Role carbon/gridlatch-export"]["rules"].([]any)[1].(map[string]any)["resourceNames"].([]any)
	if !slices.Contains(secrets, any("own-key")) || !slices.Contains(secrets, any("another")) || len(secrets) != 9 {
		t.Errorf("the exporter may read %v", secrets)
	}
	egress := objects["NetworkPolicy carbon/gridlatch"]["spec"].(map[string]any)["egress"].([]any)
	if diff := cmp.Diff(any(map[string]any{"ports": []any{map[string]any{"port": float64(5432)}}}), egress[len(egress)-1]); diff != "" || len(egress) != 2 {
		t.Errorf("the last of %d rules for what the controller may reach (-want +got):\n%s", len(egress), diff)
	}
	rule := objects["NetworkPolicy carbon/gridlatch-certs"]["spec"].(map[string]any)["egress"].([]any)[0].(map[string]any)
	if to := rule["to"].([]any); len(to) != 1 || to[0].(map[string]any)["ipBlock"].(map[string]any)["cidr"] != "10.0.0.1/32" {
		t.Errorf("gridlatch-certs may connect to %v", to)
	}
}

func TestTheNamespaceOfKEDAReachesTheFlagAndTheNetworkPolicy(t *testing.T) {
	objects := objectsOf(t, release{namespace: "carbon", set: []string{"keda.enabled=true", "keda.namespace=autoscaling", "networkPolicy.enabled=true"}})
	leave := podOf(t, objects, "Job carbon/gridlatch-release")["containers"].([]any)[0].(map[string]any)["args"]
	if diff := cmp.Diff([]any{"release", "--all", "--keda-namespace=autoscaling"}, leave); diff != "" {
		t.Errorf("what KEDA trusts stays behind: %s", diff)
	}
	args := container(t, objects, "gridlatch")["args"].([]any)
	if !slices.Contains(args, any("--keda-namespace=autoscaling")) || !slices.Contains(args, any("--scaler-bind-address=:9446")) {
		t.Errorf("the flags are %v", args)
	}
	want := map[string]any{
		"from":  []any{map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": "autoscaling"}}}},
		"ports": []any{map[string]any{"port": float64(9446)}},
	}
	rules := objects["NetworkPolicy carbon/gridlatch"]["spec"].(map[string]any)["ingress"].([]any)
	if !slices.ContainsFunc(rules, func(rule any) bool { return cmp.Equal(want, rule) }) {
		t.Errorf("no rule lets KEDA in: %v", rules)
	}
	without := container(t, objectsOf(t, release{namespace: "carbon"}), "gridlatch")["args"].([]any)
	if len(without) != 1 {
		t.Errorf("without KEDA, the flags are %v", without)
	}
}

// TestWithoutTheExporterNothingWatchesIt also looks for the alerts that would ring for ever.
func TestWithoutTheExporterNothingWatchesIt(t *testing.T) {
	for enabled, want := range map[string]bool{"true": true, "false": false} {
		objects := objectsOf(t, release{namespace: "carbon", set: []string{"monitoring.enabled=true", "exporter.enabled=" + enabled}})
		if got := objects["PodMonitor carbon/gridlatch-export"] != nil; got != want {
			t.Errorf("exporter.enabled=%s: PodMonitor %t", enabled, got)
		}
		groups := objects["PrometheusRule carbon/gridlatch"]["spec"].(map[string]any)["groups"].([]any)
		if got := slices.ContainsFunc(groups, func(group any) bool { return group.(map[string]any)["name"] == "gridlatch-export" }); got != want || len(groups) < 4 {
			t.Errorf("exporter.enabled=%s: alerts of the exporter %t, %d groups", enabled, got, len(groups))
		}
	}
}

// TestThePolicyIsAHookOnlyWhileItsDefinitionIsNew also holds for the upgrade of a release, where Helm has to take over
// the policy of the hook.
func TestThePolicyIsAHookOnlyWhileItsDefinitionIsNew(t *testing.T) {
	const kind = "gridlatch.dev/v1alpha1/CarbonPolicy"
	for name, tt := range map[string]struct {
		release release
		hook    string
	}{
		"the first installation":        {release{}, "post-install"},
		"an installation after another": {release{known: []string{kind}}, ""},
		"an upgrade":                    {release{known: []string{kind}, upgrade: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tt.release.namespace = "carbon"
			policy := objectsOf(t, tt.release)["CarbonPolicy default"]
			if got := annotation(policy, "helm.sh/hook"); got != tt.hook {
				t.Errorf("hook %q, want %q", got, tt.hook)
			}
			if annotation(policy, "meta.helm.sh/release-name") != "gridlatch" || annotation(policy, "helm.sh/resource-policy") != "keep" {
				t.Errorf("Helm does not take over, or does not keep: %v", policy["metadata"])
			}
		})
	}
}

// TestAValueThatIsNullIsLeftOut renders what a file of values with an empty key gives.
func TestAValueThatIsNullIsLeftOut(t *testing.T) {
	r := release{namespace: "carbon", set: []string{"defaultPolicy.spec=null", "exporter.provider=null"}}
	if objectsOf(t, r)["CarbonPolicy default"] == nil {
		t.Error("there is no policy")
	}
	if got := notes(t, r); !strings.Contains(got, "There is no forecast yet") {
		t.Error(got)
	}
}

// TestAChartMayDependOnThisOneWithACondition renders what Helm passes from such a chart.
func TestAChartMayDependOnThisOneWithACondition(t *testing.T) {
	with := objectsOf(t, release{namespace: "carbon", set: []string{"enabled=true", "global.region=eu"}})
	if diff := cmp.Diff(objectsOf(t, release{namespace: "carbon"}), with); diff != "" {
		t.Errorf("the condition of another chart changes objects (-without +with):\n%s", diff)
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for value, want := range map[string]string{
		"keda.enable=true":                                                      "at '/keda': additional properties 'enable' not allowed",
		"keda.namespace=autoscaling":                                            "keda.namespace needs keda.enabled",
		"keda.enabled=true,keda.namespace=A":                                    "at '/keda/namespace': 'A' does not match pattern",
		"enabled=false":                                                         "at '/enabled': value must be true",
		"volcano.enabled=true":                                                  "at '': additional properties 'volcano' not allowed",
		"replicas=many":                                                         "at '/replicas': got string, want integer",
		"certificates.from=letsencrypt":                                         "at '/certificates/from': value must be one of 'own', 'cert-manager'",
		"engines.airflow=true":                                                  "at '/engines': additional properties 'airflow' not allowed",
		"image.digest=latest":                                                   "at '/image/digest': 'latest' does not match pattern",
		"exporter.provider.type=Oracle":                                         "at '/exporter/provider/type': value must be one of 'ElectricityMaps'",
		"exporter.provider.secretRef.name=x":                                    "at '/exporter/provider': missing property 'type'",
		"defaultPolicy.spec.maxdelay=1d":                                        "at '/defaultPolicy/spec': additional properties 'maxdelay' not allowed",
		"networkPolicy.controlPlane.addresses={everywhere}":                     "at '/networkPolicy/controlPlane/addresses/0': 'everywhere' does not match pattern",
		"image.tag=a b":                                                         "at '/image/tag': 'a b' does not match pattern",
		"image.repository=registry.example.com/gridlatch:v1":                    "at '/image/repository': 'registry.example.com/gridlatch:v1' does not match pattern",
		"podLabels.app\\.kubernetes\\.io/name=mine":                             "at '/podLabels/app.kubernetes.io~1name': false schema",
		"defaultPolicy.spec.maxDelay=abc":                                       "at '/defaultPolicy/spec/maxDelay': 'allOf' failed",
		"defaultPolicy.spec.defaultDuration=0s":                                 "at '/defaultPolicy/spec/defaultDuration': 'allOf' failed",
		"exporter.provider.type=ElectricityMaps":                                "at '/exporter/provider': missing property 'secretRef'",
		"defaultPolicy.spec.forecast.provider.type=WattTime":                    "at '/defaultPolicy/spec/forecast/provider': missing property 'secretRef'",
		"exporter.enabled=false,exporter.provider.type=Mock":                    "a provider needs exporter.enabled",
		"exporter.enabled=false,defaultPolicy.spec.forecast.provider.type=Mock": "a provider needs exporter.enabled",
		"exporter.enabled=false,exporter.secretNames={own}":                     "exporter.secretNames needs exporter.enabled",
		"exporter.enabled=false,exporter.args={--auto=false}":                   "exporter.args needs exporter.enabled",
		"certificates.from=cert-manager,certificates.args={--x}":                "certificates.args needs certificates.from=own",
		"defaultPolicy.create=false,defaultPolicy.spec.maxDelay=1d":             "defaultPolicy.spec needs defaultPolicy.create",
		"defaultPolicy.create=false,exporter.provider.type=Mock":                "exporter.provider needs defaultPolicy.create",
		"ledgerDatabase.secretName=Mine":                                        "at '/ledgerDatabase/secretName': 'Mine' does not match pattern",
		"ledgerDatabase.secretName=mine":                                        "ledgerDatabase.secretName needs ledgerDatabase.enabled",
		"ledgerDatabase.url=postgres://db":                                      "at '/ledgerDatabase': additional properties 'url' not allowed",
		"networkPolicy.egress[0].ports[0].port=5432":                            "networkPolicy.egress needs networkPolicy.enabled",
		"networkPolicy.enabled=true,networkPolicy.egress[0].from[0]=x":          "at '/networkPolicy/egress/0': additional properties 'from' not allowed",
		"monitoring.labels.release=kube-prometheus-stack":                       "monitoring.labels needs monitoring.enabled",
	} {
		t.Run(value, func(t *testing.T) {
			if _, err := rendered(t, release{namespace: "carbon", set: []string{value}}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}
