package policy

import (
	"fmt"

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
	return sourceAt(object.Spec.Forecast.ConfigMap)
}

// sourceAt returns the source at a key of a ConfigMap.
func sourceAt(key v1alpha1.ConfigMapKey) forecast.Source {
	return forecast.Source{Namespace: key.Namespace, Name: key.Name, Key: key.Key}
}

// substituteFor returns what is read if the ConfigMap of a source does not exist, or the zero source.
// Where nobody has said who brings the forecast, Gridlatch's own exporter asks a provider that needs
// no key, by the region of the nodes. If Gridlatch is in the namespace of the source, both are the same
// ConfigMap, and there is no substitute.
func substituteFor(source forecast.Source, namespace string) forecast.Source {
	substitute := forecast.Source{Namespace: namespace, Name: v1alpha1.ForecastConfigMap(""), Key: exporterKey}
	if !isUsual(source) || substitute == source {
		return forecast.Source{}
	}
	return substitute
}

// isUsual reports whether a source is that of a policy that does not say where its forecast is.
func isUsual(source forecast.Source) bool {
	return source == sourceAt(v1alpha1.Default().Spec.Forecast.ConfigMap)
}

// remedyFor returns what to do if neither the ConfigMap of a policy nor its substitute exists, as the end
// of a sentence. The remedy is empty if somebody else writes the ConfigMap.
func remedyFor(object *v1alpha1.CarbonPolicy, source forecast.Source) string {
	switch {
	case object.Spec.Forecast.Provider != nil:
		return fmt.Sprintf(": the Deployment gridlatch-export in namespace %s writes the ConfigMap; see whether the Deployment runs, and what its log says", source.Namespace)
	case isUsual(source):
		return ", and no provider is named: name a provider in spec.forecast.provider of the CarbonPolicy, or install a carbon-intensity exporter that writes the ConfigMap"
	}
	return ""
}

// MissingForecastError says that neither the ConfigMap of a source nor its substitute exists.
type MissingForecastError struct {
	Source forecast.Source
	// Remedy is that of the policy.
	Remedy string
}

// Error says what is missing, and what to do.
func (e *MissingForecastError) Error() string {
	return fmt.Sprintf("ConfigMap %s/%s does not exist%s", e.Source.Namespace, e.Source.Name, e.Remedy)
}
