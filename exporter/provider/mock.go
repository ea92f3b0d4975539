package provider

import (
	"context"
	"hash/fnv"
	"math"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

const (
	mockSlot    = time.Hour
	mockHorizon = 72 * time.Hour
)

// A mock makes up a plausible day of any zone: dirty evenings, clean noons, cleaner weekends, and
// weather. The same zone has the same values at every call.
type mock struct {
	signal forecast.Signal
	now    func() time.Time
}

func newMock(c Config) (Provider, error) {
	signal, err := c.signal(forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}, forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.Direct}, forecast.Signal{Kind: forecast.Marginal, EmissionFactors: forecast.LifeCycle}, forecast.Signal{Kind: forecast.Marginal, EmissionFactors: forecast.Direct})
	return &mock{signal, c.Options.Now}, err
}

// Describe says that the values are made up.
func (p *mock) Describe() Description {
	return Description{
		Type: TypeMock, Source: "Mock", Attribution: "Made up by Gridlatch for trying: the values are of no grid",
		Signal: p.signal, Forecasts: Available, History: Available, Rhythm: mockSlot, Limit: ownLimit(), Page: maxPast, IsMadeUp: true,
	}
}

// Forecast returns three days. The further ahead, the more wrong they are.
func (p *mock) Forecast(_ context.Context, zone string) (Reading, error) {
	now := p.now().UTC()
	issued := now.Truncate(mockSlot)
	wrong := noise(zone+"/forecast", issued)
	slots := mockSlots(span{issued, issued.Add(mockHorizon)}, func(at time.Time) float64 {
		ahead := at.Sub(issued).Hours() / mockHorizon.Hours()
		return mockIntensity(zone, at) * (1 + 0.2*wrong*ahead)
	})
	return Reading{Zone: zone, Signal: p.signal, Series: forecast.NewSeries(slots), Issued: issued, Elements: len(slots)}, nil
}

// Past returns the values that each hour has had all along.
func (p *mock) Past(_ context.Context, zone string, from, to time.Time) (Reading, error) {
	wanted := pastSpan(from, to, p.now())
	slots := mockSlots(wanted, func(at time.Time) float64 { return mockIntensity(zone, at) })
	return Reading{Zone: zone, Signal: p.signal, Series: wanted.cut(forecast.NewSeries(slots)), From: wanted.from, Elements: len(slots)}, nil
}

// mockSlots returns the slots of a span.
func mockSlots(s span, value func(time.Time) float64) []forecast.Slot {
	var slots []forecast.Slot
	for at := s.from.Truncate(mockSlot); at.Before(s.to); at = at.Add(mockSlot) {
		slots = append(slots, forecast.Slot{Start: at, End: at.Add(mockSlot), Intensity: math.Round(value(at)*10) / 10})
	}
	return slots
}

// mockIntensity is 80 gCO2eq/kWh at least.
func mockIntensity(zone string, at time.Time) float64 {
	level := 300 + 100*noise(zone, time.Time{})
	hour := float64(at.Hour()) + 3*noise(zone+"/sun", time.Time{}) // as if zones were apart in longitude
	sun := -0.3 * math.Max(0, math.Cos((hour-12.5)/24*2*math.Pi))
	evening := 0.2 * math.Exp(-(hour-19)*(hour-19)/8)
	weekend := 0.0
	if day := at.Weekday(); day == time.Saturday || day == time.Sunday {
		weekend = -0.1
	}
	// The wind changes slowly: between two days the value goes straight from one to the other.
	day := at.Truncate(24 * time.Hour)
	share := at.Sub(day).Hours() / 24
	wind := 0.15 * ((1-share)*noise(zone+"/wind", day) + share*noise(zone+"/wind", day.Add(24*time.Hour)))
	return level * (1 + sun + evening + weekend + wind)
}

// noise returns a number from -1 to 1 that looks random, and is always the same for the same zone and
// instant.
func noise(zone string, at time.Time) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(zone + at.UTC().Format(time.RFC3339))) // never fails
	mixed := h.Sum64()
	mixed ^= mixed >> 33 // the last bytes of the text should move the first bits, too
	mixed *= 0xff51afd7ed558ccd
	mixed ^= mixed >> 33
	return float64(mixed)/float64(math.MaxUint64)*2 - 1
}
