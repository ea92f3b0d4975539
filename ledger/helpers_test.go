package ledger

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger/energy"
)

var t0 = time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return t0.Add(time.Duration(minutes) * time.Minute) }

// only returns actual intensities that are the same everywhere.
func only(series *forecast.Series) Actuals {
	return func(string, string) *forecast.Series { return series }
}

// byLocation returns actual intensities by location.
func byLocation(all map[string]*forecast.Series) Actuals {
	return func(_, location string) *forecast.Series { return all[location] }
}

// randomSeries returns slots of whole minutes from minute -600 on, of which a share is missing.
func randomSeries(r *rand.Rand, missing float64, minutes int) *forecast.Series {
	var slots []forecast.Slot
	for m := -600; m < minutes; {
		width := 1 + r.IntN(40)
		if r.Float64() >= missing {
			slots = append(slots, forecast.Slot{Start: at(m), End: at(m + width), Intensity: r.Float64()*700 - 50})
		}
		m += width
	}
	return forecast.NewSeries(slots)
}

// randomGroup returns a group of whole minutes whose runs are all before minute 3,000.
func randomGroup(r *rand.Rand, n int) Group {
	arrived, wait, delay := r.IntN(600), r.IntN(300), r.IntN(10)
	g := Group{
		UID: fmt.Sprintf("uid-%d-%d", n, r.IntN(1e9)), Kind: "Job", Namespace: "ns", Name: fmt.Sprintf("job-%d", n), Owner: fmt.Sprintf("CronJob/c%d", r.IntN(5)),
		Policy: "default", Mode: Enforce, Source: "s", Location: "A", OtherLocation: "A", Energy: energy.Modelled, SeenEnd: true,
		Arrived: at(arrived), Released: at(arrived + wait), Wait: time.Duration(wait) * time.Minute, LatestStart: at(arrived + r.IntN(600)),
		Failed: r.IntN(5) == 0, Units: 1, EmbodiedGrams: r.Float64(), CoreHours: r.Float64(),
	}
	if r.IntN(3) == 0 {
		g.Mode, g.Released = Audit, g.Arrived
	}
	if r.IntN(3) == 0 {
		g.OtherLocation = "B"
	}
	if r.IntN(4) == 0 {
		g.LatestStart = time.Time{}
	}
	begin := g.Released.Add(time.Duration(delay) * time.Minute)
	for range 1 + r.IntN(6) {
		watts := r.Float64() * 500
		s := Step{Start: begin, End: begin.Add(time.Duration(1+r.IntN(60)) * time.Minute), Watts: watts, FailedWatts: watts * float64(r.IntN(2))}
		g.Steps, g.Ended = append(g.Steps, s), s.End
		begin = s.End.Add(time.Duration(r.IntN(3)*5) * time.Minute)
	}
	return g
}

// A naiveRun is what the profile of a group comes to if it is moved by some minutes, added up
// minute by minute.
type naiveRun struct{ grams, failed, covered float64 }

// naive adds up the minutes of a run. It shares nothing with the package but the intensity at an
// instant.
func naive(g Group, series *forecast.Series, shift int) naiveRun {
	var joules, known, grams, failed, unknownFailed float64
	for _, s := range g.Steps {
		for t := s.Start; t.Before(s.End); t = t.Add(time.Minute) {
			joules += 60 * s.Watts
			intensity, ok := series.At(t.Add(time.Duration(shift) * time.Minute))
			if !ok {
				unknownFailed += 60 * s.FailedWatts
				continue
			}
			known += 60 * s.Watts
			grams += s.Watts / 60 / 1000 * intensity
			failed += s.FailedWatts / 60 / 1000 * intensity
		}
	}
	mean := grams / known // per joule
	return naiveRun{mean * joules, failed + unknownFailed*mean, known / joules}
}

// naiveOracle tries every minute of the slack at every location, and what was and would have been.
// covered is the known share of the time at the location of which least is known.
func naiveOracle(g Group, all []*forecast.Series, had ...float64) (best, covered float64) {
	covered = 1
	best = math.Inf(1)
	for _, grams := range had {
		best = min(best, grams)
	}
	first := int(g.Arrived.Sub(g.Released).Minutes())
	last := first
	if g.LatestStart.After(g.Arrived) {
		last += int(g.LatestStart.Sub(g.Arrived).Minutes())
	}
	begin := g.Steps[0].Start.Add(time.Duration(first) * time.Minute)
	end := g.Steps[len(g.Steps)-1].End.Add(time.Duration(last) * time.Minute)
	for _, series := range all {
		known, minutes := 0.0, 0.0
		for t := begin; t.Before(end); t = t.Add(time.Minute) {
			minutes++
			if _, ok := series.At(t); ok {
				known++
			}
		}
		covered = min(covered, known/minutes)
		for shift := first; shift <= last; shift++ {
			if run := naive(g, series, shift); run.covered >= 0.95 {
				best = min(best, run.grams)
			}
		}
	}
	return best, covered
}
