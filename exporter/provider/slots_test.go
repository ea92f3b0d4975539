package provider

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/forecast"
)

func TestTheWidthOfSlotsIsInferred(t *testing.T) {
	quarter := 15 * time.Minute
	for name, test := range map[string]struct {
		minutes []int // after noon
		usual   time.Duration
		want    []int // the widths in minutes
	}{
		"a steady width":                       {[]int{0, 15, 30, 45}, 0, []int{15, 15, 15, 15}},
		"a missing slot is a gap":              {[]int{0, 15, 30, 60, 75, 90, 105}, 0, []int{15, 15, 15, 15, 15, 15, 15}},
		"a width that grows":                   {[]int{0, 15, 30, 45, 60, 120, 180, 240}, 0, []int{15, 15, 15, 15, 60, 60, 60, 60}},
		"a width that shrinks":                 {[]int{0, 60, 120, 180, 195, 210, 225}, 0, []int{60, 60, 60, 15, 15, 15, 15}},
		"a repeated slot counts once":          {[]int{0, 15, 15, 30, 45}, 0, []int{15, 15, 15, 15}},
		"one slot has the usual width":         {[]int{0}, quarter, []int{15}},
		"one slot without a usual width: none": {[]int{0}, 0, nil},
		"two slots far apart":                  {[]int{0, 600}, quarter, []int{15, 15}},
	} {
		t.Run(name, func(t *testing.T) {
			var points []point
			for _, m := range test.minutes {
				points = append(points, point{noon.Add(time.Duration(m) * time.Minute), 100})
			}
			var got []int
			for _, s := range forecast.NewSeries(inferSlots(points, test.usual)).Slots() {
				got = append(got, int(s.End.Sub(s.Start).Minutes()))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestANullEndsTheSlotBeforeAndIsAGap(t *testing.T) {
	points := []point{{at(12, 0), 100}, {at(12, 30), math.NaN()}, {at(12, 30), math.NaN()}, {at(13, 0), 90}, {at(13, 0), math.NaN()}}
	got := forecast.NewSeries(inferSlots(points, time.Hour)).Slots()
	want := []forecast.Slot{slot(at(12, 0), time.Hour/2, 100), slot(at(13, 0), time.Hour, 90)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
