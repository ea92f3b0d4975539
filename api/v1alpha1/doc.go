// Package v1alpha1 is the API of Gridlatch: the cluster-scoped CarbonPolicy.
//
// The CustomResourceDefinition in manifests/base is generated from the types
// here, with their defaults and validation; what users write on Jobs and pods
// is described in package gating.
//
// +kubebuilder:object:generate=true
// +groupName=gridlatch.dev
package v1alpha1
