package env

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// WriteCertificate puts a new self-signed certificate, fit for a CA as well as for a server of these hosts or a client,
// and its key into dir, as cert-manager does: tls.crt, tls.key and ca.crt. It returns the certificate as PEM.
func WriteCertificate(dir string, hosts ...string) ([]byte, error) {
	certificate, key, err := NewCertificate(inAYear(), hosts...)
	if err != nil {
		return nil, err
	}
	return certificate, writeCertificate(dir, certificate, key)
}

// NewCertificate returns a certificate as WriteCertificate makes it, and its key, as PEM. The certificate expires at a
// time.
func NewCertificate(expiresAt time.Time, hosts ...string) (certificate, key []byte, err error) {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return nil, nil, fmt.Errorf("encode key: %w", err)
	}
	certificate, err = signItself(signer, expiresAt, hosts)
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), err
}

// writeRSACertificate is WriteCertificate for those who only read keys of the kind and in the format that were usual
// before.
func writeRSACertificate(dir string, hosts ...string) ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	certificate, err := signItself(key, inAYear(), hosts)
	if err != nil {
		return nil, err
	}
	return certificate, writeCertificate(dir, certificate, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

func inAYear() time.Time { return time.Now().AddDate(1, 0, 0) }

// signItself returns a certificate of a key as PEM.
func signItself(key crypto.Signer, expiresAt time.Time, hosts []string) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: expiresAt, IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), nil
}

// writeCertificate puts a certificate and its key into dir.
func writeCertificate(dir string, certificate, key []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	for name, data := range map[string][]byte{"tls.key": key, "tls.crt": certificate, "ca.crt": certificate} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return fmt.Errorf("write certificate: %w", err)
		}
	}
	return nil
}
