// Package widen runs a Job wider while the grid is clean: with more pods at once. The Job is done by its
// deadline all the same.
//
// # Which Jobs
//
// The owner lends the Job's spec.parallelism by the annotation gridlatch.dev/parallelism: "2-40". Package
// plan decides on the width (plan.Elastic), and this package writes it:
//
//	the Job                              its width
//	-----------------------------------  ----------------------------------------------------
//	waits for its start                  the least. So no pod starts and is ended at once
//	runs                                 that of the plan
//	runs, without a usable forecast,     its own, if the work is done in time with that;
//	or while carbon does not count       else the least with which it is
//	is suspended by its owner, or by a   as it is
//	spec.parallelism of 0
//	is over, or does not ask any more    its own
//
// A Job that is in a queue of Kueue, or has another manager, or is interruptible, keeps its own width.
// Kueue has given quota for the width. So does a Job without more completions than the least width. The
// completions of a Job are never changed, so the Job of an index for each pod cannot run wider.
//
// # How much is left to do
//
// The completions that have succeeded count. Where the work itself says by gridlatch.dev/remaining how
// long the rest takes, the larger of both counts. What the running pods have done so far does not count.
// The plan is to be done earlier than promised by the time that one completion takes: the last
// completions cannot be shared by more pods.
//
// A Job that becomes narrower loses what the ended pods have done of their completions. These
// completions begin anew.
//
// # When
//
// A width changes at most once in each slot of the forecast, and not before Options.Interval is over.
// There is one exception: the work would be late. A new forecast, a changed policy and a changed Job
// are looked at at once, and the progress of the work once in each interval. One look reads the Job
// from the API server, so no second cache of Jobs is needed.
//
// # The owner's word
//
// Package override tells how the field is changed, remembered and given back. Who sets another width
// than Gridlatch and than the original one has taken the Job over: Gridlatch does not touch the Job again
// (v1alpha1.ParallelismTaken), until the owner takes gridlatch.dev/parallelism away. A tool that puts the
// original back is answered ever less often.
package widen
