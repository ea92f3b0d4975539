package serving

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count reviews.
type Metrics struct{ reviews *prometheus.CounterVec }

// NewMetrics makes the metrics of reviews and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{reviews: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gridlatch_reviews_total",
		Help: "Requests to the webhook, by path and outcome. Outcomes: answered, refused (the AdmissionReview was not valid, too large or too slow), busy (there were too many requests at once).",
	}, []string{"path", "outcome"})}
	registry.MustRegister(m.reviews)
	return m
}

// count counts a request that has ended.
func (m *Metrics) count(path string, err error) {
	outcome := "answered"
	switch {
	case errors.Is(err, ErrBusy):
		outcome = "busy"
	case err != nil:
		outcome = "refused"
	}
	m.reviews.WithLabelValues(path, outcome).Inc()
}
