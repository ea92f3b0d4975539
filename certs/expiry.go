package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ExpiryCollector exports until when the certificates of this process are valid, as of the scrape.
type ExpiryCollector struct {
	// Serving has the certificate that the servers present.
	Serving *tls.Config
	// Source is where the certificate comes from, or nil if somebody else makes the certificate.
	Source *Source
}

var expiryDesc = prometheus.NewDesc("gridlatch_certificate_expiry_timestamp_seconds",
	"Time until which a certificate is valid, in seconds since 1970, by certificate: serving (of the webhook, or of the metrics of gridlatch-certs), ca (which signs the serving certificates; absent if cert-manager makes them).",
	[]string{"certificate"}, nil)

// Describe implements prometheus.Collector.
func (c *ExpiryCollector) Describe(descs chan<- *prometheus.Desc) { descs <- expiryDesc }

// Collect implements prometheus.Collector. A certificate that does not exist yet has no metric.
func (c *ExpiryCollector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(certificate string, until time.Time) {
		metrics <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(until.Unix()), certificate)
	}
	if serving, err := c.Serving.GetCertificate(&tls.ClientHelloInfo{}); err == nil {
		if leaf, err := leafOf(serving); err == nil {
			gauge("serving", leaf.NotAfter)
		}
	}
	if c.Source == nil {
		return
	}
	if ca := c.Source.ca.current(); ca != nil {
		gauge("ca", ca.Leaf.NotAfter)
	}
}

// leafOf returns the certificate itself, without the CAs above it.
func leafOf(c *tls.Certificate) (*x509.Certificate, error) {
	switch {
	case c == nil || len(c.Certificate) == 0:
		return nil, errors.New("there is no certificate")
	case c.Leaf != nil:
		return c.Leaf, nil
	}
	return x509.ParseCertificate(c.Certificate[0])
}
