package main

import (
	"crypto/tls"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/gridlatch/gridlatch/serving"
)

// maxScrapes bounds how many answers with metrics are made at once.
const maxScrapes = 4

// reviewsPerSecond bounds how often a process asks the API server who a caller of /metrics is. The
// API server's answer about a token that is valid counts for a minute. So Prometheus needs a review
// a minute. Strangers who try tokens are limited by their addresses before: see [serving.Authorizer].
const reviewsPerSecond, reviewsAtOnce = 50, 100

// metricsOptions are the values of the flags that say how /metrics is served.
type metricsOptions struct {
	bind     string
	isSecure bool
}

func (o *metricsOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.bind, "metrics-bind-address", ":8080", "address on which /metrics is served; 0: not served")
	f.BoolVar(&o.isSecure, "metrics-secure", false, "serve /metrics by HTTPS, and only to callers that send the token of an account that may get the path /metrics, as the ClusterRole gridlatch-metrics-reader lets it; Gridlatch needs rights to ask the API server about tokens: manifests/components/monitoring gives them, and sets this flag")
}

// serveMetrics serves /metrics: to everybody, or with --metrics-secure by TLS to those whom the API
// server allows it. serveMetrics calls certificate only in the second case.
func (o *metricsOptions) serveMetrics(mgr ctrl.Manager, certificate func() (*tls.Config, error)) error {
	handler := promhttp.HandlerFor(metrics.Registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: maxScrapes,
	})
	mux := http.NewServeMux()
	if !o.isSecure {
		mux.Handle("/metrics", handler)
		return listen(mgr, "metrics", "--metrics-bind-address", o.bind, mux, nil)
	}
	handler, err := authorized(mgr, handler)
	if err != nil {
		return fmt.Errorf("--metrics-secure: %w", err)
	}
	secure, err := certificate()
	if err != nil {
		return err
	}
	mux.Handle("/metrics", handler)
	return listen(mgr, "metrics", "--metrics-bind-address", o.bind, mux, secure)
}

// authorized returns a handler that answers only those whom the API server knows and allows.
func authorized(mgr ctrl.Manager, handler http.Handler) (http.Handler, error) {
	config := rest.CopyConfig(mgr.GetConfig())
	config.QPS, config.Burst = reviewsPerSecond, reviewsAtOnce
	clientset, err := kubernetes.NewForConfigAndClient(config, mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return (&serving.Authorizer{Clientset: clientset, Clock: clock.RealClock{}}).Handler(handler), nil
}

// given returns a function for serveMetrics that returns a TLS configuration which exists already.
func given(secure *tls.Config) func() (*tls.Config, error) {
	return func() (*tls.Config, error) { return secure, nil }
}

// selfSigned returns the TLS configuration of gridlatch export, which has no certificate, and must not
// have the key of the CA. Nobody can verify the certificate that selfSigned makes.
func selfSigned() (*tls.Config, error) {
	certificate, key, err := certutil.GenerateSelfSignedCertKey(exportName, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}, nil
}
