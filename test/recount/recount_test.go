package recount

import (
	"math"
	"testing"
	"time"
)

func TestAnHourOfOneCoreCountsAsByHand(t *testing.T) {
	noon := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	w := Work{
		Created: noon, LatestStart: noon.Add(4 * time.Hour), Waited: 2 * time.Hour,
		Pods: []Pod{{Start: noon.Add(2 * time.Hour), End: noon.Add(3 * time.Hour), Cores: 1}},
	}
	f := w.Count(func(at time.Time) float64 {
		return map[int]float64{12: 400, 14: 100, 15: 50}[at.Hour()] + 0
	})
	const kilowattHours = 2.1 * 1.2 / 1000
	for what, pair := range map[string][2]float64{
		"joules":     {f.Joules, kilowattHours * 3.6e6},
		"grams":      {f.Grams, kilowattHours * 100},
		"at arrival": {f.AtArrival, kilowattHours * 400},
		"best":       {f.AtItsBest, 0}, // at 13:00, and at 16:00
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-9 {
			t.Errorf("%s: %v, want %v", what, pair[0], pair[1])
		}
	}
}
