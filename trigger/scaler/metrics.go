package scaler

import (
	"path"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/gridlatch/gridlatch/trigger/scaler/externalscaler"
)

// Metrics count calls of KEDA.
type Metrics struct {
	streams  prometheus.Gauge
	requests *prometheus.CounterVec
}

// NewMetrics makes the metrics of the scaler and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gridlatch_trigger_streams", Help: "Streams to KEDA that are open in this replica. KEDA has one for each trigger, spread over the replicas.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridlatch_trigger_requests_total",
			Help: "Calls of KEDA that have ended, by method and code. Some of the codes of gRPC: OK, InvalidArgument (the trigger asks for what there is not), Unavailable (the forecasts are not read yet), ResourceExhausted (too many streams at once), Unimplemented (StreamMetricSpec, which KEDA does without).",
		}, []string{"method", "code"}),
	}
	for _, method := range methods() {
		for _, code := range []codes.Code{codes.OK, codes.InvalidArgument, codes.Unavailable} {
			m.requests.WithLabelValues(method, code.String())
		}
	}
	registry.MustRegister(m.streams, m.requests)
	return m
}

// methods returns the names of all methods.
func methods() []string {
	var names []string
	for _, m := range pb.ExternalScaler_ServiceDesc.Methods {
		names = append(names, m.MethodName)
	}
	for _, s := range pb.ExternalScaler_ServiceDesc.Streams {
		names = append(names, s.StreamName)
	}
	return names
}

// ended counts a call of one of the methods. fullMethod has the service before the method.
func (m *Metrics) ended(fullMethod string, err error) {
	m.requests.WithLabelValues(path.Base(fullMethod), status.Code(err).String()).Inc()
}
