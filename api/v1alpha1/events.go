package v1alpha1

// The reasons of Events on work and on CarbonPolicies.
const (
	// EventHeld is the reason on work that has begun to wait.
	EventHeld = "CarbonHeld"
	// EventAudited is the reason on work that has started at once, and that would have been held if it had
	// not been audited.
	EventAudited = "CarbonAudited"
	// EventReleased is the reason on work that was released.
	EventReleased = "CarbonReleased"
	// EventPaused is the reason on work that has started, and that waits again.
	EventPaused = "CarbonPaused"
	// EventResumed is the reason on paused work that was released.
	EventResumed = "CarbonResumed"
	// EventNotHeld is the reason on work that asked to be held, and cannot be.
	EventNotHeld = "CarbonNotHeld"
	// EventRefused is the reason on work that is to be released, and that the API server refuses to
	// change.
	EventRefused = "CarbonReleaseRefused"
	// EventWidthChanged is the reason on a Job whose spec.parallelism Gridlatch has changed.
	EventWidthChanged = "WidthChanged"
	// EventWidthInvalid is the reason on a Job whose wish for a width cannot be followed.
	EventWidthInvalid = "WidthInvalid"
	// EventWidthReverted is the reason on a Job whose spec.parallelism somebody else has changed after
	// Gridlatch.
	EventWidthReverted = "WidthReverted"
	// EventWidthFailed is the reason on a Job that the API server refuses to change.
	EventWidthFailed = "WidthFailed"
	// EventNotBelieved is the reason on a CarbonPolicy whose forecast, or a part of it, cannot be true.
	EventNotBelieved = "ForecastNotBelieved"
)
