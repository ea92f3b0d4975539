package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CarbonAwareKedaScaler sets the maxReplicaCount of a ScaledObject or a
// ScaledJob of KEDA by the carbon intensity of the electricity.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.kedaTargetRef.name`
// +kubebuilder:printcolumn:name="gCO2eq/kWh",type=integer,JSONPath=`.status.intensity`
// +kubebuilder:printcolumn:name="Bucket",type=string,JSONPath=`.status.bucket`
// +kubebuilder:printcolumn:name="Max",type=integer,JSONPath=`.status.maxReplicas`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="OperatorDegraded")].reason`
// +kubebuilder:printcolumn:name="Next-Change",type=string,format=date-time,JSONPath=`.status.nextChange`
// +kubebuilder:printcolumn:name="Why",type=string,JSONPath=`.status.reason`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type CarbonAwareKedaScaler struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec CarbonAwareKedaScalerSpec `json:"spec,omitempty"`
	// +optional
	Status CarbonAwareKedaScalerStatus `json:"status,omitempty"`
}

// CarbonAwareKedaScalerList is a list of scalers.
//
// +kubebuilder:object:root=true
type CarbonAwareKedaScalerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CarbonAwareKedaScaler `json:"items"`
}

// The targets of a scaler.
const (
	TargetScaledObjects = "scaledobjects.keda.sh"
	TargetScaledJobs    = "scaledjobs.keda.sh"
)

// CarbonAwareKedaScalerSpec is what the user asks for.
type CarbonAwareKedaScalerSpec struct {
	// What kind of object of KEDA is scaled.
	// +kubebuilder:validation:Enum=scaledobjects.keda.sh;scaledjobs.keda.sh
	KedaTarget string `json:"kedaTarget"`
	// Which one. Another namespace than the scaler's own has to be allowed by
	// whoever runs Gridlatch.
	KedaTargetRef KedaTargetRef `json:"kedaTargetRef"`
	// maxReplicaCount by carbon intensity, in any order. Above the highest
	// threshold its maxReplicas holds.
	// +kubebuilder:validation:MinItems=1
	MaxReplicasByCarbonIntensity []CarbonIntensityConfig `json:"maxReplicasByCarbonIntensity"`
	// When the carbon intensity does not count, and what holds then. That is
	// also what holds while the intensity is not known.
	EcoModeOff EcoModeOff `json:"ecoModeOff"`
	// Where the forecast comes from: mockCarbonForecast, or else localConfigMap.
	CarbonIntensityForecastDataSource CarbonIntensityForecastDataSource `json:"carbonIntensityForecastDataSource"`
}

// KedaTargetRef names an object of KEDA.
type KedaTargetRef struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

// CarbonIntensityConfig is what holds up to an intensity.
type CarbonIntensityConfig struct {
	// The upper bound in gCO2eq/kWh, inclusive.
	CarbonIntensityThreshold int32 `json:"carbonIntensityThreshold"`
	// How many replicas, or Jobs, there may be. With 0 the target is paused.
	MaxReplicas int32 `json:"maxReplicas"`
}

// EcoModeOff says when carbon does not count.
type EcoModeOff struct {
	// How many replicas there may be then.
	MaxReplicas int32 `json:"maxReplicas"`
	// After a time of high intensity, until it is lower again.
	// +optional
	CarbonIntensityDuration *CarbonIntensityDuration `json:"carbonIntensityDuration,omitempty"`
	// From one time to another.
	// +optional
	CustomSchedule []Schedule `json:"customSchedule,omitempty"`
	// In the minutes that cron expressions name, in UTC, such as
	// "* 23 * * 1-5".
	// +optional
	RecurringSchedule []string `json:"recurringSchedule,omitempty"`
}

// CarbonIntensityDuration is a time of high intensity.
type CarbonIntensityDuration struct {
	// High is this intensity in gCO2eq/kWh, or more.
	CarbonIntensityThreshold int32 `json:"carbonIntensityThreshold"`
	// For how many minutes it has to have been high. With 0 it does not matter.
	OverrideEcoAfterDurationInMins int32 `json:"overrideEcoAfterDurationInMins"`
}

// Schedule is a span of time, both ends exclusive.
type Schedule struct {
	// RFC 3339, such as 2026-11-22T16:45:00Z.
	StartTime string `json:"startTime"`
	// RFC 3339, such as 2026-11-22T17:00:00Z.
	EndTime string `json:"endTime"`
}

// CarbonIntensityForecastDataSource says where the forecast comes from.
type CarbonIntensityForecastDataSource struct {
	// Random intensities from 529 to 580 gCO2eq/kWh, for trying it out.
	// +optional
	MockCarbonForecast bool `json:"mockCarbonForecast,omitempty"`
	// The ConfigMap of a carbon-intensity exporter. Gridlatch needs a Role to
	// read it.
	// +optional
	LocalConfigMap *LocalConfigMap `json:"localConfigMap,omitempty"`
}

// LocalConfigMap names one key of a ConfigMap.
type LocalConfigMap struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Key       string `json:"key"`
}

// CarbonAwareKedaScalerStatus is what was last seen and done.
type CarbonAwareKedaScalerStatus struct {
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// gCO2eq/kWh now, rounded, if that is known.
	// +optional
	Intensity *int32 `json:"intensity,omitempty"`
	// The bucket of the intensity, such as <=437, while it counts.
	// +optional
	Bucket string `json:"bucket,omitempty"`
	// What the target's maxReplicaCount has been set to; 0 while it is paused.
	// +optional
	MaxReplicas *int32 `json:"maxReplicas,omitempty"`
	// The target's own maxReplicaCount, to which it goes back.
	// +optional
	OriginalMaxReplicas *int32 `json:"originalMaxReplicas,omitempty"`
	// Why that is so, in one sentence.
	// +optional
	Reason string `json:"reason,omitempty"`
	// When it changes next, by the forecast and the schedules.
	// +optional
	NextChange *metav1.Time `json:"nextChange,omitempty"`
	// What in the spec, or in the forecast, is not as it should be.
	// +optional
	// +listType=atomic
	Warnings []string `json:"warnings,omitempty"`
}

// ConditionDegraded is the one condition of a scaler. It is false while the
// intensity decides, and true whenever it does not, also by a schedule.
const ConditionDegraded = "OperatorDegraded"

// The reasons of the condition that the operator had.
const (
	ReasonSucceeded            = "OperatorSucceeded"
	ReasonEcoModeDisabled      = "OperatorEcoModeDisabled"
	ReasonCarbonDataFetchError = "OperatorCarbonDataFetchError"
	ReasonEcoModeDisabledError = "OperatorEcoModeDisabledError"
	ReasonTargetNotFound       = "OperatorTargetNotFound"
	ReasonTargetUpdateFailed   = "OperatorTargetUpdateFailed"
)

// The reasons that are new.
const (
	// ReasonTargetForbidden: the target is in another namespace.
	ReasonTargetForbidden = "OperatorTargetForbidden"
	// ReasonTargetClaimed: somebody else's ceiling holds for the target.
	ReasonTargetClaimed = "OperatorTargetClaimed"
	// ReasonTargetReverted: somebody else changes maxReplicaCount back.
	ReasonTargetReverted = "OperatorTargetReverted"
	// ReasonTargetReleased: the ceiling was taken off by hand for a while.
	ReasonTargetReleased = "OperatorTargetReleased"
	// ReasonWaitingForJobs: a change would kill the target's running Jobs.
	ReasonWaitingForJobs = "OperatorWaitingForJobs"
)
