package webhook

import "github.com/prometheus/client_golang/prometheus"

// outcome is what became of an object; a closed set, fit for a label.
type outcome string

const (
	held     outcome = "held"
	started  outcome = "started"
	refused  outcome = "refused"
	stripped outcome = "stripped"
	failed   outcome = "failed"
)

// Metrics of the webhook.
type Metrics struct{ decisions *prometheus.CounterVec }

// NewMetrics makes the webhook's metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gridlatch_webhook_decisions_total",
		Help: "Objects decided on at admission, by kind and by outcome: held, started (at once), refused (a bad annotation), stripped (did not ask to wait, and came with what only Gridlatch writes) or failed (not decided, let pass).",
	}, []string{"kind", "outcome"})}
	registry.MustRegister(m.decisions)
	return m
}

func (m *Metrics) decided(kind string, o outcome) { m.decisions.WithLabelValues(kind, string(o)).Inc() }
