// Package v1alpha1 is the API of CarbonAwareKedaScaler, as users of the Carbon
// Aware KEDA Operator (github.com/Azure/carbon-aware-keda-operator) know it: an
// object that was valid there is valid here, and nothing new is required. What
// has been added is optional, or part of the status.
//
// The CustomResourceDefinition in manifests/components/keda is generated from
// the types here; what they do is described in package ceiling.
//
// +kubebuilder:object:generate=true
// +groupName=carbonaware.kubernetes.azure.com
package v1alpha1
