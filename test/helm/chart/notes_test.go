package chart

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
)

// cluster answers what templates look up.
type cluster struct{ dynamic.Interface }

func newCluster(objects []Object) cluster {
	var all []runtime.Object
	for _, o := range objects {
		all = append(all, &unstructured.Unstructured{Object: o})
	}
	return cluster{fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		{Group: "gridlatch.dev", Version: "v1alpha1", Resource: "carbonpolicies"}: "CarbonPolicyList",
	}, all...)}
}

// GetClientFor returns the client of a kind.
func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	gvk := schema.FromAPIVersionAndKind(apiVersion, kind)
	resource := strings.ToLower(kind) + "s"
	if kind == "CarbonPolicy" {
		resource = "carbonpolicies"
	}
	return c.Resource(gvk.GroupVersion().WithResource(resource)), kind == "ConfigMap" || kind == "Secret", nil
}

// object returns an object for a cluster.
func object(apiVersion, kind, namespace, name string) Object {
	metadata := map[string]any{"name": name}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	return Object{"apiVersion": apiVersion, "kind": kind, "metadata": metadata}
}

// notes returns what Helm prints, for a cluster that has its own namespace and more objects.
func notes(t *testing.T, r release, more ...Object) string {
	t.Helper()
	r.namespace = "carbon"
	r.cluster = append(more, object("v1", "Namespace", "", "kube-system"))
	files, err := rendered(t, r)
	if err != nil {
		t.Fatal(err)
	}
	return files["gridlatch/templates/NOTES.txt"]
}

// policyIn is a CarbonPolicy that is in the cluster, with its definition.
func policyIn(name string, forecast map[string]any) []Object {
	policy := object("gridlatch.dev/v1alpha1", "CarbonPolicy", "", name)
	policy["spec"] = map[string]any{"forecast": forecast}
	return []Object{policy, object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "carbonpolicies.gridlatch.dev")}
}

func TestTheNotesSayWhatIsWrong(t *testing.T) {
	const (
		noForecast = "There is no forecast yet"
		noSecret   = "The Secret own-key with the key of the provider does not exist"
		allIsWell  = "nothing is wrong"
	)
	for name, tt := range map[string]struct {
		set  []string
		more []Object
		want string
	}{
		"nobody brings a forecast": {want: noForecast + ", so nothing is held: no policy names a provider, and nobody has written the ConfigMap kube-system/carbon-intensity."},
		"somebody else writes the forecast": {
			more: []Object{object("v1", "ConfigMap", "kube-system", "carbon-intensity")}, want: allIsWell,
		},
		"the values name a provider": {set: []string{"exporter.provider.type=EnergyCharts"}, want: allIsWell},
		"the policy in the values names a provider": {
			set: []string{"defaultPolicy.spec.forecast.provider.type=EnergyCharts"}, want: allIsWell,
		},
		"another policy names a provider": {
			more: policyIn("night", map[string]any{"provider": map[string]any{"type": "EnergyCharts"}}), want: allIsWell,
		},
		"the upgrade takes the provider away": {
			more: policyIn("default", map[string]any{"provider": map[string]any{"type": "EnergyCharts"}}), want: noForecast,
		},
		"the policy names another ConfigMap, which nobody writes": {
			set:  []string{"defaultPolicy.spec.forecast.configMap.name=grid", "defaultPolicy.spec.forecast.configMap.namespace=weather"},
			more: []Object{object("v1", "ConfigMap", "kube-system", "carbon-intensity")}, want: "ConfigMap weather/grid.",
		},
		"the policy names another ConfigMap": {
			set:  []string{"defaultPolicy.spec.forecast.configMap.name=grid"},
			more: []Object{object("v1", "ConfigMap", "kube-system", "grid")}, want: allIsWell,
		},
		"the key of the provider is missing": {
			set: []string{"exporter.provider.type=WattTime", "exporter.provider.secretRef.name=own-key"}, want: noSecret,
		},
		"the key of the provider in the policy is missing": {
			set:  []string{"defaultPolicy.spec.forecast.provider.type=WattTime", "defaultPolicy.spec.forecast.provider.secretRef.name=own-key"},
			want: noSecret,
		},
		"the key of the provider is there": {
			set:  []string{"exporter.provider.type=WattTime", "exporter.provider.secretRef.name=own-key"},
			more: []Object{object("v1", "Secret", "carbon", "own-key")}, want: allIsWell,
		},
		"there are no replicas": {set: []string{"replicas=0"}, want: "replicas is 0: Gridlatch does not run, and holds nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			got := notes(t, release{set: tt.set}, tt.more...)
			if !strings.Contains(got, tt.want) || tt.want == allIsWell && strings.Contains(got, "What is wrong") {
				t.Errorf("want %q in:\n%s", tt.want, got)
			}
		})
	}
}

func TestTheNotesAdviseAPodSecurityStandard(t *testing.T) {
	const advice = "pod-security.kubernetes.io/enforce=restricted"
	strict := object("v1", "Namespace", "", "carbon")
	strict["metadata"].(map[string]any)["labels"] = map[string]any{"pod-security.kubernetes.io/enforce": "restricted"}
	if got := notes(t, release{}); !strings.Contains(got, advice) {
		t.Errorf("want %s in:\n%s", advice, got)
	}
	if got := notes(t, release{}, strict); strings.Contains(got, advice) {
		t.Errorf("the namespace enforces it already:\n%s", got)
	}
	if got := notes(t, release{set: []string{"hostNetwork=true"}}); strings.Contains(got, advice) {
		t.Errorf("the standard forbids hostNetwork:\n%s", got)
	}
	const forbids = "The namespace enforces the pod security standard restricted, which forbids hostNetwork"
	if got := notes(t, release{set: []string{"hostNetwork=true"}}, strict); !strings.Contains(got, forbids) {
		t.Errorf("want %s in:\n%s", forbids, got)
	}
}
