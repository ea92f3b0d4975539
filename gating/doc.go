// Package gating holds work at the scheduler's door and lets it go in time.
//
// # Groups
//
// What is decided together is a group: all pods of one controller owner, such
// as a Job, or one bare pod. Each pod of a held group carries a scheduling
// gate (Gate), the label gridlatch.dev/state=held and annotations that say
// until when and why. A Job carries the label and annotations too: its label is
// the record of the one decision for all its pods, so that pods that come
// after the release - retries, later completions - never wait again, whatever
// happened to the controller in between. Owners of other kinds have no such
// record: a pod that they create after the release is decided on anew.
//
// Gates are put on pods as they are created, never into a pod template: a
// template would go on making gated pods after Gridlatch has been removed, with
// nobody there to release them.
//
// # The loop
//
// [Loop] works policy by policy. One pass lists what the policy holds from a
// metadata-only cache, plans every group with package plan, releases what is
// due with bounded workers, brings the annotations of the rest up to date where
// the plan has changed, and reports on the policy's status. A pass is run when
// a held object, the policy or its forecast has changed, and at the next
// moment at which a decision can change by itself.
//
// Nothing waits beyond its latest start: that is fixed at admission in an
// annotation (LatestStart), later edits can only make it earlier, and a policy
// or a forecast that is gone means start now. A pod that lost its label, or got
// our gate by hand, is found by [Sweeper] and held like any other.
//
// # What is left alone
//
// Jobs that another controller starts (spec.managedBy, a Kueue queue), Jobs
// with activeDeadlineSeconds, whose clock would run while their pods are
// gated, and pods that name their node are not held; package webhook says so
// in their reason.
package gating
