package policy

import (
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// exporterKey is the key of the forecast in a ConfigMap that Gridlatch's own exporter writes.
const exporterKey = "data"

// SourceOf returns where the forecast of a policy is: where Gridlatch's own exporter writes what the
// provider says or, without a provider, the ConfigMap that the policy names. The namespace is that of
// Gridlatch.
func SourceOf(object *v1alpha1.CarbonPolicy, namespace string) forecast.Source {
	if object.Spec.Forecast.Provider != nil {
		return forecast.Source{Namespace: namespace, Name: v1alpha1.ForecastConfigMap(object.Name), Key: exporterKey}
	}
	key := object.Spec.Forecast.ConfigMap
	return forecast.Source{Namespace: key.Namespace, Name: key.Name, Key: key.Key}
}
