package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion returns carbonaware.kubernetes.azure.com/v1alpha1.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: "carbonaware.kubernetes.azure.com", Version: "v1alpha1"}
}

// AddToScheme makes the types of this package known to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion(), &CarbonAwareKedaScaler{}, &CarbonAwareKedaScalerList{})
	metav1.AddToGroupVersion(scheme, GroupVersion())
	return nil
}
