package extender

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// outcome is what became of a request; a closed set, fit for a label.
type outcome string

const (
	answered outcome = "answered"
	// neutral is an answer that prefers and drops no node: there are no terms.
	neutral outcome = "neutral"
	// refused is a request that was none.
	refused outcome = "refused"
	// busy is a request for which there was no room among the others.
	busy outcome = "busy"
)

// Metrics of the extender.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	nodes    *prometheus.CounterVec
}

// NewMetrics makes the extender's metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridlatch_extender_requests_total",
			Help: "Requests of the scheduler, by verb and by outcome: answered, neutral (all nodes alike, since the pod's policy is not there), refused (no valid request) or busy (too many at once).",
		}, []string{"verb", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gridlatch_extender_request_seconds",
			Help:    "Time to answer a request of the scheduler, from its headers to the last byte of the answer, by verb and by outcome.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 14),
		}, []string{"verb", "outcome"}),
		nodes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridlatch_extender_nodes_total",
			Help: "Nodes in requests of the scheduler, by verb and by outcome: scored or unknown (in no location, or one without a forecast), kept or dropped.",
		}, []string{"verb", "outcome"}),
	}
	registry.MustRegister(m.requests, m.seconds, m.nodes)
	return m
}

func (m *Metrics) observe(verb string, o outcome, took time.Duration) {
	m.requests.WithLabelValues(verb, string(o)).Inc()
	m.seconds.WithLabelValues(verb, string(o)).Observe(took.Seconds())
}

func (m *Metrics) countNodes(verb, outcome string, n int) {
	m.nodes.WithLabelValues(verb, outcome).Add(float64(n))
}
