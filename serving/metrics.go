package serving

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The outcomes of reviews.
const (
	outcomeAnswered = "answered"
	outcomeRefused  = "refused"
	outcomeBusy     = "busy"
)

// Metrics count reviews.
type Metrics struct {
	reviews *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	now     func() time.Time
}

// NewMetrics makes the metrics of reviews and registers them.
func NewMetrics(registry prometheus.Registerer, now func() time.Time) *Metrics {
	m := &Metrics{now: now, reviews: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gridlatch_reviews_total",
		Help: "Requests to the webhook, by path and outcome. Outcomes: answered, refused (the AdmissionReview was not valid, too large or too slow), busy (there were too many requests at once).",
	}, []string{"path", "outcome"}), seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gridlatch_review_seconds",
		Help:    "Time from the headers of a request to the webhook to the last byte of the answer in seconds, by path.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
	}, []string{"path"})}
	registry.MustRegister(m.reviews, m.seconds)
	return m
}

// begin starts the series of a path at zero, so that an alert sees the first failure.
func (m *Metrics) begin(path string) {
	for _, outcome := range []string{outcomeAnswered, outcomeRefused, outcomeBusy} {
		m.reviews.WithLabelValues(path, outcome)
	}
	m.seconds.WithLabelValues(path)
}

// count counts a request that began at a time and has ended.
func (m *Metrics) count(path string, began time.Time, err error) {
	outcome := outcomeAnswered
	switch {
	case errors.Is(err, ErrBusy):
		outcome = outcomeBusy
	case err != nil:
		outcome = outcomeRefused
	}
	m.reviews.WithLabelValues(path, outcome).Inc()
	m.seconds.WithLabelValues(path).Observe(m.now().Sub(began).Seconds())
}
