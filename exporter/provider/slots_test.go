package provider

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
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

func TestPagesOfAPast(t *testing.T) {
	day := func(n int) time.Time { return noon.AddDate(0, 0, -n) }
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		fails      map[time.Time]error // by the end of a page
		pages      int
		from       time.Time
		err        error
		incomplete error
	}{
		"all pages":                         {pages: 3, from: day(25)},
		"a page without data is a gap":      {fails: map[time.Time]error{day(0): ErrNoData, day(10): ErrNoData}, pages: 3, from: day(25)},
		"nothing after the first page":      {fails: map[time.Time]error{day(10): broken}, pages: 2, from: day(10), incomplete: broken},
		"nothing after the second page":     {fails: map[time.Time]error{day(20): broken}, pages: 3, from: day(20), incomplete: broken},
		"an error of the first is an error": {fails: map[time.Time]error{day(0): broken}, pages: 1, err: broken},
	} {
		t.Run(name, func(t *testing.T) {
			pages := 0
			got, err := span{day(25), day(0)}.inPages(t.Context(), 10*24*time.Hour, func(_ context.Context, s span) (tally, error) {
				pages++
				return tally{points: []point{{s.from, 100}}, elements: 1}, test.fails[s.to]
			})
			if !errors.Is(err, test.err) || !errors.Is(got.incomplete, test.incomplete) || !got.from.Equal(test.from) || pages != test.pages {
				t.Errorf("%d pages from %v, incomplete: %v, error: %v", pages, got.from, got.incomplete, err)
			}
		})
	}
}

func TestAPastHasAnEnd(t *testing.T) {
	got := pastSpan(time.Time{}, noon.Add(time.Hour), noon)
	if want := (span{noon.Add(-maxPast), noon}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestEachPageStatesTheWidthOfItsOwnSlots(t *testing.T) {
	var all tally
	all.join(tally{width: 5 * time.Minute, points: []point{{at(11, 0), 100}, {at(11, 50), 101}}})
	all.join(tally{width: time.Hour, points: []point{{at(9, 0), 90}, {at(10, 0), 91}}})
	all.join(tally{})
	want := []forecast.Slot{slot(at(9, 0), time.Hour, 90), slot(at(10, 0), time.Hour, 91), slot(at(11, 0), 5*time.Minute, 100), slot(at(11, 50), 5*time.Minute, 101)}
	if diff := cmp.Diff(want, all.series(0).Slots()); diff != "" {
		t.Error(diff)
	}
}

func TestTheSlotsAtTheEdgesOfAPastAreCut(t *testing.T) {
	var hours []string
	for h := at(0, 0); h.Before(at(15, 0)); h = h.Add(time.Hour) { // the server knows more than the past
		hours = append(hours, fmt.Sprintf(`{"carbonIntensity":%d,"datetime":%q}`, 200+h.Hour(), h.Format(time.RFC3339)))
	}
	clock := newClock()
	clock.pass(20 * time.Minute)
	s := answers(t, `{"zone":"DE","data":[`+strings.Join(hours, ",")+`]}`)
	got, err := makeProvider(t, TypeElectricityMaps, s, clock).Past(t.Context(), "DE", at(10, 15), at(18, 0))
	if err != nil {
		t.Fatal(err)
	}
	want := []forecast.Slot{slot(at(10, 15), 45*time.Minute, 210), slot(at(11, 0), time.Hour, 211), slot(at(12, 0), 20*time.Minute, 212)}
	if diff := cmp.Diff(want, got.Series.Slots()); diff != "" {
		t.Error(diff)
	}
}
