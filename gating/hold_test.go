package gating

import (
	"context"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func builtin() *policy.Policy { return policy.New(context.Background(), v1alpha1.Default(), nil, t0) }

func TestLedgerForgetsWhatTheCacheNoLongerHas(t *testing.T) {
	var l inFlight
	l.beginPass("p")
	l.add("p", "a", "north")
	l.add("p", "b", "")
	turn := func(policy string) func(types.UID) bool {
		f := l.beginPass(policy)
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
		pod := recordOf(hold.PodKind())
		pod.Namespace, pod.UID = []string{"a", "b"}[i%2], types.UID(rune('a'+i))
		g := &group{wasReleased: i != 3, pods: []*record{pod}}
		g.decision = plan.Decision{Decided: t0, Start: t0.Add(time.Hour)}
		p.groups = append(p.groups, g)
	}
	l.refusals.note("", p.groups[2].pods[0], "no", t0)
	got := ""
	for _, g := range l.dueGroups(p) {
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
	l.startedAt.Store(&t0)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := &group{task: plan.Task{Duration: time.Hour, LatestStart: tt.latest}}
			p := &pass{policy: builtin(), snapshot: &forecast.Snapshot{}, now: tt.now, groups: []*group{g}}
			g.decision = p.policy.Planner(p.snapshot, "", tt.now, tt.latest).Decide(g.task)
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
			if got := l.untilNextPass(&pass{policy: builtin(), snapshot: &forecast.Snapshot{}, now: t0, groups: tt.groups}); got != tt.want {
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
		g.decision = plan.Decision{Decided: t0, Start: start, Cause: plan.CauseCleanerLater}
	}
	look := func() time.Duration { // the cache shows nothing yet of what was told
		p := &pass{policy: builtin(), snapshot: &forecast.Snapshot{}, now: clock.Now(), groups: groups}
		if failed := l.explain(t.Context(), p); failed > 0 {
			t.Errorf("%d writes failed", failed)
		}
		if took := clock.Now().Sub(p.now); took > 3*time.Second {
			t.Errorf("a pass took %s", took)
		}
		return l.untilNextPass(p)
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
	for o := range (&pass{groups: groups}).plannedRecords() {
		o.Annotations[v1alpha1.PlannedStartAnnotation] = policy.Stamp(start)
	}
	if next := look(); next != time.Minute || len(told) != pods {
		t.Errorf("told all, the next pass is in %s", next)
	}
}
