package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// Cleanest returns whether now is among the cleanest hours of a window, when that changes next, and
// whether the intensity is known now. length is how much of the window is to be clean. The cleanest slots of
// the series in the window are taken, the earlier one of two that are equal, until they have that
// length together. The last one is cut. What the series does not know is not taken, so more of the
// rest is.
//
// The answer depends on nothing else. So with an unchanged series, exactly length of the window is
// clean. With a series that is revised while the window goes by, it can be more or less.
func Cleanest(series *forecast.Series, from, until, now time.Time, length time.Duration) (isClean bool, next time.Time, isKnown bool) {
	clean := cleanest(series, from, until, length)
	_, isKnown = series.At(now)
	for _, slot := range clean {
		switch {
		case now.Before(slot.Start):
			return false, slot.Start, isKnown
		case now.Before(slot.End):
			return true, endOfRun(clean, slot), isKnown
		}
	}
	return false, until, isKnown
}

// cleanest returns the cleanest slots of a window that have a length together, by their start.
func cleanest(series *forecast.Series, from, until time.Time, length time.Duration) (clean []forecast.Slot) {
	for _, slot := range series.Slots() {
		if slot.Start.Before(from) {
			slot.Start = from
		}
		slot.End = earlier(slot.End, until)
		if slot.Start.Before(slot.End) {
			clean = append(clean, slot)
		}
	}
	slices.SortStableFunc(clean, func(a, b forecast.Slot) int { return cmp.Compare(a.Intensity, b.Intensity) })
	for i := range clean {
		width := clean[i].End.Sub(clean[i].Start)
		if width >= length {
			clean[i].End = clean[i].Start.Add(length)
			clean = clean[:i+1]
			break
		}
		length -= width
	}
	slices.SortFunc(clean, func(a, b forecast.Slot) int { return a.Start.Compare(b.Start) })
	return clean
}

// endOfRun returns the end of the run of adjoining slots that a slot is in.
func endOfRun(ascending []forecast.Slot, slot forecast.Slot) time.Time {
	end := slot.End
	for _, s := range ascending {
		if s.Start.Equal(end) {
			end = s.End
		}
	}
	return end
}
