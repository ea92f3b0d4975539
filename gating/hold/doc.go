// Package hold holds and releases one pod, one Job or one object of another kind that is held whole.
//
// A held pod has the scheduling gate v1alpha1.Gate. A held Job is held in one of two ways:
//   - by the gates of its pods. Then only its label says that it is held.
//   - itself, by spec.suspend or at its queue in Kueue. Then it has no pods, and the annotation
//     HeldByAnnotation says how it is held. [HoldsJobItself] tells the two apart.
//
// An object of another kind is held itself, by its door (package door). [Owner] is what it has in
// common with a Job.
//
// [ReleaseNote] says what is written on an object as it is released, and makes the patches that
// release the object. A patch changes only what is Gridlatch's own, and fails on another object of
// the same name. [ReleasePatches] goes on with less where the API server refuses a patch.
//
// [Release] and [ManualHold] serve a user, and [Exit] releases everything. They work without a
// controller. The package links no manager, so that the plugin can use it.
package hold
