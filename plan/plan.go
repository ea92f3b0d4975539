// Package plan decides when, and where, work that can wait should start.
//
// It knows nothing of Kubernetes and never looks at a clock: the moment is an
// argument, and the answer is a [Decision], a value that says when, where, at
// which intensity, and why.
//
// Starting a task of duration d at s costs the mean forecast intensity over
// [s, s+d), times 1 + WaitPrice x (s - now), times the task's power factor in the
// location: it is planned as if the grid were that much cleaner there. The planner takes the cheapest s
// between now and the task's latest start, and holds the task only if that
// window is cleaner than starting at once by at least MinGain. The mean over a
// sliding window is piecewise linear in s, with corners where either end of the
// window crosses a slot's boundary; between two corners the priced cost is
// concave or monotone, so its minimum is always at a corner, at now or at the
// latest start, and only those are looked at.
//
// Starts whose costs differ by no more than a thousandth are taken to be equal:
// the ID of a task picks one of them, a planned start moves for a real gain
// only, and no task is held for less. Of locations that are as good as each
// other, that of the earlier plan is taken, or else the one given first.
//
// A [Planner] decides on each task by itself. With [Buckets], a ceiling limits
// how many pods may run at once in a location, and [Assign] gives all groups
// their places together, in one location or several. What a wait gains in
// several locations is what it gains against starting now in the one that is
// cleanest now: what the choice of a location has saved by itself is not counted.
//
// What holds for every input:
//   - a start is never before now, and never after the latest start, or is now
//     if that is past;
//   - without a usable forecast the start is now;
//   - the same input gives the same decision, and deciding again at the start
//     that was planned, with the same forecast and the room still there, says
//     to start;
//   - no group is given a place, beside those before it in the order and what
//     cannot wait, in which a ceiling would be exceeded at any moment of its
//     run. A minute at the end of a run is not counted, time is counted in steps
//     of five minutes (longer, if the forecast is longer than thirteen days),
//     and a group for which there is no room starts at its latest start all the
//     same;
//   - what a group is given depends on no group after it in the order.
//
// How good a plan is:
//   - a task by itself is at most MinGain, or a thousandth if that is more, away
//     from the best there is, and with more slack it costs not a thousandth more
//     than with less;
//   - under ceilings, in one location, if all groups have as many pods and run
//     for one slot, and slots and latest starts fall on the same hours, the plan
//     costs in sum what the best plan does, give or take a thousandth, and as
//     many groups as possible find room. Slack, and a higher ceiling, then never
//     cost more as long as there is room for all. This is because the starts open to a group
//     include those open to every more urgent one: in any plan, the most urgent
//     can change places with whoever has the cheapest of its starts;
//   - otherwise the plan is greedy. A group costs no more than the dearest
//     window at or before its latest start, and that is all: more slack for one,
//     or a higher ceiling, may cost the others more.
package plan

import (
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// maxMargin bounds what is kept free between a task's expected end and its
// deadline.
const maxDeadlineMargin = 10 * time.Minute

// minCover is the share of a window that the forecast must cover for the
// window to be considered. Time beyond its end, or before it begins, counts as
// the mean of the whole forecast. A gap within it is never clean: it counts as the
// higher of what is known before and after, and no less than that mean.
const minCover = 0.5

// Terms are what the platform owner has set for all tasks of a policy.
// The zero value is plain argmin: waiting costs nothing, any gain is enough.
type Terms struct {
	// MinGain is the share of the intensity (0.01 is 1 %) that waiting must
	// save for a task to be held at all.
	MinGain float64
	// WaitPrice makes a start one hour later cost this share more (0.001 is
	// 0.1 % an hour).
	WaitPrice float64
	// Exemptions are the times when carbon does not count.
	Exemptions []Exemption
}

// Task is what the planner knows of one group of pods.
type Task struct {
	// Duration is how long the work runs once started; more than zero.
	Duration time.Duration
	// Guess is the duration as reasons tell it, such as ~47m, if it is not what
	// the user has asked for; else empty.
	EstimatedDuration string
	// LatestStart is when the work starts whatever the grid does.
	LatestStart time.Time
	// Threshold in gCO2eq/kWh ends the wait as soon as the work would run at
	// or below it, times its power factor; nil is none.
	Threshold *float64
	// Held says that the task waits already. Whether a wait gains enough was
	// asked when it began: the last percent of a valley is not given away.
	Held bool
	// ID is what the task is known by for all its life, such as a UID. Of starts
	// that are nearly equal it picks one, so that the tasks of a cluster, and
	// of a fleet of clusters, do not all start in the same minute. Without an ID
	// the cheapest is taken, the earliest of equals.
	ID string
	// Planned is the start that an earlier decision gave; zero if there is none.
	// It moves for a real gain only.
	PlannedStart time.Time
	// Locations are those that the task may run in; none is any.
	Locations []Site
	// PlannedIn is the location that Planned was given for; empty is the first
	// that the task may run in. Another is chosen for a real gain only.
	PlannedLocation string
}

// PowerFactor returns that of the task in a location; 1 if it has none.
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
	// PowerFactor is how much power the task takes there, as a share of what it
	// takes elsewhere; zero counts as one.
	PowerFactor float64
}

func orOne(factor float64) float64 {
	if factor == 0 {
		return 1
	}
	return factor
}

// LatestStart returns when work of the given duration must start to be
// finished by the deadline: with a margin of a twentieth of its duration, ten
// minutes at most, in whole seconds.
func LatestStart(deadline time.Time, duration time.Duration) time.Time {
	margin := min(duration/20, maxDeadlineMargin)
	return deadline.Add(-duration - margin).Truncate(time.Second).UTC()
}

// Planner plans by what is known of one location at one moment. It remembers what it
// has computed for a duration, so that a hundred thousand tasks of a few
// durations cost little more than one of each; it is not safe for concurrent
// use.
type Planner struct {
	location         string
	now              time.Time
	until            time.Time
	series           *forecast.Series
	noForecastReason string
	basis            forecast.Basis
	terms            Terms
	nextExempt       time.Time // when carbon stops counting next; zero if never
	fill             float64   // what an uncovered time counts
	nowNanos         int64
	slotBoundaries   []int64 // of the series' slots, after now, once they were asked for
	curves           map[time.Duration]*curve
}

// NewPlanner prepares decisions at now for tasks of one location whose latest
// start is at or before until; later ones are planned as if it were until.
// A nil or empty series is no usable forecast; missing then says why, for the
// decision's reason.
func NewPlanner(location string, series *forecast.Series, missing string, terms Terms, now, until time.Time) *Planner {
	now, until = now.UTC(), until.UTC()
	p := &Planner{
		location: location, series: bridged(series), noForecastReason: missing, terms: terms,
		now: now, until: until, nowNanos: nanos(now), curves: map[time.Duration]*curve{},
	}
	p.nextExempt = nextExempt(terms.Exemptions, now, until)
	p.fill, _ = p.series.Mean(p.series.Start(), p.series.End())
	return p
}

// RestingOn notes what the series rests on, for the decisions' reasons; without
// it, that is a fresh forecast. It returns the outlook.
func (p *Planner) WithBasis(basis forecast.Basis) *Planner {
	p.basis = basis
	return p
}

// Decide returns when the task should start, by itself, in the outlook's
// location.
func (p *Planner) Decide(t Task) Decision {
	d, _ := (&Group{Task: t}).decide([]*Fleet{{planner: p}})
	return d
}

// latest is the end of the wait: the latest start, or an earlier exemption,
// at which the task is let go anyway.
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

// curve returns the windows of a duration, nil when the forecast does not
// cover the one that starts now.
func (p *Planner) curve(duration time.Duration) *curve {
	c, ok := p.curves[duration]
	if !ok {
		c = p.newCurve(duration)
		p.curves[duration] = c
	}
	return c
}
