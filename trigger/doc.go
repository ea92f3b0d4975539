// Package trigger is KEDA's trigger carbon-intensity: what people write, and what it comes to.
//
// KEDA has no such trigger. Gridlatch replaces each one by a trigger of the type external-push, which
// KEDA has, and which names Gridlatch's own scaler. See package trigger/scaler for the answers of the
// scaler. Package ceiling replaces triggers that the webhook has missed, and sets ceilings and
// pauses.
//
// # What is written
//
// A trigger is replaced in its place, one for one. All that was written stays in the metadata of the
// new trigger. So [Restore] needs no note on the object, and the owner of the object can change the
// trigger, or take the trigger away, with any tool: the list of triggers always says what the owner
// wants. A note beside the list could say something else.
//
// # What a trigger does
//
// While the grid is clean, a trigger that stands alone asks for as many replicas as the object
// allows. While the grid is dirty, it asks for none, and the object falls to its minReplicaCount.
//
// A HorizontalPodAutoscaler takes the highest number of all triggers. So a clean grid would start
// all replicas even if another trigger had no work for them. A trigger beside others therefore has
// the effect ceiling: it asks for nothing at any time, and the object's maxReplicaCount is lowered to its
// minReplicaCount while the grid is dirty. In an object with a formula of KEDA, the formula decides
// between the triggers, and no trigger has this effect.
//
// By its triggers cpu and memory alone, KEDA starts no first replica, and with a trigger beside them that
// is not active, KEDA scales to 0. So a trigger beside these two only has the effect awake: the object has
// a replica while the grid is clean, and the other triggers give it more.
//
// # What is clean
//
// The intensity is clean up to the threshold, and with a hysteresis it stays clean until it is above
// the threshold by more than that. The past of the grid decides, and no memory: all replicas of
// Gridlatch give the same answer, also after a restart. In the mode planned, the cleanest hours of each day
// are clean. What is not known is clean, as is everything while carbon does not count: work is never
// stopped for a reason that nobody knows.
package trigger
