package exporter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gridlatch/gridlatch/exporter/provider"
)

// The outcomes of writes.
const (
	outcomeCreated = "created"
	outcomeUpdated = "updated"
	outcomeFailed  = "failed"
	outcomeRefused = "refused" // by the exporter
)

// Metrics are the metrics of the exporter. Their labels are types of providers, policies that exist,
// and locations of policies.
type Metrics struct {
	requests *prometheus.CounterVec
	left     *prometheus.GaugeVec
	writes   *prometheus.CounterVec
}

// NewMetrics makes the metrics of the exporter and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridlatch_export_requests_total",
			Help: "Requests to providers, by provider and outcome. Outcomes: ok, not-modified, refused-key, not-in-plan, unavailable, unknown-zone, no-data, rate-limited, rejected, server-error, unreachable.",
		}, []string{"provider", "outcome"}),
		left: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gridlatch_export_rate_limit_remaining",
			Help: "Requests that the provider allows for now, as its last response says, by provider. The metric is absent if the provider does not say.",
		}, []string{"provider"}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridlatch_export_writes_total",
			Help: "Writes of ConfigMaps with forecasts, by outcome: created, updated, failed, refused. The exporter refuses to overwrite a ConfigMap that somebody else has created. A ConfigMap whose content is the same is not written.",
		}, []string{"outcome"}),
	}
	for _, outcome := range []string{outcomeCreated, outcomeUpdated, outcomeFailed, outcomeRefused} {
		m.writes.WithLabelValues(outcome)
	}
	registry.MustRegister(m.requests, m.left, m.writes)
	return m
}

func (m *Metrics) countWrite(outcome string) { m.writes.WithLabelValues(outcome).Inc() }

// observe notes a request.
func (m *Metrics) observe(of provider.Type, a provider.Attempt) {
	m.requests.WithLabelValues(string(of), string(a.Outcome)).Inc()
	if a.RequestsLeft >= 0 {
		m.left.WithLabelValues(string(of)).Set(float64(a.RequestsLeft))
	}
}

var (
	forecastAgeDesc = prometheus.NewDesc("gridlatch_export_forecast_age_seconds",
		"Age of the newest forecast of the provider in seconds, by policy and location.", []string{"policy", "location"}, nil)
	actualAgeDesc = prometheus.NewDesc("gridlatch_export_actual_age_seconds",
		"Time since the end of the newest actual intensity of the provider in seconds, by policy and location.", []string{"policy", "location"}, nil)
	exportProblemDesc = prometheus.NewDesc("gridlatch_export_problem",
		"1 if the provider of the policy cannot be asked, or has no good answer for a location. The message in the ConfigMap says why. By policy.", []string{"policy"}, nil)
)

// Describe implements prometheus.Collector.
func (e *Exporter) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{forecastAgeDesc, actualAgeDesc, exportProblemDesc} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (e *Exporter) Collect(metrics chan<- prometheus.Metric) {
	now := e.Clock.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.running {
		r.asker.collect(metrics, now)
	}
	for _, t := range e.advised {
		metrics <- prometheus.MustNewConstMetric(exportProblemDesc, prometheus.GaugeValue, 1, t.policy)
	}
}

// collect exports what is known of the zones.
func (a *asker) collect(metrics chan<- prometheus.Metric, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for policy, b := range a.books {
		hasProblem := 0.0
		if a.message(b) != "" {
			hasProblem = 1
		}
		gauge(exportProblemDesc, hasProblem, policy)
		for _, p := range b.places {
			z := a.zones[p.zone]
			if !z.forecast.IsEmpty() && !z.issued.IsZero() {
				gauge(forecastAgeDesc, now.Sub(z.issued).Seconds(), policy, p.location)
			}
			if !z.actuals.IsEmpty() {
				gauge(actualAgeDesc, now.Sub(z.actuals.End()).Seconds(), policy, p.location)
			}
		}
	}
}
