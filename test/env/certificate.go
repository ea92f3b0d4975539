package env

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/util/cert"
)

// WriteCertificate puts a new certificate for localhost into a directory as cert-manager does, with its key and who
// signed it, and returns what to trust: the certificate first, then who signed it.
func WriteCertificate(dir string) ([]byte, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("write certificate: %w", err)
	}
	chain, key, err := cert.GenerateSelfSignedCertKey("localhost", nil, nil)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	for file, text := range map[string][]byte{"tls.crt": chain, "tls.key": key, "ca.crt": chain} {
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			return nil, fmt.Errorf("write certificate: %w", err)
		}
	}
	return chain, nil
}
