// Package override changes a field of somebody else's object for a while, and gives the field back.
//
// The owner of the object lends the field, by an annotation or by an object that names it. Package
// ceiling borrows the maxReplicaCount of KEDA's objects in this way. The package knows neither what
// the field means nor which value is wanted: the caller decides that.
//
// # One round
//
// Whenever the object, the owner's wish or the wanted value has changed, the caller goes through
// these steps. The steps before Write are pure.
//
//  1. [Read] takes from the object what matters: the annotations, the lent fields, and who
//     has written these fields.
//  2. The caller reads its notes, which are annotations of the object, as a [Loan]: the
//     original value of the field, and the value that was set. The field is lent for as
//     long as the original can be read. Where the other note is lost, the value that is
//     there counts as the value that was set. Otherwise the value that was set would count
//     as the owner's, and the original would be lost.
//  3. [Object.Standing] compares the field with the Loan. It returns the value that the
//     owner wants by now, and whether somebody has undone our change.
//  4. [Damp] bounds how often a number follows the intensity.
//  5. A [Change] collects what is to be different: the field, the notes, and the reason for
//     people. A change that is empty is not written.
//  6. [Contest.Wait] says from when on a change that was undone may be made again.
//  7. [Writer.Write] writes the change. If nothing changes, [Writer.Disown] gives up the
//     ownership of what was given back.
//
// To give the field back is the same round: the wanted value is the original that Standing returns,
// and the notes are taken away. [Writer.Restore] does this for every object of a kind, when
// Gridlatch is about to leave.
//
// # One patch
//
// A change is one JSON merge patch of the field and of the notes, by the field manager [Manager].
// Nothing else of the object can change, whatever version the object's API has. The patch names the
// uid and the resourceVersion that the decision was made on. So the original that the notes
// remember is the value that the patch replaces, and the API server writes both or neither. A
// controller that is killed at any moment loses nothing.
//
// Server-side apply has no such condition. It also drops the field when the manager stops to apply
// the field: a controller that is gone, or a mistake, would cost the original.
//
// There is no finalizer. An object and its namespace can be deleted while Gridlatch is away, and
// the notes tell a controller that comes back what to do.
//
// # The owner's word
//
// What the owner writes last wins:
//
//	the field has           and                            then
//	----------------------  -----------------------------  --------------------------------
//	the value that was set  nobody else has written it     all is well
//	the value that was set  somebody else has written it   this value is the original now
//	the original            we had set another value       somebody reverts: the original
//	                                                       stays
//	any other value                                        this value is the original now
//
// The managed fields of the object tell who has written a value. Somebody else has if they own the
// field beside us, since our patch took the field from all its owners. Somebody else has if they
// own the field since our last write. kubectl apply does not write a value that is there already:
// its annotation last-applied-configuration tells, if it is newer than our last write.
//
// # Ownership ends
//
// To write a field is to own the field. When a field has its owner's value again, a second patch
// takes the field out of what Manager owns. When no note is left, the patch takes out everything.
// So a GitOps tool that leaves alone what Manager owns gets the field back.
//
// A field whose new value says what the old one was needs no loan. Package ceiling rewrites triggers
// in this way: no note remembers them, and Disown gives the field up as soon as it is written.
//
// # Tug-of-war
//
// A tool that keeps objects as they are in git undoes our change, and would do so for ever. A
// change that was undone is made again after a second, then after twice as long each time, up to an
// hour. A change that lasts for two hours ends this. [GitOpsAdvice] tells the owner what to change
// in the tool.
package override
