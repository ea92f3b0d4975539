package gating

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// TestWhatIsRefusedCostsTheLoopLittle runs the loop for some minutes of its own time.
func TestWhatIsRefusedCostsTheLoopLittle(t *testing.T) {
	const pods = 300
	all := forged(pods) // of policies that do not exist, so that they are due
	l := strayLoop(t, prometheus.NewRegistry(), recordsOf(t, all...))
	var patches atomic.Int64
	watched, ok := l.Client.(client.WithWatch)
	if !ok {
		t.Fatal("want a client that can be intercepted")
	}
	l.Client = interceptor.NewClient(watched, interceptor.Funcs{
		Patch: func(_ context.Context, _ client.WithWatch, o client.Object, _ client.Patch, _ ...client.PatchOption) error {
			patches.Add(1)
			return apierrors.NewForbidden(corev1.Resource("pods"), o.GetName(), errors.New("not in my house"))
		},
	})
	clock := clocktesting.NewFakePassiveClock(t0)
	l.Clock = clock
	var perMinute []int64
	for now, minute := t0, t0.Add(time.Minute); len(perMinute) < 4; {
		result, err := l.Reconcile(t.Context(), request(strays))
		if err != nil {
			t.Fatal(err)
		}
		_ = l.retries.Wait() // they report for themselves
		now = now.Add(result.RequeueAfter)
		clock.SetTime(now)
		if !now.Before(minute) {
			perMinute, minute = append(perMinute, patches.Swap(0)), minute.Add(time.Minute)
		}
	}
	t.Log(fmt.Sprint("patches in each minute: ", perMinute))
	for _, n := range perMinute[1:] {
		if n > 200 {
			t.Errorf("%d patches in a minute", n)
		}
	}
	if late := testutil.ToFloat64(l.Metrics.overdue.WithLabelValues(strays)); late != pods {
		t.Errorf("%v pods are overdue, want %d", late, pods)
	}
}
