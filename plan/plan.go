// Package plan decides when, and where, work that can wait should start.
//
// The package knows nothing of Kubernetes and reads no clock: the moment is an argument. The answer
// is a [Decision], a value that says when, where, at which intensity, and why.
//
// A task of duration d that starts at s costs the mean forecast intensity over [s, s+d), times 1 +
// WaitPrice x (s - now), times the task's power factor in the location. The planner takes the
// cheapest s between now and the task's latest start. It holds the task only if that window is
// cleaner than a start at once by at least MinGain, and by Caution times the usual error of such a
// prediction: a small gain that is predicted badly makes as much work dirtier as cleaner. The mean over a sliding window is piecewise
// linear in s, with a corner wherever either end of the window crosses the boundary of a slot.
// Between two corners the priced cost is concave or monotone, so its minimum is always at a corner,
// at now or at the latest start. The planner looks at these starts only.
//
// Starts whose costs differ by no more than a thousandth count as equal. The ID of a task picks one
// of them. A planned start moves for a real gain only, and no task is held for less. Of equally
// good locations the planner takes the location of the earlier plan, or else the one that was given
// first.
//
// A [Planner] decides on each task by itself. With [Buckets], a ceiling limits how many pods may
// run at once in a location, and [Assign] gives all groups their places together, in one location
// or several. The gain of a wait in several locations is measured against a start now in the
// location that is cleanest now. The saving from the choice of the location is not counted.
//
// Work that can be interrupted (Pauses) is done in the cheapest runs, MaxRuns at most, that finish in
// time. Each resume costs run time, and has to gain MinGain of what the work emits without a break.
// The runs are found by dynamic programming over steps of time (runTable). Steps are five minutes or
// longer, so a plan can be a step away from the best one.
//
// Work that may run at several widths (Elastic) is planned by [Planner.PlanWidths]: the least width
// from its start to its end, and the rest where one more unit of work emits least. That is the
// cheapest plan there is for a speedup that never grows (filling). A start chosen by [Planner.Decide]
// knows these widths. With more time the widths cost at most a thousandth more.
//
// What holds for every input:
//
//   - A start is never before now. It is never after the latest start, or it is now if the latest
//     start has passed.
//   - Without a usable forecast the start is now.
//   - Work that can be interrupted is not paused from its latest start on, before its least run is
//     over, or without a usable forecast. So it is never late because of a pause, if its duration is
//     right.
//   - Running work is never narrower than its least width, and is done by its Finish if the most
//     width is enough for that, whatever the forecast says. Ceilings bound its width, unless it
//     would be late.
//   - The same input gives the same decision. Deciding again at the planned start, with the same
//     forecast and the room still there, says to start.
//   - No group gets a place in which a ceiling would be exceeded at any moment of its run, given
//     the groups before it in the order and the groups that cannot wait. There are three
//     exceptions: a minute at the end of a run is not counted, time is counted in steps of five
//     minutes (longer, if the forecast is longer than thirteen days), and a group without room
//     starts at its latest start all the same.
//   - The place of a group depends on no group after it in the order.
//
// How good a plan is:
//
//   - A task by itself is at most MinGain, or a thousandth if that is more, away from the best
//     start. With more slack it costs at most a thousandth more than with less.
//   - Under ceilings in one location, the plan costs in sum what the best plan does, give or take a
//     thousandth, and as many groups as possible find room, if all groups have as many pods and run
//     for one slot, and if slots and latest starts fall on the same hours. More slack, and a higher
//     ceiling, then never cost more as long as there is room for all. The reason: the starts that
//     are open to a group include those that are open to every more urgent group. In any plan, the
//     most urgent group can change places with the group that has the cheapest of its starts.
//   - Otherwise the plan is greedy. The only guarantee is that a group costs no more than the
//     dearest window at or before its latest start. More slack for one group, or a higher ceiling,
//     may cost the others more.
package plan

import (
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// maxDeadlineMargin bounds the time between the expected end of a task and its deadline.
const maxDeadlineMargin = 10 * time.Minute

// minCoverShare is the share of a window that the forecast must cover for the window to be
// considered. Time before the forecast begins, and after it ends, counts as the mean of the whole
// forecast. A gap within the forecast counts as the higher of its neighbours, and as that mean at
// least: a gap is never clean.
const minCoverShare = 0.5

// Terms are what the platform owner has set for all tasks of a policy. The zero value means plain
// argmin: waiting costs nothing and any gain is enough.
type Terms struct {
	// MinGain is the share of the intensity (0.01 is 1 %) that waiting must save for a task to be
	// held at all.
	MinGain float64
	// WaitPrice makes a start one hour later cost this share more (0.001 is 0.1 % an hour).
	WaitPrice float64
	// Caution is how many times the usual error of the forecast a wait must save for a task to be held:
	// see [Planner.WithErrors]. Zero does not ask for more than MinGain.
	Caution float64
	// Exemptions are the times when carbon does not count.
	Exemptions []Exemption
}

// Task is what the planner knows of one group of pods.
type Task struct {
	// Duration is how long the work runs once it has started; more than zero.
	Duration time.Duration
	// EstimatedDuration is the duration as reasons print it, such as ~47m. It is empty if the user
	// has asked for the duration.
	EstimatedDuration string
	// LatestStart is when the work starts whatever the grid does.
	LatestStart time.Time
	// NextRun is when the next run of the same work comes, if the latest start leaves time to be done
	// before that run; zero otherwise.
	NextRun time.Time
	// Threshold in gCO2eq/kWh ends the wait as soon as the work would run at or below it, times the
	// power factor. Nil is no threshold.
	Threshold *float64
	// Held says that the task waits already. MinGain was asked for when the wait began; a held task
	// then waits for the last percent of a valley, too.
	Held bool
	// ID identifies the task for all its life, such as a UID. It picks one of the starts that are
	// nearly equal, so that the tasks of a cluster, and of several clusters, do not all start in
	// the same minute. A task without an ID gets the cheapest start, and the earliest of equals.
	ID string
	// PlannedStart is the start that an earlier decision gave; zero if there was none. It moves for
	// a real gain only.
	PlannedStart time.Time
	// Locations are the locations that the task may run in. Without any, it may run in all.
	Locations []Site
	// PlannedLocation is the location of PlannedStart. Empty means the first location that the task
	// may run in. Another location is chosen for a real gain only.
	PlannedLocation string
	// Pauses is for work that can be interrupted; nil otherwise.
	Pauses *Pauses
	// Elastic is for work that may run at several widths; nil otherwise. Only its Least, Most and
	// Speedup count. Duration is then the one at the width Least. The work starts where the widths of
	// [Planner.PlanWidths] emit least.
	Elastic *Elastic
}

// PowerFactor returns the power factor of the task in a location; 1 if the task has none there.
func (t *Task) PowerFactor(location string) float64 {
	for _, site := range t.Locations {
		if site.Name == location {
			return orOne(site.PowerFactor)
		}
	}
	return 1
}

// Site is a location as a task finds it.
type Site struct {
	Name string
	// PowerFactor is the power that the task takes here, as a share of the power it takes
	// elsewhere. Zero counts as one.
	PowerFactor float64
}

func orOne(factor float64) float64 {
	if factor == 0 {
		return 1
	}
	return factor
}

// LatestStart returns when work of the given duration must start to be finished by the deadline, in
// whole seconds. The margin is a twentieth of the duration, ten minutes at most.
func LatestStart(deadline time.Time, duration time.Duration) time.Time {
	margin := min(duration/20, maxDeadlineMargin)
	return deadline.Add(-duration - margin).Truncate(time.Second).UTC()
}

// Planner plans by what is known of one location at one moment. A planner remembers what it has
// computed for a duration, so that a hundred thousand tasks of a few durations cost little more
// than one task of each. It is not safe for concurrent use.
type Planner struct {
	location         string
	now              time.Time
	until            time.Time
	series           *forecast.Series
	noForecastReason string
	basis            forecast.Basis
	origin           forecast.Origin
	errors           *forecast.Differences
	terms            Terms
	nextExempt       time.Time // when carbon stops to count next; zero if never
	fill             float64   // the intensity of time that is not covered
	nowNanos         int64
	slotBoundaries   []int64 // the boundaries of slots after now; nil until they are needed
	curves           map[time.Duration]*curve
	slots            []widthCell                 // see widthSlots; nil until they are needed
	costs            map[time.Duration][]float64 // by unit, of the steps of runs; see runTable
}

// NewPlanner prepares decisions at now for tasks of one location. Latest starts after until count
// as until. A nil or empty series is no usable forecast. noForecastReason then says why, for the
// reason of the decision.
func NewPlanner(location string, series *forecast.Series, noForecastReason string, terms Terms, now, until time.Time) *Planner {
	now, until = now.UTC(), until.UTC()
	p := &Planner{
		location: location, series: withoutGaps(series), noForecastReason: noForecastReason, terms: terms,
		now: now, until: until, nowNanos: nanos(now), curves: map[time.Duration]*curve{},
	}
	p.nextExempt = nextExempt(terms.Exemptions, now, until)
	p.fill, _ = p.series.Mean(p.series.Start(), p.series.End())
	return p
}

// WithBasis notes what the series rests on, for the reasons of decisions. Without it the basis is a
// fresh forecast. WithBasis returns p.
func (p *Planner) WithBasis(basis forecast.Basis) *Planner {
	p.basis = basis
	return p
}

// WithOrigin notes where the series comes from. The reasons of decisions say if the intensities are
// made up. Locations whose intensities are of another signal are not compared, see [Assign]. Without
// WithOrigin the origin is unknown. WithOrigin returns p.
func (p *Planner) WithOrigin(origin forecast.Origin) *Planner {
	p.origin = origin
	return p
}

// WithErrors notes how wrong the predictions of the location have been, for Terms.Caution. Without
// WithErrors nothing is known of errors, and they count nothing. WithErrors returns p.
func (p *Planner) WithErrors(errors *forecast.Differences) *Planner {
	p.errors = errors
	return p
}

// doubt returns how much a start at an instant must save for work of a duration to wait for it, in
// gCO2eq/kWh, because the forecast may be wrong.
func (p *Planner) doubt(duration time.Duration, start time.Time) float64 {
	if p.terms.Caution <= 0 {
		return 0
	}
	usual, _ := p.errors.Error(duration, start.Sub(p.now))
	return p.terms.Caution * usual
}

// Decide returns when the task should start, by itself, in the location of the planner.
func (p *Planner) Decide(t Task) Decision {
	d, _ := (&Group{Task: t}).decide([]*Fleet{{planner: p}})
	return d
}

// endOfWait returns when the task is released at the latest: at the latest start, or at an earlier
// exemption.
func (p *Planner) endOfWait(latestStart time.Time) time.Time {
	latest := latestStart
	if p.until.Before(latest) {
		latest = p.until
	}
	if !p.nextExempt.IsZero() && p.nextExempt.Before(latest) {
		latest = p.nextExempt
	}
	if latest.Before(p.now) {
		latest = p.now
	}
	return latest.UTC()
}

// curve returns the windows of a duration, or nil if the forecast does not cover the window that
// starts now.
func (p *Planner) curve(duration time.Duration) *curve {
	c, ok := p.curves[duration]
	if !ok {
		c = p.newCurve(duration)
		p.curves[duration] = c
	}
	return c
}
