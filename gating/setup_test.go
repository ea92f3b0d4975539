package gating

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// What the watch tells of a release, it may tell before the API server has answered.
func TestOnlyReleasesOfOthersAskForASweep(t *testing.T) {
	rules, refused := builtin(), errors.New("refused")
	for name, tt := range map[string]struct {
		kind, heldBy string
		err          error
		asks         bool
	}{
		"a pod":                                {kind: "Pod"},
		"a Job with gates in its template":     {kind: "Job"},
		"a Job that is suspended":              {kind: "Job", heldBy: v1alpha1.HoldBySuspend},
		"a pod that others let go":             {kind: "Pod", err: refused, asks: true},
		"a suspended Job that others let go":   {kind: "Job", heldBy: v1alpha1.HoldBySuspend, err: refused, asks: true},
		"a Job with gates that others relabel": {kind: "Job", err: refused, asks: true},
	} {
		t.Run(name, func(t *testing.T) {
			before := released(tt.kind, "x", 0, map[string]string{v1alpha1.HeldByAnnotation: tt.heldBy})
			before.Labels[v1alpha1.StateLabel], before.Generation = v1alpha1.StateHeld, 3
			before.isGated, before.isSuspended = tt.kind == "Pod", tt.heldBy != ""
			after := released(tt.kind, "x", 0, nil)
			if after.Generation = 3; tt.heldBy != "" {
				after.Generation++ // its spec has changed
			}
			l := &Loop{Clock: clocktesting.NewFakePassiveClock(t0), Events: NewAnnouncer(nil), Metrics: NewMetrics(prometheus.NewRegistry()), Sweeper: &Sweeper{}}
			queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer queue.ShutDown()
			tell := func() {
				l.onRecord().Update(t.Context(), event.TypedUpdateEvent[*record]{ObjectOld: before, ObjectNew: after}, queue)
			}
			l.Client = fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
				Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
					if tt.err == nil {
						tell()
					}
					return tt.err
				},
			}).Build()
			l.APIReader = l.Client
			l.inFlight.beginPass(rules.Name)
			g, p := &group{decision: plan.Decision{Decided: t0, Start: t0}}, &pass{policy: rules, now: t0}
			var err error
			if tt.kind == "Pod" {
				g.pods = append(g.pods, before)
				err = l.releasePod(t.Context(), p, g, before, false)
			} else {
				g.job = before
				err = l.recordRelease(t.Context(), p, g, false)
			}
			if !errors.Is(err, tt.err) {
				t.Fatal(err)
			}
			if tt.err != nil {
				tell()
			}
			if l.Sweeper.isRequested.Load() != tt.asks {
				t.Errorf("asks for a sweep: %t, want %t", !tt.asks, tt.asks)
			}
		})
	}
}
