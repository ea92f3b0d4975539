// Package ceiling lowers and raises the maxReplicaCount of KEDA's ScaledObjects and ScaledJobs by
// how clean the electricity is.
//
// # Three ways to ask
//
// A ScaledObject or ScaledJob asks by the annotation gridlatch.dev/policy. The buckets of that
// CarbonPolicy give its ceiling, at the policy's first location or at the location in
// gridlatch.dev/location. With gridlatch.dev/ceilings: "200=20,350=5,*=1" the object has buckets of
// its own, and the policy's forecast and exemptions. If the object has a maxReplicaCount of its
// own, the ceiling never exceeds that. The object has its own maxReplicaCount back while there is
// no usable forecast, while carbon does not count, and while the policy has the mode Audit: then the
// reason says which ceiling there would be.
//
// A CarbonAwareKedaScaler asks for a target as with the Carbon Aware KEDA Operator. Its numbers are
// taken as they are, also above the target's own.
//
// A trigger of the type carbon-intensity asks for its own object. See below.
//
// A target has one ceiling: that of the claim that came first. Every other claim is refused, and
// told so.
//
// # What is written
//
// Package override tells how spec.maxReplicaCount is changed, remembered and given back. The
// original comes back when the claim is deleted, when the annotations are taken off, when the
// policy goes, or by `gridlatch release --all`. A claim that went while Gridlatch was away is
// noticed at the next start.
//
// A ceiling below minReplicaCount becomes the minReplicaCount. Where there is no minimum, a ceiling
// of 0 is a pause. A ScaledObject is paused by autoscaling.keda.sh/paused-replicas: "0" and
// autoscaling.keda.sh/paused: "true", so that nothing runs. A ScaledJob is paused by
// autoscaling.keda.sh/paused: "true", so that no Job is added. The spec stays as it is: newer
// versions of KEDA refuse a maxReplicaCount of 0, and older versions make a bad
// HorizontalPodAutoscaler of it.
//
// # The owner's word
//
// What the owner of an object writes last wins. These are all the fields and annotations by which
// the owner can bound scaling in KEDA 2.12 to 2.21:
//
//	spec.maxReplicaCount   is the original. Another value, or the same value written
//	                       again, is the original from then on.
//	spec.minReplicaCount   No ceiling is below it.
//	spec.idleReplicaCount  is below the minimum, and so below every ceiling.
//	paused-replicas        Nothing is scaled. We add no pause, and never change or take
//	                       away the owner's.
//	paused                 likewise, if strconv.ParseBool returns true or an error. "false"
//	                       on a ScaledJob is replaced by our pause, and comes back.
//	paused-scale-in        The ceiling is not lowered, since nothing may go.
//	paused-scale-out       The ceiling is not lowered, since what goes could not come back.
//	force-activation       The lowest ceiling is 1.
//
// An annotation that the owner writes over one of ours ends our pause until the ceiling has been
// above 0: paused-replicas: "3" stays 3, and paused: "false" resumes. An annotation of ours that
// somebody only takes away is put back, as any revert is.
//
// KEDA deletes the Jobs of a ScaledJob when its spec changes, unless the ScaledJob has
// rollout.strategy: gradual. Without that strategy, a change waits until no Job runs, and the
// ScaledJob says so. A Job that is created between the look and the write is not saved.
//
// # Triggers
//
// KEDA does not know the trigger carbon-intensity. Package trigger tells what people write, and what
// it comes to. The webhook rewrites the trigger at CREATE and UPDATE. This package does the same for
// every object that the webhook has missed, and corrects the trigger's effect when another trigger
// came or went. The list of triggers is one patch of its own. The field is not lent: the rewritten
// trigger says itself what it was. So there is no note, and the ownership of the field is given up
// at once. A tool that applies the object needs no force, and what the owner writes last wins. A
// tool that writes the old trigger again while the webhook is down is answered less often each time.
//
// A rewriting of a ScaledJob waits for running Jobs as a ceiling does. KEDA starts no Jobs for a
// ScaledJob with a trigger that KEDA does not know, so that wait ends with the last Job.
//
//	the trigger                     on a dirty grid
//	------------------------------  ------------------------------------------------------
//	stands alone                    Package trigger/scaler tells KEDA that there is no work.
//	                                Nothing is done here.
//	stands beside others            The ceiling is 0, which is the minimum, or a pause.
//	is gradual                      The ceiling falls with the share of the grid that is
//	                                clean, from the owner's maximum to the minimum. If the
//	                                trigger stands alone, the lowest ceiling is 1, and the
//	                                scaler does the rest.
//	has the handler pause           The annotation paused is set to "true", and nothing is
//	                                scaled. There is no ceiling.
//
// A ceiling by a trigger is a claim like the others: it is as old as its object, and it comes after
// annotations of the same object. The hysteresis is that of the trigger.
//
// The pause of a trigger has a note of its own, which says what was there before. The owner's word
// counts as above. A pause that is there already is nobody's but the one who set it: a trigger adds
// none to the owner's or to that of a ceiling, and a ceiling of 0 adds none to that of a trigger.
// While a trigger pauses an object, a ceiling of 0 does not scale it in. An object with
// force-activation is not paused.
//
// A trigger that cannot be used, or whose policy or region does not exist, changes nothing: its
// pause and its ceiling end, and an Event says why. Events tell when the grid turns clean or dirty.
// A turn is told if this process has seen the state before, or if the trigger is new. So a restart
// tells nothing again.
//
// # When
//
// A new forecast, a changed policy, scaler or target are acted on at once. So are the boundaries of
// slots and schedules. What a policy says is found out once for all its targets.
//
// A ceiling is raised at once. But the ceiling of a policy rises only as far as it would if the
// intensity were a little higher (--ceiling-hysteresis-percent). After a ceiling was lowered
// because of the intensity, it is not lowered again for that reason before --ceiling-lower-interval
// is over. Schedules are kept to the second.
//
// A HorizontalPodAutoscaler ignores its behavior when its maxReplicas falls: all replicas above go
// at once. With gridlatch.dev/lower-by: "2" or "10%" on the object, or with the flag
// --ceiling-lower-by, a ceiling is lowered by no more than that in each --ceiling-lower-interval,
// whatever the reason. The share is of the ceiling in force, and at least one replica.
//
// # GitOps
//
// A tool that keeps objects as they are in git undoes a ceiling. The ceiling is then set again less
// often each time, and an Event CeilingReverted tells what to do. The manifest in git should not
// have the field, or the tool should ignore the field, as Argo CD does with:
//
//	spec:
//	  ignoreDifferences:
//	  - {group: keda.sh, kind: "*", managedFieldsManagers: [gridlatch]}
//	  syncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}
//
// # Forecasts that scalers name
//
// Whoever may write a CarbonAwareKedaScaler may name a forecast, and each forecast is a watch.
// Beside the forecasts of the policies, ten are followed for the scalers of one namespace, and two
// hundred in all. The oldest scalers come first. The status of every other scaler says why its
// forecast is not followed.
//
// # Deviations from the operator
//
// Everything else is as in the operator:
//
//	the operator                              here
//	----------------------------------------  ----------------------------------------
//	zero or less is the dirtiest bucket       it is the cleanest bucket
//	a recurring schedule holds from a minute  it holds in the minutes that it names;
//	early until a minute early                --ceiling-early-cron holds as before
//	with seconds, a recurring schedule holds  it holds from each match to the end of
//	in the minute before each match           the minute
//	22-5, FRI-MON and SAT-SUN end the         they go round the clock or the week: see
//	operator                                  plan.ParseCronExemption
//	a bad cron expression ends the operator   eco mode is off for that scaler, as with
//	                                          a bad customSchedule
//	a match within a minute at 23:59 UTC      the match is a match; a year that is over
//	ends the operator, as does a year that    never matches
//	is over
//	more than seven fields are ignored        they are a bad expression
//	a schedule is kept at the next tick of    at once, as is a new forecast
//	5 minutes or of the forecast's slots
//	one bad element spoils the forecast       only that element is not used
//	only binaryData is read                   data is read, too, and the names time and
//	                                          rating
//	a missing or broken ConfigMap turns eco   the last good forecast is used to its end
//	mode off
//	no forecast ends in the condition         OperatorCarbonDataFetchError stays; so
//	OperatorEcoModeDisabled, in a hot loop    does OperatorEcoModeDisabledError
//	the location of elements is ignored       a forecast of several locations needs
//	                                          the annotation gridlatch.dev/location
//	after each refresh, nothing is known of   48 hours are remembered, and a rule may
//	high intensity before                     name no more
//	mockCarbonForecast makes a ConfigMap      there is no ConfigMap, and no end
//	that ends after a week
//	without a source, a scaler uses that of   eco mode is off
//	another scaler, or ends the operator
//	any target, any ConfigMap                 targets of its own namespace, unless
//	                                          --ceiling-cross-namespace allows more;
//	                                          ConfigMaps by Role, one by one
//	every reconcile writes the whole target,  one field is written, when it changes, and
//	and emits Events                          Events and status likewise
//	fields that KEDA has added are lost       nothing else changes
//	KEDA refuses maxReplicas 0, and           0 pauses, and minReplicaCount is the lowest
//	maxReplicas below minReplicaCount         ceiling
//	running Jobs are killed                   a change waits for them
//	a lower ceiling follows at each tick      at most every five minutes, which is the
//	                                          operator's tick
//	nothing is restored, nothing forgotten    the original is restored; metrics go with
//	                                          the scaler, and have the label namespace
//	carbon_intensity stays at its last value  it is absent while it is not known
//
// # Without KEDA
//
// Without KEDA's CustomResourceDefinitions, or without the rights in manifests/components/keda,
// this package sleeps. It wakes when they appear.
package ceiling
