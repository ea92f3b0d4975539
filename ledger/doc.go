// Package ledger accounts for work that has ended: what the work emitted, what it would have
// emitted at another time, and what perfect foresight would have had.
//
// It is pure: no Kubernetes, no clock. Package keep books the groups of a cluster, package pages
// keeps their sums in ConfigMaps, and package rows keeps each group in PostgreSQL.
//
// # What is booked
//
// A [Group] is a piece of work that ended: all pods of a Job, of one object that is held whole, or
// one pod. [NewSteps] turns the runs of the pods into steps of constant power, the profile of the
// group. The power comes from package energy, from a meter, or from the work itself. [Group].Energy
// says from which.
//
// # What a group emitted
//
// The emissions are the sum over the steps k of the profile
//
//	grams = Σ watts(k) / 1000 × hours(k) × mean intensity over step k
//
// in gCO2eq, with the intensity in gCO2eq/kWh. Only actual intensities count: a forecast is never
// booked as what was. If the intensities of at least 95 % of the energy are known, the mean of what
// is known stands for the rest. Otherwise the emissions are unknown, and count nowhere. The
// emissions of failed attempts, and of work that failed, are counted in full and also apart: they
// are emissions without work.
//
// # What waiting saved
//
// The other run has the same profile, moved by the wait. With [Enforce] it begins at the arrival,
// with [Audit] at the start that Gridlatch would have chosen. The same power over the same length
// of time cancels the error of the energy: the saved share depends on the intensities only.
//
//	saved = grams of the other run − grams        (Enforce)
//	saved = grams − grams of the other run        (Audit: what waiting would have saved)
//
// The other run of work that was paused has no breaks: the pauses are closed, and the run time that
// each resume has cost is left out. So what restarts emit is a loss of the pauses. The oracle knows
// no pauses, either: it moves the run without breaks.
//
// What was saved is negative where waiting made the work dirtier. [Sum] adds up savings and losses
// apart, so that no loss hides behind a saving. A difference of less than 1e-6 gCO2eq/kWh is a
// rounding error, and 0.
//
// # What was possible
//
// The oracle knows the future. It moves the profile to the best start between the arrival and the
// latest start, at both locations. The emissions of a profile are linear in its start, as long as
// no corner of the profile passes a boundary between two slots. So the oracle tries the starts at
// which a corner meets a boundary, and finds the least emissions exactly, unless there are more
// than 3,000 such starts: then it tries every nth. What was and the other run always count, so that
// nothing is better than the oracle. The share of the oracle's savings that was had tells how good
// the forecasts and the plans were. It is computed against the run at the arrival.
//
// # Software carbon intensity
//
// [Sum.SCI] is that of ISO/IEC 21031:2024, ((E × I) + M) / R: the energy times the intensity, and
// the share in the emissions of making the nodes, per functional unit. Offsets and market
// instruments do not count.
//
// # How sums stay small
//
// A [Page] has what ended on one day. For 72 hours after its end, the account of a group follows
// the revisions of the intensities. Then the group is settled: its account is added to the [Sum] of
// its [Key], and only a digest of its UID is left, so that it is not booked again. The page of a
// month merges the pages of its days.
package ledger
