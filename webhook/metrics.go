package webhook

import "github.com/prometheus/client_golang/prometheus"

// outcome is the result of a request. The few values are fit for a metric's label.
type outcome string

const (
	held     outcome = "held"
	started  outcome = "started"
	audited  outcome = "audited"
	refused  outcome = "refused"
	stripped outcome = "stripped"
	unasked  outcome = "unasked"
	failed   outcome = "failed"
)

// Metrics count the webhook's decisions.
type Metrics struct{ decisions *prometheus.CounterVec }

// NewMetrics makes the webhook's metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gridlatch_webhook_decisions_total",
		Help: "Objects that the webhook has decided on, by kind and outcome. Outcomes: held, started (at once), audited (nothing was held), refused (an annotation has a bad value), stripped (the object did not ask to wait, and lost marks of Gridlatch), unasked (a run of a CronJob that does not ask to wait), failed (an error, the object passes unchanged).",
	}, []string{"kind", "outcome"})}
	for _, kind := range []string{"Pod", "Job", "CronJob"} { // an alert sees the first failure
		m.decisions.WithLabelValues(kind, string(failed))
	}
	registry.MustRegister(m.decisions)
	return m
}

func (m *Metrics) decided(kind string, o outcome) { m.decisions.WithLabelValues(kind, string(o)).Inc() }
