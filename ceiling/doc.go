// Package ceiling lowers and raises the maxReplicaCount of KEDA's ScaledObjects
// and ScaledJobs by how clean the electricity is.
//
// # Two ways to ask
//
// A ScaledObject or ScaledJob with the annotation gridlatch.dev/policy has the
// ceiling that the buckets of that CarbonPolicy give, at the policy's first
// location or that of gridlatch.dev/location. gridlatch.dev/ceilings:
// "200=20,350=5,*=1" are buckets of its own, with the policy's forecast and
// exemptions. The maxReplicaCount that it has by itself, if it sets one, is never
// exceeded; it comes back while there is no usable forecast, and while carbon
// does not count.
//
// A CarbonAwareKedaScaler asks for a target as it did with the Carbon Aware KEDA
// Operator. Its numbers are taken as they are, also above the target's own.
//
// A target has one ceiling: that of the claim that came first. Any other is
// refused, and told so.
//
// # What is written
//
// One JSON merge patch, as the field manager "gridlatch", of spec.maxReplicaCount
// and our annotations: nothing else of the object can change, whatever version
// of KEDA it is of. The patch names the resourceVersion that was decided on, so
// what it remembers as the original is what it replaces, and both are written or
// neither is. Server-side apply has no such condition, and drops the field when
// the one who owns it stops: a controller that is gone, or a bug, would cost the
// original. Nothing is written while nothing changes.
//
// To write a field is to own it. When a field has its owner's value again, a second
// patch takes it out of what the field manager "gridlatch" owns; when nothing is left
// on the object, it takes out all. So a GitOps tool that leaves alone what "gridlatch"
// owns gets the field back.
//
// The original comes back when the claim is deleted, the annotations are taken
// off, the policy goes, or by `gridlatch release --all`. There is no finalizer: a
// namespace can be deleted while Gridlatch is away. What is to come back is
// written on the target, and a claim that went meanwhile is noticed at the next
// start.
//
// A ceiling below minReplicaCount is that. Where there is no minimum, 0 pauses a
// ScaledObject by autoscaling.keda.sh/paused-replicas: "0" and paused: "true", so that
// nothing runs, and a ScaledJob by autoscaling.keda.sh/paused, so that no Job is
// added: newer versions of KEDA refuse a maxReplicaCount of 0, and older ones make
// a bad HPA of it.
//
// # The owner's word
//
// What the owner of an object writes last wins. These are all the fields and
// annotations by which KEDA 2.12 to 2.21 lets them bound scaling:
//
//	spec.maxReplicaCount        the original of a ceiling; another one, or the same
//	                            one said anew, is the original from then on
//	spec.minReplicaCount        no ceiling is below it
//	spec.idleReplicaCount       is below the minimum, and so below every ceiling
//	paused-replicas             nothing is scaled: no pause is added, and none of the
//	                            owner's is ever changed or taken away
//	paused                      likewise, where strconv.ParseBool makes true of it, or
//	                            nothing; "false" on a ScaledJob is replaced by our
//	                            pause, and comes back
//	paused-scale-in             the ceiling is not lowered, as nothing may go
//	paused-scale-out            nor is it here, as what goes could not come back
//	force-activation            the least ceiling is 1
//
// An annotation that is written over one of ours is the owner's, and ends our pause
// until the ceiling has been above 0: paused-replicas: "3" is 3 from then on, and
// paused: "false" resumes. One that is only taken away is put back, as any revert is.
//
// The owner may say the very value that is there for a ceiling. The managed fields of
// the object tell: somebody else owns the field beside us, or has owned it since our
// last write; or kubectl apply, which does not write what is there already, has a
// newer last-applied-configuration that says so.
//
// KEDA deletes the Jobs of a ScaledJob when its spec changes, unless it sets
// rollout.strategy: gradual. Without that, a change waits until no Job runs, and
// the ScaledJob says so. A Job that is created in the moment between the look and
// the write is not saved.
//
// # When
//
// A new forecast, a changed policy, scaler or target are acted on at once, and
// so are the boundaries of slots and schedules. What holds under a policy is
// found out once for all its targets.
//
// A rise is not held up; but a policy's ceiling rises only as far as it would if
// the intensity were a little higher (--ceiling-hysteresis-percent). After a
// ceiling was lowered because of the intensity, it is not lowered again for that
// reason before --ceiling-lower-interval is over. Schedules are kept to the
// second.
//
// The behavior of an HPA does not hold when its maxReplicas falls: what is above goes
// at once. With gridlatch.dev/lower-by: "2" or "10%" on the object, or the flag
// --ceiling-lower-by, a ceiling is lowered by no more than that in each
// --ceiling-lower-interval, whatever the reason; the share is of the ceiling in force,
// and at least one replica. It is raised at once.
//
// # Others who write
//
// If maxReplicaCount is changed to another value than ours or the original,
// that is what its owner wants from now on: it is the new original. In any case
// the ceiling is set again after a second, and after twice as long each time, up
// to an hour, if that goes on; an Event CeilingReverted tells what to do. A tool
// that keeps objects as they are in git should not have the field there, or
// ignore it, as in Argo CD:
//
//	spec:
//	  ignoreDifferences:
//	  - {group: keda.sh, kind: "*", managedFieldsManagers: [gridlatch]}
//	  syncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}
//
// # Forecasts that scalers name
//
// Anybody who may write a CarbonAwareKedaScaler may name a forecast, and each is a
// watch. Ten are followed for the scalers of one namespace, and two hundred in all,
// beside those of the policies; the oldest scalers come first, and the status of each
// other one says why it is left out. One that cannot be read is asked for ever less
// often, up to five minutes, and is told of once.
//
// # Deviations from the operator
//
// What the operator did is kept, but for this:
//
//	the operator                              here
//	----------------------------------------  ----------------------------------------
//	zero or less is the dirtiest bucket       it is the cleanest
//	a recurring schedule holds from a minute  it holds in the minutes that it names;
//	early until a minute early                --ceiling-early-cron has it back
//	with seconds, a recurring schedule holds  it holds from each match to the end of
//	in the minute before each match           the minute
//	22-5, FRI-MON and SAT-SUN end the         they go round: see plan.ParseCronExemption
//	operator
//	a bad cron expression ends the operator   eco mode is off for that scaler, as with
//	                                          a bad customSchedule
//	a match within a minute at 23:59 UTC, or  is nothing special; it never holds
//	a year that is over, ends it, too
//	more than seven fields are ignored        they are a bad expression
//	a schedule is kept at the next tick of    at once, as is a new forecast
//	5 minutes or of the forecast's slots
//	one bad element spoils the forecast       it costs that element
//	only binaryData is read                   also data, and the names time, rating
//	a missing or broken ConfigMap turns eco   the last good forecast is used to its
//	mode off                                  end
//	no forecast ends in the condition         OperatorCarbonDataFetchError stays; so
//	OperatorEcoModeDisabled, in a hot loop    does OperatorEcoModeDisabledError
//	the location of elements is ignored       a forecast of several locations needs
//	                                          the annotation gridlatch.dev/location
//	the look back on high intensity is blind  48 hours are remembered, and are the
//	after each refresh                        most that can be asked for
//	mockCarbonForecast makes a ConfigMap      no ConfigMap; it does not end
//	that ends after a week
//	no source is the source of another        eco mode is off
//	scaler, or a crash
//	any target, any ConfigMap                 its own namespace, unless
//	                                          --ceiling-cross-namespace allows more;
//	                                          ConfigMaps by Role, one by one
//	every reconcile writes the whole target,  one field, when it changes; Events
//	and emits Events                          and status likewise
//	fields that KEDA has added are lost       nothing else changes
//	maxReplicas 0, or below minReplicaCount,  pauses; is the minimum
//	is refused by KEDA
//	running Jobs are killed                   they are waited for
//	a lower ceiling follows at each tick      at most each five minutes, which is the
//	                                          operator's tick
//	nothing is restored, nothing forgotten    the original is; metrics go with the
//	                                          scaler, and have the label namespace
//	carbon_intensity stays at its last value  it is absent while it is not known
//
// # KEDA is not there
//
// Without KEDA's CustomResourceDefinitions, or without the rights in
// manifests/components/keda, this package sleeps. It wakes when they appear.
package ceiling
