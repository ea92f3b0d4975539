package extender

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// outcome is the result of a request. The few values are fit for a metric's label.
type outcome string

const (
	answered outcome = "answered"
	// neutral is an answer that prefers and drops no node, because the terms are not known.
	neutral outcome = "neutral"
	// refused is a request that is not valid.
	refused outcome = "refused"
	// busy is a request for which there is no memory among the other requests.
	busy outcome = "busy"
)

// Metrics count requests and nodes.
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
			Help: "Requests of kube-scheduler, by verb and outcome. Outcomes: answered, neutral (all nodes are alike, because the pod's policy does not exist), refused (the request was not valid), busy (there were too many requests at once).",
		}, []string{"verb", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gridlatch_extender_request_seconds",
			Help:    "Time from the headers of a request of kube-scheduler to the last byte of the answer in seconds, by verb and outcome.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 14),
		}, []string{"verb", "outcome"}),
		nodes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridlatch_extender_nodes_total",
			Help: "Nodes in requests of kube-scheduler, by verb and outcome. Outcomes: scored, unknown (the node is at no location, or at one without a forecast), kept, dropped.",
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
