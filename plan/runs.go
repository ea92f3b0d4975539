package plan

import (
	"math"
	"slices"
	"time"
)

// maxCells bounds the moments, times the units of work, that are looked at for one group. More than
// that makes no plan that is better by a noticeable amount.
const maxCells = 5000

// units are the lengths of time that runs are made of. The smallest one that keeps within maxCells
// is taken.
func units() []time.Duration {
	const day = 24 * time.Hour
	return []time.Duration{
		5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, day, 7 * day, 30 * day,
	}
}

// A runTable has the least cost of what is left of one piece of work, at each step, for each amount
// of work that is left, and for each number of runs that may still begin. It is filled from the end:
//
//	run(j, t, w)   = min(cost(t) + run(j, t+1, w-1), pause(j, t, w))
//	pause(j, t, w) = min(pause(j, t+1, w), begin(j, t, w))
//	begin(j, t, w) = penalty + cost of restart and of the first m units + run(j-1, t+restart+m, w-m)
//
// with m units of the least run. Costs are of one unit of work, in gCO2eq/kWh with the wait priced.
// A step without room has an infinite cost.
type runTable struct {
	group   *Group
	planner *Planner
	unit    time.Duration
	steps   int // until the work must be done
	work    int // units that are left
	most    int // runs that may begin
	least   int // units of a run
	restart int // whole units of a restart
	// restartShare is what a restart takes beyond whole units, as a share of a unit. It costs, and the
	// end of the table leaves time for it.
	restartShare float64
	penalty      float64 // of each resume, so that it gains enough
	costs        []float64
	sums         []float64 // of the costs before each step
	blocked      []int32   // how many steps before each step have no room
	run, pause   [][]float64
}

// newTable prepares the planning of a group. ok is false if there is no time for anything else than
// to run through.
func (f *Fleet) newTable(g *Group) (t *runTable, ok bool) {
	p := f.planner
	if g.Duration <= 0 || p.series.IsEmpty() {
		return nil, false
	}
	t = &f.table
	t.group, t.planner, t.most = g, p, min(max(g.Pauses.Runs, 0), MaxRuns)
	if g.Pauses.State != Running && t.most == 0 {
		return nil, false
	}
	restartCost, resumes := max(g.Pauses.RestartCost, 0), t.most
	if g.Pauses.State == NotStarted { // the first of the runs is no resume
		resumes--
	}
	for _, t.unit = range units() {
		t.restart = int(restartCost / t.unit)
		over := restartCost - time.Duration(t.restart)*t.unit
		t.restartShare = float64(over) / float64(t.unit)
		t.steps = p.stepsUntil(t.horizon().Add(-over*time.Duration(resumes)), t.unit)
		t.work = unitsOf(g.Duration, t.unit)
		if t.steps*t.work <= maxCells {
			break
		}
	}
	t.least = max(unitsOf(g.Pauses.MinRun, t.unit), 1)
	if t.steps <= t.work || t.steps*t.work > maxCells {
		return nil, false
	}
	t.costs = p.stepCosts(t.unit, t.steps)
	t.fillSums(f)
	return t, true
}

// unitsOf returns how many units a duration takes. A minute more than whole units does not count.
func unitsOf(d, unit time.Duration) int {
	return max(int((d+unit-time.Minute-1)/unit), 1)
}

// horizon returns when the work is to be done in the plan: at the finish, but what the forecast does
// not cover is not planned for, unless the work takes longer.
func (t *runTable) horizon() time.Time {
	end := t.planner.series.End()
	if other := t.planner.now.Add(2 * t.group.Duration); other.After(end) {
		end = other
	}
	return earlier(end, t.group.finish())
}

// stepsUntil returns how many steps of a unit end by an instant. The first step begins now, and ends
// where a unit of the clock does, so that it lasts between a half and one and a half units.
func (p *Planner) stepsUntil(end time.Time, unit time.Duration) int {
	return max(int(end.Sub(p.stepStart(1, unit))/unit)+1, 0)
}

// stepStart returns when a step begins.
func (p *Planner) stepStart(i int, unit time.Duration) time.Time {
	if i <= 0 {
		return p.now
	}
	first := p.now.Truncate(unit).Add(unit)
	if first.Sub(p.now) < unit/2 {
		first = first.Add(unit)
	}
	return first.Add(time.Duration(i-1) * unit)
}

// stepCosts returns the costs of one unit of work in each of the next steps.
func (p *Planner) stepCosts(unit time.Duration, steps int) []float64 {
	if p.costs == nil {
		p.costs = map[time.Duration][]float64{}
	}
	costs := p.costs[unit]
	for i := len(costs); i < steps; i++ {
		from, to := p.stepStart(i, unit), p.stepStart(i+1, unit)
		mean, covered := p.series.Mean(from, to)
		share := float64(covered) / float64(to.Sub(from))
		mean = mean*share + p.fill*(1-share)
		costs = append(costs, math.Max(mean, 0)*(1+p.terms.WaitPrice*from.Sub(p.now).Hours()))
	}
	p.costs[unit] = costs
	return costs[:steps]
}

// fillSums adds the costs up, and marks the steps in which the fleet has no room for the group.
func (t *runTable) fillSums(f *Fleet) {
	t.sums = append(slices.Grow(t.sums[:0], t.steps+1), 0)
	t.blocked = append(slices.Grow(t.blocked[:0], t.steps+1), 0)
	for i, cost := range t.costs {
		t.sums = append(t.sums, t.sums[i]+cost)
		blocked := t.blocked[i]
		if f.room != nil {
			from := t.planner.stepStart(i, t.unit)
			length := t.planner.stepStart(i+1, t.unit).Sub(from)
			if f.room.minLeft(f.room.span(from, length)) < t.group.pods() {
				blocked++
			}
		}
		t.blocked = append(t.blocked, blocked)
	}
	t.penalty = max(t.planner.terms.MinGain, equalShare) * t.sums[min(t.work, t.steps)]
}

// sum returns the cost of running through the steps [from, to).
func (t *runTable) sum(from, to int) float64 {
	if to > t.steps || t.blocked[to] > t.blocked[from] {
		return math.Inf(1)
	}
	return t.sums[to] - t.sums[from]
}

// solve fills the table.
func (t *runTable) solve() {
	layers := t.most + 1
	if t.group.Pauses.State != Running { // whose next run is the first of them
		layers--
	}
	width := t.work + 1
	t.run, t.pause = t.grow(t.run, layers, width), t.grow(t.pause, layers, width)
	for j := 1; j < layers; j++ {
		for i := t.steps; i >= 0; i-- {
			t.solveStep(j, i, width)
		}
	}
}

// solveStep fills one step of a layer, for all amounts of work.
func (t *runTable) solveStep(j, i, width int) {
	running, paused := t.run[j][i*width:(i+1)*width], t.pause[j][i*width:(i+1)*width]
	running[0], paused[0] = 0, 0
	possible := min(t.steps-i, t.work) // units that can be done from here on
	for w := possible + 1; w <= t.work; w++ {
		running[w], paused[w] = math.Inf(1), math.Inf(1)
	}
	if possible == 0 {
		return
	}
	step, resume := t.sum(i, i+1), t.resumeCost(i)
	laterRunning, laterPaused := t.run[j][(i+1)*width:], t.pause[j][(i+1)*width:]
	end := i + t.restart + t.least
	for w := 1; w <= possible; w++ {
		var began float64
		switch {
		case w < t.least || end > t.steps:
			began = t.resume(j, i, w)
		case j == 1:
			began = resume + t.sum(end, min(end+w-t.least, t.steps+1))
		default:
			began = resume + t.run[j-1][end*width+w-t.least]
		}
		paused[w] = min(laterPaused[w], began)
		running[w] = min(step+laterRunning[w-1], paused[w])
	}
}

// resumeCost returns the cost of a restart at a step, and of the least run after it.
func (t *runTable) resumeCost(step int) float64 {
	return t.sum(step, min(step+t.restart+t.least, t.steps+1)) + t.restartShare*t.costs[step] + t.penalty
}

// grow makes room for the layers of a table. The first layer is not needed: see runFrom.
func (t *runTable) grow(layers [][]float64, count, width int) [][]float64 {
	size := (t.steps + 1) * width
	for len(layers) < count {
		layers = append(layers, nil)
	}
	for j := 1; j < count; j++ {
		layers[j] = slices.Grow(layers[j][:0], size)[:size]
	}
	return layers
}

// runFrom returns the least cost of w units that are left while the work runs at a step, if j more
// runs may begin.
func (t *runTable) runFrom(j, step, w int) float64 {
	switch {
	case w == 0:
		return 0
	case step > t.steps:
		return math.Inf(1)
	case j == 0:
		return t.sum(step, min(step+w, t.steps+1))
	default:
		return t.run[j][step*(t.work+1)+w]
	}
}

// resume returns the least cost of w units that are left if the work is resumed at a step, and is
// the first of j runs.
func (t *runTable) resume(j, step, w int) float64 {
	least := min(t.least, w)
	end := step + t.restart + least
	if end > t.steps {
		return math.Inf(1)
	}
	return t.sum(step, end) + t.restartShare*t.costs[step] + t.penalty + t.runFrom(j-1, end, w-least)
}

// from returns the least cost if the first run begins at a step. For work that runs, step 0 means to
// go on.
func (t *runTable) from(step int) float64 {
	switch state := t.group.Pauses.State; {
	case state == NotStarted:
		least := min(t.least, t.work)
		return t.sum(step, min(step+least, t.steps+1)) + t.runFrom(t.most-1, step+least, t.work-least)
	case state == Paused || step > 0:
		if t.most == 0 {
			return math.Inf(1)
		}
		return t.resume(t.most, step, t.work)
	default:
		forced := t.forced()
		return t.sum(0, forced) + t.runFrom(t.most, forced, t.work-forced)
	}
}

// forced returns how many units work that runs goes on at least.
func (t *runTable) forced() int {
	left := t.group.Pauses.MinRun - t.group.Pauses.RanFor
	if left <= 0 {
		return 1
	}
	return min(unitsOf(left, t.unit), t.work)
}

// chooseFirst returns the step at which the next run begins: the cheapest, the planned one if that is
// as good, or now if a wait gains too little.
func (t *runTable) chooseFirst(minGain float64) int {
	if pauses := t.group.Pauses; pauses.State == Running && pauses.RanFor < pauses.MinRun { // with room or without
		return 0
	}
	now := t.from(0)
	best, planned, cheapest := 0, 0, now
	latest := t.planner.endOfWait(t.group.LatestStart)
	for i := 1; i < t.steps && !t.planner.stepStart(i, t.unit).After(latest); i++ {
		if !t.group.PlannedStart.Before(t.planner.stepStart(i, t.unit)) {
			planned = i
		}
		if cost := t.from(i); cost < cheapest {
			best, cheapest = i, cost
		}
	}
	enough := t.enough(now, cheapest, minGain, best)
	if best == 0 || cheapest > enough {
		return 0
	}
	if cost := t.from(planned); planned > 0 && cost <= enough && cost-cheapest <= equalMargin(cheapest) {
		return planned
	}
	return best
}

// enough returns what a later run may cost to be chosen, if the costs of now and of the cheapest, which begins at
// the step best, are these.
func (t *runTable) enough(now, cheapest, minGain float64, best int) float64 {
	switch state := t.group.Pauses.State; {
	case state == Running:
		// The penalty of the resume makes a pause worthwhile. With a margin, a pause would be put off again
		// and again, because each time a step more costs little.
		return now - roundingNoise
	case state == NotStarted && !math.IsInf(now, 1):
		return math.Min(now-equalMargin(cheapest), math.Min(now*(1-minGain), now-t.doubt(best)))
	default:
		return now - equalMargin(cheapest)
	}
}

// doubt returns how much less than now a first run at a step must cost for new work to wait for it.
func (t *runTable) doubt(step int) float64 {
	if t.group.Held {
		return 0
	}
	return t.planner.doubt(t.group.Duration, t.planner.stepStart(step, t.unit)) * float64(t.work)
}

// begin returns when the first run begins: when its step does, at the planned moment within it, or
// a few minutes later, so that not all work starts at once.
func (t *runTable) begin(step int) time.Time {
	at := t.planner.stepStart(step, t.unit)
	latest := t.planner.endOfWait(t.group.LatestStart)
	isRunning := t.group.Pauses.State == Running && step == 0
	planned := t.group.PlannedStart.UTC()
	if isRunning || t.blocked[t.steps] > 0 || t.group.ID == "" {
		return at
	}
	most := min(maxSpread, at.Sub(t.planner.now)/10)
	if step == 0 {
		most = maxSpread
	}
	if planned.After(at) && !planned.After(at.Add(most)) && !planned.After(latest) {
		return planned
	}
	if step == 0 {
		return at
	}
	return at.Add(min(secondsOf(hash(t.group.ID), most), max(latest.Sub(at), 0)))
}

// runs follows the table from the first run on.
func (t *runTable) runs(first int) []PlannedRun {
	j, step, left := t.most, first, t.work
	var length int
	restarts := 0
	switch state := t.group.Pauses.State; {
	case state == Running && first == 0:
		length = t.forced()
	case state == NotStarted:
		j, length = j-1, min(t.least, left)
	default:
		j, length, restarts = j-1, min(t.least, left), 1
	}
	var runs []PlannedRun
	for {
		end := step + length + restarts*t.restart
		left -= length
		for left > 0 && !t.pausesAt(j, end, left) {
			end, left = end+1, left-1
		}
		runs = append(runs, PlannedRun{Start: t.planner.stepStart(step, t.unit), End: t.planner.stepStart(end, t.unit)})
		if left == 0 {
			return runs
		}
		for step = end; t.resume(j, step, left) > t.pause[j][step*(t.work+1)+left]; step++ {
		}
		j, length, restarts = j-1, min(t.least, left), 1
	}
}

// pausesAt reports whether work that runs is paused at a step.
func (t *runTable) pausesAt(j, step, left int) bool {
	if j == 0 {
		return false
	}
	i := step*(t.work+1) + left
	return t.pause[j][i] < t.sum(step, step+1)+t.run[j][i+t.work]
}
