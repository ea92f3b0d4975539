package feed

import (
	"context"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/policy"
)

// GridCollector exports what is known of the grid at the moment of a scrape. All fields are
// required.
type GridCollector struct {
	Policies policy.Policies
	Store    *forecast.Store
	Clock    policy.Clock
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
	for _, rules := range policies {
		snapshot := c.Store.Snapshot(rules.Source)
		gauge(problemDesc, oneIf(snapshot.Problem() != ""), rules.Name)
		gauge(doubtedDesc, float64(snapshot.CountDoubted()), rules.Name)
		for _, state := range rules.LocationStates(snapshot, now) {
			gauge(usableDesc, oneIf(state.IsUsable()), rules.Name, state.Name)
			gauge(learnedDesc, state.Prediction.Learned.Seconds(), rules.Name, state.Name)
			if !math.IsNaN(state.Prediction.Share) {
				gauge(shareDesc, state.Prediction.Share, rules.Name, state.Name)
			}
			if !state.Issued.IsZero() {
				gauge(ageDesc, now.Sub(state.Issued).Seconds(), rules.Name, state.Name)
			}
			if state.IsKnown {
				gauge(intensityDesc, state.Intensity, rules.Name, state.Name)
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
