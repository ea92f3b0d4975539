// Package webhook holds work at admission.
//
// It answers for the creation of pods and Jobs that ask to wait; which those
// are is said by the matchConditions in manifests/base, so that others never
// make the hop. A value that cannot be read, and the name of a policy or location
// that does not exist, is refused with the path of its field. If a controller has
// created the work, as for a CronJob, it starts at once instead, with that as its
// reason and a warning.
//
// Where what is held could not be let go (see package gating), nothing is held: the
// work starts at once, with that as its reason and a warning.
//
// What only Gridlatch writes is not believed of what is created: it is taken off,
// and written anew where it belongs. It may have been copied from other work, or
// forged. The exception are the pods that the Job controller makes of a template,
// which has been here with its Job. What does not ask to wait, and carries such
// marks or our gate, loses them, and nothing else is changed or noted. What the
// webhook does not see, a policy in manifests/base refuses.
//
// Where waiting pays, the object gets what package gating works by: for a pod the
// gate, the label and the notes; for a Job the label and the notes, and in its
// pod template what its pods must know. Where it does not pay, the work starts
// at once, with the reason in an annotation.
//
// Where a policy chooses between locations, what starts at once also gets a
// preference for the nodes of the cleanest, beside its own (see package gating).
//
// What asks by a label, rather than an annotation, keeps that form, so that the user
// takes the wish back where it was written. Work of a tool that gives up on what does
// not start (gating.Tools) is held no longer than that waits, with a warning, unless
// it has a deadline of its own. A Job that comes suspended is promised nothing before
// it is resumed.
//
// A Job of a CronJob gets the label by which its runs are known as of the same
// work, and any Job that asks for no duration the one that is expected.
//
// A decision needs the object, the caches, what was learned of earlier runs and
// the clock, and never the API server. It has no side effects, and deciding again on its own result gives
// the same. What goes wrong inside lets the work pass as it is.
//
// Of an object, only what a decision needs is decoded, and each part up to a
// bound (see package serving): work with a larger one starts, with a warning. So
// labels and annotations of others are not known here, and a patch leaves them.
package webhook
