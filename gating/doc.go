// Package gating holds work at the scheduler's door and lets it go in time.
//
// # Groups
//
// What is decided together is a group: all pods of one controller owner, such
// as a Job, or one bare pod. Each pod of a held group carries a scheduling
// gate (Gate), the label gridlatch.dev/state=held and annotations that say
// until when and why. A Job carries the label and annotations too: its label is
// the record of the one decision for all its pods, so that pods that come
// after the release never wait again, whatever happened to the controller in
// between. Owners of other kinds have no such record: a pod that they create
// after the release is decided on anew.
//
// By kind, as shown on a real cluster in test/e2e:
//   - Job: held and released whole, with one latest start. Later completions
//     and indices, retries by backoffLimit, backoffLimitPerIndex or a pod
//     failure policy start at once. A pod that is deleted while the Job waits
//     is replaced by one that waits for the same start.
//   - Job created while the webhook was away: never held, nor are its later
//     pods once the webhook is back, for it may have started.
//   - Job suspended by its user while it waits: its pods go and come back, held
//     until the same latest start. If its start comes first it is released, but
//     not resumed by us; its pods then start as soon as it is.
//   - Job created suspended, for approval, say: planned from when it is resumed.
//     Until then it is promised nothing, and counts as held, with no pods.
//   - Job deleted, or gone by ttlSecondsAfterFinished: nothing is left. The next
//     of its name is decided on anew. Pods that are orphaned go on waiting, each
//     by itself, with what their Job was promised. A Job that fails before its
//     start is counted as held until then.
//   - CronJob: each run is decided on by itself and, while it is held, active.
//     Forbid skips runs meanwhile, and makes up for the last of them after it.
//     Replace deletes the held run for the next: each starts in time to be done
//     before that (see ReplacedAt).
//   - Jobs of one owner, such as a JobSet: a group each, but planned for the
//     same start if they ask for the same. A Job that the owner creates anew is
//     decided on anew.
//   - Deployment (ReplicaSet), if its pod template asks: the pods that wait are
//     one group, with the earliest of their latest starts. Pods of a scale-up,
//     of an eviction or of a rollout come after the release; a rollout does not
//     progress while its pods wait.
//     Once its policy or location is gone, its pods are not held.
//   - StatefulSet, likewise. With OrderedReady the next pod comes when the one
//     before is ready, and is decided on then; with Parallel they wait together.
//
// Gates are put on pods as they are created, never into a pod template: a
// template would go on making gated pods after Gridlatch has been removed, with
// nobody there to release them.
//
// # The loop
//
// [Loop] works policy by policy. One pass lists what the policy holds from a cache
// of small records, plans every group with package plan, releases what is
// due with bounded workers, brings the annotations of the rest up to date where
// the plan has changed, and reports on the policy's status. A pass is run when
// a held object, the policy or its forecast has changed, and at the next
// moment at which a decision can change by itself.
//
// What does not ask to wait any more is let go at once: a Job that says so, or a pod
// that no Job speaks for, by its annotation or label DelayTolerant, or by neither
// being there any more.
//
// What is let go and still waits for something else, such as the gate of another or
// its suspend, says so, and tells of no saving.
//
// Nothing waits beyond its latest start: that is fixed at admission in an
// annotation (LatestStart), later edits can only make it earlier, and a policy
// or a forecast that is gone means start now. A pod that lost its label, or got
// our gate by hand, is found by [Sweeper] and held like any other.
//
// Work that names a policy which does not exist starts now. All of it is one pass,
// whatever the names are, and one label of the metrics, the empty one: names can
// be forged, and none is to cost anything, or to leave anything behind. The same
// holds for all work but that of the built-in policy while the
// CustomResourceDefinition of CarbonPolicies is not there.
//
// # Letting go
//
// Work is held only while somebody is able to let go of it. The leader renews a
// Lease ([ReleasesLease]) every ten seconds, for as long as the API server says that
// it may patch pods and Jobs ([Pulse]). Every replica watches the Lease, and a minute
// after the last renewal that it has seen its webhook lets work start, and says so
// ([Switch]). The Lease also tells in which namespaces releases have failed for a
// minute and none has succeeded: no more is held there. If that is so in two
// namespaces or more and no release succeeds anywhere, no more is held at all: what
// makes the releases of one namespace fail does not end the holding in others. When
// releases succeed again, work is held again. It is told by the condition ReleasesFailing of the policies, by the metrics
// gridlatch_releases_failing and gridlatch_releases_failing_namespaces, and in the log.
//
// An object may be refused by itself: by an admission policy or a webhook that came
// later, or because its annotations leave no room for our notes. Then the least is asked
// for that lets it go (the gate alone, or spec.suspend), and what there is to say is
// written afterwards as far as that is allowed. What is refused even so is tried again
// ever less often, beside the rest, and sooner if it has changed, or another of its
// namespace is let go that has not. An Event CarbonReleaseRefused on it has the API
// server's words, and gridlatch_overdue_pods counts it from a minute after its latest
// start. What [Sweeper] may not take over, it lets go.
//
// # Where gates would hurt
//
// The activeDeadlineSeconds of a Job run while its pods are gated, and gated
// pods take up quota: such a Job, and one that asks for gridlatch.dev/hold:
// suspend, is held by spec.suspend. It has no pods until it is released. What
// we have suspended is marked (HeldBy), and only that is resumed: a Job that
// somebody else resumes, or takes the mark off, is recorded as released and
// not touched again; one that comes suspended is never held. The mark is found
// even if the label is lost.
//
// A Job in a queue of Kueue waits at Kueue's own door, its annotation
// admission-gated-by, before any quota is reserved for it; Kueue resumes it.
// This takes Kueue 0.19, or 0.17 with its feature gate AdmissionGatedBy: an
// older one lets the Job go at once, and that is respected.
//
// # Ceilings
//
// A policy with buckets limits how many of its released pods run at once at a
// location. All work under it is held for a moment at least, and each pass plans
// it together (plan.Assign) below the ceilings that the forecast gives, around
// what runs: the pods in the cache that have a node and are not over. What the loop
// has let go counts before that: a pod for ten minutes until it has a node, a Job for
// ten seconds until its pods are there. Nothing is counted by hand, so a missed event
// cannot make it wrong, and a restart for ten minutes at most. What has reached
// its latest start, and later pods of a Job that was released, start regardless.
//
// Ceilings are also what paces a storm of releases, for the sake of a scheduler
// or an autoscaler: without them, all that is due goes at once, as fast as the
// API server takes it (starts that are as good as each other are spread over a
// few minutes, see package plan). A Job that runs more pods at once than any
// ceiling allows waits until its latest start.
//
// # Where
//
// A policy of which two locations or more have a nodeSelector chooses between
// those that have nodes: webhook and loop plan where and when together, below the
// ceilings of each location if there are any, and of locations that are as good
// they take the one that was planned, or else the policy's first. Work that is
// pinned (Location) stays where it is pinned. What a pod's own node selector or
// required affinity leaves over is noted at its admission (Candidates), by the nodes
// there are then; taints and free capacity are the scheduler's to look at.
//
// A node may say that the same work takes less or more power there
// ([v1alpha1.PowerFactorKey]). A location counts with the least power factor of
// those of its nodes that suit the pod: work is planned as if the grid were that
// much cleaner there, thresholds and savings included, while buckets, and the
// intensities that reasons tell, stay those of the grid. It is the scheduler
// extender that sends work to the node with the least power factor (see package
// extender). Without it, nodes of one location should have the same.
//
// The chosen location is on the work as PlannedLocation. The patch that takes the
// gate off adds a preferred node affinity of weight 100 for its nodes, after the
// pod's own preferences: they are one list, so that the pod is read first, and the
// patch holds for what was read. If that fails for any reason the pod is released
// without. The preference is a wish: the scheduler puts work elsewhere if there is
// no room, and then it counts below the ceilings of the location that was chosen.
//
// What starts at once gets the preference from the webhook: pods that gain nothing
// by waiting, and all pods of a Job that was released or was never held. For these
// it is for the cleanest location now, because a retry may come hours later; below
// ceilings it is for the one where their Job was given room. Pods of a Job that
// nobody decided on, and what is released by hand, get none.
//
// Savings are told, here and in AtCreation, against starting at once in the location
// that was cleanest then, since that is where the work would have been sent. What
// moving has saved against any other location is not counted.
//
// # Memory
//
// What the forecasts and the grid were like is kept by [Memory] in a ConfigMap
// for each location, so that a restart goes on planning with what was learned
// (see package forecast).
//
// # How long work runs
//
// A Job that asks for no duration is planned with the median of its earlier
// runs, known to [Runs], and its latest start leaves time for the slowest of
// them. Both are fixed at admission, in ExpectedDuration and LatestStart.
// Earlier runs are the Jobs that have ended well and still exist, of the same
// CronJob, or of the same namespace and the same label RunsOf; each counts from when
// it was let go. A Job that only has a CronJob's name as its label is no run of it.
// Without any, and for pods, the policy's default holds. The reason tells which
// one: over ~47m is learned, over 1h the policy's.
//
// # Whose word counts
//
// Whoever may make a pod can write any label, annotation and owner on it. So a pod is
// held if it has our gate, whatever its label says, and runs if it has a node; how many
// pods a Job runs is what its spec and status say. A group is of one namespace. Where a
// Job heads it, the Job's promise alone counts. What is cached of an object is bounded,
// whatever it carries.
//
// # What is left alone
//
// Jobs that another controller runs (spec.managedBy) and pods that name their
// node are not held; their reason and an Event CarbonNotHeld say so.
package gating
