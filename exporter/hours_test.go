package exporter

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/forecast"
)

func slots(width time.Duration, from time.Time, values ...float64) []forecast.Slot {
	var all []forecast.Slot
	for i, v := range values {
		at := from.Add(time.Duration(i) * width)
		all = append(all, forecast.Slot{Start: at, End: at.Add(width), Intensity: v})
	}
	return all
}

func TestActualIntensitiesAreMeansOfHours(t *testing.T) {
	noon := start().Truncate(hour).Add(2 * hour)
	half := 30 * time.Minute
	for name, tt := range map[string]struct {
		slots []forecast.Slot
		now   time.Time
		want  []forecast.Slot
	}{
		"of half hours":                    {slots(half, noon, 100, 200, 300, 500), noon.Add(day), slots(hour, noon, 150, 400)},
		"of days":                          {slots(2*hour, noon, 100), noon.Add(day), slots(hour, noon, 100, 100)},
		"without an hour that is going on": {slots(half, noon, 100, 200, 300, 500), noon.Add(90 * time.Minute), slots(hour, noon, 150)},
		"with an hour that is known by half": {append(slots(half, noon, 100), slots(half, noon.Add(hour), 300, 500)...), noon.Add(day),
			slots(hour, noon, 100, 400)},
		"without an hour that is known by less": {append(slots(hour, noon, 100), slots(20*time.Minute, noon.Add(hour+40*time.Minute), 7, 300, 300, 300)...), noon.Add(day),
			append(slots(hour, noon, 100), slots(hour, noon.Add(2*hour), 300)...)},
		"without hours at the edge": {slots(hour, noon.Add(half), 100, 200), noon.Add(day), slots(hour, noon.Add(hour), 150)},
		"of nothing":                {nil, noon, []forecast.Slot{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, hours(forecast.NewSeries(tt.slots), tt.now)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCorrectedActualIntensitiesReplaceTheOnesBefore(t *testing.T) {
	noon := start().Truncate(hour)
	z := &zone{}
	z.addActuals(forecast.NewSeries(slots(hour, noon.Add(-4*hour), 1, 2, 3, 4)), noon)
	z.addActuals(forecast.NewSeries(slots(hour, noon.Add(-2*hour), 30, 40, 50)), noon.Add(hour))
	if diff := cmp.Diff(slots(hour, noon.Add(-4*hour), 1, 2, 30, 40, 50), z.actuals.Slots()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	z.addActuals(forecast.NewSeries(slots(hour, noon.Add(retention), 9)), noon.Add(2*retention))
	if diff := cmp.Diff(append(slots(hour, noon, 50), slots(hour, noon.Add(retention), 9)...), z.actuals.Slots()[1:]); diff != "" && len(z.actuals.Slots()) != 1 {
		t.Errorf("what is older than eight weeks is kept: %v", z.actuals.Slots())
	}
}
