// Package recount computes again, from what the API server has told, what a ledger has booked. It shares no
// code with the ledger, and goes another way: second by second, without a formula for a stretch of time.
package recount

import (
	"math"
	"time"
)

// The model of docs/energy.md, in numbers of its own: a core at half of its capacity, memory, and what the
// data centre takes besides.
const (
	wattsOfCore = 0.7 + 0.5*(3.5-0.7)
	wattsOfGiB  = 0.392
	effort      = 1.2
)

// Pod is what was seen of one pod that ran, in whole seconds.
type Pod struct {
	Start, End time.Time
	Cores, GiB float64
	Failed     bool
	// Gone is when the pod was deleted; zero if it was not.
	Gone time.Time
}

// Work is what was seen of one group of work.
type Work struct {
	Created, LatestStart time.Time
	// Waited is how long the work was held before its pods could start.
	Waited time.Duration
	Pods   []Pod
	Failed bool
}

// Figures are what a group came to, in joules and gCO2eq.
type Figures struct {
	Joules, FailedJoules        float64
	Grams, AtArrival, AtItsBest float64
}

// Count counts a group. intensity returns what the grid had in the second that begins at an instant, in
// gCO2eq/kWh.
func (w Work) Count(intensity func(at time.Time) float64) Figures {
	var f Figures
	for _, p := range w.Pods {
		joules := p.watts() * p.End.Sub(p.Start).Seconds()
		f.Joules += joules
		if p.Failed || w.Failed {
			f.FailedJoules += joules
		}
	}
	f.Grams = w.gramsIfLater(0, intensity)
	f.AtArrival = w.gramsIfLater(-w.Waited, intensity)
	f.AtItsBest = math.Min(f.Grams, f.AtArrival)
	for start := w.Created; !start.After(w.LatestStart); start = start.Add(time.Second) {
		f.AtItsBest = math.Min(f.AtItsBest, w.gramsIfLater(start.Sub(w.Created)-w.Waited, intensity))
	}
	return f
}

// gramsIfLater returns what the same run would have emitted so much later.
func (w Work) gramsIfLater(shift time.Duration, intensity func(time.Time) float64) float64 {
	grams := 0.0
	for _, p := range w.Pods {
		for at := p.Start; at.Before(p.End); at = at.Add(time.Second) {
			kilowattHours := p.watts() * 1 / 3600 / 1000
			grams += kilowattHours * intensity(at.Add(shift))
		}
	}
	return grams
}

func (p Pod) watts() float64 { return effort * (p.Cores*wattsOfCore + p.GiB*wattsOfGiB) }
