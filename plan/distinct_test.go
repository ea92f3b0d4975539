package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// distinct makes groups of which no two run as long, for two days of slots of five
// minutes in each of some locations, under a ceiling or not.
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

// BenchmarkDistinctDurations is a pass over a thousand groups that have no duration
// in common, as where users give each Job its own: at most 50 ms.
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
						o := NewOutlook(fmt.Sprint("location-", i), s, "", Terms{MinGain: 0.01, WaitPrice: 0.001}, t0.Add(20*time.Minute), at(48))
						fleets = append(fleets, o.Fleet(limits, nil))
					}
					Assign(groups, fleets[0], fleets[1:]...)
				}
			})
		}
	}
}
