package e2e

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"testing"

	"github.com/gridlatch/gridlatch/test/env"
)

// TestCertificatesOfCertManagerAreRenewedUnnoticed installs the shipped component
// and has the real cert-manager renew first the certificate that is served, then
// the CA. The API server goes on calling the webhook, also while the files are
// still the old ones, and a scheduler trusts what it was told to at the start.
func TestCertificatesOfCertManagerAreRenewedUnnoticed(t *testing.T) {
	t.Parallel()
	m := newCertManaged(t)
	m.install(t)
	m.c.CertManager(t)
	first := m.await(t, "gridlatch-serving", nil)
	pinned := first["ca.crt"]
	m.project(t)
	controller := m.run(t)
	missed := m.callThroughout(t)

	m.renew(t, "gridlatch")
	second := m.await(t, "gridlatch-serving", first)
	if !bytes.Equal(second["ca.crt"], pinned) {
		t.Errorf("the CA was\n%sand is\n%s", pinned, second["ca.crt"])
	}
	if bytes.Equal(second["tls.key"], first["tls.key"]) {
		t.Error("the key has not changed")
	}
	m.expectTrusted(t, pinned) // the files are not renewed yet: a kubelet may take a minute
	m.expectServed(t, second)
	m.expectTrusted(t, pinned)
	// where manifests/components/extender/README.md says that it is
	if told := m.await(t, "gridlatch-ca", nil)["tls.crt"]; !bytes.Equal(told, pinned) {
		t.Errorf("the CA is\n%swhile schedulers are told\n%s", pinned, told)
	}
	ca := m.renewCA(t, pinned)
	m.expectTrusted(t, pinned)
	m.expectTrusted(t, ca)
	missed()

	// connections outlive certificates; after a restart there are new ones only
	if err := controller.Stop(); err != nil {
		t.Fatal(err)
	}
	m.run(t)
}

// TestCertManagerTakesOverTheCAThatIsThere installs the component where Gridlatch
// has made its own certificates: nobody has to be told anew whom to trust.
func TestCertManagerTakesOverTheCAThatIsThere(t *testing.T) {
	t.Parallel()
	for name, byHand := range map[string]bool{"made by Gridlatch": false, "made by hand": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newCertManaged(t)
			if byHand {
				if err := m.c.GiveCA(t.Context(), m.x); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.c.Install(t.Context(), m.port); err != nil {
				t.Fatal(err)
			}
			before := m.c.Controller(t, m.port, m.x.Flag())
			env.Eventually(t, patience, m.c.AskWebhook)
			pinned := m.await(t, "gridlatch-ca", nil)["tls.crt"]

			m.install(t)
			env.Eventually(t, patience, m.c.AskWebhook)
			missed := m.callThroughout(t)
			m.c.CertManager(t)
			served := m.await(t, "gridlatch-serving", nil)
			m.project(t)
			missed()
			if err := before.Stop(); err != nil {
				t.Fatal(err)
			}
			m.run(t)
			awaitServed(t, m.port, served["tls.crt"], filepath.Join(m.dir, "tls.crt"))
			m.expectTrusted(t, pinned)
			ca := m.await(t, "gridlatch-ca", nil)["tls.crt"]
			expectSameKey(t, pinned, ca)
			if byHand { // with another kind of key, which cert-manager lets be
				return
			}
			m.renewCA(t, ca)
			m.expectTrusted(t, pinned)
		})
	}
}

// expectSameKey compares the keys of two CAs. Whoever trusts the first CA then
// trusts what the second one signs. The certificates may differ: cert-manager
// labels a Secret that it takes over, and the Secret then changes from one of
// its caches to another. Where cert-manager looks in between, the Secret seems
// to be missing, and cert-manager signs the CA anew with the key that is there.
func expectSameKey(t *testing.T, first, second []byte) {
	t.Helper()
	if !bytes.Equal(publicKey(t, first), publicKey(t, second)) {
		t.Errorf("the CA was\n%sand has another key now:\n%s", first, second)
	}
}

// publicKey returns the public key of a certificate in PEM.
func publicKey(t *testing.T, encoded []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(encoded)
	if block == nil {
		t.Fatalf("no certificate is in %q", encoded)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate.RawSubjectPublicKeyInfo
}
