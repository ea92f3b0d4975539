package serving

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Authenticate makes a server require a client certificate that a CA in a file has signed. The file
// is read anew for each connection. Authenticate reads the file once, and fails if the file cannot
// be used.
func Authenticate(secure *tls.Config, ca string) (*tls.Config, error) {
	configure := func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pool, err := readPool(ca)
		if err != nil {
			return nil, fmt.Errorf("CA of clients: %w", err)
		}
		config := secure.Clone()
		config.ClientCAs, config.ClientAuth = pool, tls.RequireAndVerifyClientCert
		return config, nil
	}
	if _, err := configure(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: secure.MinVersion, GetConfigForClient: configure}, nil
}

func readPool(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: want certificates in PEM", path)
	}
	return pool, nil
}
