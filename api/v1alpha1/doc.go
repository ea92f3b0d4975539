// Package v1alpha1 is the API of Gridlatch: the cluster-scoped CarbonPolicy, and the annotations,
// labels and resources that users and other programs read or write.
//
// The CustomResourceDefinition in manifests/base is generated from the types here, with their
// defaults and validation.
//
// +kubebuilder:object:generate=true
// +groupName=gridlatch.dev
package v1alpha1
