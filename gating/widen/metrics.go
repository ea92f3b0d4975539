package widen

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the metrics of the widths of Jobs.
type Metrics struct {
	changes *prometheus.CounterVec
	errors  prometheus.Counter
	reverts prometheus.Counter
}

// NewMetrics returns metrics that are registered.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridlatch_width_changes_total", Help: "Changes of the parallelism of Jobs that were made, by what the Job became: wider, narrower, or returned to its own parallelism.",
		}, []string{"to"}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridlatch_width_errors_total", Help: "Changes of the parallelism of Jobs that failed and are tried again.",
		}),
		reverts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridlatch_width_reverts_total", Help: "Changes of the parallelism of Jobs that somebody else has undone.",
		}),
	}
	registry.MustRegister(m.changes, m.errors, m.reverts)
	return m
}

// changed counts a change that was made.
func (m *Metrics) changed(c *change, isReturned bool) {
	before := widthOf(c.work.Value(widthField))
	switch {
	case !c.setsWidth():
	case isReturned:
		m.changes.WithLabelValues("returned").Inc()
	case c.width > before:
		m.changes.WithLabelValues("wider").Inc()
	default:
		m.changes.WithLabelValues("narrower").Inc()
	}
}
