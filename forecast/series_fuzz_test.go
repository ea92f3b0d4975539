package forecast

import (
	"math"
	"slices"
	"testing"
	"time"
)

// FuzzSeries compares a series with a scan, minute by minute, of its slots: At returns the slot
// that starts last among those that cover the minute, Mean is the mean of At, and the boundaries
// ascend and are where NextBoundary says.
func FuzzSeries(f *testing.F) {
	f.Add([]byte{0, 5, 100, 5, 5, 200, 3, 9, 50}, uint8(2), uint8(9))
	f.Add([]byte{9, 0, 1, 200, 255, 255, 100, 20, 0}, uint8(0), uint8(255))
	f.Fuzz(func(t *testing.T, data []byte, from, to uint8) {
		var slots []Slot
		for chunk := range slices.Chunk(data, 3) {
			if len(chunk) == 3 && len(slots) < 100 {
				start, length := int(chunk[0]), int(int8(chunk[1]))
				slots = append(slots, slot(start, start+length, float64(chunk[2])-50))
			}
		}
		s := NewSeries(slots)
		sum, covered := 0.0, 0
		for m := int(from); m < int(to); m++ {
			want, ok := scan(slots, at(m))
			if got, known := s.At(at(m)); got != want || known != ok {
				t.Fatalf("At(%d) is %v, %v, want %v, %v", m, got, known, want, ok)
			}
			if ok {
				sum, covered = sum+want, covered+1
			}
		}
		mean, width := s.Mean(at(int(from)), at(int(to)))
		if want := sum / max(1, float64(covered)); math.Abs(mean-want) > 1e-9 || width != time.Duration(covered)*time.Minute {
			t.Fatalf("mean is %v over %v, want %v over %d minutes", mean, width, want, covered)
		}
		checkBoundaries(t, s, at(int(from)), at(int(to)))
	})
}

// scan returns the intensity of the slot that starts last among those that cover t; of several such
// slots, the one that was given first.
func scan(slots []Slot, t time.Time) (intensity float64, ok bool) {
	var start time.Time
	for _, s := range slots {
		if !t.Before(s.Start) && t.Before(s.End) && s.Start.After(start) {
			intensity, ok, start = s.Intensity, true, s.Start
		}
	}
	return intensity, ok
}

func checkBoundaries(t *testing.T, s *Series, from, to time.Time) {
	t.Helper()
	last := from
	for b := range s.Boundaries(from, to) {
		if next, ok := s.NextBoundary(last); !ok || next != b || !b.After(last) || !b.Before(to) {
			t.Fatalf("boundary %v after %v, next is %v", b, last, next)
		}
		last = b
	}
	if next, ok := s.NextBoundary(last); ok && next.Before(to) {
		t.Fatalf("boundary %v is left out", next)
	}
}
