package policy

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

func TestTheSourceIsWhereTheForecastIsWritten(t *testing.T) {
	provider := &v1alpha1.ForecastProvider{Type: "EnergyCharts"}
	standard := v1alpha1.Default().Spec.Forecast.ConfigMap
	for name, tt := range map[string]struct {
		policy             string
		spec               v1alpha1.ForecastSource
		source, substitute string
	}{
		"nothing is said":         {"default", v1alpha1.ForecastSource{ConfigMap: standard}, "kube-system/carbon-intensity/data", "gridlatch-system/carbon-intensity/data"},
		"by another policy":       {"batch", v1alpha1.ForecastSource{ConfigMap: standard}, "kube-system/carbon-intensity/data", "gridlatch-system/carbon-intensity/data"},
		"another ConfigMap":       {"default", v1alpha1.ForecastSource{ConfigMap: v1alpha1.ConfigMapKey{Namespace: "a", Name: "b", Key: "c"}}, "a/b/c", "//"},
		"another key":             {"default", v1alpha1.ForecastSource{ConfigMap: v1alpha1.ConfigMapKey{Namespace: standard.Namespace, Name: standard.Name, Key: "tomorrow"}}, "kube-system/carbon-intensity/tomorrow", "//"},
		"a provider":              {"batch", v1alpha1.ForecastSource{ConfigMap: standard, Provider: provider}, "gridlatch-system/carbon-intensity-batch/data", "//"},
		"a provider and an array": {"default", v1alpha1.ForecastSource{ConfigMap: v1alpha1.ConfigMapKey{Namespace: "a", Name: "b", Key: "c"}, Provider: provider}, "gridlatch-system/carbon-intensity-default/data", "//"},
	} {
		t.Run(name, func(t *testing.T) {
			object := v1alpha1.Default()
			object.Name, object.Spec.Forecast = tt.policy, tt.spec
			p := New(t.Context(), object, "gridlatch-system", nil, t0)
			if p.Source.String() != tt.source || p.Substitute.String() != tt.substitute {
				t.Errorf("got %s and %s, want %s and %s", p.Source, p.Substitute, tt.source, tt.substitute)
			}
		})
	}
}

func TestAConfigMapIsNoSubstituteForItself(t *testing.T) {
	object := v1alpha1.Default()
	p := New(t.Context(), object, object.Spec.Forecast.ConfigMap.Namespace, nil, t0)
	if p.Substitute != (forecast.Source{}) {
		t.Errorf("the substitute of %s is %s", p.Source, p.Substitute)
	}
}

func TestWhoMissesAForecastIsToldWhatToDo(t *testing.T) {
	standard, provider := v1alpha1.Default().Spec.Forecast.ConfigMap, &v1alpha1.ForecastProvider{Type: "EnergyCharts"}
	for name, tt := range map[string]struct {
		spec v1alpha1.ForecastSource
		want string
	}{
		"by a provider":          {v1alpha1.ForecastSource{ConfigMap: standard, Provider: provider}, "ConfigMap gridlatch-system/carbon-intensity-default does not exist: the Deployment gridlatch-export in namespace gridlatch-system writes the ConfigMap; see whether the Deployment runs, and what its log says"},
		"by nobody":              {v1alpha1.ForecastSource{ConfigMap: standard}, "ConfigMap kube-system/carbon-intensity does not exist, and no provider is named: name a provider in spec.forecast.provider of the CarbonPolicy, or install a carbon-intensity exporter that writes the ConfigMap"},
		"by a program of theirs": {v1alpha1.ForecastSource{ConfigMap: v1alpha1.ConfigMapKey{Namespace: "a", Name: "b", Key: "c"}}, "ConfigMap a/b does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			object := v1alpha1.Default()
			object.Spec.Forecast = tt.spec
			p := New(t.Context(), object, "gridlatch-system", nil, t0)
			if got := (&MissingForecastError{Source: p.Source, Remedy: p.Remedy}).Error(); got != tt.want {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestEachPolicyHasAConfigMapOfItsOwn(t *testing.T) {
	names := map[string]string{}
	for _, policy := range []string{
		"", "default", strings.Repeat("a", 236), strings.Repeat("a", 237), strings.Repeat("a", 253), strings.Repeat("a", 252) + "b",
		strings.Repeat("a", 218) + "." + strings.Repeat("b", 34), strings.Repeat("a", 219) + "." + strings.Repeat("c", 33),
	} {
		name := v1alpha1.ForecastConfigMap(policy)
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
			t.Errorf("policy %.40q…: %q: %v", policy, name, problems)
		}
		if other, taken := names[name]; taken {
			t.Errorf("policies %q and %q share %s", other, policy, name)
		}
		names[name] = policy
	}
	if got := v1alpha1.ForecastConfigMap("batch"); got != "carbon-intensity-batch" {
		t.Errorf("got %s", got)
	}
}
