// Package scaler answers KEDA, which asks about each trigger that names Gridlatch: see package
// trigger for what a trigger asks for, and package externalscaler for the protocol.
//
// # Answers
//
//	                 clean, or partly clean   dirty      effect: ceiling   effect: awake
//	IsActive         true                     false      false             as without an effect
//	GetMetrics       1,000,000                0          0                 0
//	GetMetricSpec    carbon-intensity, of which each replica is for 1
//
// A HorizontalPodAutoscaler makes of these numbers its maxReplicas and its minReplicas, whatever
// the two are. Numbers between the two would be within the tolerance of the HorizontalPodAutoscaler,
// and leave it where it is.
//
// KEDA starts no first replica by its triggers cpu and memory, and scales to 0 by the others. So a trigger
// that stands beside those two only has effect: awake.
//
// A trigger that asks for what there is not gets the code InvalidArgument, with a message that
// says what is allowed: bad metadata, a policy that does not exist, or a region that the policy does
// not have. A trigger with effect: ceiling gets its answer without a look at its policy, and one with
// effect: awake is active, so that a mistake in the policy or the region does not stop the triggers beside
// it. GetMetricSpec looks at the metadata only: an object keeps its HorizontalPodAutoscaler while its
// policy is away.
//
// A replica that has not read the forecast of a policy yet answers Unavailable. Nothing would be known there,
// and what is not known is clean. Forecasts of other policies do not count: whoever makes Gridlatch read
// another one stops no trigger of somebody else.
//
// # Streams
//
// A stream of StreamIsActive sends its value at once, and then each change, until the caller ends it or Gridlatch
// stops. A stream wakes when a forecast or a policy has changed, and when its verdict may change by
// itself. A stream that waits has no goroutine beside the one that gRPC gives it, with a stack of 4 KiB.
// A thousand streams take less than 16 MiB: TestAThousandStreamsAreSmall measures it.
//
// StreamMetricSpec answers Unimplemented. KEDA then asks by GetMetricSpec, as before version 2.21, and
// does not try again. The spec never changes, and a stream that is silent for ever would take as much
// memory as the other one.
//
// # Strangers
//
// Whoever reaches the port can ask, unless the server requires client certificates. Nothing secret
// is told. Each of these has a limit: connections (see [serving.Bound]), the time of a handshake,
// headers, messages, the keys of the metadata, calls whose request has not arrived yet and the time
// for that, streams on a connection, and streams in all. A caller that has gone without a word is noticed
// within a minute. The limits on calls are for all callers together.
// If they are reached, a caller with fewer calls than another one takes the place of one of the other's. The
// address tells callers apart.
//
// One thing has no limit of its own: a caller that takes no answers in makes gRPC keep them, some 25 MiB on
// each connection. Where tenants are hostile, the component network-policy or --scaler-client-ca keeps them
// away.
package scaler
