package forecast

import (
	"runtime"
	"testing"
	"time"
)

// BenchmarkModel works on a location that has been observed for eight weeks. An update is an hour:
// a forecast, as often as one comes, and an actual intensity, with all that is learned from them.
func BenchmarkModel(b *testing.B) {
	for name, every := range map[string]int{"a forecast a day": day, "a forecast an hour": 1} {
		b.Run("update, "+name, func(b *testing.B) {
			m, g := busy(b, 56, every)
			var next int
			b.ReportAllocs()
			for b.Loop() {
				g.advance(m, 56*day+next, every)
				next++
			}
		})
	}
	for name, told := range map[string]func(n int) Weather{"weather": breeze, "weather and shares": breezeWithShares} {
		b.Run("update, "+name+" every six hours and a forecast a day", func(b *testing.B) { benchmarkWeather(b, told) })
	}
	b.Run("predict", func(b *testing.B) {
		m, _ := busy(b, 56, day)
		b.ReportAllocs()
		for b.Loop() {
			m.lastAnswer = answer{}
			m.Predict(hr(56*day), trust)
		}
	})
	b.Run("predict again", func(b *testing.B) {
		m, _ := busy(b, 56, day)
		b.ReportAllocs()
		for b.Loop() {
			m.Predict(hr(56*day), trust)
		}
	})
	for name, every := range map[string]int{"a forecast a day": day, "a forecast every six hours": 6} {
		b.Run("restore, "+name, func(b *testing.B) {
			m, _ := busy(b, 56, every)
			data := saveModel(b, m)
			b.ReportMetric(float64(len(data)), "bytes")
			b.ReportAllocs()
			for b.Loop() {
				if err := new(Model).Restore(data, hr(56*day)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("memory", func(b *testing.B) {
		const n = 8
		models := make([]*Model, n)
		before := allocated()
		for b.Loop() {
			for i := range models {
				models[i], _ = busy(b, 56, 1)
			}
			b.ReportMetric(float64(allocated()-before)/n, "bytes/model")
		}
		runtime.KeepAlive(models)
	})
}

// benchmarkWeather updates a model that has heard the weather for two months.
func benchmarkWeather(b *testing.B, told func(n int) Weather) {
	b.Helper()
	m, g := busy(b, 56, day)
	next := 56 * day
	tell := func() {
		if next%6 == 0 {
			m.HearWeather(told(next), hr(next))
		}
		g.advance(m, next, day)
		next++
	}
	for range 60 * day {
		tell()
	}
	b.ReportAllocs()
	for b.Loop() {
		tell()
	}
}

// breezeWithShares returns the weather of five days, and what an operator expects of the next two.
func breezeWithShares(n int) Weather {
	w := breeze(n)
	for i := range w[:2*day] {
		w[i].WindShare, w[i].SolarShare = w[i].WindSpeed/40, w[i].SolarRadiation/1000
	}
	return w
}

// breeze returns the weather of five days from the nth hour on.
func breeze(n int) Weather {
	var w Weather
	for i := n; i < n+5*day; i++ {
		w = append(w, weatherAt(hr(i), 20*irregular(hour(i), 7)/400, irregular(hour(i), 8)/20, 300*max(0, noon(h0.plus(i)))))
	}
	return w
}

// busy returns a model of a synthetic grid with a forecast every few hours.
func busy(tb testing.TB, days, every int) (*Model, *grid) {
	tb.Helper()
	m, g := &Model{}, synthetic(30, days+40, 20)
	for n := range days * day {
		g.advance(m, n, every)
	}
	m.Predict(hr(days*day), trust)
	return m, g
}

// advance gives a model the nth hour.
func (g *grid) advance(m *Model, n, every int) {
	now := hr(n)
	if n%every == 0 {
		m.Receive(g.fine(now, time.Hour, 96), now)
	}
	m.Observe(Slot{now, now.Add(time.Hour), g.at(h0.plus(n)) + irregular(hour(n), 5)/10})
}

func allocated() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
