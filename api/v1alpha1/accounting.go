package v1alpha1

// Accounting says how Gridlatch measures or estimates the energy of work, and what else counts in
// the accounts. Nothing here changes when work starts.
type Accounting struct {
	// prometheus is the Prometheus that has the measurements of Kepler. Without prometheus, or for
	// work that Kepler has not measured, Gridlatch estimates the energy from the requests of the pods.
	// +optional
	Prometheus *PrometheusServer `json:"prometheus,omitempty"`

	// power is the model by which Gridlatch estimates the energy of work that nobody has measured.
	// +optional
	Power *PowerModel `json:"power,omitempty"`

	// pue is the power usage effectiveness of the data centre: the energy of the whole data centre
	// for each unit of energy of its computers. Gridlatch multiplies measured and estimated energy by
	// pue. The value is a number from 1 to 10, such as 1.2. The default is 1.2.
	// +optional
	PUE PowerUsageEffectiveness `json:"pue,omitempty"`

	// embodiedGramsPerNodeHour is what the production of one node has emitted, in gCO2eq for each hour
	// of the life of the node. Work counts with its share of the node. The default is 34.2: 1200 kg
	// over four years.
	// +optional
	EmbodiedGramsPerNodeHour Grams `json:"embodiedGramsPerNodeHour,omitempty"`
}

// PrometheusServer says where a Prometheus is.
type PrometheusServer struct {
	// address is the URL of a Prometheus, or of a server with the same API for queries, such as
	// http://prometheus.monitoring:9090. Gridlatch adds /api/v1/query to the address, and sends no
	// password.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/?#@\\\\s\\\\\\\\]+(/[^?#\\\\s\\\\\\\\]*)?$')",message="must be an address with http or https, without user, query or fragment, such as http://prometheus.monitoring:9090"
	Address string `json:"address"`
}

// PowerModel says how much power work draws for what the work requests. A field that is left out has
// the value of the model that ships with Gridlatch.
type PowerModel struct {
	// core is the power of one core. A core is one CPU as Kubernetes counts CPUs, and on most machines
	// one hardware thread. The default is 0.7 to 3.5 watts.
	// +optional
	Core *PowerRange `json:"core,omitempty"`

	// architectures are the power of one core where it differs from core, by the architecture of the
	// node. The model has 0.47 to 1.69 watts for arm64. This value counts unless the list has arm64.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Architectures []ArchitecturePower `json:"architectures,omitempty"`

	// memoryWattsPerGiB is the power of one GiB of memory, in watts. The default is 0.392.
	// +optional
	MemoryWattsPerGiB Watts `json:"memoryWattsPerGiB,omitempty"`

	// gpu is the power of one GPU of a kind that is not known. The default is 29 to 249 watts.
	// +optional
	GPU *PowerRange `json:"gpu,omitempty"`

	// gpus are the power of one GPU by its kind. The model has the kinds T4, V100, A100, A10G and P100.
	// Their values count unless the list has the same kind. If several kinds fit a node, the longest
	// counts.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +kubebuilder:validation:MaxItems=64
	GPUs []GPUPower `json:"gpus,omitempty"`

	// utilizationPercent is how much of the cores and GPUs that work requests the work uses on average,
	// in percent. The default is 50.
	// +optional
	UtilizationPercent Percentage `json:"utilizationPercent,omitempty"`
}

// PowerRange is the power of a device, from doing nothing to doing all it can.
//
// +kubebuilder:validation:XValidation:rule="!self.idleWatts.matches('^[0-9]{1,5}([.][0-9]{1,6})?$') || !self.maxWatts.matches('^[0-9]{1,5}([.][0-9]{1,6})?$') || double(self.idleWatts) <= double(self.maxWatts)",message="must have an idleWatts that is at most maxWatts"
type PowerRange struct {
	// idleWatts is the power of the device when it does nothing, in watts.
	// +required
	IdleWatts Watts `json:"idleWatts"`
	// maxWatts is the power of the device when it does all it can, in watts.
	// +required
	MaxWatts Watts `json:"maxWatts"`
}

// ArchitecturePower is the power of one core of an architecture.
type ArchitecturePower struct {
	// name is the architecture: the value of the label kubernetes.io/arch of the node, such as arm64.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	PowerRange `json:",inline"`
}

// GPUPower is the power of one GPU of a kind.
type GPUPower struct {
	// kind is the kind of the GPU: the value of the label nvidia.com/gpu.product of the node, such as
	// NVIDIA-A100-SXM4-80GB, or whole words of the value, such as A100.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('[0-9A-Za-z]')",message="must have a letter or a digit"
	Kind string `json:"kind"`

	PowerRange `json:",inline"`
}

// Watts is a decimal number of watts from 0 to 99999, such as 3.5.
//
// +kubebuilder:validation:MaxLength=12
// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,5}([.][0-9]{1,6})?$')",message="must be a decimal number of watts from 0 to 99999, such as 3.5"
type Watts string

// Grams is a decimal number of gCO2eq from 0 to 99999, such as 34.2.
//
// +kubebuilder:validation:MaxLength=12
// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,5}([.][0-9]{1,6})?$')",message="must be a decimal number of gCO2eq from 0 to 99999, such as 34.2"
type Grams string

// PowerUsageEffectiveness is a decimal number from 1 to 10, such as 1.2.
//
// +kubebuilder:validation:MaxLength=9
// +kubebuilder:validation:XValidation:rule="self.matches('^([1-9]([.][0-9]{1,6})?|10([.]0{1,6})?)$')",message="must be a decimal number from 1 to 10, such as 1.2"
type PowerUsageEffectiveness string
