package exporter

import (
	"math"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// means returns the means of a series over slots of a width. A slot of which less than half is known
// is a gap. The first and the last slot end where the series does.
func means(s *forecast.Series, width time.Duration) []forecast.Slot {
	var slots []forecast.Slot
	sweep := s.Sweep()
	for at := s.Start().Truncate(width); at.Before(s.End()); at = at.Add(width) {
		slot := forecast.Slot{Start: at, End: at.Add(width)}
		if slot.Start.Before(s.Start()) {
			slot.Start = s.Start()
		}
		if slot.End.After(s.End()) {
			slot.End = s.End()
		}
		mean, known := sweep.Mean(slot.Start.UnixNano(), slot.End.UnixNano())
		if 2*known >= slot.End.Sub(slot.Start) {
			slot.Intensity = math.Round(mean*100) / 100 // as the ConfigMap has actual intensities
			slots = append(slots, slot)
		}
	}
	return slots
}

// hours returns the means of the hours that have ended. An hour at the edge of the series counts once
// the whole of it is there.
func hours(s *forecast.Series, now time.Time) []forecast.Slot {
	whole := []forecast.Slot{}
	for _, slot := range means(s, actualsWidth) {
		if slot.End.Sub(slot.Start) == actualsWidth && !slot.End.After(now) {
			whole = append(whole, slot)
		}
	}
	return whole
}

// begunHour returns the hour of now if the last slot of a series speaks of it from its beginning to
// now, and an empty slot otherwise.
func begunHour(s *forecast.Series, now time.Time) forecast.Slot {
	start := now.UTC().Truncate(actualsWidth)
	value, ok := s.At(start)
	if next, more := s.NextBoundary(start); !ok || !more || next.Before(s.End()) {
		return forecast.Slot{}
	}
	return forecast.Slot{Start: start, End: start.Add(actualsWidth), Intensity: math.Round(value*100) / 100}
}

// unknownHours returns the first and the last unknown instant between two instants, to the hour, and
// how much is unknown.
func unknownHours(s *forecast.Series, from, to time.Time) (first, last time.Time, unknown time.Duration) {
	sweep := s.Sweep()
	for at := from; at.Before(to); at = at.Add(actualsWidth) {
		end := at.Add(actualsWidth)
		if end.After(to) {
			end = to
		}
		_, known := sweep.Mean(at.UnixNano(), end.UnixNano())
		if gap := end.Sub(at) - known; gap > 0 {
			if unknown == 0 {
				first = at
			}
			last, unknown = end, unknown+gap
		}
	}
	return first, last, unknown
}
