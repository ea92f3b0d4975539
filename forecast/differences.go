package forecast

import (
	"math"
	"time"
)

const (
	// maxErrorLead is the longest wait, in hours, for which errors are known. Longer waits count as this
	// one.
	maxErrorLead = 2 * day
	// longestWindow is the longest window, in hours, for which errors are known.
	longestWindow = day / 2
	// errorMemoryHours is the time after which an error counts for 1/e.
	errorMemoryHours = 14 * day
	// minErrors is how many errors must be known of a window and a wait, each weighed by its age.
	minErrors = day
)

// windowHours are the lengths of the windows for which errors are known.
const windowLengths = 3

func windowHours() [windowLengths]int { return [windowLengths]int{1, 4, longestWindow} }

// Differences tells how wrong a model has been about differences: by how much the mean over a later
// window would be below the mean over a window that begins now. What counts for a wait is this
// difference, and not the level of the intensity. A nil Differences knows nothing.
type Differences struct {
	// squares and weights are sums by length of the window and hours of wait, less one.
	squares, weights [windowLengths][maxErrorLead]float64
}

// Error returns the root mean square of the errors of the last weeks, in gCO2eq/kWh, for windows of a
// length after a wait. The newest errors weigh most: with an e-folding time of 14 days. It returns
// false if too little is known.
//
// Between the lengths and the waits that are known, the error is interpolated. A shorter window than
// an hour counts as an hour, a longer one than twelve as twelve, and a longer wait than 48 hours as 48.
func (d *Differences) Error(length, wait time.Duration) (gramsPerKWh float64, ok bool) {
	if d == nil {
		return 0, false
	}
	hours, all := length.Hours(), windowHours()
	i := 0
	for i < windowLengths-2 && hours > float64(all[i+1]) {
		i++
	}
	share := (hours - float64(all[i])) / float64(all[i+1]-all[i])
	shorter, longer := d.after(i, wait), d.after(i+1, wait)
	e := between(shorter, longer, share)
	return e, !math.IsNaN(e)
}

// after returns the error of windows of the i-th length after a wait, or NaN.
func (d *Differences) after(i int, wait time.Duration) float64 {
	lead := min(max(wait.Hours(), 0), maxErrorLead)
	before := int(lead)
	if before == maxErrorLead {
		return d.at(i, before)
	}
	return between(d.at(i, before), d.at(i, before+1), lead-float64(before))
}

// at returns the error after a wait of whole hours, or NaN. Without a wait there is none.
func (d *Differences) at(i, lead int) float64 {
	if lead == 0 {
		return 0
	}
	if d.weights[i][lead-1] < minErrors {
		return math.NaN()
	}
	return math.Sqrt(d.squares[i][lead-1] / d.weights[i][lead-1])
}

// between interpolates, and does not extrapolate.
func between(a, b, share float64) float64 {
	share = min(max(share, 0), 1)
	switch share {
	case 0:
		return a
	case 1:
		return b
	}
	return a + share*(b-a)
}

// differenceErrors compares what the model predicts every hour with what comes.
type differenceErrors struct {
	Differences

	predicted []predictedCourse // of the last hours, ascending
}

// A predictedCourse is what was predicted at an hour for the next two days and a half: sums[i] is the
// sum over the first i hours.
type predictedCourse struct {
	at   hour
	sums [maxErrorLead + longestWindow + 1]float64
}

// step moves time to the hour h. The actual intensity of h is known, and expected returns what is
// expected then.
func (d *differenceErrors) step(h hour, actual *record, expected func(u hour) float64) {
	decay := math.Exp(-1.0 / errorMemoryHours)
	for i, length := range windowHours() {
		for k := range maxErrorLead {
			d.squares[i][k] *= decay
			d.weights[i][k] *= decay
		}
		d.compare(h, actual, i, length)
	}
	if oldest := h - maxErrorLead - longestWindow; len(d.predicted) > 0 && d.predicted[0].at <= oldest {
		d.predicted = d.predicted[1:]
	}
	course := predictedCourse{at: h}
	for i := range maxErrorLead + longestWindow {
		course.sums[i+1] = course.sums[i] + expected(h.plus(i))
	}
	d.predicted = append(d.predicted, course)
}

// compare takes note of the errors for the windows of a length that end with the hour h.
func (d *differenceErrors) compare(h hour, actual *record, i, length int) {
	later := actual.mean(h, length, 1)
	for p := range d.predicted {
		course := &d.predicted[p]
		lead := h.since(course.at) + 1 - length // from the moment of the prediction to the window
		if lead < 1 || lead > maxErrorLead {
			continue
		}
		first := actual.mean(course.at.plus(length-1), length, 1)
		predicted := (course.sums[lead+length] - course.sums[lead] - course.sums[length]) / float64(length)
		if e := predicted - (later - first); !math.IsNaN(e) && math.Abs(e) <= MaxIntensity {
			d.squares[i][lead-1] += e * e
			d.weights[i][lead-1]++
		}
	}
}
