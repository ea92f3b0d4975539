package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// runnersUp is how many windows are shown besides the planned one.
const runnersUp = 2

// A window is a time at which work could run.
type window struct {
	Name  string    `json:"name"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Intensity is the mean in gCO2eq/kWh, nil if it is not known.
	Intensity *float64 `json:"intensity"`
	// PowerFactor is that of the work, where it is not 1.
	PowerFactor float64 `json:"powerFactor,omitempty"`
	// Saved is what it saves against the first of the windows.
	Saved *float64 `json:"savedPercent,omitempty"`
}

// windows are the alternatives to a planned start.
func windows(series *forecast.Series, now, planned, latest time.Time, duration time.Duration, power float64) []window {
	at := func(name string, start time.Time) window {
		return newWindow(name, start, duration, mean(series, start, duration), power)
	}
	all := []window{at("at once", now)}
	if planned.After(now) {
		all = append(all, at("planned", planned))
	}
	for _, start := range minima(series, now, planned, latest, duration) {
		all = append(all, at("or else", start))
	}
	if latest.After(now) && !latest.Equal(planned) {
		all = append(all, at("at the latest", latest))
	}
	return all
}

func newWindow(name string, start time.Time, duration time.Duration, intensity *float64, power float64) window {
	return window{Name: name, Start: start, End: start.Add(duration), Intensity: intensity, PowerFactor: unlessOne(power)}
}

// unlessOne is a power factor if it has to be told, else zero.
func unlessOne(factor float64) float64 {
	if factor == 1 {
		return 0
	}
	return factor
}

// emitted is what the work emits for each kWh that it takes where its power factor is 1, in gCO2eq; nil if unknown.
func (w window) emitted() *float64 {
	if w.Intensity == nil || w.PowerFactor == 0 {
		return w.Intensity
	}
	emitted := *w.Intensity * w.PowerFactor
	return &emitted
}

// elsewhere are the cheapest starts in the other locations that work may run in.
func elsewhere(rules *policy.Policy, book *forecast.Snapshot, now time.Time, task plan.Task, chosen string) []window {
	task.PlannedStart, task.Held = time.Time{}, true
	var all []window
	for _, site := range task.Locations {
		if site.Name != chosen {
			d := rules.Planner(book, site.Name, now, task.LatestStart).Decide(task)
			all = append(all, newWindow("in "+site.Name, d.Start, task.Duration, known(d.Expected), d.PowerFactor))
		}
	}
	return all
}

// compare works out what is saved against the first.
func compare(all []window) {
	first := all[0].emitted()
	for i := range all[1:] {
		w := &all[i+1]
		if then := w.emitted(); first != nil && then != nil && *first > 0 {
			saved := 100 * (*first - *then) / *first
			w.Saved = &saved
		}
	}
}

// mean is nil if the series does not cover the window.
func mean(series *forecast.Series, start time.Time, duration time.Duration) *float64 {
	intensity, covered := series.Mean(start, start.Add(duration))
	if covered < duration {
		return nil
	}
	return known(intensity)
}

// minima are the starts of the cleanest other windows, the earliest first: no start next to them is cleaner, and they
// overlap with neither the planned one nor each other.
func minima(series *forecast.Series, now, planned, latest time.Time, duration time.Duration) []time.Time {
	lowest := dips(series, now, latest, duration)
	slices.SortStableFunc(lowest, func(a, b dip) int { return cmp.Compare(a.intensity, b.intensity) })
	apart := max(duration, time.Hour)
	chosen := []time.Time{planned}
	for _, d := range lowest {
		near := func(t time.Time) bool { return d.start.Sub(t).Abs() < apart }
		if len(chosen) <= runnersUp && !slices.ContainsFunc(chosen, near) {
			chosen = append(chosen, d.start)
		}
	}
	slices.SortFunc(chosen[1:], time.Time.Compare)
	return chosen[1:]
}

// A dip is a start of which those next to it are dirtier.
type dip struct {
	start     time.Time
	intensity float64
}

// dips are those between two times.
func dips(series *forecast.Series, from, to time.Time, duration time.Duration) []dip {
	var all, lowest []dip
	for _, start := range corners(series, from, to, duration) {
		if intensity := mean(series, start, duration); intensity != nil {
			all = append(all, dip{start, *intensity})
		}
	}
	for i := 1; i+1 < len(all); i++ {
		if all[i].intensity <= all[i-1].intensity && all[i].intensity < all[i+1].intensity {
			lowest = append(lowest, all[i])
		}
	}
	return lowest
}

// corners are the starts in [from, to] at which the mean of a window can be lowest: where an end of it meets that of a
// slot.
func corners(series *forecast.Series, from, to time.Time, duration time.Duration) []time.Time {
	starts := []time.Time{from}
	if !to.After(from) {
		return starts
	}
	for b := range series.Boundaries(from, to) {
		starts = append(starts, b)
	}
	for b := range series.Boundaries(from.Add(duration), to.Add(duration)) {
		starts = append(starts, b.Add(-duration))
	}
	starts = append(starts, to)
	slices.SortFunc(starts, time.Time.Compare)
	return slices.CompactFunc(starts, time.Time.Equal)
}
