package gating

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// getsDirtier is a forecast by which no start is as clean as one now, though some are
// almost so.
func getsDirtier(t *testing.T) *forecast.Store {
	t.Helper()
	store, now := &forecast.Store{}, time.Now()
	var slots []forecast.Slot
	for i := range 288 {
		at := now.Add(time.Duration(i) * 5 * time.Minute)
		slots = append(slots, forecast.Slot{Start: at, End: at.Add(5 * time.Minute), Intensity: 100 + 100*float64(i)})
	}
	document := forecast.Document{Series: map[string]*forecast.Series{"X": forecast.NewSeries(slots)}, Issued: now}
	if err := store.Offer(builtin().Source, document, now); err != nil {
		t.Fatal(err)
	}
	return store
}

// TestWhatIsRefusedCostsTheLoopLittle runs the loop for some minutes, with an API server
// that takes a moment to refuse.
func TestWhatIsRefusedCostsTheLoopLittle(t *testing.T) {
	podCount, minutes := 300, 4
	if testing.Short() {
		podCount, minutes = 150, 2
	}
	for name, tt := range map[string]struct {
		latest  time.Duration
		overdue float64
	}{"what is cleanest now": {10 * time.Hour, 0}, "what is at its latest start": {time.Second, float64(podCount)}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now, pods := time.Now(), forged(podCount)
				for _, pod := range pods {
					pod.CreationTimestamp = metav1.NewTime(now)
					pod.Annotations = map[string]string{
						v1alpha1.DeadlineAnnotation: "12h", v1alpha1.DurationAnnotation: "1h", v1alpha1.LatestStartAnnotation: policy.FormatTime(now.Add(tt.latest)), v1alpha1.PlannedStartAnnotation: policy.FormatTime(now.Add(tt.latest)),
					}
				}
				l := strayLoop(t, prometheus.NewRegistry(), recordsOf(t, pods...))
				l.Workers, l.Clock, l.Store = 32, clock.RealClock{}, getsDirtier(t)
				l.Policies.Clock = l.Clock
				l.retries.SetLimit(maxRetries)
				l.unexplained.isMinor = true
				var patches atomic.Int64
				l.Client = interceptor.NewClient(l.Client.(client.WithWatch), interceptor.Funcs{
					Patch: func(_ context.Context, _ client.WithWatch, o client.Object, _ client.Patch, _ ...client.PatchOption) error {
						patches.Add(1)
						time.Sleep(20 * time.Millisecond)
						return apierrors.NewInvalid(hold.PodKind().GroupKind(), o.GetName(), nil)
					},
				})
				var perMinute []int64
				for minute := time.Minute; len(perMinute) < minutes; {
					result, err := l.Reconcile(t.Context(), request("default"))
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(min(result.RequeueAfter, minGatherTime)) // something else wakes it all the time
					if time.Since(now) >= minute {
						perMinute, minute = append(perMinute, patches.Swap(0)), minute+time.Minute
					}
				}
				_ = l.retries.Wait() // they report for themselves
				t.Log("patches in each minute: ", perMinute)
				for _, n := range perMinute[1:] {
					if n > 200 || n < 100 {
						t.Errorf("%d patches in a minute", n)
					}
				}
				if late := testutil.ToFloat64(l.Metrics.overdue.WithLabelValues("default")); late != tt.overdue {
					t.Errorf("%v pods are overdue, want %v", late, tt.overdue)
				}
			})
		})
	}
}
