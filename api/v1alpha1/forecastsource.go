package v1alpha1

// ForecastSource says where the forecast comes from, and how long it can be used.
//
// +kubebuilder:validation:XValidation:rule="!has(self.weather) || has(self.provider)",message="weather needs provider, which tells how the intensity was"
// +kubebuilder:validation:XValidation:rule="!has(self.renewables) || has(self.provider)",message="renewables needs provider, which tells how the intensity was"
// +kubebuilder:validation:XValidation:rule="!has(self.actuals) || has(self.provider)",message="actuals needs provider, whose past it completes"
// +kubebuilder:validation:XValidation:rule="!has(self.actuals) || !has(self.provider) || !has(self.actuals.type) || self.actuals.type != self.provider.type",message="must have an actuals.type other than provider.type: actuals is who else knows how the intensity was"
type ForecastSource struct {
	// provider is who knows the grid. Gridlatch then asks the provider, and writes what it says to
	// the ConfigMap carbon-intensity-NAME in the namespace of Gridlatch, where NAME is the name of
	// the policy. Without a provider, Gridlatch reads configMap. If the policy
	// default has neither a provider nor locations nor another configMap, if that ConfigMap does not
	// exist, and if a provider without a key covers the region of the nodes, Gridlatch asks that
	// provider.
	// +optional
	Provider *ForecastProvider `json:"provider,omitempty"`

	// weather is who knows the weather. Gridlatch then learns how the intensity of each location answers
	// to wind, sun and temperature, and makes a forecast of its own. So good plans need no provider with
	// a forecast, only one that knows the past. With a forecast of the provider, both count.
	// +optional
	Weather *WeatherSource `json:"weather,omitempty"`

	// renewables is whose forecast of wind and solar power counts. Operators of grids publish for each
	// hour how much wind and sun will supply, and how much power will be used. Gridlatch learns how the
	// intensity answers to these shares, alone or together with the weather, and makes a forecast of its
	// own. {} asks whoever covers the location.
	// +optional
	Renewables *RenewablesSource `json:"renewables,omitempty"`

	// actuals is who else knows how the intensity was. Plans are worse the later the provider tells how
	// the intensity was: for hours that the provider does not know yet, or never knew, Gridlatch takes the
	// intensities of this second source, at the level of the provider. They are estimates, and the ledger
	// does not count them. If the provider knows nothing of the past, those of the second source count as
	// they are. {} asks whoever covers the location without a key. Marginal intensities are never
	// completed.
	// +optional
	Actuals *ActualsSource `json:"actuals,omitempty"`

	// configMap is where somebody else writes the forecast, such as a carbon-intensity exporter.
	// With a provider, configMap is not read.
	// +optional
	// +kubebuilder:default={}
	ConfigMap ConfigMapKey `json:"configMap,omitempty"`

	// maxAge is the age up to which a forecast is trusted: a duration above 0s and up to 366d, such
	// as 24h. Gridlatch uses an older forecast only as far as forecasts of that age were right in
	// the past. Until Gridlatch has learned this, an older forecast holds no work.
	// +optional
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]')",message="must be more than 0s"
	MaxAge Duration `json:"maxAge,omitempty"`
}

// ConfigMapKey names one key of a ConfigMap.
type ConfigMapKey struct {
	// namespace is the namespace of the ConfigMap.
	// +optional
	// +kubebuilder:default=kube-system
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace,omitempty"`
	// name is the name of the ConfigMap.
	// +optional
	// +kubebuilder:default=carbon-intensity
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// key is the key under which the ConfigMap has the forecast as a JSON array. Gridlatch looks in
	// binaryData first, and then in data.
	// +optional
	// +kubebuilder:default=data
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// Location is a zone of the grid.
type Location struct {
	// name is the name that the forecast has for the location, such as CAISO_NORTH.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// zone is the name that the provider of the forecast has for the location, if it is another name
	// than the name of the location. Without a provider, zone is not used.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Zone string `json:"zone,omitempty"`
	// weatherPoints are the places whose mean weather counts at this location, best where the wind farms
	// are. Without points, Gridlatch uses its own table of the zones of the provider.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	WeatherPoints []WeatherPoint `json:"weatherPoints,omitempty"`
	// nodeSelector has the labels of the nodes that draw their power at this location. A node with
	// the labels of several locations belongs to the first of them. If at least two locations have
	// a nodeSelector, work runs where it is cleanest, unless the work is pinned to one location.
	// Gridlatch chooses location and start together, and asks the scheduler to prefer the nodes of
	// the chosen location. The scheduler may still choose other nodes. If several locations are
	// equally clean, Gridlatch chooses the first. With a provider, a location without a nodeSelector
	// has the nodes whose label topology.kubernetes.io/region names a cloud region in its zone.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="must have keys that a node's label can have, such as topology.kubernetes.io/region"
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(self[k]) <= 63)",message="must have values that a node's label can have: of up to 63 characters"
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
}
