package v1alpha1

import (
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CarbonPolicy is the platform owner's say on how long work may be held, by
// which forecast, and when carbon does not count.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=gridlatch
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Location",type=string,JSONPath=`.status.locations[0].name`
// +kubebuilder:printcolumn:name="gCO2eq/kWh",type=integer,JSONPath=`.status.locations[0].intensity`
// +kubebuilder:printcolumn:name="Forecast",type=string,JSONPath=`.status.conditions[?(@.type=="ForecastUsable")].reason`
// +kubebuilder:printcolumn:name="Bucket",type=string,JSONPath=`.status.locations[0].bucket`
// +kubebuilder:printcolumn:name="Ceiling",type=integer,JSONPath=`.status.locations[0].ceiling`
// +kubebuilder:printcolumn:name="Running",type=integer,JSONPath=`.status.locations[0].running`
// +kubebuilder:printcolumn:name="Held",type=integer,JSONPath=`.status.held.pods`
// +kubebuilder:printcolumn:name="Next-Release",type=string,format=date-time,JSONPath=`.status.nextRelease`
// +kubebuilder:printcolumn:name="Forecast-Until",type=string,format=date-time,JSONPath=`.status.locations[0].forecastUntil`,priority=1
// +kubebuilder:printcolumn:name="Forecast-Age",type=date,JSONPath=`.status.locations[0].forecastIssued`,priority=1
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.status.locations[0].model`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type CarbonPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	// +kubebuilder:default={}
	Spec CarbonPolicySpec `json:"spec,omitempty"`
	// +optional
	Status CarbonPolicyStatus `json:"status,omitempty"`
}

// CarbonPolicyList is a list of policies.
//
// +kubebuilder:object:root=true
type CarbonPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CarbonPolicy `json:"items"`
}

// CarbonPolicySpec is what a policy sets. Every field has a default; the empty
// spec is that of the policy that holds where there is none.
type CarbonPolicySpec struct {
	// Where the forecast comes from.
	// +optional
	// +kubebuilder:default={}
	Forecast ForecastSource `json:"forecast,omitempty"`

	// The grid locations, named as the forecast names them. The first is the
	// default. With none, it is the only location of the forecast. Node selectors
	// let work run in others, too.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Locations []Location `json:"locations,omitempty"`

	// How many released pods may run at once at each location, by its intensity.
	// Above the last bound the last bucket holds. With none, there is no limit.
	// Work whose latest start has come starts regardless.
	// +optional
	// +listType=map
	// +listMapKey=upTo
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:XValidation:rule="self.map(b, b.upTo).isSorted()",message="must be in ascending order of upTo"
	Buckets []Bucket `json:"buckets,omitempty"`

	// How long after its creation work without a deadline starts at the latest.
	// +optional
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('8784h')",message="must be a duration from 0s to 8784h (366 days), such as 24h"
	MaxDelay metav1.Duration `json:"maxDelay,omitzero"`

	// How long work runs that does not say so, and of which no earlier runs are
	// known.
	// +optional
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s') && duration(self) <= duration('8784h')",message="must be a duration above 0s and up to 8784h (366 days), such as 1h"
	DefaultDuration metav1.Duration `json:"defaultDuration,omitzero"`

	// Work is not held for a smaller saving than this, in percent.
	// +optional
	// +kubebuilder:default="1"
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('0')) >= 0 && quantity(string(self)).compareTo(quantity('100')) <= 0",message="must be a percentage from 0 to 100"
	MinGainPercent resource.Quantity `json:"minGainPercent,omitzero"`

	// By how many percent an hour of waiting makes a start dearer: a higher
	// price prefers earlier starts where the gain is small.
	// +optional
	// +kubebuilder:default="0.1"
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('0')) >= 0 && quantity(string(self)).compareTo(quantity('100')) <= 0",message="must be a percentage from 0 to 100"
	WaitPricePercentPerHour resource.Quantity `json:"waitPricePercentPerHour,omitzero"`

	// When carbon does not count: work starts at once, and what is held is
	// released.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Exemptions []Exemption `json:"exemptions,omitempty"`
}

// Bucket is a range of intensities, and what may run while the intensity is in
// it.
type Bucket struct {
	// The upper bound in gCO2eq/kWh, inclusive.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	UpTo int32 `json:"upTo"`
	// How many pods may run at once.
	// +kubebuilder:validation:Minimum=0
	Ceiling int32 `json:"ceiling"`
}

// ForecastSource says where the forecast is, and for how long it is good.
type ForecastSource struct {
	// The ConfigMap of a carbon-intensity exporter.
	// +optional
	// +kubebuilder:default={}
	ConfigMap ConfigMapKey `json:"configMap,omitempty"`

	// A forecast older than this is no longer trusted as it comes. It counts for
	// what such old ones have been worth, once that has been learned; until then
	// nothing is held by it.
	// +optional
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s') && duration(self) <= duration('8784h')",message="must be a duration above 0s and up to 8784h (366 days), such as 24h"
	MaxAge metav1.Duration `json:"maxAge,omitzero"`
}

// ConfigMapKey names one key of a ConfigMap.
type ConfigMapKey struct {
	// +optional
	// +kubebuilder:default=kube-system
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace,omitempty"`
	// +optional
	// +kubebuilder:default=carbon-intensity
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// The key of binaryData, or else of data, that holds the JSON array.
	// +optional
	// +kubebuilder:default=data
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// Location is a zone of the grid.
type Location struct {
	// As the forecast names it, such as CAISO_NORTH.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// The labels of the nodes that draw their power there. A node with those of
	// several locations is at the first of them. If at least two
	// locations have some, work runs where it is cleanest of those that have
	// nodes, unless it is pinned to one: where and when are chosen together, and
	// the scheduler is asked to prefer the nodes of that location. It may still
	// put pods elsewhere. Of locations that are as clean, the first is taken.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="must have keys that a node's label can have, such as topology.kubernetes.io/region"
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(self[k]) <= 63)",message="must have values that a node's label can have: of up to 63 characters"
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
}

// Exemption is a time when carbon does not count: a schedule, or a window.
//
// +kubebuilder:validation:XValidation:rule="has(self.schedule) != (has(self.from) || has(self.to))",message="must have either schedule, or from and to"
// +kubebuilder:validation:XValidation:rule="has(self.from) == has(self.to)",message="from and to go together"
// +kubebuilder:validation:XValidation:rule="!has(self.from) || !has(self.to) || self.from < self.to",message="from must be before to"
type Exemption struct {
	// The exempt minutes as a cron expression, in UTC.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Schedule string `json:"schedule,omitempty"`
	// +optional
	From *metav1.Time `json:"from,omitempty"`
	// +optional
	To *metav1.Time `json:"to,omitempty"`
}

// CarbonPolicyStatus is what the controller last saw and decided.
type CarbonPolicyStatus struct {
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// One for each location, the default first.
	// +optional
	// +listType=atomic
	Locations []LocationStatus `json:"locations,omitempty"`
	// What is held by this policy.
	// +optional
	Held HeldStatus `json:"held"`
	// When the next group of pods starts, as planned now.
	// +optional
	NextRelease *metav1.Time `json:"nextRelease,omitempty"`
}

// LocationStatus is what is known of the grid at one location.
type LocationStatus struct {
	Name string `json:"name"`
	// gCO2eq/kWh in the running slot, rounded.
	// +optional
	Intensity *int32 `json:"intensity,omitempty"`
	// When the forecast in use was issued.
	// +optional
	ForecastIssued *metav1.Time `json:"forecastIssued,omitempty"`
	// How far it reaches.
	// +optional
	ForecastUntil *metav1.Time `json:"forecastUntil,omitempty"`
	// The bucket of the intensity now, such as <=437.
	// +optional
	Bucket string `json:"bucket,omitempty"`
	// How many pods may run at once now, where there are buckets.
	// +optional
	Ceiling *int32 `json:"ceiling,omitempty"`
	// How many run that were released to this location, where there are buckets.
	// +optional
	Running *int32 `json:"running,omitempty"`
	// What has been learned of how the forecast errs and what the days have in
	// common: how long it has been learned, or how much of the saving that was
	// possible in the last 28 days was had.
	// +optional
	Model string `json:"model,omitempty"`
}

// HeldStatus counts what waits.
type HeldStatus struct {
	Pods int32 `json:"pods"`
	// A group is what is released together: the pods of one Job, or one pod.
	Groups int32 `json:"groups"`
}

// The conditions of a policy.
const (
	// ConditionReady is false when a part of the spec, or the power factor of a
	// node, cannot be used; the rest holds.
	ConditionReady = "Ready"
	// ConditionForecastUsable is false when work starts at once because
	// nothing usable is known of the default location.
	ConditionForecastUsable = "ForecastUsable"
	// ConditionReleasesFailing is true when releases of what the policy holds have
	// failed for a minute and none has succeeded, so that new work is not held, and
	// when something is held although its latest start has passed.
	ConditionReleasesFailing = "ReleasesFailing"
)

// The reasons of the conditions.
const (
	ReasonValid   = "Valid"
	ReasonInvalid = "Invalid"
	// ReasonCurrent: the newest forecast is in use.
	ReasonCurrent = "Current"
	// ReasonLastGood: the newest is missing or broken, the last good one is in
	// use.
	ReasonLastGood = "LastGood"
	// ReasonNotBelieved: the newest has values that cannot be true, such as the
	// zeros of an outage. What is believed of it is in use, or the last good one,
	// or what is known of the past.
	ReasonNotBelieved = "NotBelieved"
	// ReasonStale: the last good one is older than maxAge, or over.
	ReasonStale = "Stale"
	// ReasonMissing: there has been none.
	ReasonMissing = "Missing"
	// ReasonReleasing: what is due is released.
	ReasonReleasing = "Releasing"
	// ReasonNoneReleased: no release has succeeded where some have failed.
	ReasonNoneReleased = "NoneReleased"
	// ReasonOverdue: something is held although its latest start has passed, while
	// other releases succeed.
	ReasonOverdue = "Overdue"
)

// DefaultPolicy is the name of the policy for work that names none.
const DefaultPolicy = "default"

// Default returns the policy that holds where none has been made: what the API
// server makes of an empty spec.
func Default() *CarbonPolicy {
	return &CarbonPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: DefaultPolicy},
		Spec: CarbonPolicySpec{
			Forecast: ForecastSource{
				ConfigMap: ConfigMapKey{Namespace: "kube-system", Name: "carbon-intensity", Key: "data"},
				MaxAge:    metav1.Duration{Duration: 24 * time.Hour},
			},
			MaxDelay:                metav1.Duration{Duration: 24 * time.Hour},
			DefaultDuration:         metav1.Duration{Duration: time.Hour},
			MinGainPercent:          resource.MustParse("1"),
			WaitPricePercentPerHour: resource.MustParse("0.1"),
		},
	}
}
