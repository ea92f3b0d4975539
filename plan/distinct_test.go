package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// distinct makes groups that all have different durations, and series of two days in slots of five
// minutes for some locations.
func distinct(groups, locations int) (all []Group, series []*forecast.Series) {
	r := rand.New(rand.NewPCG(13, 11))
	var sites []Site
	for l := range locations {
		sites = append(sites, Site{Name: fmt.Sprint("location-", l)})
		var slots []forecast.Slot
		for i := range 48 * 12 {
			start := t0.Add(time.Duration(i) * 5 * time.Minute)
			hour := float64(i)/12 + 5*float64(l)
			slots = append(slots, forecast.Slot{Start: start, End: start.Add(5 * time.Minute), Intensity: 300 + 150*math.Sin(hour/24*2*math.Pi) + 30*r.Float64()})
		}
		series = append(series, forecast.NewSeries(slots))
	}
	for i := range groups {
		g := group(0, 0.5+46*r.Float64(), 1+r.IntN(4))
		g.Duration = 10*time.Minute + time.Duration(i)*37*time.Second
		g.ID, g.Held = fmt.Sprintf("4f3c1ad2-7f5b-4f0e-9d6c-%012d", i), true
		if locations > 1 {
			g.Locations = sites
		}
		all = append(all, g)
	}
	return all, series
}

// BenchmarkDistinctDurations is a pass over a thousand groups that all have different durations, as
// where users give each Job its own. A pass should take at most 50 ms.
func BenchmarkDistinctDurations(b *testing.B) {
	for _, locations := range []int{1, 3} {
		groups, series := distinct(1000, locations)
		for _, ceiling := range []int{0, 500} {
			b.Run(fmt.Sprintf("locations=%d/ceiling=%d", locations, ceiling), func(b *testing.B) {
				var limits Buckets
				if ceiling > 0 {
					limits, _ = NewBuckets([]Bucket{{math.Inf(1), ceiling}})
				}
				b.ReportAllocs()
				for b.Loop() {
					var fleets []*Fleet
					for i, s := range series {
						o := NewPlanner(fmt.Sprint("location-", i), s, "", Terms{MinGain: 0.01, WaitPrice: 0.001}, t0.Add(20*time.Minute), at(48))
						fleets = append(fleets, o.Fleet(limits, nil))
					}
					Assign(groups, fleets[0], fleets[1:]...)
				}
			})
		}
	}
}

func TestASearchByOneLookFindsWhatAStartTreeFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	limits, err := NewBuckets([]Bucket{{UpTo: 300, Ceiling: 6}, {UpTo: math.Inf(1), Ceiling: 3}})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for range 300 {
		_, series := distinct(0, 1)
		now := t0.Add(time.Duration(r.IntN(3600)) * time.Second)
		o := NewPlanner("X", series[0], "", Terms{WaitPrice: 0.001}, now, at(40))
		f := o.Fleet(limits, nil)
		for range 200 {
			from := r.IntN(len(f.room.left) - 40)
			f.room.occupy(from, from+r.IntN(40), 1)
		}
		c := o.curve(time.Duration(1+r.IntN(600)) * time.Minute)
		pods, latest := 1+r.IntN(4), now.Add(time.Duration(r.IntN(40*3600))*time.Second)
		got, ok := cheapestAmong(candidates(nil, c, f.room, nanos(latest)), f.room, pods)
		want, wanted := newStartTree(c, f.room).cheapest(pods, latest)
		if ok != wanted || ok && got.start != want.start {
			t.Fatalf("%s, %t, want %s, %t", got.at(), ok, want.at(), wanted)
		}
		if ok {
			found++
		}
	}
	if found < 30 || found > 290 {
		t.Errorf("room is found in %d of 300, which says little", found)
	}
}
