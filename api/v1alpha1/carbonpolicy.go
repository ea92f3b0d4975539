package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CarbonPolicy says how long work may wait, by which forecast, how much may run at which carbon
// intensity, and when carbon does not count.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels={"app.kubernetes.io/name=gridlatch","app.kubernetes.io/component=api","app.kubernetes.io/part-of=gridlatch"}
// +kubebuilder:resource:scope=Cluster,categories=gridlatch,shortName=cpol
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Location",type=string,JSONPath=`.status.locations[0].name`
// +kubebuilder:printcolumn:name="gCO2eq/kWh",type=integer,JSONPath=`.status.locations[0].intensity`
// +kubebuilder:printcolumn:name="Forecast",type=string,JSONPath=`.status.conditions[?(@.type=="ForecastUsable")].reason`
// +kubebuilder:printcolumn:name="Bucket",type=string,JSONPath=`.status.locations[0].bucket`
// +kubebuilder:printcolumn:name="Ceiling",type=integer,JSONPath=`.status.locations[0].ceiling`
// +kubebuilder:printcolumn:name="Running",type=integer,JSONPath=`.status.locations[0].running`
// +kubebuilder:printcolumn:name="Held",type=integer,JSONPath=`.status.held.pods`
// +kubebuilder:printcolumn:name="Audited",type=integer,JSONPath=`.status.audited.pods`,priority=1
// +kubebuilder:printcolumn:name="Next-Release",type=string,format=date-time,JSONPath=`.status.nextRelease`
// +kubebuilder:printcolumn:name="Forecast-Until",type=string,format=date-time,JSONPath=`.status.locations[0].forecastUntil`,priority=1
// +kubebuilder:printcolumn:name="Forecast-Age",type=date,JSONPath=`.status.locations[0].forecastIssued`,priority=1
// +kubebuilder:printcolumn:name="Learned-Days",type=integer,JSONPath=`.status.locations[0].learnedDays`,priority=1
// +kubebuilder:printcolumn:name="Saving-Share-%",type=integer,JSONPath=`.status.locations[0].savingSharePercent`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type CarbonPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard metadata of an object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the platform owner decides. Every field has a default.
	// +optional
	// +kubebuilder:default={}
	Spec CarbonPolicySpec `json:"spec,omitempty"`
	// status is what Gridlatch knows of the grid, and how much work it holds.
	// +optional
	Status CarbonPolicyStatus `json:"status,omitempty"`
}

// CarbonPolicyList is a list of policies.
//
// +kubebuilder:object:root=true
type CarbonPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	// items are the policies.
	Items []CarbonPolicy `json:"items"`
}

// Duration is a length of time as users write it: 90m, 8h, 1d12h, 1w or PT8H. A day has 24 hours.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('[0-9]') && self.matches('^((([0-9]|[1-4][0-9]|5[0-2])w)?(([0-9]{1,2}|[12][0-9]{2}|3[0-5][0-9]|36[0-6])d)?([0-9]{1,4}([.][0-9]{1,9})?h)?([0-9]{1,6}([.][0-9]{1,9})?m)?([0-9]{1,8}([.][0-9]{1,9})?s)?|P(([0-9]|[1-4][0-9]|5[0-2])W)?(([0-9]{1,2}|[12][0-9]{2}|3[0-5][0-9]|36[0-6])D)?(T([0-9]{1,4}([.][0-9]{1,9})?H)?([0-9]{1,6}([.][0-9]{1,9})?M)?([0-9]{1,8}([.][0-9]{1,9})?S)?)?)$')",message="must be a duration from 0s to 366d, such as 90m, 24h, 1d12h or PT8H"
type Duration string

// Percentage is a decimal number from 0 to 100, such as 0.5.
//
// +kubebuilder:validation:MaxLength=10
// +kubebuilder:validation:Pattern=`^(100([.]0{1,6})?|[0-9]{1,2}([.][0-9]{1,6})?)$`
type Percentage string

// Caution is a decimal number from 0 to 10, such as 0.25.
//
// +kubebuilder:validation:MaxLength=10
// +kubebuilder:validation:Pattern=`^(10([.]0{1,6})?|[0-9]([.][0-9]{1,6})?)$`
type Caution string

// CarbonPolicySpec is what a policy sets. Every field has a default. The empty spec is the spec of
// the built-in policy.
type CarbonPolicySpec struct {
	// mode says whether Gridlatch acts on its decisions. With Enforce, Gridlatch holds work. With Audit,
	// Gridlatch holds nothing: all work starts at once, and annotations on the work say what would have
	// happened. A change to Audit releases all work that the policy holds. A change to Enforce holds
	// only new work.
	// +optional
	// +kubebuilder:default=Enforce
	// +kubebuilder:validation:Enum=Enforce;Audit
	Mode Mode `json:"mode,omitempty"`

	// forecast says where the forecast comes from, and how long it can be used.
	// +optional
	// +kubebuilder:default={}
	Forecast ForecastSource `json:"forecast,omitempty"`

	// locations are the grid locations of this policy. Their names are the names in the forecast.
	// The first location is the default. If the list is empty, the forecast must have exactly one
	// location, and Gridlatch uses that one. If at least two locations have a nodeSelector,
	// Gridlatch also chooses where work runs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a.name == b.name))",message="must have a different name for each location"
	Locations []Location `json:"locations,omitempty"`

	// buckets limit how many released pods run at once at each location, by the carbon intensity
	// there. The buckets are in ascending order of upTo. The last bucket also applies to every
	// higher intensity. Without buckets there is no limit. Work whose latest start has come starts
	// whatever the buckets say.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:XValidation:rule="self.filter(b, has(b.upTo)).map(b, b.upTo).isSorted()",message="must be in ascending order of upTo"
	// +kubebuilder:validation:XValidation:rule="self.filter(b, has(b.upTo)).all(a, self.exists_one(b, has(b.upTo) && a.upTo == b.upTo))",message="must have a different upTo for each bucket"
	// +kubebuilder:validation:XValidation:rule="self.filter(b, !has(b.upTo)).size() == 0 || self.filter(b, !has(b.upTo)).size() == 1 && !has(self[self.size() - 1].upTo)",message="must have upTo in every bucket but the last"
	Buckets []Bucket `json:"buckets,omitempty"`

	// maxDelay is the longest wait of work without a deadline. Such work starts at the latest so
	// long after its creation. The value is a duration from 0s to 366d, such as 24h or 1d12h.
	// +optional
	// +kubebuilder:default="24h"
	MaxDelay Duration `json:"maxDelay,omitempty"`

	// defaultDuration is how long work is expected to run if the work gives no duration and has not
	// run before. The value is a duration above 0s and up to 366d, such as 1h.
	// +optional
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]')",message="must be more than 0s"
	DefaultDuration Duration `json:"defaultDuration,omitempty"`

	// restartCost is how much run time each resume of paused work costs, if the work does not say. The
	// value is a duration from 0s to 366d, such as 5m.
	// +optional
	// +kubebuilder:default="5m"
	RestartCost Duration `json:"restartCost,omitempty"`

	// minRun is how long interruptible work runs at least before it is paused, if the work does not
	// say. The value is a duration from 0s to 366d, such as 30m.
	// +optional
	// +kubebuilder:default="30m"
	MinRun Duration `json:"minRun,omitempty"`

	// minGainPercent is the least saving for which work is held, in percent of the carbon that the
	// work would cause if it started at once.
	// +optional
	// +kubebuilder:default="1"
	MinGainPercent Percentage `json:"minGainPercent,omitempty"`

	// holdCaution is how many times the usual error of the forecast a wait must save for work to be
	// held, in addition to minGainPercent. The usual error is known for each location after some days,
	// and is in the status. With a higher value, less work gets dirtier by waiting, and less is saved.
	// With 0, the error does not count.
	// +optional
	// +kubebuilder:default="0.25"
	HoldCaution Caution `json:"holdCaution,omitempty"`

	// waitPricePercentPerHour is the price of one hour of waiting, in percent of the carbon that
	// the work causes. With a higher price, work starts earlier if a later start saves little.
	// +optional
	// +kubebuilder:default="0.1"
	WaitPricePercentPerHour Percentage `json:"waitPricePercentPerHour,omitempty"`

	// exemptions are times when carbon does not count. In these times, new work starts at once, and
	// held work is released.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Exemptions []Exemption `json:"exemptions,omitempty"`

	// accounting says how Gridlatch measures or estimates the energy of work, for the accounts of what
	// work emitted.
	// +optional
	Accounting *Accounting `json:"accounting,omitempty"`

	// clusterAutoscaler says which node groups of Cluster Autoscaler are ranked by the carbon intensity
	// at their locations, the cleanest first. Gridlatch writes the ConfigMap of the expander "priority"
	// only if this field is set.
	// +optional
	ClusterAutoscaler *ClusterAutoscaler `json:"clusterAutoscaler,omitempty"`
}

// Mode says whether Gridlatch acts on its decisions.
type Mode string

const (
	// ModeEnforce holds work. An empty mode means the same.
	ModeEnforce Mode = "Enforce"
	// ModeAudit holds nothing, and tells what would have happened.
	ModeAudit Mode = "Audit"
)

// Bucket is a range of carbon intensities, and how many pods may run in it.
type Bucket struct {
	// upTo is the upper bound of the range in gCO2eq/kWh. The bound itself belongs to the range.
	// The last bucket needs no upTo.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	UpTo *int32 `json:"upTo,omitempty"`
	// ceiling is how many pods may run at once in this bucket.
	// +required
	// +kubebuilder:validation:Minimum=0
	Ceiling int32 `json:"ceiling"`
}

// Exemption is a time when carbon does not count: a schedule, or a window from one time to another.
//
// +kubebuilder:validation:XValidation:rule="has(self.schedule) != (has(self.from) || has(self.to))",message="must have either schedule, or from and to"
// +kubebuilder:validation:XValidation:rule="has(self.from) == has(self.to)",message="from and to go together"
// +kubebuilder:validation:XValidation:rule="!has(self.from) || !has(self.to) || self.from < self.to",message="from must be before to"
// +kubebuilder:validation:XValidation:rule="!has(self.timeZone) || has(self.schedule)",message="timeZone needs schedule: from and to have a zone of their own"
type Exemption struct {
	// schedule names the exempt minutes as a cron expression with five fields:
	// minute, hour, day of the month, month and day of the week, such as
	// "* 22-5 * * MON-FRI". "0 22 * * *" is one minute long.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^\\\\s*(@[a-zA-Z]+|[^\\\\s@]+(\\\\s+[^\\\\s]+){4})\\\\s*$')",message="must have five fields: minute, hour, day of the month, month and day of the week, such as * 23 * * 1-5"
	Schedule string `json:"schedule,omitempty"`
	// timeZone is the time zone of the schedule by its IANA name, such as
	// Europe/Berlin. The default is UTC. Minutes that the change to summer time skips
	// are not exempt, and minutes that the change back repeats are exempt twice.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9_+/-]*$`
	TimeZone string `json:"timeZone,omitempty"`
	// from is when the window begins.
	// +optional
	From *metav1.Time `json:"from,omitempty"`
	// to is when the window ends.
	// +optional
	To *metav1.Time `json:"to,omitempty"`
}

// CarbonPolicyStatus is what the controller last saw and decided.
type CarbonPolicyStatus struct {
	// conditions are Ready (every part of the spec can be used), ForecastUsable (work can be held
	// by the forecast or by what was learned) and ReleasesFailing (held work could not be
	// released).
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// locations tell what is known of each location, the default location first.
	// +optional
	// +listType=map
	// +listMapKey=name
	Locations []LocationStatus `json:"locations,omitempty"`
	// held counts the work that this policy holds.
	// +optional
	Held HeldStatus `json:"held"`
	// audited counts the work that runs, that this policy has audited, and that would be held now if it
	// had not been audited.
	// +optional
	Audited *HeldStatus `json:"audited,omitempty"`
	// nextRelease is when the next held work is planned to start.
	// +optional
	NextRelease *metav1.Time `json:"nextRelease,omitempty"`
}

// LocationStatus is what is known of the grid at one location.
type LocationStatus struct {
	// name is the name that the forecast has for the location. The name is empty while the policy
	// names no location and there is no forecast.
	// +required
	Name string `json:"name"`
	// intensity is the carbon intensity now, in gCO2eq/kWh, rounded.
	// +optional
	Intensity *int32 `json:"intensity,omitempty"`
	// provider names who knows the grid at the location, such as Energy-Charts. The field is absent if
	// the forecast does not say.
	// +optional
	Provider string `json:"provider,omitempty"`
	// signal is the kind of the intensities. The field is absent if the forecast does not say.
	// +optional
	Signal *Signal `json:"signal,omitempty"`
	// attribution is the sentence that the licence of the data demands.
	// +optional
	Attribution string `json:"attribution,omitempty"`
	// actualUntil is the end of the newest intensity that was measured, and not only expected. The
	// field is absent if the forecast has no such intensities.
	// +optional
	ActualUntil *metav1.Time `json:"actualUntil,omitempty"`
	// secondSource says who else tells how the intensity was, until when, and what its intensities are
	// multiplied by, or why they do not count. The field is absent if nobody else is asked.
	// +optional
	SecondSource string `json:"secondSource,omitempty"`
	// forecastIssued is when the forecast in use was issued.
	// +optional
	ForecastIssued *metav1.Time `json:"forecastIssued,omitempty"`
	// forecastUntil is when the forecast in use ends.
	// +optional
	ForecastUntil *metav1.Time `json:"forecastUntil,omitempty"`
	// bucket is the bucket of the intensity now, such as <=437.
	// +optional
	Bucket string `json:"bucket,omitempty"`
	// ceiling is how many pods may run at once now. The field is absent without buckets.
	// +optional
	Ceiling *int32 `json:"ceiling,omitempty"`
	// running is the number of running pods that were released to this location. The field is
	// absent without buckets.
	// +optional
	Running *int32 `json:"running,omitempty"`
	// learnedDays is the number of days from which Gridlatch has learned the errors of the forecast
	// and the pattern of the days. The number stays at 28 when it is reached.
	// +optional
	LearnedDays int32 `json:"learnedDays"`
	// savingSharePercent compares the predictions of the last 28 days with perfect hindsight: the
	// predictions would have had this share of the possible saving. The field is absent until
	// Gridlatch has learned for 28 days.
	// +optional
	SavingSharePercent *int32 `json:"savingSharePercent,omitempty"`
	// usualError is by how much the predictions of the last weeks were wrong about the gain of a wait
	// of 12 hours, for work of 4 hours: the root mean square in gCO2eq/kWh. Work waits 12 hours only if
	// that saves more than holdCaution times this value. The field is absent until enough is known.
	// +optional
	UsualError *int32 `json:"usualError,omitempty"`
}

// DaysToLearn is the number at which learnedDays stays, and the number of days for
// savingSharePercent.
const DaysToLearn = 28

// HeldStatus counts the work that waits, or that would wait.
type HeldStatus struct {
	// pods is the number of pods. Jobs count with the pods that they would have.
	// +optional
	Pods int32 `json:"pods"`
	// groups is the number of groups. A group is all pods of a Job, or one pod without a
	// Job, and is released as a whole.
	// +optional
	Groups int32 `json:"groups"`
}

// The conditions of a policy.
const (
	// ConditionReady is false when a part of the spec, or the power factor of a node, cannot be
	// used. The rest of the spec applies.
	ConditionReady = "Ready"
	// ConditionForecastUsable is false when nothing usable is known of the default location, and
	// work starts at once.
	ConditionForecastUsable = "ForecastUsable"
	// ConditionReleasesFailing is true in two cases. Either releases of held work have failed for a
	// minute and none has succeeded, so that no new work is held. Or some work is held although its
	// latest start has passed.
	ConditionReleasesFailing = "ReleasesFailing"
)

// The reasons of the conditions.
const (
	// ReasonValid says that every part of the spec can be used.
	ReasonValid = "Valid"
	// ReasonInvalid says that a part of the spec cannot be used.
	ReasonInvalid = "Invalid"
	// ReasonCurrent says that the newest forecast is in use.
	ReasonCurrent = "Current"
	// ReasonLastGood says that the newest forecast is missing or broken, and that the last good one
	// is in use.
	ReasonLastGood = "LastGood"
	// ReasonNotBelieved says that the newest forecast has values that cannot be true, such as the
	// zeros of an outage. The values that are believed are in use, or the last good forecast, or
	// what is known of the past.
	ReasonNotBelieved = "NotBelieved"
	// ReasonByHistory says that the provider has no forecast for this zone or for the customer's plan,
	// and that work is planned by what is known of the past.
	ReasonByHistory = "ByHistory"
	// ReasonStale says that the last good forecast is older than maxAge, or has ended.
	ReasonStale = "Stale"
	// ReasonMissing says that there has been no forecast.
	ReasonMissing = "Missing"
	// ReasonReleasing says that due work is released.
	ReasonReleasing = "Releasing"
	// ReasonNoneReleased says that some releases have failed and none has succeeded.
	ReasonNoneReleased = "NoneReleased"
	// ReasonOverdue says that some work is held although its latest start has passed, while other
	// releases succeed.
	ReasonOverdue = "Overdue"
)

// DefaultPolicy is the name of the policy for work that names none.
const DefaultPolicy = "default"

// Default returns the policy that applies where none has been created. Its spec is what the API
// server makes of an empty spec.
func Default() *CarbonPolicy {
	return &CarbonPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: DefaultPolicy},
		Spec: CarbonPolicySpec{
			Mode: ModeEnforce,
			Forecast: ForecastSource{
				ConfigMap: ConfigMapKey{Namespace: "kube-system", Name: "carbon-intensity", Key: "data"},
				MaxAge:    "24h",
			},
			MaxDelay: "24h", DefaultDuration: "1h", RestartCost: "5m", MinRun: "30m",
			MinGainPercent: "1", HoldCaution: "0.25", WaitPricePercentPerHour: "0.1",
		},
	}
}
