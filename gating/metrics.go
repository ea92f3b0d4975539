package gating

import (
	"context"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Metrics of the loop. Labels are policies that exist, the empty one for all that
// do not, locations and the closed set of causes in package plan; never the name
// of a pod. The series of a policy go with it.
type Metrics struct {
	heldPods   *prometheus.GaugeVec
	heldGroups *prometheus.GaugeVec
	overdue    *prometheus.GaugeVec
	released   *prometheus.CounterVec
	hold       *prometheus.HistogramVec
	lag        *prometheus.HistogramVec
	failed     *prometheus.CounterVec
	pass       prometheus.Histogram
}

// NewMetrics makes the loop's metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		heldPods: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gridlatch_held_pods", Help: "Pods that wait for a cleaner grid, by policy and the cause of the decision.",
		}, []string{"policy", "cause"}),
		heldGroups: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gridlatch_held_groups", Help: "Groups of pods, such as Jobs, that are decided together and wait, by policy and the cause of the decision.",
		}, []string{"policy", "cause"}),
		overdue: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gridlatch_overdue_pods", Help: "Pods that are held although their latest start is more than a minute ago, since the API server refuses to have them released, by policy.",
		}, []string{"policy"}),
		released: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridlatch_released_pods_total", Help: "Pods released, by policy and the cause of the decision.",
		}, []string{"policy", "cause"}),
		hold: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gridlatch_hold_seconds", Help: "From the creation of a pod to its release.",
			Buckets: []float64{1, 60, 600, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 12 * 3600, 24 * 3600, 48 * 3600, 96 * 3600},
		}, []string{"policy"}),
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gridlatch_release_lag_seconds", Help: "From the planned start of a pod to its release.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"policy"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridlatch_release_errors_total", Help: "Releases that failed and are tried again, by policy.",
		}, []string{"policy"}),
		pass: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gridlatch_plan_pass_seconds", Help: "Planning all groups of one policy, without writing.",
			Buckets: prometheus.ExponentialBuckets(.0001, 4, 8),
		}),
	}
	registry.MustRegister(m.heldPods, m.heldGroups, m.overdue, m.released, m.hold, m.lag, m.failed, m.pass)
	m.expect()
	return m
}

func (m *Metrics) releasedPods(pods int, policy string, cause plan.Cause, created, planned, now time.Time) {
	m.released.WithLabelValues(policy, string(cause)).Add(float64(pods))
	m.hold.WithLabelValues(policy).Observe(now.Sub(created).Seconds())
	if !planned.IsZero() {
		m.lag.WithLabelValues(policy).Observe(math.Max(0, now.Sub(planned).Seconds()))
	}
}

// expect has the series of strays begin at zero: what anybody forges adds none, and
// no counter goes when the last of them does.
func (m *Metrics) expect() {
	m.holds(strays, nil, nil)
	m.overdue.WithLabelValues(strays)
	for _, cause := range []plan.Cause{plan.CauseNoForecast, plan.CauseLatestStart, joined, plan.CauseWithdrawn} {
		m.released.WithLabelValues(strays, string(cause))
	}
	m.hold.WithLabelValues(strays)
	m.lag.WithLabelValues(strays)
	m.failed.WithLabelValues(strays)
}

// holds sets what waits by a policy, for each cause there is to wait.
func (m *Metrics) holds(policy string, pods, groups map[plan.Cause]int) {
	for _, cause := range []plan.Cause{plan.CauseCleanerLater, plan.CauseThreshold, plan.CauseNoRoom, plan.CauseQueued, plan.CauseSpread, plan.CauseNoForecast, plan.CauseSuspended} {
		m.heldPods.WithLabelValues(policy, string(cause)).Set(float64(pods[cause]))
		m.heldGroups.WithLabelValues(policy, string(cause)).Set(float64(groups[cause]))
	}
}

// forget drops all series of a policy that does not exist.
func (m *Metrics) forget(policy string) {
	of := prometheus.Labels{"policy": policy}
	for _, vec := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.heldPods, m.heldGroups, m.overdue, m.released, m.hold, m.lag, m.failed} {
		vec.DeletePartialMatch(of)
	}
}

// GridCollector exports what is known of the grid at the moment of a scrape:
// nothing has to be kept current in between.
type GridCollector struct {
	Policies Policies
	Store    *forecast.Store
	Clock    Clock
}

var (
	intensityDesc = prometheus.NewDesc("gridlatch_intensity_gco2eq_per_kwh",
		"Carbon intensity of the running slot, by policy and location.", []string{"policy", "location"}, nil)
	ageDesc = prometheus.NewDesc("gridlatch_forecast_age_seconds",
		"Since the forecast in use was issued, by policy and location.", []string{"policy", "location"}, nil)
	usableDesc = prometheus.NewDesc("gridlatch_forecast_usable",
		"1 if work can be held by the forecast, 0 if it starts at once or is planned by history alone, by policy and location.", []string{"policy", "location"}, nil)
	learnedDesc = prometheus.NewDesc("gridlatch_learned_seconds",
		"Time whose outcomes the predictions have learned from, by policy and location.", []string{"policy", "location"}, nil)
	shareDesc = prometheus.NewDesc("gridlatch_oracle_share_ratio",
		"Share of the saving that hindsight would have had, which the predictions of the last 28 days had for work of four hours that can wait a day, by policy and location.",
		[]string{"policy", "location"}, nil)
	problemDesc = prometheus.NewDesc("gridlatch_forecast_problem",
		"1 if the newest state of the policy's ConfigMap is missing or not wholly usable, and the last good forecast is in use.", []string{"policy"}, nil)
	doubtedDesc = prometheus.NewDesc("gridlatch_forecast_not_believed",
		"Values of the policy's newest forecast that cannot be true, such as the zeros of an outage, and count as not known.", []string{"policy"}, nil)
)

// Describe implements prometheus.Collector.
func (c *GridCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{intensityDesc, ageDesc, usableDesc, problemDesc, doubtedDesc, learnedDesc, shareDesc} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c *GridCollector) Collect(metrics chan<- prometheus.Metric) {
	policies, err := c.Policies.List(context.Background())
	if err != nil {
		return // the cache has not started: nothing is known
	}
	now := c.Clock.Now()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for _, policy := range policies {
		book := c.Store.Snapshot(policy.Source)
		gauge(problemDesc, oneIf(book.Problem() != ""), policy.Name)
		gauge(doubtedDesc, float64(book.CountDoubted()), policy.Name)
		for _, view := range policy.views(book, now) {
			gauge(usableDesc, oneIf(view.usable()), policy.Name, view.name)
			gauge(learnedDesc, view.expected.LearnedTime.Seconds(), policy.Name, view.name)
			if !math.IsNaN(view.expected.SavingShare) {
				gauge(shareDesc, view.expected.SavingShare, policy.Name, view.name)
			}
			if !view.issued.IsZero() {
				gauge(ageDesc, now.Sub(view.issued).Seconds(), policy.Name, view.name)
			}
			if view.known {
				gauge(intensityDesc, view.intensity, policy.Name, view.name)
			}
		}
	}
}

func oneIf(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}
