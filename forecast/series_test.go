package forecast

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var t0 = time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)

// at returns the instant some minutes after t0.
func at(minutes int) time.Time { return t0.Add(time.Duration(minutes) * time.Minute) }

func slot(from, to int, intensity float64) Slot { return Slot{at(from), at(to), intensity} }

// series returns a slot of five minutes for each intensity, from a minute on.
func series(from int, intensities ...float64) *Series {
	var slots []Slot
	for i, v := range intensities {
		slots = append(slots, slot(from+5*i, from+5*i+5, v))
	}
	return NewSeries(slots)
}

func TestNewSeries(t *testing.T) {
	for name, tt := range map[string]struct{ given, want []Slot }{
		"nothing is an empty series":                  {nil, []Slot{}},
		"slots are sorted":                            {[]Slot{slot(5, 10, 2), slot(0, 5, 1)}, []Slot{slot(0, 5, 1), slot(5, 10, 2)}},
		"gaps stay":                                   {[]Slot{slot(0, 5, 1), slot(10, 15, 2)}, []Slot{slot(0, 5, 1), slot(10, 15, 2)}},
		"of two for the same time the first wins":     {[]Slot{slot(0, 5, 1), slot(0, 5, 2)}, []Slot{slot(0, 5, 1)}},
		"of two that start together the first wins":   {[]Slot{slot(0, 5, 1), slot(0, 10, 2)}, []Slot{slot(0, 5, 1), slot(5, 10, 2)}},
		"a slot is over when a later one starts":      {[]Slot{slot(0, 10, 1), slot(5, 15, 2)}, []Slot{slot(0, 5, 1), slot(5, 15, 2)}},
		"whatever their order":                        {[]Slot{slot(5, 10, 1), slot(0, 7, 2)}, []Slot{slot(0, 5, 2), slot(5, 10, 1)}},
		"and goes on after one that is shorter":       {[]Slot{slot(0, 15, 1), slot(5, 10, 2)}, []Slot{slot(0, 5, 1), slot(5, 10, 2), slot(10, 15, 1)}},
		"a rolling window of an hour every 5 minutes": {[]Slot{slot(0, 60, 1), slot(5, 65, 2), slot(10, 70, 3)}, []Slot{slot(0, 5, 1), slot(5, 10, 2), slot(10, 70, 3)}},
		"equal neighbours stay two slots":             {[]Slot{slot(0, 5, 1), slot(5, 10, 1)}, []Slot{slot(0, 5, 1), slot(5, 10, 1)}},
		"empty and reversed slots are dropped":        {[]Slot{slot(5, 5, 1), slot(10, 5, 1), slot(0, 1, 2)}, []Slot{slot(0, 1, 2)}},
		"intensities out of bounds are dropped": {
			[]Slot{slot(0, 5, math.NaN()), slot(0, 5, math.Inf(1)), slot(0, 5, -2e6), slot(0, 5, -7)}, []Slot{slot(0, 5, -7)},
		},
		"other zones become UTC": {
			[]Slot{{at(0).In(time.FixedZone("", 3600)), at(5), 1}}, []Slot{slot(0, 5, 1)},
		},
		"times are cut to 1970 and 2262": {
			[]Slot{{time.Time{}, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 1}},
			[]Slot{{time.Unix(0, 0).UTC(), time.Unix(0, math.MaxInt64).UTC(), 1}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, NewSeries(tt.given).Slots()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNewSeriesDoesNotKeepTheSlotsGiven(t *testing.T) {
	given := []Slot{slot(5, 10, 2), slot(0, 5, 1)}
	s := NewSeries(given)
	given[0].Intensity = 99
	s.Slots()[0].Intensity = 99
	if diff := cmp.Diff([]Slot{slot(0, 5, 1), slot(5, 10, 2)}, s.Slots()); diff != "" {
		t.Error(diff)
	}
}

func TestAnEmptySeriesIsSafe(t *testing.T) {
	for name, s := range map[string]*Series{"nil": nil, "zero": {}, "of no slots": NewSeries(nil)} {
		t.Run(name, func(t *testing.T) {
			_, known := s.At(t0)
			_, covered := s.Mean(at(0), at(10))
			_, more := s.NextBoundary(t0)
			bounds := slices.Collect(s.Boundaries(at(0), at(10)))
			if !s.IsEmpty() || known || covered != 0 || more || len(bounds) != 0 || len(s.Slots()) != 0 {
				t.Error("an empty series knows something")
			}
			if !s.Start().IsZero() || !s.End().IsZero() {
				t.Error("an empty series has a start or an end")
			}
			if !s.Splice(nil, t0).IsEmpty() || s.Splice(series(0, 1), t0).IsEmpty() {
				t.Error("splicing to an empty series")
			}
		})
	}
}

func TestAt(t *testing.T) {
	s := NewSeries([]Slot{slot(0, 5, 100), slot(5, 10, 0), slot(15, 20, -3)})
	for name, tt := range map[string]struct {
		at   time.Time
		want float64
		ok   bool
	}{
		"before the first slot":          {at(-1), 0, false},
		"a start is in its slot":         {at(0), 100, true},
		"an end is in the next slot":     {at(5), 0, true},
		"just before an end":             {at(5).Add(-1), 100, true},
		"a gap is unknown":               {at(10), 0, false},
		"after a gap":                    {at(15), -3, true},
		"the last end is outside":        {at(20), 0, false},
		"the zero time":                  {time.Time{}, 0, false},
		"far ahead":                      {time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 0, false},
		"another zone does not matter":   {at(16).In(time.FixedZone("", -7200)), -3, true},
		"the last nanosecond of the end": {at(20).Add(-1), -3, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := s.At(tt.at); got != tt.want || ok != tt.ok {
				t.Errorf("got %v, %v, want %v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestMean(t *testing.T) {
	s := NewSeries([]Slot{slot(0, 5, 100), slot(5, 10, 200), slot(20, 25, 0), slot(25, 30, -100)})
	for name, tt := range map[string]struct {
		from, to int
		want     float64
		covered  int
	}{
		"before everything":           {-10, 0, 0, 0},
		"after everything":            {30, 40, 0, 0},
		"in a gap":                    {10, 20, 0, 0},
		"an empty window":             {3, 3, 0, 0},
		"a reversed window":           {4, 2, 0, 0},
		"within one slot":             {1, 2, 100, 1},
		"one whole slot":              {5, 10, 200, 5},
		"weighted by time":            {4, 8, 175, 4},
		"from before the start":       {-10, 10, 150, 10},
		"past the end":                {25, 99, -100, 5},
		"over a gap":                  {8, 22, 100, 4},
		"zeros and negatives":         {20, 30, -50, 10},
		"everything":                  {-99, 99, 50, 20},
		"from within to within, many": {1, 29, (400 + 1000 + 0 - 400) / 18.0, 18},
	} {
		t.Run(name, func(t *testing.T) {
			got, covered := s.Mean(at(tt.from), at(tt.to))
			if math.Abs(got-tt.want) > 1e-9 || covered != time.Duration(tt.covered)*time.Minute {
				t.Errorf("got %v over %v, want %v over %d minutes", got, covered, tt.want, tt.covered)
			}
		})
	}
}

func TestMeanStaysPreciseOverALongSeries(t *testing.T) {
	var slots []Slot
	for i := range 12 * 24 * 365 {
		slots = append(slots, slot(5*i, 5*i+5, 500+float64(i%7)/10))
	}
	s := NewSeries(slots)
	for i := len(slots) - 100; i < len(slots)-3; i++ {
		want := (slots[i].Intensity + slots[i+1].Intensity + slots[i+2].Intensity) / 3
		if got, _ := s.Mean(slots[i].Start, slots[i+2].End); math.Abs(got-want) > 1e-6 {
			t.Fatalf("at slot %d: got %v, want %v", i, got, want)
		}
	}
}

func TestBoundaries(t *testing.T) {
	s := NewSeries([]Slot{slot(0, 5, 1), slot(5, 10, 2), slot(20, 25, 3)})
	for name, tt := range map[string]struct {
		from, to int
		want     []int
	}{
		"all, each once":                     {-1, 30, []int{0, 5, 10, 20, 25}},
		"the limits themselves are left out": {0, 25, []int{5, 10, 20}},
		"from within a slot":                 {7, 22, []int{10, 20}},
		"from within a gap":                  {12, 30, []int{20, 25}},
		"between two boundaries":             {6, 9, nil},
		"an empty window":                    {5, 5, nil},
		"a reversed window":                  {20, 5, nil},
		"after everything":                   {25, 99, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var want []time.Time
			for _, m := range tt.want {
				want = append(want, at(m))
			}
			if diff := cmp.Diff(want, slices.Collect(s.Boundaries(at(tt.from), at(tt.to)))); diff != "" {
				t.Error(diff)
			}
		})
	}
	for b := range s.Boundaries(at(-1), at(30)) {
		if b != at(0) {
			t.Errorf("went on to %v after a break", b)
		}
		break
	}
}

func TestNextBoundary(t *testing.T) {
	s := NewSeries([]Slot{slot(0, 5, 1), slot(5, 10, 2), slot(20, 25, 3)})
	for from, want := range map[int]int{-9: 0, 0: 5, 3: 5, 5: 10, 10: 20, 15: 20, 20: 25} {
		if got, ok := s.NextBoundary(at(from)); got != at(want) || !ok {
			t.Errorf("after %d: got %v, %v, want %v", from, got, ok, at(want))
		}
	}
	if got, ok := s.NextBoundary(at(25)); ok {
		t.Errorf("after the end: got %v", got)
	}
}

func TestSplice(t *testing.T) {
	old := series(0, 1, 2, 3, 4)
	for name, tt := range map[string]struct {
		newer *Series
		from  int
		want  []Slot
	}{
		"the running slot is kept up to the new start": {series(8, 9), 5, []Slot{slot(5, 8, 2), slot(8, 13, 9)}},
		"the past before from is dropped":              {series(10, 9), 7, []Slot{slot(7, 10, 2), slot(10, 15, 9)}},
		"a newer one from before from stands alone":    {series(0, 9), 7, []Slot{slot(0, 5, 9)}},
		"the old tail goes, the newer one knows":       {series(5, 9), 0, []Slot{slot(0, 5, 1), slot(5, 10, 9)}},
		"a gap between the two stays":                  {series(30, 9), 15, []Slot{slot(15, 20, 4), slot(30, 35, 9)}},
		"an empty newer one changes nothing":           {nil, 7, old.Slots()},
	} {
		t.Run(name, func(t *testing.T) {
			got := old.Splice(tt.newer, at(tt.from))
			if diff := cmp.Diff(tt.want, got.Slots()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(NewSeries(tt.want), got, cmp.AllowUnexported(Series{}, step{})); diff != "" {
				t.Error("running totals:", diff)
			}
			if diff := cmp.Diff(series(0, 1, 2, 3, 4).Slots(), old.Slots()); diff != "" {
				t.Error("the old series changed:", diff)
			}
		})
	}
}

func BenchmarkNewSeries(b *testing.B) {
	slots := long().Slots()
	for b.Loop() {
		NewSeries(slots)
	}
}

func BenchmarkMean(b *testing.B) {
	s := long()
	for b.Loop() {
		s.Mean(at(1001), at(9001))
	}
}

// long returns 2,000 slots of five minutes.
func long() *Series {
	intensities := make([]float64, 2000)
	for i := range intensities {
		intensities[i] = 400 + float64(i%50)
	}
	return series(0, intensities...)
}

func TestASweepFindsTheMeansOfASeries(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 11))
	for range 200 {
		var slots []Slot
		start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
		for range r.IntN(30) {
			start = start.Add(time.Duration(r.IntN(3)) * time.Minute)
			end := start.Add(time.Duration(1+r.IntN(20)) * time.Minute)
			slots = append(slots, Slot{Start: start, End: end, Intensity: 500 * r.Float64()})
			start = end
		}
		series := NewSeries(slots)
		sweep, length := series.Sweep(), time.Duration(1+r.IntN(90))*time.Minute
		from := time.Date(2026, 11, 21, 11, 0, 0, 0, time.UTC)
		for range 60 {
			mean, covered := series.Mean(from, from.Add(length))
			got, gotCovered := sweep.Mean(from.UnixNano(), from.Add(length).UnixNano())
			if got != mean || gotCovered != covered {
				t.Fatalf("from %s for %s: %v over %s, want %v over %s", from, length, got, gotCovered, mean, covered)
			}
			from = from.Add(time.Duration(r.IntN(900)) * time.Second)
		}
	}
}
