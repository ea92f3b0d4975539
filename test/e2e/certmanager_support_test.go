package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/test/env"
)

// certManaged is a cluster on which cert-manager makes the certificate of a
// Gridlatch that runs beside it.
type certManaged struct {
	c *env.Cluster
	x *env.Extender
	// port is the webhook's.
	port int
	// dir is where the Secret is mounted.
	dir string
}

func newCertManaged(t *testing.T) *certManaged {
	t.Helper()
	m := &certManaged{c: env.Start(t, env.Nodes(2)), dir: t.TempDir()}
	if err := cmapi.AddToScheme(m.c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	var err error
	if m.port, err = env.ReservePort(); err != nil {
		t.Fatal(err)
	}
	if m.x, err = env.NewExtender(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	return m
}

// install applies what a platform owner would, strictly, and then what differs
// for a controller beside the cluster: the API server knows it as localhost.
func (m *certManaged) install(t *testing.T) {
	t.Helper()
	if err := m.c.InstallCertManager(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.c.KubectlInput(t.Context(), overlay(t, "cert-manager"), "apply", "--validate=strict", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	beside := kustomize(t, `
resources: [MANIFESTS/local]
components: [MANIFESTS/components/cert-manager]
patches:
- target: {kind: Certificate, name: gridlatch}
  patch: |
    - {op: add, path: /spec/dnsNames/-, value: localhost}
`)
	if err := m.c.InstallRendered(t.Context(), beside, m.port); err != nil {
		t.Fatal(err)
	}
}

// await returns what is in a Secret once its certificate is there, and another
// than before.
func (m *certManaged) await(t *testing.T, name string, before map[string][]byte) map[string][]byte {
	t.Helper()
	var secret corev1.Secret
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		if err := m.c.Client.Get(ctx, client.ObjectKey{Namespace: env.Namespace, Name: name}, &secret); err != nil {
			return err
		}
		if certificate := secret.Data["tls.crt"]; len(certificate) == 0 || bytes.Equal(certificate, before["tls.crt"]) {
			return fmt.Errorf("the certificate in the Secret %s is not renewed", name)
		}
		return nil
	})
	return secret.Data
}

// renew asks cert-manager to renew a certificate now, as cmctl renew does.
func (m *certManaged) renew(t *testing.T, name string) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		var certificate cmapi.Certificate
		if err := m.c.Client.Get(ctx, client.ObjectKey{Namespace: env.Namespace, Name: name}, &certificate); err != nil {
			return err
		}
		ready := func(c cmapi.CertificateCondition) bool {
			return c.Type == cmapi.CertificateConditionReady && c.Status == cmmeta.ConditionTrue
		}
		if !slices.ContainsFunc(certificate.Status.Conditions, ready) {
			return fmt.Errorf("the Certificate %s is not ready: %+v", name, certificate.Status.Conditions)
		}
		now := metav1.Now()
		certificate.Status.Conditions = append(certificate.Status.Conditions, cmapi.CertificateCondition{
			Type: cmapi.CertificateConditionIssuing, Status: cmmeta.ConditionTrue, Reason: "ManuallyTriggered",
			LastTransitionTime: &now, ObservedGeneration: certificate.Generation,
		})
		return m.c.Client.Status().Update(ctx, &certificate)
	})
}

// project writes the Secret that the shipped Deployment mounts as a kubelet does:
// all of its files change at once, as one symbolic link is replaced.
func (m *certManaged) project(t *testing.T) {
	t.Helper()
	files := m.await(t, m.mounted(t), nil)
	version, err := os.MkdirTemp(m.dir, "..")
	if err != nil {
		t.Fatal(err)
	}
	data, next := filepath.Join(m.dir, "..data"), filepath.Join(m.dir, "..data_tmp")
	before, _ := os.Readlink(data) // none the first time
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(version, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(filepath.Base(version), next), os.Rename(next, data)); err != nil {
		t.Fatal(err)
	}
	if before != "" {
		if err := os.RemoveAll(filepath.Join(m.dir, before)); err != nil {
			t.Fatal(err)
		}
		return
	}
	for name := range files {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(m.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// mounted names the Secret that the Deployment mounts where Gridlatch is told to
// look for its certificate.
func (m *certManaged) mounted(t *testing.T) string {
	t.Helper()
	var d appsv1.Deployment
	if err := m.c.Client.Get(t.Context(), client.ObjectKey{Namespace: env.Namespace, Name: "gridlatch"}, &d); err != nil {
		t.Fatal(err)
	}
	pod := d.Spec.Template.Spec
	for _, mount := range pod.Containers[0].VolumeMounts {
		for _, volume := range pod.Volumes {
			told := slices.Contains(pod.Containers[0].Args, "--cert-dir="+mount.MountPath)
			if told && volume.Name == mount.Name && volume.Secret != nil {
				return volume.Secret.SecretName
			}
		}
	}
	t.Fatalf("no Secret is mounted where Gridlatch looks: %+v", pod)
	return ""
}

// callThroughout has the API server call the webhook ten times a second until
// what it returns is called, which fails the test if it ever did not trust it: that
// shows at once. A call that has run into the webhook's timeout says no more than
// that this machine was busy.
func (m *certManaged) callThroughout(t *testing.T) (stop func()) {
	t.Helper()
	const timeout = 3 * time.Second // as in manifests/base/webhook.yaml
	ctx, cancel := context.WithCancel(t.Context())
	missed := make(chan error, 1)
	calls := 0
	go func() {
		defer close(missed)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ; ctx.Err() == nil; <-tick.C {
			began := time.Now()
			if err := m.c.AskWebhook(ctx); err != nil && ctx.Err() == nil && time.Since(began) < timeout {
				missed <- fmt.Errorf("%s: %w", began.Format(time.RFC3339Nano), err)
				return
			}
			calls++
		}
	}()
	t.Cleanup(cancel)
	return func() {
		t.Helper()
		cancel()
		if err := <-missed; err != nil {
			t.Errorf("after %d calls: %v", calls, err)
		}
	}
}

// expectTrusted connects anew as the scheduler, which trusts ca, and as the API
// server, which trusts what cert-manager has told it to.
func (m *certManaged) expectTrusted(t *testing.T, ca []byte) {
	t.Helper()
	if err := handshake(t.Context(), m.x.Port, env.ExtenderHost, ca); err != nil {
		t.Errorf("the scheduler: %v", err)
	}
	var config admissionv1.MutatingWebhookConfiguration
	if err := m.c.Client.Get(t.Context(), client.ObjectKey{Name: "gridlatch"}, &config); err != nil {
		t.Fatal(err)
	}
	for _, webhook := range config.Webhooks {
		if err := handshake(t.Context(), m.port, "localhost", webhook.ClientConfig.CABundle); err != nil {
			t.Errorf("the API server, for %s: %v", webhook.Name, err)
		}
	}
}

// handshake connects to a server of that name.
func handshake(ctx context.Context, port int, name string, ca []byte) error {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return fmt.Errorf("there is nobody to trust in %q", ca)
	}
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: name}}
	connection, err := dialer.DialContext(ctx, "tcp", "localhost:"+strconv.Itoa(port))
	if err != nil {
		return err
	}
	return connection.Close()
}

// renewCA renews the CA, whose certificate is before, and what it has signed. It
// returns the new one when Gridlatch serves under it.
func (m *certManaged) renewCA(t *testing.T, before []byte) []byte {
	t.Helper()
	served := m.await(t, "gridlatch-serving", nil)
	m.renew(t, "gridlatch-ca")
	ca := m.await(t, "gridlatch-ca", map[string][]byte{"tls.crt": before})["tls.crt"]
	m.expectTrusted(t, ca) // the old certificate is served until the new CA has signed one
	m.renew(t, "gridlatch")
	served = m.await(t, "gridlatch-serving", served)
	if !bytes.Equal(served["ca.crt"], ca) {
		t.Errorf("the CA is\n%sbut what is served comes with\n%s", ca, served["ca.crt"])
	}
	m.expectServed(t, served)
	return ca
}

// expectServed has the kubelet catch up, and waits until both ports present what
// it has written.
func (m *certManaged) expectServed(t *testing.T, want map[string][]byte) {
	t.Helper()
	m.project(t)
	path := filepath.Join(m.dir, "tls.crt")
	awaitServed(t, m.port, want["tls.crt"], path)
	awaitServed(t, m.x.Port, want["tls.crt"], "to the scheduler, "+path)
}

// run starts Gridlatch with the files that are mounted, and returns when the API
// server calls it.
func (m *certManaged) run(t *testing.T) *env.Controller {
	t.Helper()
	g := m.c.Controller(t, m.port, "--cert-dir="+m.dir, m.x.Flag())
	env.Eventually(t, patience, m.c.AskWebhook)
	return g
}
