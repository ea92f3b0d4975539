package nodepool

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gridlatch/gridlatch/override"
)

// Metrics are the metrics of NodePools.
type Metrics struct {
	limit   *prometheus.GaugeVec
	weight  *prometheus.GaugeVec
	price   *prometheus.GaugeVec
	changes *prometheus.CounterVec
	errors  prometheus.Counter
	reverts prometheus.Counter
}

// NewMetrics returns metrics that are registered.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		limit: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gridlatch_nodepool_limit", Help: "Limit of a resource that is in force on a NodePool of Karpenter, in units of the resource.",
		}, []string{"nodepool", "resource"}),
		weight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gridlatch_nodepool_weight", Help: "Weight that Gridlatch has given to a NodePool of Karpenter.",
		}, []string{"nodepool"}),
		price: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gridlatch_nodepool_price_percent", Help: "By how many percent nodes of a NodePool look dearer to Karpenter because of the intensity.",
		}, []string{"nodepool"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridlatch_nodepool_changes_total", Help: "Changes of NodePools of Karpenter that were made, by field: limits, weight or price.",
		}, []string{"field"}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridlatch_nodepool_errors_total", Help: "Changes of NodePools of Karpenter that failed and are tried again.",
		}),
		reverts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridlatch_nodepool_reverts_total", Help: "Changes of NodePools of Karpenter that somebody else has undone.",
		}),
	}
	registry.MustRegister(m.limit, m.weight, m.price, m.changes, m.errors, m.reverts)
	return m
}

// changed counts a change that was made.
func (m *Metrics) changed(c *change) {
	if c.setsLimits() {
		m.changes.WithLabelValues("limits").Inc()
	}
	if c.setsWeight() {
		m.changes.WithLabelValues("weight").Inc()
	}
}

// show sets what is in force on a pool.
func (m *Metrics) show(name string, c *change) {
	for resource := range c.pool.limitLoans() {
		if _, ok := c.limits[resource]; !ok {
			m.limit.DeleteLabelValues(name, resource)
		}
	}
	for resource, value := range c.limits {
		if q, ok := quantityOf(value); ok {
			m.limit.WithLabelValues(name, resource).Set(q.AsApproximateFloat64())
		}
	}
	if c.weight == override.Unset {
		m.weight.DeleteLabelValues(name)
		return
	}
	m.weight.WithLabelValues(name).Set(float64(weightOf(c.weight)))
}

// forget drops the series of a pool that lends nothing.
func (m *Metrics) forget(name string) {
	m.limit.DeletePartialMatch(prometheus.Labels{"nodepool": name})
	m.weight.DeleteLabelValues(name)
}
