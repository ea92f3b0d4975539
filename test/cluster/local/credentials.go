package local

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// frontProxy is the name of the client that the API server is for those who serve an APIService.
const frontProxy = "front-proxy"

// validity is far longer than a test cluster lives.
const validity = 30 * 24 * time.Hour

// credentials are what a client needs: whom to trust, and the administrator's token.
type credentials struct {
	authority []byte // PEM
	token     string
}

// writeCredentials makes a new certificate authority, a serving certificate for loopback, a key pair for service
// account tokens and an administrator's token. The authority's key is thrown away.
func writeCredentials(d *directory) (credentials, error) {
	c := credentials{token: rand.Text()}
	authorityKey, err := newKey()
	if err != nil {
		return c, err
	}
	authority := certificateTemplate("gridlatch-cluster")
	authority.IsCA, authority.BasicConstraintsValid = true, true
	authority.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	if c.authority, err = sign(authority, authority, &authorityKey.PublicKey, authorityKey); err != nil {
		return c, err
	}
	servingKey, err := newKey()
	if err != nil {
		return c, err
	}
	serving := certificateTemplate("localhost")
	serving.KeyUsage = x509.KeyUsageDigitalSignature
	serving.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	serving.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	serving.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)}
	certificate, err := sign(serving, authority, &servingKey.PublicKey, authorityKey)
	if err != nil {
		return c, err
	}
	accountKey, err := newKey()
	if err != nil {
		return c, err
	}
	if err := writeKeys(d, c, certificate, servingKey, accountKey); err != nil {
		return c, err
	}
	return c, writeFrontProxy(d, authority, authorityKey)
}

// writeFrontProxy makes and writes the certificate and the key of the API server as a client of those who serve an
// APIService.
func writeFrontProxy(d *directory, authority *x509.Certificate, authorityKey *ecdsa.PrivateKey) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	client := certificateTemplate(frontProxy)
	client.KeyUsage = x509.KeyUsageDigitalSignature
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	certificate, err := sign(client, authority, &key.PublicKey, authorityKey)
	if err != nil {
		return err
	}
	private, err := privatePEM(key)
	if err != nil {
		return err
	}
	return writeFiles(d, map[string][]byte{"front-proxy.crt": certificate, "front-proxy.key": private})
}

// writeKeys puts everything where the components' arguments say it is, readable by the owner only.
func writeKeys(d *directory, c credentials, certificate []byte, serving, account *ecdsa.PrivateKey) error {
	servingPEM, err := privatePEM(serving)
	if err != nil {
		return err
	}
	accountPEM, err := privatePEM(account)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&account.PublicKey)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	return writeFiles(d, map[string][]byte{
		"ca.crt":              c.authority,
		"serving.crt":         certificate,
		"serving.key":         servingPEM,
		"service-account.key": accountPEM,
		"service-account.pub": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
		"tokens.csv":          []byte(c.token + ",admin,admin,system:masters\n"),
	})
}

// writeFiles writes files that only the owner can read.
func writeFiles(d *directory, contents map[string][]byte) error {
	for name, content := range contents {
		if err := os.WriteFile(d.file("pki", name), content, 0o600); err != nil {
			return fmt.Errorf("write keys: %w", err)
		}
	}
	return nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return key, nil
}

func privatePEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func certificateTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(validity),
	}
}

// sign gives the certificate as PEM.
func sign(template, parent *x509.Certificate, public *ecdsa.PublicKey, by *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// writeKubeconfig writes the administrator's kubeconfig, complete in one file that only the owner can read. It is
// JSON, which is YAML too.
func writeKubeconfig(path, server string, c credentials) error {
	type object = map[string]any
	config := object{
		"apiVersion": "v1", "kind": "Config", "current-context": "gridlatch",
		"clusters": []object{{"name": "gridlatch", "cluster": object{
			"server": server, "certificate-authority-data": c.authority}}},
		"users":    []object{{"name": "admin", "user": object{"token": c.token}}},
		"contexts": []object{{"name": "gridlatch", "context": object{"cluster": "gridlatch", "user": "admin"}}},
	}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return fmt.Errorf("encode kubeconfig: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}
