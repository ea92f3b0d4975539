package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/forecast"
)

func TestPlanWidths(t *testing.T) {
	const dirty, clean = 400, 100
	day := []float64{dirty, dirty, clean, clean, dirty, dirty, dirty, dirty}
	hours := func(n float64) time.Duration { return time.Duration(n * float64(time.Hour)) }
	running := func(width int) Elastic {
		return Elastic{Least: 1, Most: 4, Remaining: hours(6), Finish: at(8), IsRunning: true, Width: width}
	}
	with := func(e Elastic, change func(*Elastic)) Elastic {
		change(&e)
		return e
	}
	for name, tt := range map[string]struct {
		intensities []float64
		work        Elastic
		want        string
	}{
		"running work is narrow until clean hours come": {day, running(1), "0-2x1 2-3x4 narrow"},
		"a concave speedup widens less": {
			day, with(running(1), func(e *Elastic) { e.Speedup, _ = ParseSpeedup("1=1,2=1.5,4=1.6") }), "0-2x1 2-4x2 4-5x1 narrow",
		},
		"an equal plan keeps the width":            {[]float64{100, 100, 100, 100, 100, 100, 100, 100}, running(3), "0-2x3 wide"},
		"the deadline widens the work when dirty":  {day[:4], with(running(1), func(e *Elastic) { e.Finish, e.Remaining = at(4), hours(14) }), "0-1x4 1-2x2 2-4x4 wide"},
		"work that is late runs at the most":       {day, with(running(1), func(e *Elastic) { e.Finish = at(1) }), "0-1.5x4 no-slack"},
		"work that waits starts in the clean hour": {day, with(running(0), func(e *Elastic) { e.IsRunning = false }), "2-3x4 3-4x2 cleaner-later"},
		"a latest start is kept": {
			day, with(running(0), func(e *Elastic) { e.IsRunning, e.LatestStart = false, at(1) }), "1-2x1 2-3x4 3-4x1 cleaner-later",
		},
		"no forecast runs as wide as needed": {nil, with(running(1), func(e *Elastic) { e.Finish = at(3) }), "0-3x2 no-forecast"},
		"hostile numbers": {
			day, Elastic{Least: -5, Most: -7, Remaining: -1, Finish: time.Time{}, Width: -3, IsRunning: true}, "0-0.000278x1 no-slack",
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := instance{intensities: tt.intensities, step: time.Hour, now: t0}
			w := NewPlanner("X", in.series(), "none", Terms{}, t0, at(100)).PlanWidths(tt.work)
			if got := w.inShort(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// inShort prints the steps of a plan in hours after t0, and its cause.
func (w WidthPlan) inShort() (text string) {
	for _, step := range w.Steps {
		text += fmt.Sprintf("%.3g-%.3gx%d ", step.Start.Sub(t0).Hours(), step.End.Sub(t0).Hours(), step.Width)
	}
	return text + string(w.Cause)
}

func TestPlanWidthsBelowCeilings(t *testing.T) {
	running := Elastic{Least: 2, Most: 6, Remaining: 3 * time.Hour, Finish: at(4), IsRunning: true, Width: 2}
	waiting := Elastic{Least: 2, Most: 6, Remaining: 3 * time.Hour, Finish: at(8)}
	for name, tt := range map[string]struct {
		buckets string
		running []Run
		works   []Elastic
		want    []string
	}{
		"the second work gets the room that is left": {"*=7", nil, []Elastic{running, running}, []string{"0-1x2 1-2x4 narrow", "0-1x2 1-2x3 2-2.5x2 narrow"}},
		"running work takes room":                    {"*=7", []Run{{at(8), 3}}, []Elastic{running}, []string{"0-1x2 1-2x4 narrow"}},
		"running work keeps its least width":         {"*=0", nil, []Elastic{running}, []string{"0-3x2 narrow"}},
		"late work is wider than the room": {
			"*=3", nil, []Elastic{{Least: 2, Most: 6, Remaining: 5 * time.Hour, Finish: at(2), IsRunning: true, Width: 2}}, []string{"0-1x4 1-2x6 wide"},
		},
		"work waits for room":           {"*=7", []Run{{at(2), 6}}, []Elastic{waiting}, []string{"2-3x6 no-room"}},
		"work that must start does so":  {"*=0", nil, []Elastic{{Least: 2, Most: 6, Remaining: 3 * time.Hour, Finish: at(3)}}, []string{"0-3x2 latest-start"}},
		"work that is wide loses width": {"*=4", nil, []Elastic{{Least: 2, Most: 6, Remaining: 3 * time.Hour, Finish: at(4), IsRunning: true, Width: 6}}, []string{"0-1x2 1-2x4 narrow"}},
	} {
		t.Run(name, func(t *testing.T) {
			in := instance{intensities: []float64{300, 100, 200, 250, 300, 300, 300, 300}, step: time.Hour, now: t0}
			buckets, err := ParseBuckets(tt.buckets)
			if err != nil {
				t.Fatal(err)
			}
			fleet := NewPlanner("X", in.series(), "none", Terms{}, t0, at(100)).Fleet(buckets, tt.running)
			var got []string
			for _, work := range tt.works {
				got = append(got, fleet.PlanWidths(work).inShort())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWidthsAreNotMovedToTheUnknown looks at a forecast that ends soon, and is clean on average.
func TestWidthsAreNotMovedToTheUnknown(t *testing.T) {
	in := instance{intensities: []float64{400, 400, 400, 10, 10, 10, 10}, step: time.Hour, now: t0}
	in.intensities = append(in.intensities[3:], in.intensities[:3]...) // the clean hours have passed
	now := at(4)
	p := NewPlanner("X", in.series(), "none", Terms{}, now, at(100))
	waiting := Elastic{Least: 1, Most: 2, Remaining: 4 * time.Hour, Finish: at(30)}
	if w := p.PlanWidths(waiting); w.Start().After(at(7).Add(-time.Hour)) {
		t.Errorf("most of the work is in the unknown: %s", w.inShort())
	}
	waiting.Remaining = 12 * time.Hour
	if w := p.PlanWidths(waiting); w.Cause != CauseNoForecast || !w.Start().Equal(now) || !math.IsNaN(w.Emitted) {
		t.Errorf("%s, emits %g; want a start now without a forecast", w.inShort(), w.Emitted)
	}
	running := Elastic{Least: 1, Most: 2, Remaining: 12 * time.Hour, Finish: at(30), IsRunning: true, Width: 1}
	if w := p.PlanWidths(running); w.Cause != CauseNarrow {
		t.Errorf("%s; want running work to wait for cleaner time", w.inShort())
	}
}

func TestAnExemptionKeepsTheNeededWidth(t *testing.T) {
	exempt, err := NewExemption(t0.Add(-time.Hour), at(10))
	if err != nil {
		t.Fatal(err)
	}
	in := instance{intensities: []float64{400, 100, 100, 100}, step: time.Hour}
	p := NewPlanner("X", in.series(), "none", Terms{Exemptions: []Exemption{exempt}}, t0, at(10))
	w := p.PlanWidths(Elastic{Least: 1, Most: 4, Remaining: 3 * time.Hour, Finish: at(2)})
	if w.Cause != CauseExempt || w.WidthAt(t0) != 2 || !w.Start().Equal(t0) {
		t.Errorf("%+v", w)
	}
}

// TestHostileElasticWork plans work with numbers that make no sense.
func TestHostileElasticWork(t *testing.T) {
	times := []time.Time{{}, t0, at(3), t0.AddDate(9000, 0, 0), time.Unix(1<<60, 0), time.Unix(-1<<60, 0)}
	spans := []time.Duration{math.MinInt64, -1, 0, 1, time.Hour, MaxDuration, math.MaxInt64}
	numbers := []int{math.MinInt, -1, 0, 1, 7, maxWidth, math.MaxInt}
	extreme := instance{intensities: []float64{forecast.MaxIntensity, -forecast.MaxIntensity, 0, 1e-300, math.NaN(), math.Inf(1)}, step: time.Hour}
	r := rand.New(rand.NewPCG(1, 26))
	for range 5000 {
		e := Elastic{
			Least: numbers[r.IntN(len(numbers))], Most: numbers[r.IntN(len(numbers))], Width: numbers[r.IntN(len(numbers))],
			Remaining: spans[r.IntN(len(spans))], Finish: times[r.IntN(len(times))], LatestStart: times[r.IntN(len(times))],
			IsRunning: r.IntN(2) == 0, IsHeld: r.IntN(2) == 0,
		}
		p := NewPlanner("X", extreme.series(), "none", Terms{WaitPrice: 1}, t0, at(100))
		fleet := p.Fleet(Buckets{[]Bucket{{100, r.IntN(4)}}}, nil)
		for _, w := range []WidthPlan{p.PlanWidths(e), fleet.PlanWidths(e)} {
			bounded := e.bounded(p)
			checkSteps(t, bounded, w, t0)
		}
	}
}

func TestWaitingHasAPriceForWidths(t *testing.T) {
	in := instance{intensities: []float64{300, 300, 300, 298, 298}, step: time.Hour, now: t0}
	work := Elastic{Least: 1, Most: 3, Remaining: 5 * time.Hour, Finish: at(5), IsRunning: true, Width: 1}
	for price, want := range map[float64]string{0: "0-3x1 3-4x2 narrow", 0.01: "0-1x3 1-2x2 wide"} {
		p := NewPlanner("X", in.series(), "none", Terms{WaitPrice: price}, t0, at(100))
		if got := p.PlanWidths(work).inShort(); got != want {
			t.Errorf("a price of %v an hour: got %s, want %s", price, got, want)
		}
	}
}

func TestTheStartOfElasticWorkIsSpreadAndKept(t *testing.T) {
	in := instance{intensities: []float64{300, 300, 200, 200, 200, 200, 200, 200, 300}, step: time.Hour, now: t0}
	task := Task{Duration: 4 * time.Hour, LatestStart: at(20), Elastic: &Elastic{Least: 1, Most: 2}}
	decide := func(now time.Time) Decision {
		return NewPlanner("X", in.series(), "none", Terms{}, now, at(100)).Decide(task)
	}
	if d := decide(t0); !d.Start.Equal(at(2)) {
		t.Fatalf("starts at %s: %s", d.Start, d.Reason())
	}
	task.PlannedStart = at(2.05)
	if d := decide(t0); !d.Start.Equal(at(2.05)) {
		t.Errorf("the planned start moved to %s", d.Start)
	}
	task.PlannedStart = time.Time{}
	starts := map[time.Time]bool{}
	for i := range 40 {
		task.ID = fmt.Sprint("uid-", i)
		start := decide(t0).Start
		starts[start] = true
		if late := start.Sub(at(2)); late < 0 || late > maxSpread {
			t.Errorf("starts at %s", start)
		}
		if soon := decide(at(1.9)).Start; soon.Sub(at(2)) > 36*time.Second {
			t.Errorf("waits 6 minutes, and starts at %s", soon)
		}
	}
	if len(starts) < 30 {
		t.Errorf("40 works start in %d seconds", len(starts))
	}
}
