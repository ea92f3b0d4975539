package forecast

import "math"

// The worth of the predictions is tried on imaginary work. The work arrives every three hours, runs
// for four, can wait for a day, and starts where the lowest mean is predicted, as real work does.
const (
	trialSpacingHours = 3
	trialHours        = 4
	trialSlackHours   = day
	// maxTrials is four weeks of trials.
	maxTrials = month / trialSpacingHours
)

// hindsight compares the trials of the last four weeks with starting at once, and with the best
// start there was.
type hindsight struct {
	waiting  []hour // when each arrived
	running  []trial
	finished []outcome
}

// A trial is imaginary work that has started.
type trial struct{ arrived, started hour }

// An outcome is what a trial cost: the mean intensity of its run, if started at once, at the best
// time, and as it was.
type outcome struct{ immediate, best, achieved float64 }

// step moves time to the hour h. The actual intensity of h is known, and expected returns what is
// expected then.
func (t *hindsight) step(h hour, actual *record, expected func(u hour) float64) {
	if h%trialSpacingHours == 0 {
		t.waiting = append(t.waiting, h)
	}
	if len(t.waiting) > 0 {
		t.start(h, expected)
	}
	for len(t.running) > 0 && t.running[0].arrived+trialSlackHours+trialHours <= h {
		t.end(t.running[0], actual)
		t.running = t.running[1:]
	}
}

// start starts the waiting work that is not expected to run cleaner later.
func (t *hindsight) start(h hour, expected func(u hour) float64) {
	var means [trialSlackHours + 1]float64
	for s := range means {
		for i := range trialHours {
			means[s] += expected(h.plus(s+i)) / trialHours
		}
	}
	rest := t.waiting[:0]
	for _, came := range t.waiting {
		if isCleanerLater(means[:(came+trialSlackHours).since(h)+1]) {
			rest = append(rest, came)
		} else {
			t.running = append(t.running, trial{came, h})
		}
	}
	t.waiting = rest
}

// isCleanerLater reports whether a later mean is below the first.
func isCleanerLater(means []float64) bool {
	for _, later := range means[1:] {
		if later < means[0] {
			return true
		}
	}
	return false
}

func (t *hindsight) end(tr trial, actual *record) {
	mean := func(s hour) float64 { return actual.mean(s+trialHours-1, trialHours, 1) }
	o := outcome{immediate: mean(tr.arrived), best: math.Inf(1), achieved: mean(tr.started)}
	for s := tr.arrived; s <= tr.arrived+trialSlackHours; s++ {
		o.best = math.Min(o.best, mean(s))
	}
	if math.IsNaN(o.immediate + o.best + o.achieved) {
		return
	}
	t.finished = append(t.finished, o)
	if n := len(t.finished) - maxTrials; n > 0 {
		t.finished = t.finished[n:]
	}
}

// share returns the share of the possible saving that was achieved; 1 is all of it. It returns NaN
// until there is a week of trials, and if there was nothing to save.
func (t *hindsight) share() float64 {
	var atOnce, best, had float64
	for _, o := range t.finished {
		atOnce += o.immediate
		best += o.best
		had += o.achieved
	}
	if len(t.finished) < week/trialSpacingHours || !(atOnce-best > atOnce/1000) {
		return math.NaN()
	}
	return (atOnce - had) / (atOnce - best)
}
