package serving

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a CA that signs certificates of clients and servers.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.certificate, a.key = a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign makes a certificate; one of its own if there is no CA yet.
func (a *authority) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if a.certificate != nil {
		parent, signer = a.certificate, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// pair is a certificate with its key.
func (a *authority) pair(t *testing.T, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	certificate, key := a.sign(t, &x509.Certificate{DNSNames: []string{"server"}, ExtKeyUsage: []x509.ExtKeyUsage{usage}})
	return tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

func TestOnlyCallersWithACertificateAreAnswered(t *testing.T) {
	servers, ours, theirs := newAuthority(t), newAuthority(t), newAuthority(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	trust := func(a *authority) {
		if err := os.WriteFile(file, a.pem(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trust(ours)
	secure, err := Authenticate(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{servers.pair(t, x509.ExtKeyUsageServerAuth)}}, file)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	go func() { _ = server.Serve(tls.NewListener(Bound(listener), secure)) }()
	t.Cleanup(func() { _ = server.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(servers.certificate)
	call := func(certificates ...tls.Certificate) (string, error) {
		client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: "server", Certificates: certificates},
			ForceAttemptHTTP2: true,
		}}
		defer client.CloseIdleConnections()
		response, err := client.Get("https://" + listener.Addr().String())
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return string(body), err
	}
	mine, other := ours.pair(t, x509.ExtKeyUsageClientAuth), theirs.pair(t, x509.ExtKeyUsageClientAuth)
	if got, err := call(mine); err != nil || got != "HTTP/1.1" {
		t.Errorf("a certificate of ours: %q, %v; want an answer by HTTP/1.1", got, err)
	}
	for name, certificates := range map[string][]tls.Certificate{
		"no certificate": nil, "a certificate of somebody else": {other}, "a certificate for servers": {ours.pair(t, x509.ExtKeyUsageServerAuth)},
	} {
		if _, err := call(certificates...); err == nil {
			t.Errorf("%s: the caller is answered", name)
		}
	}
	trust(theirs) // the file is read anew for each connection
	if _, err := call(mine); err == nil {
		t.Error("a caller is answered whom nobody trusts any more")
	}
	if _, err := call(other); err != nil {
		t.Errorf("a caller who is trusted now is not answered: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := call(other); err == nil {
		t.Error("a caller is answered although nobody says whom to trust")
	}
}

func TestAFileWithoutCertificatesIsRefusedAtTheStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.crt")
	if _, err := Authenticate(&tls.Config{MinVersion: tls.VersionTLS13}, file); err == nil {
		t.Error("a file that does not exist is accepted")
	}
	if err := os.WriteFile(file, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Authenticate(&tls.Config{MinVersion: tls.VersionTLS13}, file); err == nil || !strings.Contains(err.Error(), file+": want certificates in PEM") {
		t.Errorf("a file without certificates: %v", err)
	}
}
