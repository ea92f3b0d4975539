package gating

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
)

// A webhook of somebody else, or an admission policy, may refuse every change of
// a Job.
func TestAJobThatCannotBeRecordedHoldsNoPodBeyondItsLatestStart(t *testing.T) {
	for name, tt := range map[string]struct {
		latest time.Time
		gated  bool
	}{
		"the order counts while retries could be held": {t0.Add(time.Second), true},
		"and not from the latest start on":             {t0, false},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", UID: "u"},
				Spec:       corev1.PodSpec{SchedulingGates: []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}}},
			}
			refused := 0
			c := fake.NewClientBuilder().WithObjects(pod).WithInterceptorFuncs(interceptor.Funcs{
				Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
					if o.GetObjectKind().GroupVersionKind() == hold.JobKind() {
						refused++
						return errors.New("failed calling webhook")
					}
					return c.Patch(ctx, o, patch, options...)
				},
			}).Build()
			l := &Loop{
				Client: c, APIReader: c, Clock: clocktesting.NewFakePassiveClock(t0), Events: NewAnnouncer(nil),
				Metrics: NewMetrics(prometheus.NewRegistry()), Workers: 1,
			}
			p := &pass{policy: builtin(), snapshot: &forecast.Snapshot{}, now: t0}
			l.inFlight.beginPass(p.policy.Name)
			job, cached := recordOf(hold.JobKind()), recordOf(hold.PodKind())
			job.Namespace, job.Name, cached.ObjectMeta = "n", "j", pod.ObjectMeta
			g := &group{owner: job, pods: []*record{cached}, task: plan.Task{Duration: time.Hour, LatestStart: tt.latest}}
			g.decision = p.policy.Planner(p.snapshot, "", t0, tt.latest).Decide(g.task) // there is no forecast: it is due
			p.groups = []*group{g}
			if failed := l.release(t.Context(), p); failed != 1 || refused != 1 {
				t.Errorf("%d writes have failed, and %d were refused, want the record", failed, refused)
			}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
				t.Fatal(err)
			}
			if hold.HasGate(pod.Spec.SchedulingGates) != tt.gated {
				t.Errorf("gated: %v, want %v", !tt.gated, tt.gated)
			}
			if again := l.inFlight.has(releaseID(job)); again {
				t.Error("the record is not tried again")
			}
		})
	}
}

func TestPodsThatFollowTheirJobSayOnlySoMuchOfItsReason(t *testing.T) {
	job := recordOf(hold.JobKind())
	job.Annotations = map[string]string{v1alpha1.ReasonAnnotation: strings.Repeat("x", 250<<10)} // annotations of all kinds have 256 KiB
	g := &group{owner: job, wasReleased: true}
	if g.setReason(); len(g.reason) > 1024 || !g.isRecorded {
		t.Errorf("%d bytes, recorded: %t", len(g.reason), g.isRecorded)
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
