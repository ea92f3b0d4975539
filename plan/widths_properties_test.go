package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// An elasticInstance is a random problem of widths.
type elasticInstance struct {
	instance
	work Elastic
}

func elasticOf(r *rand.Rand) elasticInstance {
	in := elasticInstance{instance: instance{step: []time.Duration{time.Hour, 30 * time.Minute, 5 * time.Minute}[r.IntN(3)], now: t0.Add(time.Duration(r.IntN(5400)) * time.Second)}}
	for range 12 + r.IntN(100) {
		in.intensities = append(in.intensities, float64(10*r.IntN(60)))
	}
	in.terms = Terms{MinGain: float64(r.IntN(3)) / 100, WaitPrice: float64(r.IntN(3)) / 1000}
	least := 1 + r.IntN(3)
	in.work = Elastic{
		Least: least, Most: least + r.IntN(6), Remaining: time.Duration(1+r.IntN(1200)) * time.Minute,
		Finish: in.now.Add(time.Duration(r.IntN(48*60)) * time.Minute), IsRunning: r.IntN(2) == 0, Width: r.IntN(8), IsHeld: r.IntN(2) == 0,
	}
	if r.IntN(2) == 0 {
		in.work.Speedup, _ = ParseSpeedup([]string{"1=1,2=1.9,4=3", "3=3,5=4", "1=1,3=3"}[r.IntN(3)])
	}
	if r.IntN(3) == 0 {
		in.work.LatestStart = in.work.Finish.Add(-time.Duration(r.IntN(900)) * time.Minute)
	}
	return in
}

func (in elasticInstance) planner() *Planner {
	return NewPlanner("X", in.series(), "none", in.terms, in.now, in.now.Add(100*time.Hour))
}

func (in elasticInstance) plan() WidthPlan { return in.planner().PlanWidths(in.work) }

// throughput returns how much a plan does, in hours of one pod.
func (w WidthPlan) throughput(e Elastic) (done float64) {
	for _, step := range w.Steps {
		done += e.Speedup.At(step.Width) * step.End.Sub(step.Start).Hours()
	}
	return done
}

// isPossible reports whether the work can be done in time.
func (e Elastic) isPossible(now time.Time) bool {
	return e.Finish.Truncate(time.Second).Sub(now).Hours()*e.Speedup.At(e.Most) >= e.Remaining.Hours()*e.Speedup.At(e.Least)
}

// checkSteps fails if a plan breaks a promise of its form.
func checkSteps(t *testing.T, e Elastic, w WidthPlan, now time.Time) {
	t.Helper()
	if len(w.Steps) == 0 {
		t.Fatal("no steps")
	}
	if start := w.Start(); start.Before(now) || e.IsRunning && !start.Equal(now) {
		t.Fatalf("starts at %s, now is %s", start, now)
	}
	for i, step := range w.Steps {
		if step.Width < e.Least || step.Width > e.Most {
			t.Fatalf("width %d, outside %d-%d", step.Width, e.Least, e.Most)
		}
		if !step.Start.Before(step.End) || i > 0 && !step.Start.Equal(w.Steps[i-1].End) {
			t.Fatalf("step %d: %s to %s", i, step.Start, step.End)
		}
	}
	want := e.Remaining.Hours() * e.Speedup.At(e.Least)
	if done := w.throughput(e); done < want-1e-6 || done > want+2*e.Speedup.At(e.Most)/3600 {
		t.Fatalf("does %g of %g: %+v", done, want, w.Steps)
	}
	if e.isPossible(now) && w.End().After(e.Finish) {
		t.Fatalf("done at %s, after %s (%s)", w.End(), e.Finish, w.Cause)
	}
}

// FuzzPlanWidths checks what the package promises of every plan of widths.
func FuzzPlanWidths(f *testing.F) {
	for seed := range seeds(300) {
		f.Add(seed)
	}
	f.Add(uint64(915)) // a rounding ordered a wide step before a narrow one
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 21))
		in := elasticOf(r)
		w := in.plan()
		checkSteps(t, in.work, w, in.now)
		if diff := cmp.Diff(w, in.plan(), cmpopts.EquateNaNs()); diff != "" {
			t.Fatal("not deterministic", diff)
		}
		latest := in.work.bounded(in.planner()).LatestStart
		if !in.work.IsRunning && w.Start().After(latest) && w.Start().After(in.now) {
			t.Fatalf("starts at %s, after %s", w.Start(), latest)
		}
		in.terms = Terms{}
		before := in.plan()
		in.work.Finish = in.work.Finish.Add(time.Duration(r.IntN(600)) * time.Minute)
		if !in.work.LatestStart.IsZero() {
			in.work.LatestStart = in.work.LatestStart.Add(time.Duration(r.IntN(600)) * time.Minute)
		}
		after := in.plan()
		if after.Emitted > before.Emitted*1.0011+1e-3 && before.Cause != CauseNoSlack && before.Cause != CauseNoForecast {
			t.Fatalf("%g (%s), with more slack %g (%s)", before.Emitted, before.Cause, after.Emitted, after.Cause)
		}
	})
}

// TestWidthsAreTheCheapest compares plans with the best one, which it finds by trying all.
func TestWidthsAreTheCheapest(t *testing.T) {
	for seed := range seeds(600) {
		r := rand.New(rand.NewPCG(seed, 22))
		in := elasticInstance{instance: instance{step: time.Hour, now: t0}}
		for range 4 + r.IntN(5) {
			in.intensities = append(in.intensities, float64(10+10*r.IntN(30)))
		}
		in.work = Elastic{Least: 1, Most: 1 + r.IntN(4), IsRunning: r.IntN(2) == 0}
		in.work.Finish = t0.Add(time.Duration(len(in.intensities)) * time.Hour)
		in.work.Remaining = time.Duration(1+r.IntN(len(in.intensities)*in.work.Most)) * time.Hour
		in.work.LatestStart = in.work.Finish
		w := in.plan()
		best := math.Inf(1)
		for first := range in.intensities {
			if first == 0 || !in.work.IsRunning {
				best = min(best, in.cheapestFrom(first, int(in.work.Remaining.Hours())))
			}
		}
		if w.Emitted > best*1.0011 || w.Emitted < best-1e-6 {
			t.Fatalf("seed %d: %g, and %g is possible: %+v, %+v", seed, w.Emitted, best, w, in)
		}
	}
}

// cheapestFrom returns the least emissions of some hours of one pod, without a break from a slot on.
func (in elasticInstance) cheapestFrom(slot, work int) float64 {
	if work <= 0 {
		return 0
	}
	if slot == len(in.intensities) {
		return math.Inf(1)
	}
	best := math.Inf(1)
	for width := in.work.Least; width <= min(in.work.Most, work); width++ {
		best = min(best, float64(width)*in.intensities[slot]+in.cheapestFrom(slot+1, work-width))
	}
	return best
}

// TestNoOtherWidthsAreCheaper compares plans with random ones, for speedups of all kinds.
func TestNoOtherWidthsAreCheaper(t *testing.T) {
	for seed := range seeds(300) {
		r := rand.New(rand.NewPCG(seed, 23))
		in := elasticOf(r)
		in.terms, in.work.IsHeld = Terms{}, true
		w := in.plan()
		if !in.work.isPossible(in.now) || math.IsNaN(w.Emitted) {
			continue
		}
		for range 200 {
			if emitted, ok := in.random(r); ok && emitted < w.Emitted*0.9985-1e-3 {
				t.Fatalf("seed %d: %g, and %g is possible", seed, w.Emitted, emitted)
			}
		}
	}
}

// random returns the emissions of random widths that are as good in form as those of a plan.
func (in elasticInstance) random(r *rand.Rand) (emitted float64, ok bool) {
	p, e := in.planner(), in.work.bounded(in.planner())
	s := widthSearch{planner: p, work: &e}
	at := in.now
	if wait := e.LatestStart.Sub(at); !e.IsRunning && wait > 0 {
		at = at.Add(time.Duration(r.Int64N(int64(wait))))
	}
	threshold := 600 * r.Float64()
	left := e.Remaining.Hours() * e.Speedup.At(e.Least)
	for left > 1e-9 {
		width := e.Least
		if p.intensity(at) <= threshold || r.IntN(20) == 0 {
			width += r.IntN(e.Most - e.Least + 1)
		}
		span := min(time.Duration(1+r.IntN(120))*time.Minute, time.Duration(math.Ceil(left/e.Speedup.At(width)*float64(time.Hour))))
		left -= e.Speedup.At(width) * span.Hours()
		emitted += s.emitted(nanos(at), nanos(at.Add(span)), width)
		at = at.Add(span)
	}
	return emitted, !at.After(e.Finish) && at.Before(p.series.End())
}

// TestWideWorkIsDoneInTimeWhateverTheForecastSays plays plans to their end, with another forecast at
// each step.
func TestWideWorkIsDoneInTimeWhateverTheForecastSays(t *testing.T) {
	for seed := range seeds(200) {
		r := rand.New(rand.NewPCG(seed, 24))
		in := elasticOf(r)
		e := in.work
		if !e.isPossible(in.now) {
			continue
		}
		for e.Remaining > time.Second {
			for i := range in.intensities {
				in.intensities[i] = float64(10 * r.IntN(60))
			}
			in.work = e
			w := in.plan()
			checkSteps(t, e, w, in.now)
			next := in.now.Add(time.Duration(1+r.IntN(90)) * time.Minute)
			if w.Start().After(in.now) {
				e.IsHeld, in.now = true, earlier(next, w.Start())
				continue
			}
			step := w.Steps[0]
			next = earlier(next, step.End)
			done := e.Speedup.At(step.Width) * next.Sub(in.now).Hours()
			e.Remaining -= time.Duration(done / e.Speedup.At(e.Least) * float64(time.Hour))
			e.IsRunning, e.Width, in.now = true, step.Width, next
		}
		if in.now.After(e.Finish.Add(2 * time.Second)) {
			t.Fatalf("seed %d: done at %s, after %s", seed, in.now, e.Finish)
		}
	}
}

// TestWidthsKeepBelowTheCeilings checks that a plan takes no more room than there is, unless it would
// be late.
func TestWidthsKeepBelowTheCeilings(t *testing.T) {
	narrower := 0
	for seed := range seeds(300) {
		r := rand.New(rand.NewPCG(seed, 25))
		in := elasticOf(r)
		in.buckets, _ = NewBuckets([]Bucket{{200, r.IntN(12)}, {400, r.IntN(9)}, {math.Inf(1), r.IntN(6)}})
		in.running = []Run{{in.now.Add(time.Duration(r.IntN(900)) * time.Minute), r.IntN(3)}}
		p := in.planner()
		fleet := p.Fleet(in.buckets, in.running)
		left := append([]int(nil), fleet.room.left...)
		w := fleet.PlanWidths(in.work)
		checkSteps(t, in.work, w, in.now)
		if w.Cause == CauseExempt || w.Cause == CauseNoForecast || w.Cause == CauseNoSlack || w.Cause == CauseLatestStart {
			continue
		}
		if diff := cmp.Diff(w.Steps, in.plan().Steps); diff != "" {
			narrower++
		}
		full := true // every time to the end is used as far as there is room
		isOver := false
		for i, start := range fleet.room.starts {
			if at := time.Unix(0, start).UTC(); !at.Before(in.now) && at.Before(in.work.Finish.Add(-5*time.Minute)) {
				width := w.WidthAt(at)
				full = full && in.work.Speedup.At(width) >= in.work.Speedup.At(min(left[i], in.work.Most))-1e-9
				isOver = isOver || width > max(left[i], in.work.Least)
			}
		}
		if isOver && !full && in.work.IsRunning {
			t.Fatalf("seed %d: wider than the room, and there was room elsewhere: %+v\n%v\n%+v", seed, w, left[:60], in.work)
		}
	}
	if narrower < int(seeds(50)) {
		t.Errorf("only %d plans were changed by a ceiling", narrower)
	}
}

// TestElasticGroupsKeepBelowTheCeilings plans groups of one and of several widths together.
func TestElasticGroupsKeepBelowTheCeilings(t *testing.T) {
	held := 0
	for seed := range seeds(200) {
		r := rand.New(rand.NewPCG(seed, 28))
		in := mixed(r)
		for i := range in.groups {
			if g := &in.groups[i]; r.IntN(2) == 0 {
				g.Elastic = &Elastic{Least: g.pods(), Most: g.pods() + r.IntN(5)}
			}
		}
		decisions := in.assign()
		if diff := cmp.Diff(decisions, in.assign(), cmpopts.EquateNaNs()); diff != "" {
			t.Fatal("not deterministic", diff)
		}
		for i, d := range decisions {
			latest := in.groups[i].LatestStart
			if d.Start.Before(in.now) || d.Start.After(latest) && d.Start.After(in.now) {
				t.Fatalf("seed %d: group %d starts at %s, outside now %s .. latest %s", seed, i, d.Start, in.now, latest)
			}
			if d.Holds() && in.groups[i].hasWidths() {
				held++
			}
		}
		checkRoom(t, in, decisions)
	}
	if held < int(seeds(100)) {
		t.Errorf("only %d groups of several widths wait", held)
	}
}

// TestElasticWorkStartsAsItsWidthsArePlanned checks that the decision on a start knows the widths that
// follow.
func TestElasticWorkStartsAsItsWidthsArePlanned(t *testing.T) {
	held, kept, spread := 0, 0, 0
	for seed := range seeds(400) {
		r := rand.New(rand.NewPCG(seed, 27))
		in := elasticOf(r)
		e := in.work
		e.IsRunning, e.LatestStart = false, time.Time{}
		task := Task{Duration: e.Remaining, LatestStart: e.Finish.Add(-e.Remaining), Held: e.IsHeld, Elastic: &Elastic{Least: e.Least, Most: e.Most, Speedup: e.Speedup}}
		in.work = e
		w, d := in.plan(), in.planner().Decide(task)
		if e.Least < e.Most && d.Cause != CauseNoForecast && !w.Start().Equal(d.Start) { // at the least width too little is known
			t.Fatalf("seed %d: the widths start at %s (%s), the decision says %s (%s)", seed, w.Start(), w.Cause, d.Start, d.Cause)
		}
		if d.Start.After(task.LatestStart) && d.Holds() {
			t.Fatalf("seed %d: starts at %s, after %s", seed, d.Start, task.LatestStart)
		}
		if !d.Holds() || e.Least == e.Most {
			continue
		}
		held++
		task.ID = fmt.Sprint("uid-", seed)
		other := in.planner().Decide(task)
		if late := other.Start.Sub(d.Start); late < 0 || late > maxSpread || other.Expected > d.Expected*(1+0.003) {
			t.Fatalf("seed %d: with an ID at %s for %g, without at %s for %g", seed, other.Start, other.Expected, d.Start, d.Expected)
		} else if late > 0 {
			spread++
		}
		in.now = in.now.Add(other.Start.Sub(in.now) / 2).Truncate(time.Second)
		task.Held, task.PlannedStart = true, other.Start
		if again := in.planner().Decide(task); again.Start.Equal(other.Start) {
			kept++
		} else if again.Start.After(other.Start) && again.Expected > other.Expected*1.002 {
			t.Fatalf("seed %d: planned at %s for %g, then at %s for %g", seed, other.Start, other.Expected, again.Start, again.Expected)
		}
	}
	if held < int(seeds(50)) || kept < held*3/4 || spread < held/4 {
		t.Errorf("%d held, %d spread, %d kept their start", held, spread, kept)
	}
}
