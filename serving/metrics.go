package serving

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of reviews.
type Metrics struct{ reviews *prometheus.CounterVec }

// NewMetrics makes the metrics of reviews and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{reviews: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gridlatch_reviews_total",
		Help: "Requests to the webhook, by path and by outcome: answered, refused (no valid AdmissionReview, too large or too slow) or busy (too many at once).",
	}, []string{"path", "outcome"})}
	registry.MustRegister(m.reviews)
	return m
}

// count counts a request that has come to its end.
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
