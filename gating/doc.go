// Package gating holds work and releases it in time: it is the loop, and what belongs to the loop.
//
// Package policy says what a CarbonPolicy makes of a piece of work, package plan decides when work
// starts, and package hold holds and releases one object.
//
// # Groups
//
// A group is decided together: all pods of one controller owner, such as a Job, or one bare pod.
// Each pod of a held group has a scheduling gate (v1alpha1.Gate), the label
// gridlatch.dev/state=held, and annotations that say until when the pod waits, and why. A Job has
// the label and the annotations, too. Its label records the one decision for all its pods, so pods
// that come after the release never wait again, even if the controller was away in between. So does
// the label of an object that is held whole, such as a JobSet (package door).
//
// # Pieces of work
//
// Other owners have no such record. What belongs to one piece of work, such as a PyTorchJob with
// its pods, or a JobSet with its Jobs, is told by owner references and is decided together
// ([Piece]). Each object of a piece of work is a member:
//   - A member that comes while the others wait, waits with them: for the earliest latest start of
//     all, whatever it asks for itself. The members are planned as one: with the longest duration,
//     and below ceilings with all pods. All else, such as the policy, comes from the member that
//     was created first.
//   - A member that comes while another runs, or less than an hour after a member ran, starts at
//     once. If a member starts by itself, the others start, too, and no savings are claimed. A
//     member that does not ask to wait any more starts alone.
//   - The top object is the highest owner that is known. Owners are not read. Gridlatch goes from
//     one owner to the next by the record of the owner, or by a label of Kueue or Tekton. A member
//     that is pinned to another location, or has another policy, is planned by itself, and starts
//     within a minute of the first member.
//
// Owner references cannot tell everything. Members that do not ask to wait are not seen, so a
// worker may wait while its master runs unseen. A second step of a workflow that comes more than an
// hour after the first has ended is decided on anew, and so is a step that comes after a restart of
// Gridlatch between the two. An owner of an unknown kind may itself have an owner that is not
// known. Where the kind can be held whole, annotate the object itself.
//
// What happens to each kind of work, as test/e2e shows on a real cluster:
//   - Job: held and released together, with one latest start. Later completions and indices, and
//     retries by backoffLimit, backoffLimitPerIndex or a pod failure policy, start at once. A pod
//     that is deleted while the Job waits is replaced by one that waits for the same start.
//   - Job created while the webhook was away: never held, nor are its later pods, because the Job
//     may have started.
//   - Job suspended by its user while it waits: its pods go and come back, held until the same
//     latest start. If that start comes first, the Job is released, but only its user resumes it.
//   - Job created suspended, for approval, say: planned from the time at which it is resumed. Until
//     then it is promised nothing. It counts as held, with no pods.
//   - Job deleted, or gone by ttlSecondsAfterFinished: nothing is left. The next Job of its name is
//     decided on anew. Its orphaned pods go on waiting, each alone, with the Job's promise. A Job
//     that fails before its start counts as held until that start.
//   - CronJob: each run is decided on alone. A held run is active. With Replace, the next run deletes
//     the held run. With Forbid, the CronJob skips the next run, and makes up for the last skipped
//     run later, within startingDeadlineSeconds. So each run starts in time to finish before the
//     next (policy.BoundByNextRun), but for a run with Forbid and a deadline of its own. A CronJob
//     may ask for its runs in its own metadata.
//   - Jobs of one owner that can be held whole, such as a JobSet: one piece of work. A Job that a
//     JobSet creates again as it restarts starts at once. Jobs of other owners are each decided on
//     alone.
//   - Pods of another owner, such as a PyTorchJob or a Workflow, and pods of a pod group of Kueue: one
//     piece of work. Of a pod group nothing is remembered once no pod is left, since its name may come
//     again.
//   - Pods that a pod creates, such as executors of Spark: started at once, because that pod runs. A pod
//     with the label spark-role=executor never waits.
//   - Deployment (ReplicaSet), if its pod template asks: the waiting pods are one group, with the
//     earliest of their latest starts. Pods of a scale-up, an eviction or a rollout come after the
//     release and are decided on anew. A rollout does not progress while its pods wait. If the
//     policy or the location is gone, the pods are not held.
//   - StatefulSet: the same as a Deployment. With OrderedReady the next pod comes when the one
//     before is ready, and is decided on then. With Parallel the pods wait together.
//   - Job of another controller (spec.managedBy), and pod that names its node: not held. The reason
//     and an Event CarbonNotHeld say so.
//
// Gates are put on pods as they are created, never into a pod template. A template would make
// gated pods after Gridlatch is removed, with nobody there to release them.
//
// # The loop
//
// [Loop] works policy by policy. One pass lists what a policy holds from [Records], a cache of small
// records, plans every group, releases what is due with bounded workers, updates the annotations of
// the rest where the plan has changed, and reports on the policy's status. A pass is run when a held
// object, the policy or its forecast has changed, and at the next moment at which a plan can change
// by itself.
//
// Work that does not ask to wait any more is released at once. Released work that still waits for
// something else, such as the gate of another controller, says so, and claims no saving.
//
// Nothing waits beyond its latest start. The latest start is fixed at admission in an annotation,
// later edits can only make it earlier, and a policy or a forecast that is gone means start now. The
// time is that of the leader's machine or of the API server, whichever is later ([Clock]). A
// pod that lost its label, or got our gate by hand, is found by [Sweeper] and held like any other.
//
// Work that names a policy which does not exist starts now. All such work is one pass and one label
// of the metrics, the empty one, because anybody can make up names, and names must cost nothing. The
// same holds for all work but that of the built-in policy while the CustomResourceDefinition of
// CarbonPolicies is missing.
//
// Work whose policy or namespace comes into audit mode is released at once. What the webhook has audited
// (v1alpha1.StateAudited) is never held or written to by the loop. It counts as work that runs, for the
// rest of its piece of work, and not below ceilings. The status of its policy counts how much of this
// work would be held now.
//
// # Releases that fail
//
// Work is held only while somebody is able to release it. The leader renews a Lease every ten
// seconds, for as long as the API server says that Gridlatch may patch pods and Jobs ([Pulse]).
// Every replica watches the Lease. A minute after the last renewal that a replica has seen, its
// webhook lets work start, and says so ([Switch]). The Lease also names the namespaces in which
// releases have failed for a minute with no success ([ReleaseHealth]): no more work is held there.
// If that is so in two namespaces or more and no release succeeds anywhere, no more work is held at
// all. When releases succeed again, work is held again. The condition ReleasesFailing of policies,
// two metrics and the log tell of it.
//
// The API server may refuse a single object: because of a later admission policy or webhook, or
// because the object is too large for our notes. Then the loop tries the minimal patch, which only
// takes the gate off or resumes the Job, and writes its notes afterwards as far as that is allowed.
// An object that is refused even so is tried again ever less often, beside the rest, and sooner once
// it has changed or another object of its namespace is released. An Event CarbonReleaseRefused has
// the API server's words, and gridlatch_overdue_pods counts the object from a minute after its
// latest start.
//
// # Where gates would hurt
//
// The activeDeadlineSeconds of a Job run while its pods are gated, and gated pods take up quota. A
// Job with activeDeadlineSeconds, or with the annotation gridlatch.dev/hold: suspend, is held by
// spec.suspend. It has no pods until it is released. What Gridlatch has suspended is marked
// (HeldByAnnotation), and only marked Jobs are resumed. A Job that somebody else resumes, or takes
// the mark off, is recorded as released and not touched again. A Job that comes suspended is never
// held this way.
//
// # Kinds of others
//
// An object of another kind, such as a JobSet or a Workflow, is held whole by a field of its own
// (package door). The object is its own group. It is released by one patch that opens the field only
// if the field is closed and our mark is there. All that is said above of Jobs that are suspended
// holds for these objects.
//
// The records of such a kind are asleep until Gridlatch may patch the kind, and while the kind has no
// CustomResourceDefinition (package watching). The readiness of the program does not wait for them.
// An object is held only once all objects of its kind are known, and while Gridlatch has the right to
// release them ([Records.CanHold]). The API server is asked for the right every half a minute. If the
// right is taken away while work is held, the releases fail. These failures stop no other work from
// being held.
//
// # Pauses
//
// A Job that asks for it (InterruptibleAnnotation) is held by spec.suspend, and may be paused after its
// start. The pause is a second hold: one patch suspends the Job, makes its state held again, and notes
// since when it is paused, how long it has run, and when it must be done. From then on the Job is a
// group like any other, and all that is said above of suspended Jobs holds: it is resumed when it is
// due, by hand, when it does not ask any more, and when Gridlatch leaves. Its task is about what is
// left of the work (policy.TaskOf), so its latest start is until when it must be resumed.
//
// What runs and may be paused is planned in each pass, below ceilings before all that waits: its room
// is its own, and a pause has to gain something. A pause that the plan wants is made only if the
// object as the API server has it, and the time since which its containers really run, leave room
// for it. Nothing is paused that could not be held now: where releases fail, where work is audited,
// while Gridlatch leaves, and what somebody else has started, suspended or resumed.
//
// Work in a queue of Kueue is never paused: Kueue gives the quota of suspended work to others, and
// nobody knows when there is quota again. Of the kinds of others, those are paused whose engines stop
// what runs and start it again (door.Door.CanPause).
//
// # Queues of Kueue
//
// Work with a queue label waits by Kueue's annotation admission-gated-by, before quota is reserved
// for the work. Kueue has suspended the work, and Kueue resumes it. This takes Kueue 0.19, or 0.17
// with its feature gate AdmissionGatedBy. An older Kueue starts the work at once, which Gridlatch
// accepts. The annotation can be written only as an object is created, before anybody knows whether
// Kueue manages the object. What Kueue manages is suspended from its creation on. So:
//   - Job: its pods are held by gates, too, as they come. If Kueue manages the Job, there are no pods
//     before the release. If the Job is not suspended, the loop holds the Job without its queue: by
//     the gates of its pods or, where gates would hurt, by spec.suspend.
//   - Pod: it has our gate, too. Both are removed by one patch. All pods of a pod group are one group.
//   - Object of another kind: if it is not suspended, it runs. The loop says that it is not held.
//   - Work in a namespace that Kueue does not manage: Kueue's webhook suspends the work all the same,
//     and never starts it. With manifests/components/kueue, the loop sees that there is no
//     Workload ([Workloads]), and says that the work is not held. Gridlatch never resumes what Kueue
//     has suspended.
//   - Work that has quota: a pod with the label kueue.x-k8s.io/podset starts at once, and what Kueue
//     has resumed is recorded as released.
//   - Job that we had suspended before Kueue gave it the default queue: Kueue resumes the Job, if
//     there is a Workload for it. Otherwise the loop resumes the Job.
//   - Work with a Workload that was made before it, and elastic Jobs: not held, because their
//     Workloads would never learn of the release.
//
// # Ceilings
//
// A policy with buckets limits how many of its released pods run at once at a location. All work of
// the policy is held for a moment at least, and each pass plans it together (plan.Assign) below the
// ceilings that the forecast gives, around what runs: the pods in the cache that have a node and
// have not finished. A pod that the loop has released counts for ten minutes until it has a node, a
// Job for ten seconds until its pods exist. Nothing is counted by hand, so a missed event cannot
// make the count wrong, and a restart can for ten minutes at most. Work at its latest start, and
// later pods of a released Job, start without room. A Job that runs more pods at once than any
// ceiling allows waits until its latest start.
//
// The pods of a JobSet, or of another kind that is held whole, need not speak of Gridlatch. So such
// an object counts with the pods that it asks for until it is over, and until its planned end at
// most. It counts only if this process has released the object with room: anybody can write an object
// that asks for many pods. A restart of the program forgets these objects.
//
// Ceilings also pace a storm of releases. Without them all due work is released at once, as fast as
// the API server takes it.
//
// # Where work runs
//
// Where a policy chooses between locations, the loop plans when and where together. Work that is
// pinned to a location stays there. The planned location is on the work (PlannedLocationAnnotation).
// The patch that takes the gate off a pod adds a preferred node affinity of weight 100 for the nodes
// of the location, after the pod's own preferences. Preferences are one list, so the pod is read
// first, and the patch fails if the pod has changed. If the preference cannot be added, the pod is
// released without it. The scheduler may put the pod elsewhere; it then counts at the location that
// was chosen. Savings count against starting at once in the location that was cleanest then. The pods
// of an object of another kind than Job get no preference, because Gridlatch may not change what
// makes them. Such work runs where the scheduler puts it.
//
// # How long work runs
//
// A Job that names no duration is planned with the median of its earlier runs, known to [Runs], and
// its latest start leaves time for the slowest of them. Both are fixed at admission. Earlier runs
// are the Jobs that have ended well and still exist, of the same CronJob or of the same namespace
// and label RunsOf. Each run counts from its release. Without earlier runs, and for pods, the
// policy's default counts.
//
// # Whose word counts
//
// Whoever may create a pod can write any label, annotation and owner on it. So a pod is held if it
// has our gate, and runs if it has a node, whatever its labels say. How many pods a Job runs is what
// its spec and status say. A group belongs to one namespace. Where a group has a Job, only the Job's
// promise counts. What is cached of an object is bounded.
package gating
