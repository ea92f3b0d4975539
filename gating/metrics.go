package gating

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gridlatch/gridlatch/plan"
)

// Metrics are the metrics of the loop. Their labels are policies that exist, the empty name for all
// others, locations, and the causes of package plan, but never the name of a pod. The series of a
// policy are deleted with it.
type Metrics struct {
	heldPods      *prometheus.GaugeVec
	heldGroups    *prometheus.GaugeVec
	auditedPods   *prometheus.GaugeVec
	overdue       *prometheus.GaugeVec
	released      *prometheus.CounterVec
	hold          *prometheus.HistogramVec
	lag           *prometheus.HistogramVec
	releaseErrors *prometheus.CounterVec
	pass          prometheus.Histogram
	paused        *prometheus.GaugeVec
	pauses        *prometheus.CounterVec
}

// NewMetrics makes the metrics of the loop and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		heldPods: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gridlatch_held_pods", Help: "Pods that are held, by policy and by the cause of the decision.",
		}, []string{"policy", "cause"}),
		heldGroups: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gridlatch_held_groups", Help: "Groups that are held, such as a Job with its pods, by policy and by the cause of the decision.",
		}, []string{"policy", "cause"}),
		auditedPods: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gridlatch_audited_pods", Help: "Pods that run, and that would be held if they had not been audited, by policy.",
		}, []string{"policy"}),
		overdue: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gridlatch_overdue_pods", Help: "Pods that are still held more than a minute after their latest start, because the API server refuses to release them, by policy.",
		}, []string{"policy"}),
		released: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridlatch_released_pods_total", Help: "Pods that were released, by policy and by the cause of the decision.",
		}, []string{"policy", "cause"}),
		hold: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gridlatch_hold_seconds", Help: "Time from the creation of a pod to its release, by policy.",
			Buckets: []float64{1, 60, 600, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 12 * 3600, 24 * 3600, 48 * 3600, 96 * 3600},
		}, []string{"policy"}),
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gridlatch_release_lag_seconds", Help: "Time from the planned start of a pod to its release, by policy.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"policy"}),
		releaseErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridlatch_release_errors_total", Help: "Releases that failed and will be tried again, by policy.",
		}, []string{"policy"}),
		pass: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gridlatch_plan_pass_seconds", Help: "Time to plan all groups of one policy, without writing.",
			Buckets: prometheus.ExponentialBuckets(.0001, 4, 8),
		}),
	}
	m.paused = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gridlatch_paused", Help: "Interruptible Jobs, and objects of engines, that are paused, by policy.",
	}, []string{"policy"})
	m.pauses = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gridlatch_pauses_total", Help: "Pauses of interruptible work, by policy.",
	}, []string{"policy"})
	registry.MustRegister(m.heldPods, m.heldGroups, m.auditedPods, m.overdue, m.released, m.hold, m.lag, m.releaseErrors, m.pass, m.paused, m.pauses)
	m.initStrayWork()
	return m
}

func (m *Metrics) countReleased(pods int, policy string, cause plan.Cause, created, planned, now time.Time) {
	m.released.WithLabelValues(policy, string(cause)).Add(float64(pods))
	m.hold.WithLabelValues(policy).Observe(now.Sub(created).Seconds())
	if !planned.IsZero() {
		m.lag.WithLabelValues(policy).Observe(math.Max(0, now.Sub(planned).Seconds()))
	}
}

// initStrayWork starts the series of strayWork at zero. So forged names of policies add no series,
// and no counter vanishes with the last of them.
func (m *Metrics) initStrayWork() {
	m.setHeld(strayWork, nil, nil)
	m.auditedPods.WithLabelValues(strayWork)
	m.overdue.WithLabelValues(strayWork)
	for _, cause := range []plan.Cause{plan.CauseNoForecast, plan.CauseLatestStart, causeJoined, plan.CauseWithdrawn, plan.CauseAudit} {
		m.released.WithLabelValues(strayWork, string(cause))
	}
	m.hold.WithLabelValues(strayWork)
	m.lag.WithLabelValues(strayWork)
	m.releaseErrors.WithLabelValues(strayWork)
	m.paused.WithLabelValues(strayWork)
}

// setHeld sets how much waits by a policy, for each cause.
func (m *Metrics) setHeld(policy string, pods, groups map[plan.Cause]int) {
	m.releaseErrors.WithLabelValues(policy) // from zero on, so that an alert sees the first failure
	m.pauses.WithLabelValues(policy)
	for _, cause := range []plan.Cause{plan.CauseCleanerLater, plan.CauseThreshold, plan.CauseNoRoom, plan.CauseQueued, plan.CauseSpread, plan.CauseNoForecast, plan.CauseSuspended, plan.CausePaused} {
		m.heldPods.WithLabelValues(policy, string(cause)).Set(float64(pods[cause]))
		m.heldGroups.WithLabelValues(policy, string(cause)).Set(float64(groups[cause]))
	}
}

// forget deletes all series of a policy that does not exist.
func (m *Metrics) forget(policy string) {
	of := prometheus.Labels{"policy": policy}
	for _, vec := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.heldPods, m.heldGroups, m.auditedPods, m.overdue, m.released, m.hold, m.lag, m.releaseErrors, m.paused, m.pauses} {
		vec.DeletePartialMatch(of)
	}
}

func oneIf(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}
