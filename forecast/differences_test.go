package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestErrorsOfDifferencesAreThoseOfThePredictions compares the errors that a model keeps with errors
// that are computed from all that it has predicted.
func TestErrorsOfDifferencesAreThoseOfThePredictions(t *testing.T) {
	t.Parallel()
	const hours, length, lead = 30 * day, 4, 7
	r := rand.New(rand.NewPCG(1, 2))
	var actual record
	predictions := map[hour][]float64{}
	var d differenceErrors
	for h := range hour(hours) {
		actual.set(h, 300+100*math.Sin(float64(h)/4)+20*r.NormFloat64())
		made := make([]float64, maxErrorLead+longestWindow)
		for i := range made {
			made[i] = 300 + 100*math.Sin(float64(int(h)+i)/4) + 30*r.NormFloat64()
		}
		predictions[h] = made
		d.step(h, &actual, func(u hour) float64 { return made[u.since(h)] })
	}
	mean := func(values []float64) (sum float64) {
		for _, v := range values[:length] {
			sum += v / length
		}
		return sum
	}
	squares, weights := 0.0, 0.0
	for at := range hour(hours - lead - length + 1) {
		predicted := mean(predictions[at][lead:]) - mean(predictions[at])
		was := mean(actual.values[int(at)+lead:]) - mean(actual.values[at:])
		weight := math.Exp(-float64(hours-int(at)-lead-length) / errorMemoryHours)
		squares, weights = squares+weight*(predicted-was)*(predicted-was), weights+weight
	}
	got, ok := d.Error(length*time.Hour, lead*time.Hour)
	if want := math.Sqrt(squares / weights); !ok || math.Abs(got-want) > 1e-6*want {
		t.Errorf("got %v, %v, want %v", got, ok, want)
	}
}

func TestErrorsAreInterpolatedAndKnownOnlyAfterADay(t *testing.T) {
	t.Parallel()
	var d Differences
	if e, ok := d.Error(time.Hour, time.Hour); ok {
		t.Errorf("got %v of nothing", e)
	}
	if e, ok := (*Differences)(nil).Error(time.Hour, time.Hour); ok {
		t.Errorf("got %v of nil", e)
	}
	for i := range d.squares {
		for k := range d.squares[i] {
			d.weights[i][k] = minErrors
			d.squares[i][k] = minErrors * float64((i+1)*(i+1)*(k+1)*(k+1))
		}
	}
	for _, tt := range []struct {
		length, wait time.Duration
		want         float64
	}{
		{time.Hour, 10 * time.Hour, 10},
		{time.Minute, 10 * time.Hour, 10},
		{4 * time.Hour, 10 * time.Hour, 20},
		{150 * time.Minute, 10 * time.Hour, 15},
		{12 * time.Hour, 10 * time.Hour, 30},
		{100 * time.Hour, 10 * time.Hour, 30},
		{time.Hour, 90 * time.Minute, 1.5},
		{time.Hour, 30 * time.Minute, 0.5},
		{time.Hour, 0, 0},
		{time.Hour, -time.Hour, 0},
		{time.Hour, 1000 * time.Hour, 48},
	} {
		if got, ok := d.Error(tt.length, tt.wait); !ok || math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%v after %v: got %v, %v, want %v", tt.length, tt.wait, got, ok, tt.want)
		}
	}
}

// TestANoisyGridHasLargerErrors lets two models learn: one from a grid whose days are alike, and one from
// noise.
func TestANoisyGridHasLargerErrors(t *testing.T) {
	t.Parallel()
	errorOf := func(noise float64) float64 {
		r := rand.New(rand.NewPCG(3, 4))
		var m Model
		for h := range 40 * day {
			v := 300 + 100*math.Sin(2*math.Pi*float64(h)/day) + noise*r.NormFloat64()
			m.Observe(Slot{Start: hr(h), End: hr(h + 1), Intensity: v})
		}
		e, ok := m.Predict(hr(40*day), trust).Differences.Error(4*time.Hour, 12*time.Hour)
		if !ok {
			t.Fatal("the error is not known after forty days")
		}
		return e
	}
	calm, noisy := errorOf(1), errorOf(40)
	if calm > 6 || noisy < 20 {
		t.Errorf("errors are %.1f on a calm grid and %.1f on a noisy one", calm, noisy)
	}
}
