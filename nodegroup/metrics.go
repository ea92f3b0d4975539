package nodegroup

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the metrics of node groups.
type Metrics struct {
	priority *prometheus.GaugeVec
	changes  prometheus.Counter
	errors   prometheus.Counter
	reverts  prometheus.Counter
}

// NewMetrics returns metrics that are registered.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		priority: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gridlatch_nodegroup_priority", Help: "Priority that Gridlatch has given to node groups of Cluster Autoscaler, by their pattern in the policy.",
		}, []string{"namespace", "pattern"}),
		changes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridlatch_nodegroup_changes_total", Help: "Changes of the priorities of Cluster Autoscaler's node groups that were made.",
		}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridlatch_nodegroup_errors_total", Help: "Changes of the priorities of Cluster Autoscaler's node groups that failed and are tried again.",
		}),
		reverts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridlatch_nodegroup_reverts_total", Help: "Changes of the priorities of Cluster Autoscaler's node groups that somebody else has undone.",
		}),
	}
	registry.MustRegister(m.priority, m.changes, m.errors, m.reverts)
	return m
}

// show sets what is in force in a namespace.
func (m *Metrics) show(namespace string, o order) {
	m.forget(namespace)
	for pattern, priority := range o.byPattern() {
		m.priority.WithLabelValues(namespace, pattern).Set(float64(priority))
	}
}

// forget drops the series of a namespace.
func (m *Metrics) forget(namespace string) {
	m.priority.DeletePartialMatch(prometheus.Labels{"namespace": namespace})
}
