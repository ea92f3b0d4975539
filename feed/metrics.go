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
		"Carbon intensity now in gCO2eq/kWh, by policy and location.", []string{"policy", "location"}, nil)
	ageDesc = prometheus.NewDesc("gridlatch_forecast_age_seconds",
		"Age of the forecast in use in seconds, by policy and location.", []string{"policy", "location"}, nil)
	maxAgeDesc = prometheus.NewDesc("gridlatch_forecast_max_age_seconds",
		"Age in seconds up to which a forecast counts as fresh, as the field forecast.maxAge of the policy says. By policy.", []string{"policy"}, nil)
	usableDesc = prometheus.NewDesc("gridlatch_forecast_usable",
		"1 if work can be held by the forecast or, with a provider that has no forecast, by the history. 0 if work starts at once, or if a forecast that should be there is not usable. By policy and location.", []string{"policy", "location"}, nil)
	originDesc = prometheus.NewDesc("gridlatch_forecast_origin_info",
		"Always 1. The labels say which provider knows the grid, and which signal its intensities are: kind is Average or Marginal, and emission_factors is LifeCycle or Direct. A label is empty if the forecast does not say. By policy and location.",
		[]string{"policy", "location", "provider", "kind", "emission_factors"}, nil)
	actualAgeDesc = prometheus.NewDesc("gridlatch_actual_age_seconds",
		"Age of the newest intensity that was measured, and not only expected, in seconds. By policy and location.", []string{"policy", "location"}, nil)
	learnedDesc = prometheus.NewDesc("gridlatch_learned_seconds",
		"Length of the past in seconds from which the predictions have learned, by policy and location.", []string{"policy", "location"}, nil)
	shareDesc = prometheus.NewDesc("gridlatch_oracle_share_ratio",
		"Saving by the predictions of the last 28 days, as a share of the saving with perfect hindsight, for work that runs four hours and can wait a day. By policy and location.",
		[]string{"policy", "location"}, nil)
	problemDesc = prometheus.NewDesc("gridlatch_forecast_problem",
		"1 if the policy's ConfigMap is missing or a part of it cannot be used, and the last good forecast is in use. By policy.", []string{"policy"}, nil)
	doubtedDesc = prometheus.NewDesc("gridlatch_forecast_not_believed",
		"Number of values in the newest forecast that cannot be true, such as the zeros of an outage. They count as not known. By policy.", []string{"policy"}, nil)
)

// Describe implements prometheus.Collector.
func (c *GridCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{intensityDesc, ageDesc, maxAgeDesc, originDesc, actualAgeDesc, usableDesc, problemDesc, doubtedDesc, learnedDesc, shareDesc} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c *GridCollector) Collect(metrics chan<- prometheus.Metric) {
	policies, err := c.Policies.List(context.Background())
	if err != nil {
		return // the cache has not started
	}
	now := c.Clock.Now()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for _, rules := range policies {
		snapshot := c.Store.Snapshot(rules.Source)
		gauge(maxAgeDesc, rules.MaxAge().Seconds(), rules.Name)
		gauge(problemDesc, oneIf(snapshot.Problem() != ""), rules.Name)
		gauge(doubtedDesc, float64(snapshot.CountDoubted()), rules.Name)
		for _, state := range rules.LocationStates(snapshot, now) {
			gauge(usableDesc, oneIf(state.IsPlanned()), rules.Name, state.Name)
			gauge(learnedDesc, state.Prediction.LearnedTime.Seconds(), rules.Name, state.Name)
			if !math.IsNaN(state.Prediction.SavingShare) {
				gauge(shareDesc, state.Prediction.SavingShare, rules.Name, state.Name)
			}
			if !state.Issued.IsZero() {
				gauge(ageDesc, now.Sub(state.Issued).Seconds(), rules.Name, state.Name)
			}
			if origin := state.Details.Origin; origin != (forecast.Origin{}) {
				gauge(originDesc, 1, rules.Name, state.Name, origin.ProviderName(), string(origin.Signal.Kind), string(origin.Signal.EmissionFactors))
			}
			if !state.ActualUntil.IsZero() {
				gauge(actualAgeDesc, max(now.Sub(state.ActualUntil), 0).Seconds(), rules.Name, state.Name)
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
