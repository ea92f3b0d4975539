package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
)

func TestTheExpiryOfCertificatesIsExported(t *testing.T) {
	until := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	ca := secretCA(t, 1, until)
	pair, err := tls.X509KeyPair(ca.Data[corev1.TLSCertKey], ca.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		t.Fatal(err)
	}
	withoutLeaf := tls.Certificate{Certificate: pair.Certificate, PrivateKey: pair.PrivateKey}
	read := &Source{ca: &signer{}}
	take(t, read.ca, ca)
	const value = "1798859045"
	for name, tt := range map[string]struct {
		serving *tls.Certificate
		source  *Source
		want    map[string]string // by certificate
	}{
		"the certificate and the CA":             {&pair, read, map[string]string{"ca": value, "serving": value}},
		"a certificate that is not parsed yet":   {&withoutLeaf, read, map[string]string{"ca": value, "serving": value}},
		"a certificate that somebody else makes": {&pair, nil, map[string]string{"serving": value}},
		"no certificate yet":                     {nil, read, map[string]string{"ca": value}},
		"no CA yet":                              {&pair, &Source{ca: &signer{}}, map[string]string{"serving": value}},
	} {
		t.Run(name, func(t *testing.T) {
			collector := &ExpiryCollector{Source: tt.source, Serving: &tls.Config{
				GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
					if tt.serving == nil {
						return nil, errors.New("no certificate yet")
					}
					return tt.serving, nil
				},
			}}
			const name = "gridlatch_certificate_expiry_timestamp_seconds"
			want := ""
			for _, certificate := range []string{"ca", "serving"} {
				if v, ok := tt.want[certificate]; ok {
					want += fmt.Sprintf("%s{certificate=%q} %s\n", name, certificate, v)
				}
			}
			text := "# HELP " + name + " Time until which a certificate is valid, in seconds since 1970, by certificate: serving (of the webhook, or of the metrics of gridlatch-certs), ca (which signs the serving certificates; absent if cert-manager makes them).\n# TYPE " + name + " gauge\n" + want
			if err := testutil.CollectAndCompare(collector, strings.NewReader(text)); err != nil {
				t.Error(err)
			}
			if problems, err := testutil.CollectAndLint(collector); err != nil || len(problems) > 0 {
				t.Errorf("%v %v", problems, err)
			}
		})
	}
}
