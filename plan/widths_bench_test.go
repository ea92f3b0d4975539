package plan

import (
	"math"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// wavy makes a series of three days, clean at noon and at night.
func wavy(step time.Duration) *forecast.Series {
	var slots []forecast.Slot
	for start := t0; start.Before(at(72)); start = start.Add(step) {
		hour := start.Sub(t0).Hours()
		intensity := 300 + 150*math.Sin(hour/24*2*math.Pi) + 60*math.Sin(hour/7)
		slots = append(slots, forecast.Slot{Start: start, End: start.Add(step), Intensity: intensity})
	}
	return forecast.NewSeries(slots)
}

// BenchmarkPlanWidths plans 2,000 elastic works in a pass. No two of them are equal.
func BenchmarkPlanWidths(b *testing.B) {
	buckets, err := ParseBuckets("200=9000,400=5000,*=4000")
	if err != nil {
		b.Fatal(err)
	}
	curved, err := ParseSpeedup("1=1,4=3.5,10=8,40=20")
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name      string
		step      time.Duration
		isRunning bool
		buckets   Buckets
		speedup   Speedup
	}{
		{"running, hours", time.Hour, true, Buckets{}, Speedup{}},
		{"running, quarters", 15 * time.Minute, true, Buckets{}, Speedup{}},
		{"running, quarters, curved", 15 * time.Minute, true, Buckets{}, curved},
		{"running, hours, ceiling", time.Hour, true, buckets, Speedup{}},
		{"waiting, hours", time.Hour, false, Buckets{}, Speedup{}},
		{"waiting, quarters", 15 * time.Minute, false, Buckets{}, Speedup{}},
	} {
		series := wavy(bench.step)
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				p := NewPlanner("X", series, "none", Terms{WaitPrice: 0.001, MinGain: 0.01}, at(1.3), at(100))
				fleet := p.Fleet(bench.buckets, nil)
				for i := range 2000 {
					fleet.PlanWidths(Elastic{
						Least: 1, Most: 4 + i%7, Speedup: bench.speedup, Remaining: 6*time.Hour + time.Duration(i)*7*time.Second,
						Finish: at(24 + float64(i%600)/60), IsRunning: bench.isRunning, Width: 1 + i%3,
					})
				}
			}
		})
	}
}
