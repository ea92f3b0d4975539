// Package policy tells what a CarbonPolicy says of a piece of work now.
//
// [Policies] reads CarbonPolicies from a cache and makes each one ready for planning: a [Policy]
// has its durations, percentages, buckets and exemptions parsed, and knows which of its locations
// have nodes ([Nodes]). A field that cannot be read has its default value, and Problems names it.
//
// From an object to a decision:
//
//	annotations and labels -> [Ask]         ParseAsk, JobAsk
//	Ask                    -> plan.Task     Policy.Task, Policy.TaskOf
//	Task and forecast      -> plan.Decision Policy.Decide
//	Decision               -> annotations   Policy.Notes, PromiseNotes, DurationNotes
//
// The webhook and the loop both decide through this package, and so give the same answer. The
// extender asks it for predictions, and the ceilings ask [Levels] for the level of a location.
package policy
