package plan

import (
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

func TestTheCleanestPartOfAWindow(t *testing.T) {
	from := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	at := func(hours float64) time.Time { return from.Add(time.Duration(hours * float64(time.Hour))) }
	slot := func(start, end, intensity float64) forecast.Slot {
		return forecast.Slot{Start: at(start), End: at(end), Intensity: intensity}
	}
	day := forecast.NewSeries([]forecast.Slot{slot(-2, 1, 50), slot(1, 4, 300), slot(4, 6, 100), slot(6, 8, 100), slot(10, 30, 200)})
	for name, tt := range map[string]struct {
		now, length     float64
		isClean, known  bool
		next            float64
		withoutAnything bool
	}{
		"the cleanest slot":                           {0.5, 1, true, true, 1, false},
		"the part of it that is in the window counts": {0.5, 3, true, true, 1, false},
		"the earlier of two that are equal":           {4, 3, true, true, 6, false},
		"the later of two that are equal":             {6, 3, false, true, 24, false},
		"adjoining slots are one run":                 {4, 5, true, true, 8, false},
		"a slot is cut":                               {11, 6.5, true, true, 11.5, false},
		"after the cut":                               {11.5, 6.5, false, true, 24, false},
		"a dirty hour before a clean one":             {2, 3, false, true, 4, false},
		"in a gap":                                    {9, 24, false, false, 10, false},
		"all that is known, if more is wanted":        {2, 24, true, true, 8, false},
		"nothing is known":                            {2, 24, false, false, 24, true},
		"no length":                                   {0.5, 0, false, true, 24, false},
	} {
		t.Run(name, func(t *testing.T) {
			series := day
			if tt.withoutAnything {
				series = nil
			}
			isClean, next, isKnown := Cleanest(series, from, at(24), at(tt.now), time.Duration(tt.length*float64(time.Hour)))
			if isClean != tt.isClean || isKnown != tt.known || !next.Equal(at(tt.next)) {
				t.Errorf("clean: %t, known: %t, until %v; want %t, %t, %v", isClean, isKnown, next, tt.isClean, tt.known, at(tt.next))
			}
		})
	}
}
