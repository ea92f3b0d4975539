package ledger

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStepsAreThePowerOfAllAttempts(t *testing.T) {
	for name, tt := range map[string]struct {
		attempts []Attempt
		want     []Step
	}{
		"none":                                  {nil, nil},
		"one":                                   {[]Attempt{{at(0), at(10), 5, false}}, []Step{{at(0), at(10), 5, 0}}},
		"a retry":                               {[]Attempt{{at(20), at(30), 5, false}, {at(0), at(10), 5, true}}, []Step{{at(0), at(10), 5, 5}, {at(20), at(30), 5, 0}}},
		"two together":                          {[]Attempt{{at(0), at(10), 5, false}, {at(5), at(15), 2, true}}, []Step{{at(0), at(5), 5, 0}, {at(5), at(10), 7, 2}, {at(10), at(15), 2, 2}}},
		"one after another with the same power": {[]Attempt{{at(0), at(10), 5, false}, {at(10), at(15), 5, false}}, []Step{{at(0), at(15), 5, 0}}},
		"no rounding error is left of what ended": {[]Attempt{{at(0), at(10), 0.1, true}, {at(0), at(10), 0.2, true}, {at(20), at(30), 0, false}}, []Step{{at(0), at(10), 0.30000000000000004, 0.30000000000000004}, {at(20), at(30), 0, 0}}},
		"without power":                    {[]Attempt{{at(0), at(10), 0, false}}, []Step{{at(0), at(10), 0, 0}}},
		"reversed, empty and not a number": {[]Attempt{{at(10), at(0), 5, false}, {at(1), at(1), 5, false}, {at(0), at(1), math.NaN(), false}, {at(1), at(2), -3, true}}, []Step{{at(0), at(2), 0, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, NewSteps(tt.attempts)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStepsKeepTheEnergy(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{1, 5, 20, 60, 300, 5000} {
		for range 20 {
			var attempts []Attempt
			joules, failedJoules := 0.0, 0.0
			for range n {
				start := t0.Add(time.Duration(r.Int64N(int64(48 * time.Hour))))
				a := Attempt{start, start.Add(time.Duration(r.Int64N(int64(3 * time.Hour)))), r.Float64() * 1000, r.IntN(2) == 0}
				attempts = append(attempts, a)
				joules += a.Watts * a.End.Sub(a.Start).Seconds()
				if a.Failed {
					failedJoules += a.Watts * a.End.Sub(a.Start).Seconds()
				}
			}
			steps := NewSteps(attempts)
			p := newProfile(steps)
			if math.Abs(p.joules-joules) > 1e-9*joules || math.Abs(p.failedJoules-failedJoules) > 1e-9*joules {
				t.Fatalf("%d attempts have %v J and %v J failed, the steps %v and %v", n, joules, failedJoules, p.joules, p.failedJoules)
			}
			if len(steps) > MaxSteps || n > 60 && len(steps) < MaxSteps {
				t.Fatalf("%d attempts have %d steps", n, len(steps))
			}
			for i, s := range steps {
				if !s.Start.Before(s.End) || s.FailedWatts > s.Watts*(1+1e-12) || i > 0 && s.Start.Before(steps[i-1].End) {
					t.Fatalf("step %d of %+v", i, steps)
				}
			}
		}
	}
}

// 30 pods of much power run in turn, with small pods beside them: the course of the large ones is
// kept.
func TestTheStepsThatDifferLeastAreJoined(t *testing.T) {
	var attempts []Attempt
	for i := range 10 {
		attempts = append(attempts, Attempt{at(100 * i), at(100*i + 50), 1000, false})
	}
	for i := range 1000 {
		attempts = append(attempts, Attempt{at(i), at(i + 1), float64(1 + i%3), false})
	}
	large := 0
	for _, s := range NewSteps(attempts) {
		if s.Watts > 900 {
			large += int(s.End.Sub(s.Start).Minutes())
		}
	}
	if large != 500 {
		t.Errorf("%d minutes have the power of the large pods, want 500", large)
	}
}

func BenchmarkStepsOfFiveThousandAttempts(b *testing.B) {
	r := rand.New(rand.NewPCG(9, 10))
	var attempts []Attempt
	for range 5000 {
		start := t0.Add(time.Duration(r.Int64N(int64(48 * time.Hour))))
		attempts = append(attempts, Attempt{start, start.Add(time.Hour), r.Float64(), false})
	}
	for b.Loop() {
		NewSteps(attempts)
	}
}
