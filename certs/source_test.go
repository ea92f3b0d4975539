package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/cert-manager/cert-manager/pkg/server/tls/authority"
	corev1 "k8s.io/api/core/v1"
)

// secretCA is a Secret with a CA that is valid until then.
func secretCA(t *testing.T, serial int64, until time.Time) *corev1.Secret {
	t.Helper()
	return caSecretBetween(t, serial, t0.Add(-time.Hour), until)
}

// caSecretBetween is a Secret with a CA that is valid from one time to another.
func caSecretBetween(t *testing.T, serial int64, from, until time.Time) *corev1.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "ca"}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{Data: map[string][]byte{
		"ca.crt":                pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}}
}

func take(t *testing.T, s *signer, secret *corev1.Secret) {
	t.Helper()
	if _, err := s.Reconcile(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

// sign asks for a certificate of a server.
func sign(t *testing.T, s *signer) (*x509.Certificate, error) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s.Sign(&x509.Certificate{
		PublicKeyAlgorithm: x509.ECDSA, PublicKey: key.Public(), DNSNames: []string{"host"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// expectSigned wants a certificate that is trusted by the CA of a Secret, until then.
func expectSigned(t *testing.T, s *signer, by *corev1.Secret, until time.Time) {
	t.Helper()
	got, err := sign(t, s)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(by.Data[corev1.TLSCertKey])
	if _, err := got.Verify(x509.VerifyOptions{Roots: roots, DNSName: "host", CurrentTime: t0}); err != nil {
		t.Error(err)
	}
	if behind := min(clockTolerance, until.Sub(t0)); !got.NotBefore.Equal(t0.Add(-behind)) {
		t.Errorf("it is valid from %s, want %v before %s, for a clock that is behind", got.NotBefore, behind, t0)
	}
	if !got.NotAfter.Equal(until) {
		t.Errorf("it is valid until %s, want %s", got.NotAfter, until)
	}
}

func TestReplicasSignWithTheCAThatIsThere(t *testing.T) {
	s := &signer{now: func() time.Time { return t0 }}
	if _, err := sign(t, s); !errors.Is(err, authority.ErrCertificateNotAvailable) {
		t.Errorf("without a CA: %v", err)
	}
	rotated, gone := make(chan struct{}, 1), make(chan struct{}, 1)
	s.WatchRotation(rotated)
	s.WatchRotation(gone)
	s.StopWatchingRotation(gone)

	first := secretCA(t, 1, t0.AddDate(1, 0, 0))
	take(t, s, first)
	expectSigned(t, s, first, t0.Add(leafDuration))
	take(t, s, first) // as the watch repeats it
	if len(rotated) != 1 || len(gone) != 0 {
		t.Errorf("told %d times and, after it was enough, %d times", len(rotated), len(gone))
	}
	<-rotated
	take(t, s, first)
	if len(rotated) != 0 {
		t.Error("told of a CA that is the same")
	}

	second := secretCA(t, 2, t0.Add(time.Hour)) // nearly over
	take(t, s, second)
	expectSigned(t, s, second, t0.Add(time.Hour))
	if len(rotated) != 1 {
		t.Error("not told of another CA")
	}
	mixed := secretCA(t, 3, t0.AddDate(1, 0, 0))
	mixed.Data[corev1.TLSPrivateKeyKey] = first.Data[corev1.TLSPrivateKeyKey]
	for name, broken := range map[string]*corev1.Secret{"an empty Secret": {}, "a key of another CA": mixed} {
		t.Run(name, func(t *testing.T) {
			take(t, s, broken)
			expectSigned(t, s, second, t0.Add(time.Hour))
		})
	}
	take(t, s, secretCA(t, 4, t0))
	if _, err := sign(t, s); !errors.Is(err, authority.ErrCertificateNotAvailable) {
		t.Errorf("with a CA that has expired: %v", err)
	}
}
