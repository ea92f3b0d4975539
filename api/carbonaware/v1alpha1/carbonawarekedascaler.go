package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CarbonAwareKedaScaler sets the maxReplicaCount of a ScaledObject or a
// ScaledJob of KEDA by the carbon intensity of the electricity.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels={"app.kubernetes.io/name=gridlatch","app.kubernetes.io/component=keda","app.kubernetes.io/part-of=gridlatch"}
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

	// spec is what the user asks for.
	// +optional
	Spec CarbonAwareKedaScalerSpec `json:"spec,omitempty"`
	// status is what Gridlatch has last seen and done.
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
	// kedaTarget is the kind of the target: ScaledObjects or ScaledJobs of KEDA.
	// +kubebuilder:validation:Enum=scaledobjects.keda.sh;scaledjobs.keda.sh
	KedaTarget string `json:"kedaTarget"`
	// kedaTargetRef names the target. If its namespace is not the namespace of the scaler,
	// Gridlatch must be started with --ceiling-cross-namespace.
	KedaTargetRef KedaTargetRef `json:"kedaTargetRef"`
	// maxReplicasByCarbonIntensity has the maxReplicaCount for each range of carbon intensities, in
	// any order. Above the highest threshold, the maxReplicas of the highest threshold applies.
	// +kubebuilder:validation:MinItems=1
	MaxReplicasByCarbonIntensity []CarbonIntensityConfig `json:"maxReplicasByCarbonIntensity"`
	// ecoModeOff says when carbon does not count, and how many replicas there may be then. The same
	// number applies while the intensity is not known.
	EcoModeOff EcoModeOff `json:"ecoModeOff"`
	// carbonIntensityForecastDataSource says where the forecast comes from: mockCarbonForecast, or
	// else localConfigMap.
	CarbonIntensityForecastDataSource CarbonIntensityForecastDataSource `json:"carbonIntensityForecastDataSource"`
}

// KedaTargetRef names an object of KEDA.
type KedaTargetRef struct {
	// name is the name of the object.
	Name string `json:"name"`
	// namespace is the namespace of the object.
	Namespace string `json:"namespace"`
}

// CarbonIntensityConfig is how many replicas there may be up to an intensity.
type CarbonIntensityConfig struct {
	// carbonIntensityThreshold is the upper bound in gCO2eq/kWh. The bound itself belongs to the
	// range.
	CarbonIntensityThreshold int32 `json:"carbonIntensityThreshold"`
	// maxReplicas is how many replicas, or Jobs, there may be. With 0, the target is paused.
	MaxReplicas int32 `json:"maxReplicas"`
}

// EcoModeOff says when carbon does not count.
type EcoModeOff struct {
	// maxReplicas is how many replicas there may be while carbon does not count.
	MaxReplicas int32 `json:"maxReplicas"`
	// carbonIntensityDuration says that carbon does not count after a long time of high intensity,
	// until the intensity is lower again.
	// +optional
	CarbonIntensityDuration *CarbonIntensityDuration `json:"carbonIntensityDuration,omitempty"`
	// customSchedule has times when carbon does not count, each from a start to an end.
	// +optional
	CustomSchedule []Schedule `json:"customSchedule,omitempty"`
	// recurringSchedule has cron expressions for the minutes in which carbon does not count, in
	// UTC, such as "* 23 * * 1-5".
	// +optional
	RecurringSchedule []string `json:"recurringSchedule,omitempty"`
}

// CarbonIntensityDuration is a time of high intensity.
type CarbonIntensityDuration struct {
	// carbonIntensityThreshold is the lowest intensity that is high, in gCO2eq/kWh.
	CarbonIntensityThreshold int32 `json:"carbonIntensityThreshold"`
	// overrideEcoAfterDurationInMins is for how many minutes the intensity must have been high.
	// With 0, high intensity is ignored.
	OverrideEcoAfterDurationInMins int32 `json:"overrideEcoAfterDurationInMins"`
}

// Schedule is a span of time without its two ends.
type Schedule struct {
	// startTime is the start (RFC 3339), such as 2026-11-22T16:45:00Z.
	StartTime string `json:"startTime"`
	// endTime is the end (RFC 3339), such as 2026-11-22T17:00:00Z.
	EndTime string `json:"endTime"`
}

// CarbonIntensityForecastDataSource says where the forecast comes from.
type CarbonIntensityForecastDataSource struct {
	// mockCarbonForecast makes random intensities from 529 to 580 gCO2eq/kWh, for trials.
	// +optional
	MockCarbonForecast bool `json:"mockCarbonForecast,omitempty"`
	// localConfigMap is the ConfigMap of a carbon-intensity exporter. Gridlatch needs a Role to
	// read the ConfigMap.
	// +optional
	LocalConfigMap *LocalConfigMap `json:"localConfigMap,omitempty"`
}

// LocalConfigMap names one key of a ConfigMap.
type LocalConfigMap struct {
	// name is the name of the ConfigMap.
	Name string `json:"name"`
	// namespace is the namespace of the ConfigMap.
	Namespace string `json:"namespace"`
	// key is the key with the forecast.
	Key string `json:"key"`
}

// CarbonAwareKedaScalerStatus is what Gridlatch has last seen and done.
type CarbonAwareKedaScalerStatus struct {
	// conditions has the one condition OperatorDegraded.
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// intensity is the intensity now in gCO2eq/kWh, rounded. The field is absent if the intensity
	// is not known.
	// +optional
	Intensity *int32 `json:"intensity,omitempty"`
	// bucket is the bucket of the intensity, such as <=437, while carbon counts.
	// +optional
	Bucket string `json:"bucket,omitempty"`
	// maxReplicas is the maxReplicaCount that Gridlatch has set on the target. It is 0 while the
	// target is paused.
	// +optional
	MaxReplicas *int32 `json:"maxReplicas,omitempty"`
	// originalMaxReplicas is the maxReplicaCount that the target had, and gets back when the scaler
	// is deleted.
	// +optional
	OriginalMaxReplicas *int32 `json:"originalMaxReplicas,omitempty"`
	// reason says in one sentence why maxReplicas is as it is.
	// +optional
	Reason string `json:"reason,omitempty"`
	// nextChange is when maxReplicas changes next, by the forecast and the schedules.
	// +optional
	NextChange *metav1.Time `json:"nextChange,omitempty"`
	// warnings name mistakes in the spec, or in the forecast.
	// +optional
	// +listType=atomic
	Warnings []string `json:"warnings,omitempty"`
}

// ConditionDegraded is the one condition of a scaler. The condition is false while the intensity
// decides, and true otherwise, also during a schedule.
const ConditionDegraded = "OperatorDegraded"

// The Carbon Aware KEDA Operator had these reasons, too.
const (
	ReasonSucceeded            = "OperatorSucceeded"
	ReasonEcoModeDisabled      = "OperatorEcoModeDisabled"
	ReasonCarbonDataFetchError = "OperatorCarbonDataFetchError"
	ReasonEcoModeDisabledError = "OperatorEcoModeDisabledError"
	ReasonTargetNotFound       = "OperatorTargetNotFound"
	ReasonTargetUpdateFailed   = "OperatorTargetUpdateFailed"
)

// The Carbon Aware KEDA Operator did not have these reasons.
const (
	// ReasonTargetForbidden says that the target is in another namespace.
	ReasonTargetForbidden = "OperatorTargetForbidden"
	// ReasonTargetClaimed says that another ceiling applies to the target.
	ReasonTargetClaimed = "OperatorTargetClaimed"
	// ReasonTargetReverted says that somebody else changes maxReplicaCount back.
	ReasonTargetReverted = "OperatorTargetReverted"
	// ReasonTargetReleased says that somebody has removed the ceiling by hand for a while.
	ReasonTargetReleased = "OperatorTargetReleased"
	// ReasonWaitingForJobs says that a change would kill the target's running Jobs.
	ReasonWaitingForJobs = "OperatorWaitingForJobs"
)
