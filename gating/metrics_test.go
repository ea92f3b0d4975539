package gating

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gridlatch/gridlatch/plan"
)

func TestMetricsFollowTheConventions(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	before, err := testutil.GatherAndCount(registry)
	if err != nil {
		t.Fatal(err)
	}
	m.setHeld("default", map[plan.Cause]int{plan.CauseCleanerLater: 3}, map[plan.Cause]int{plan.CauseCleanerLater: 1})
	m.countReleased(1, "default", plan.CauseCleanestNow, t0, t0.Add(time.Hour), t0.Add(time.Hour+time.Second))
	m.releaseErrors.WithLabelValues("default").Inc()
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	m.forget("default")
	if left, err := testutil.GatherAndCount(registry); err != nil || left != before {
		t.Errorf("%d series are left of a policy that is gone, %v, want %d as before", left, err, before)
	}
}
