package feed

import (
	"context"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/policy"
)

// GridCollector exports what is known of the grid at the moment of a scrape:
// nothing has to be kept current in between.
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
		book := c.Store.Snapshot(rules.Source)
		gauge(problemDesc, oneIf(book.Problem() != ""), rules.Name)
		gauge(doubtedDesc, float64(book.CountDoubted()), rules.Name)
		for _, view := range rules.LocationStates(book, now) {
			gauge(usableDesc, oneIf(view.IsUsable()), rules.Name, view.Name)
			gauge(learnedDesc, view.Prediction.LearnedTime.Seconds(), rules.Name, view.Name)
			if !math.IsNaN(view.Prediction.SavingShare) {
				gauge(shareDesc, view.Prediction.SavingShare, rules.Name, view.Name)
			}
			if !view.Issued.IsZero() {
				gauge(ageDesc, now.Sub(view.Issued).Seconds(), rules.Name, view.Name)
			}
			if view.IsKnown {
				gauge(intensityDesc, view.Intensity, rules.Name, view.Name)
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
