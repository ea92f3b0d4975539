package v1alpha1

const (
	// DefaultAutoscalerNamespace is where Cluster Autoscaler runs most often.
	DefaultAutoscalerNamespace = "kube-system"
	// PrioritiesConfigMap is the name of the ConfigMap from which Cluster Autoscaler takes its priorities.
	PrioritiesConfigMap = "cluster-autoscaler-priority-expander"
)

// ClusterAutoscaler says which node groups of Cluster Autoscaler are ranked by their emissions.
type ClusterAutoscaler struct {
	// namespace is where Cluster Autoscaler runs, and has its ConfigMap
	// cluster-autoscaler-priority-expander. If several policies name one namespace, the first of them
	// by name counts.
	// +optional
	// +kubebuilder:default=kube-system
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace,omitempty"`
	// nodeGroups are the node groups that are ranked. A node group that matches several patterns has the
	// place of the cleanest one. Node groups that match none come last.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=2
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a.pattern == b.pattern))",message="must have a different pattern for each entry"
	NodeGroups []NodeGroup `json:"nodeGroups"`
}

// NodeGroup is one or several node groups at one location.
type NodeGroup struct {
	// pattern is a regular expression (RE2) that matches a part of the name of each node group, as Cluster
	// Autoscaler spells the name, such as ^eks-north-.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="''.matches(self) in [true, false]",message="must be a regular expression, such as ^eks-north-"
	Pattern string `json:"pattern"`
	// location is the location of this policy whose intensity counts, or a cloud region there. The default
	// is the first location of this policy.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Location string `json:"location,omitempty"`
	// powerFactor is how much power the same work takes on these nodes, compared with other nodes: a number
	// from 0.001 to 1000, such as 0.6.
	// +optional
	// +kubebuilder:default="1"
	// +kubebuilder:validation:MaxLength=10
	// +kubebuilder:validation:XValidation:rule="self.matches('^(1000([.]0+)?|[1-9][0-9]{0,2}([.][0-9]+)?|0[.][0-9]*[1-9][0-9]*)$') && double(self) >= 0.001",message="must be a number from 0.001 to 1000, such as 0.6"
	PowerFactor string `json:"powerFactor,omitempty"`
}
