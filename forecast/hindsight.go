package forecast

import "math"

// What the predictions are worth is tried on imaginary work: it comes every three hours, runs for four, can wait for a
// day, and starts where the lowest mean is predicted, as real work does.
const (
	trialSpacingHours = 3
	trialHours        = 4
	trialSlackHours   = day
	// trialsKept is four weeks of them.
	maxTrials = month / trialSpacingHours
)

// hindsight compares the trials of the last four weeks with starting at once, and with the best there was.
type hindsight struct {
	waiting  []hour // when they came
	running  []trial
	finished []outcome
}

// A trial has started.
type trial struct{ came, started hour }

// An outcome is what a trial cost, in the mean intensity of its run.
type outcome struct{ atOnce, best, achieved float64 }

// step lets time come to the hour h, whose actual intensity is known, with what is expected then.
func (t *hindsight) step(h hour, actual *record, expected func(u hour) float64) {
	if h%trialSpacingHours == 0 {
		t.waiting = append(t.waiting, h)
	}
	if len(t.waiting) > 0 {
		t.start(h, expected)
	}
	for len(t.running) > 0 && t.running[0].came+trialSlackHours+trialHours <= h {
		t.end(t.running[0], actual)
		t.running = t.running[1:]
	}
}

// start lets go of what is not expected to run better later.
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

// waits reports whether a later mean is below the first.
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
	o := outcome{atOnce: mean(tr.came), best: math.Inf(1), achieved: mean(tr.started)}
	for s := tr.came; s <= tr.came+trialSlackHours; s++ {
		o.best = math.Min(o.best, mean(s))
	}
	if math.IsNaN(o.atOnce + o.best + o.achieved) {
		return
	}
	t.finished = append(t.finished, o)
	if n := len(t.finished) - maxTrials; n > 0 {
		t.finished = t.finished[n:]
	}
}

// share is how much of the saving that was possible has been had, 1 being all of it; not a number until a week can
// tell, or if there was nothing to save.
func (t *hindsight) share() float64 {
	var atOnce, best, had float64
	for _, o := range t.finished {
		atOnce += o.atOnce
		best += o.best
		had += o.achieved
	}
	if len(t.finished) < week/trialSpacingHours || !(atOnce-best > atOnce/1000) {
		return math.NaN()
	}
	return (atOnce - had) / (atOnce - best)
}
