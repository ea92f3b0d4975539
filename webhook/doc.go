// Package webhook decides at admission whether work is held.
//
// # What comes here
//
// The webhook answers for the creation of pods, Jobs and objects of the kinds with a door (see package
// door) that ask to wait. The matchConditions in manifests/base and in the components of the engines say
// which objects these are. Each run of a CronJob comes here, too: only the
// CronJob may ask, in its own metadata, which the matchConditions do not see. Such a run gets what
// the CronJob asks, or is not changed. Other work never reaches the webhook.
//
// Work also asks by a node selector for clean nodes (v1alpha1.CarbonStatusKey), if it says nothing in
// words. The webhook writes this wish as an annotation on the pod or the Job before the decision, so
// that all else knows one form of the wish. Audited work does not get the annotation.
//
// CronJobs that ask to wait come here to be warned about: about values that cannot be read, and
// about runs that come sooner after one another than a run may wait. They are never refused or
// changed.
//
// # Mistakes
//
// A value that cannot be read is refused with the path of its field. So is the name of a policy or
// location that does not exist. Work that a controller has created, such as a Job of a CronJob, is
// not refused: the work starts at once, and a warning and its reason say why.
//
// If held work could not be released (see package gating), the webhook holds nothing. The work
// starts at once, and a warning and its reason say why.
//
// # Marks of Gridlatch on new objects
//
// The webhook does not believe what only Gridlatch writes if it is on a new object: somebody may
// have copied it from other work, or forged it. The webhook removes it, and writes it anew where it
// belongs. Only the pods that the Job controller makes of a template are believed, because the
// template was here with its Job. Work that does not ask to wait loses such marks and our gate, and
// nothing else of it is changed. An admission policy in manifests/base refuses the marks on objects
// that the webhook does not see.
//
// # Doors that Gridlatch had closed
//
// The API server calls the webhook again if a later webhook has changed the object. Others may count on
// a door that the first pass has closed, and may have closed the door, too: Kueue suspends what it
// admits later. So no pass opens a door. If work is to start whose door Gridlatch had closed, the door
// stays closed and marked, with the present as the latest start, and the loop opens the door at once.
// The same holds for a copy of an object that is held. Only if nobody could release the work, the
// webhook opens the door. If somebody else has opened the door in between, the work starts.
//
// Work whose door the first pass has closed can be in a queue of Kueue in the second pass. The work is
// then held by both: the mark says that Gridlatch has closed the door, and Kueue waits for Gridlatch.
//
// # Decisions
//
// If waiting pays, the webhook writes what package gating needs. A pod gets the gate, the label and
// the notes. A Job gets the label and the notes, and its pod template gets what the pods must know.
// If waiting does not pay, the work starts at once, and an annotation has the reason.
//
// An object of a kind with a door is held whole: the webhook closes the door, and writes the label and
// the notes. The pods of such an object are not seen, so that the policy's default duration and its
// first location apply unless the object asks for others. The object is not held if somebody else has
// set the door, manages the object or owns it and starts it, if its engine would refuse it, or if
// Gridlatch has no right to release the kind.
//
// What belongs to a piece of work that was decided on, or that runs, starts at once. What belongs to a
// piece of work that waits is held no longer than the rest. A Job is never suspended if its owner
// writes its suspend.
//
// If a policy chooses between locations, work that starts at once also gets a preference for the
// nodes of the cleanest location, beside its own preferences (see package gating).
//
// A wish that is a label stays a label, so that users take the wish back where they have written
// it. Work of a tool that gives up on work that does not start (policy.Tools) is held no longer
// than the tool waits, with a warning, unless the work has a deadline. A Job that is created
// suspended is promised nothing before it is resumed.
//
// A Job of a CronJob gets the label by which its runs are known as runs of the same work. Any Job
// that asks for no duration gets the expected duration.
//
// # Audit
//
// Work is audited if its policy has the mode Audit, or if its namespace has the label
// v1alpha1.AuditLabel. For such a namespace, the API server asks at a path of its own ([AuditPath],
// [AuditAllPath]), so that no cache can be late. In a namespace that is audited as a whole, work that
// does not ask comes here, too, if it ends by itself.
//
// Audited work is never held. Its verdict is that of work that does not ask to wait, with a label and
// annotations (verdict.asAudited): no function on that way can add a gate, close a door, write into a
// pod template or refuse an object. What the annotations say is found out on a second copy of the
// object, which is decided on as if nothing was audited. Of that decision only the annotations are
// kept. FuzzAudit tries to get anything else.
//
// A Job decides for its pods. Once a Job is audited, its pods are never held, whatever its policy says
// by then.
//
// # Cost
//
// A decision needs the object, the caches, what was learned of earlier runs, and the clock. A
// decision never needs the API server, and has no side effects. A decision on the result of a
// decision changes nothing. An error inside the webhook lets the work pass unchanged.
//
// The webhook decodes only the parts of an object that a decision needs, and each part only up to a
// bound (see package serving). Work with a larger part starts, with a warning. The webhook does not
// know the labels and annotations of others, and a patch leaves them alone.
package webhook
