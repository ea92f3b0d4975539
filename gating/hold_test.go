package gating

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func builtin() *Policy { return newPolicy(v1alpha1.Default(), t0) }

func TestParseAsk(t *testing.T) {
	limit := 200.0
	ask, errs := ParseAsk(map[string]string{
		v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DeadlineAnnotation: "8h", v1alpha1.DurationAnnotation: "PT2H", v1alpha1.ThresholdAnnotation: "200", v1alpha1.LocationAnnotation: "X", v1alpha1.PolicyAnnotation: "nightly", "other/one": "?",
	}, t0, field.NewPath("metadata", "annotations"))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	want := Ask{Wanted: true, Policy: "nightly", Location: "X", Deadline: t0.Add(8 * time.Hour), Duration: 2 * time.Hour, Threshold: &limit}
	if diff := cmp.Diff(want, ask); diff != "" {
		t.Error(diff)
	}
}

func TestTaskOf(t *testing.T) {
	hours := func(h float64) time.Time { return t0.Add(time.Duration(h * float64(time.Hour))) }
	stamped := func(h float64) string { return hours(h).Format(time.RFC3339) }
	tests := map[string]struct {
		annotations map[string]string
		want        time.Time
	}{
		"without a deadline, the policy's longest delay":         {map[string]string{}, hours(24)},
		"a deadline leaves time for the work and a margin":       {map[string]string{v1alpha1.DeadlineAnnotation: "8h", v1alpha1.DurationAnnotation: "1h"}, hours(6.95)},
		"the promise of its Job, which is older, holds":          {map[string]string{v1alpha1.DeadlineAnnotation: "8h", v1alpha1.DurationAnnotation: "1h", v1alpha1.LatestStartAnnotation: stamped(5)}, hours(5)},
		"an edit can make it earlier":                            {map[string]string{v1alpha1.DeadlineAnnotation: "4h", v1alpha1.DurationAnnotation: "1h", v1alpha1.LatestStartAnnotation: stamped(5)}, hours(2.95)},
		"an edit cannot make it later":                           {map[string]string{v1alpha1.DeadlineAnnotation: "48h", v1alpha1.DurationAnnotation: "1h", v1alpha1.LatestStartAnnotation: stamped(5)}, hours(5)},
		"a deadline that was garbled leaves the promise":         {map[string]string{v1alpha1.DeadlineAnnotation: "never", v1alpha1.LatestStartAnnotation: stamped(5)}, hours(5)},
		"a garbled promise leaves the deadline":                  {map[string]string{v1alpha1.DeadlineAnnotation: "4h", v1alpha1.DurationAnnotation: "1h", v1alpha1.LatestStartAnnotation: "never"}, hours(2.95)},
		"both garbled is now":                                    {map[string]string{v1alpha1.DeadlineAnnotation: "never", v1alpha1.LatestStartAnnotation: "never"}, t0},
		"a garbled duration without a promise is now":            {map[string]string{v1alpha1.DeadlineAnnotation: "4h", v1alpha1.DurationAnnotation: "long"}, t0},
		"a promise that is past is past, whatever else is asked": {map[string]string{v1alpha1.DeadlineAnnotation: "4h", v1alpha1.LatestStartAnnotation: stamped(-3)}, hours(-3)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := TaskOf(builtin(), &metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(t0), Annotations: tt.annotations})
			if !got.LatestStart.Equal(tt.want) {
				t.Errorf("latest start %s, want %s", got.LatestStart, tt.want)
			}
		})
	}
}

func TestWorkIsToldThatItsPolicyIsGone(t *testing.T) {
	for name, deadline := range map[string]map[string]string{"with a deadline": {v1alpha1.DeadlineAnnotation: "8h"}, "without": {}} {
		t.Run(name, func(t *testing.T) {
			g := waiting("a", deadline)
			delete(g.pods[0].Annotations, v1alpha1.DurationAnnotation) // which was the policy's
			p := &pass{policy: abandoned(), book: &forecast.Snapshot{}, now: t0.Add(time.Hour), groups: []*group{g}}
			schedule(p.policy, p.groups)
			p.decide()
			if d := g.decision; d.Holds() || d.Cause != plan.NoForecast || !strings.HasSuffix(d.Reason(), "its policy does not exist") {
				t.Errorf("%s: %s", d.Cause, d.Reason())
			}
		})
	}
}

// FuzzTaskOf checks that whatever the annotations say, nothing panics, and work
// is not held beyond what was promised, nor, with no promise and nothing
// readable, at all.
func FuzzTaskOf(f *testing.F) {
	f.Add("8h", "1h", "200", "2026-11-21T15:00:00Z", "47m")
	f.Add("06:00 Europe/Berlin", "P1D", "-1", "never", "-1s")
	f.Fuzz(func(t *testing.T, deadline, duration, threshold, promise, expected string) {
		object := &metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(t0), Annotations: map[string]string{
			v1alpha1.DeadlineAnnotation: deadline, v1alpha1.DurationAnnotation: duration, v1alpha1.ThresholdAnnotation: threshold, v1alpha1.LatestStartAnnotation: promise, v1alpha1.ExpectedDurationAnnotation: expected,
		}}
		task := TaskOf(builtin(), object)
		promised, err := time.Parse(time.RFC3339, promise)
		if err == nil && task.LatestStart.After(promised) {
			t.Fatalf("latest start %s is after the promise %s", task.LatestStart, promised)
		}
		_, errs := ParseAsk(object.Annotations, t0, field.NewPath("x"))
		if err != nil && len(errs) > 0 && task.LatestStart.After(t0) {
			t.Fatalf("nothing is readable, but it waits until %s", task.LatestStart)
		}
		if task.Duration <= 0 {
			t.Fatalf("duration %s", task.Duration)
		}
	})
}

func TestCompared(t *testing.T) {
	d := plan.Decision{Decided: t0, Start: t0, Cause: plan.CleanestNow, Expected: 120, AtOnce: 120}
	for before, want := range map[string]string{
		"430.0": "; 72 % less than the 430 at its creation", "100.0": "; 20 % more than the 100 at its creation",
		"": "", "?": "", "NaN": "", "-5": "", "0": "", "+Inf": "",
	} {
		if got := compared(d, map[string]string{v1alpha1.IntensityAtCreationAnnotation: before}); got != d.Reason()+want {
			t.Errorf("%q: got %q", before, got)
		}
	}
	d.Expected = math.NaN()
	if got := compared(d, map[string]string{v1alpha1.IntensityAtCreationAnnotation: "430.0"}); got != d.Reason() {
		t.Errorf("nothing is known of the run, but: %q", got)
	}
}

func TestReasonsFitIntoKubectlDescribe(t *testing.T) {
	series := forecast.NewSeries([]forecast.Slot{
		{Start: t0, End: t0.Add(time.Hour), Intensity: 1430}, {Start: t0.Add(time.Hour), End: t0.Add(9 * time.Hour), Intensity: 1120},
	})
	wait := plan.NewPlanner("CAISO_NORTH", series, "", plan.Terms{}, t0.Add(7*time.Second), t0.Add(9*time.Hour)).
		Decide(plan.Task{Duration: time.Hour, LatestStart: t0.Add(4 * time.Hour)})
	start := plan.NewPlanner("CAISO_NORTH", series, "", plan.Terms{}, t0.Add(time.Hour+7*time.Second), t0.Add(9*time.Hour)).
		Decide(plan.Task{Duration: time.Hour, LatestStart: t0.Add(4 * time.Hour)})
	for _, reason := range []string{wait.Reason(), compared(start, map[string]string{v1alpha1.IntensityAtCreationAnnotation: "1430.0"})} {
		if len(reason) > 140 {
			t.Errorf("%d characters, kubectl describe cuts at 140: %s", len(reason), reason)
		}
	}
}

func TestLedgerForgetsWhatTheCacheNoLongerHas(t *testing.T) {
	var l ledger
	l.turn("p")
	l.add("p", "a", "north")
	l.add("p", "b", "")
	turn := func(policy string) func(types.UID) bool {
		f := l.turn(policy)
		return func(uid types.UID) bool {
			to, done := f(uid)
			if want := map[bool]string{true: "north"}[done]; to != want {
				t.Errorf("released to %q, want %q", to, want)
			}
			return done
		}
	}
	done := turn("p")
	if !done("a") || done("c") { // b is not asked about: the cache does not have it
		t.Error("want a done, and c not")
	}
	done = turn("p")
	if !done("a") || done("b") {
		t.Error("want a still done, and b forgotten")
	}
	l.drop("p", "a")
	if l.has("a") || turn("p")("a") {
		t.Error("want a dropped")
	}
	if turn("other")("a") {
		t.Error("policies have to be apart")
	}
}

func TestWhatIsDueGoesInOrderWithThoseLastOfNamespacesThatRefuse(t *testing.T) {
	p, l := &pass{}, &Loop{}
	for i := range 7 {
		pod := recordOf(podKind())
		pod.Namespace, pod.UID = []string{"a", "b"}[i%2], types.UID(rune('a'+i))
		g := &group{released: i != 3, pods: []*record{pod}}
		g.decision = plan.Decision{Decided: t0, Start: t0.Add(time.Hour)}
		p.groups = append(p.groups, g)
	}
	l.setbacks.refuse("", p.groups[2].pods[0], "no", t0)
	got := ""
	for _, g := range l.due(p) {
		got += string(g.pods[0].UID)
	}
	if want := "bfaceg"; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWorkWaitsForAFirstForecastButNotBeyondItsLatestStart(t *testing.T) {
	l := &Loop{}
	tests := map[string]struct {
		now, latest time.Time
		want        time.Time
	}{
		"for a minute":                {t0, t0.Add(time.Hour), t0.Add(time.Minute)},
		"no longer":                   {t0.Add(time.Minute), t0.Add(time.Hour), t0.Add(time.Minute)},
		"not beyond its latest start": {t0, t0.Add(20 * time.Second), t0.Add(20 * time.Second)},
	}
	l.started.Store(&t0)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := &group{task: plan.Task{Duration: time.Hour, LatestStart: tt.latest}}
			p := &pass{policy: builtin(), book: &forecast.Snapshot{}, now: tt.now, groups: []*group{g}}
			g.decision = p.policy.Planner(p.book, "", tt.now, tt.latest).Decide(g.task)
			l.awaitForecast(p)
			if !g.decision.Start.Equal(tt.want) {
				t.Errorf("starts at %s, want %s", g.decision.Start, tt.want)
			}
		})
	}
}

func TestWorkIsLookedAtEachMinuteWhileItWaits(t *testing.T) {
	at := func(start time.Time) *group { return &group{decision: plan.Decision{Decided: t0, Start: start}} }
	for name, tt := range map[string]struct {
		groups []*group
		want   time.Duration
	}{
		"nothing is held":                {nil, 10 * time.Minute},
		"all is released":                {[]*group{at(t0)}, 10 * time.Minute},
		"until it is due":                {[]*group{at(t0), at(t0.Add(20 * time.Second))}, 20 * time.Second},
		"the clock may be set meanwhile": {[]*group{at(t0.Add(8 * time.Hour))}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			l := &Loop{Clock: clocktesting.NewFakePassiveClock(t0)}
			if got := l.wait(&pass{policy: builtin(), book: &forecast.Snapshot{}, now: t0, groups: tt.groups}); got != tt.want {
				t.Errorf("looks again in %s, want %s", got, tt.want)
			}
		})
	}
}

// What comes while 100,000 pods are told of another start may itself be due in
// seconds.
func TestExplainingTakesSecondsAndGoesOnInTheNextPass(t *testing.T) {
	const pods, each = 50, 100 * time.Millisecond
	clock, told := clocktesting.NewFakePassiveClock(t0), map[string]int{}
	c := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(_ context.Context, _ client.WithWatch, o client.Object, _ client.Patch, _ ...client.PatchOption) error {
			clock.SetTime(clock.Now().Add(each))
			told[o.GetName()]++
			return nil
		},
	}).Build()
	l := &Loop{Client: c, Clock: clock, Workers: 1}
	start := t0.Add(8 * time.Hour)
	groups := []*group{waiting("job", nil)}
	groups[0].job = released("Job", "owner", 0, nil)
	for i := range pods - 2 {
		groups = append(groups, waiting(fmt.Sprint(i), nil))
	}
	for _, g := range groups {
		g.decision = plan.Decision{Decided: t0, Start: start, Cause: plan.CleanerLater}
	}
	look := func() time.Duration { // the cache shows nothing yet of what was told
		p := &pass{policy: builtin(), book: &forecast.Snapshot{}, now: clock.Now(), groups: groups}
		if failed := l.explain(t.Context(), p); failed > 0 {
			t.Errorf("%d writes failed", failed)
		}
		if took := clock.Now().Sub(p.now); took > 3*time.Second {
			t.Errorf("a pass took %s", took)
		}
		return l.wait(p)
	}
	for range 3 {
		if next := look(); next > time.Second {
			t.Errorf("the rest has to wait for %s", next)
		}
	}
	if len(told) != pods {
		t.Errorf("%d are told, want %d", len(told), pods)
	}
	for name, times := range told {
		if times > 1 {
			t.Errorf("%s is told %d times", name, times)
		}
	}
	for o := range (&pass{groups: groups}).planned() {
		o.Annotations[v1alpha1.PlannedStartAnnotation] = stamp(start)
	}
	if next := look(); next != time.Minute || len(told) != pods {
		t.Errorf("told all, the next pass is in %s", next)
	}
}

func TestCheckLocation(t *testing.T) {
	var store forecast.Store
	series := forecast.NewSeries([]forecast.Slot{{Start: t0, End: t0.Add(time.Hour), Intensity: 1}})
	if err := store.Offer(forecast.Source{Name: "s"}, forecast.Document{Series: map[string]*forecast.Series{"A": series}}, t0); err != nil {
		t.Fatal(err)
	}
	named := builtin()
	named.spec.Locations = []v1alpha1.Location{{Name: "A"}, {Name: "B"}}
	for name, tt := range map[string]struct {
		policy   *Policy
		book     *forecast.Snapshot
		location string
		want     string
	}{
		"one of the policy's":                         {named, store.Snapshot(forecast.Source{Name: "s"}), "B", ""},
		"none of the policy's":                        {named, store.Snapshot(forecast.Source{Name: "s"}), "C", "want a location of policy default: A, B"},
		"the forecast's, if the policy names none":    {builtin(), store.Snapshot(forecast.Source{Name: "s"}), "A", ""},
		"not in the forecast":                         {builtin(), store.Snapshot(forecast.Source{Name: "s"}), "B", "want a location of policy default: A"},
		"anything, as long as no forecast has come":   {builtin(), store.Snapshot(forecast.Source{Name: "none"}), "B", ""},
		"one that no forecast of the policy's covers": {named, store.Snapshot(forecast.Source{Name: "none"}), "A", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := tt.policy.CheckLocation(tt.book, tt.location); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAPolicyOfSeveralLocationsInTheForecastHasToNameOne(t *testing.T) {
	var store forecast.Store
	series := forecast.NewSeries([]forecast.Slot{{Start: t0, End: t0.Add(time.Hour), Intensity: 1}})
	if err := store.Offer(forecast.Source{Name: "s"}, forecast.Document{Series: map[string]*forecast.Series{"A": series, "B": series}, Issued: t0}, t0); err != nil {
		t.Fatal(err)
	}
	d := builtin().Planner(store.Snapshot(forecast.Source{Name: "s"}), "", t0, t0.Add(time.Hour)).Decide(plan.Task{Duration: time.Minute, LatestStart: t0.Add(time.Hour)})
	if d.Holds() || !strings.Contains(d.Reason(), "several locations, and the policy names none: A, B") {
		t.Error(d.Reason())
	}
}
