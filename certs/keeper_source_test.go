package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	webhookName = "gridlatch"
	host        = "gridlatch.gridlatch-system.svc"
)

func secretName() types.NamespacedName {
	return types.NamespacedName{Namespace: "gridlatch-system", Name: "gridlatch-ca"}
}

// configuration is a webhook configuration with two webhooks that trust a bundle.
func configuration(bundle []byte) *admissionv1.MutatingWebhookConfiguration {
	trust := admissionv1.WebhookClientConfig{CABundle: bundle}
	return &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: webhookName},
		Webhooks:   []admissionv1.MutatingWebhook{{Name: "pods", ClientConfig: trust}, {Name: "jobs", ClientConfig: trust}},
	}
}

// caSecret is the Secret that Gridlatch has in a cluster, with a CA that ends then.
func caSecret(t *testing.T, serial int64, until time.Time) *corev1.Secret {
	t.Helper()
	secret := secretCA(t, serial, until)
	secret.Name, secret.Namespace = secretName().Name, secretName().Namespace
	return secret
}

// trusted returns the certificates that each webhook of the configuration trusts.
func trusted(ctx context.Context, api client.Client) ([]byte, error) {
	var config admissionv1.MutatingWebhookConfiguration
	if err := api.Get(ctx, client.ObjectKey{Name: webhookName}, &config); err != nil {
		return nil, err
	}
	if !bytes.Equal(config.Webhooks[0].ClientConfig.CABundle, config.Webhooks[1].ClientConfig.CABundle) {
		return nil, errors.New("the two webhooks trust different certificates")
	}
	return config.Webhooks[0].ClientConfig.CABundle, nil
}

// currentCA returns the CA that is in the Secret.
func currentCA(ctx context.Context, api client.Client) ([]byte, error) {
	var secret corev1.Secret
	if err := api.Get(ctx, secretName(), &secret); err != nil {
		return nil, err
	}
	return secret.Data[corev1.TLSCertKey], nil
}

// servesUnder checks that a server with the source presents a certificate that the CA has signed.
func servesUnder(source *Source, ca []byte) error {
	var secure tls.Config
	source.TLS(&secure)
	presented, err := secure.GetCertificate(&tls.ClientHelloInfo{ServerName: host})
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(presented.Certificate[0])
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
	return err
}

// expectCA waits until another CA than before is in the Secret, the webhooks trust this CA first and
// then the others, and the source serves under this CA. It returns the CA.
func expectCA(t *testing.T, api client.Client, source *Source, before []byte, others ...[]byte) []byte {
	t.Helper()
	var ca []byte
	eventually(t, func() (err error) {
		if ca, err = currentCA(t.Context(), api); err != nil {
			return err
		}
		if bytes.Equal(ca, before) {
			return errors.New("the CA has not been replaced")
		}
		bundle, err := trusted(t.Context(), api)
		if err != nil {
			return err
		}
		if want := append(bytes.Clone(ca), bytes.Join(others, nil)...); !bytes.Equal(bundle, want) {
			return fmt.Errorf("the webhooks do not trust what they should: %s", cmp.Diff(string(want), string(bundle)))
		}
		return servesUnder(source, ca)
	})
	return ca
}

// replaceCA writes another CA into the Secret.
func replaceCA(t *testing.T, api client.Client, data map[string][]byte) {
	t.Helper()
	eventually(t, func() error {
		var secret corev1.Secret
		if err := api.Get(t.Context(), secretName(), &secret); err != nil {
			return err
		}
		secret.Data = data
		return api.Update(t.Context(), &secret)
	})
}

func TestTheAPIServerTrustsWhateverCertificateIsServed(t *testing.T) {
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	foreign := certificate(t, 9, time.Now().Add(time.Hour)) // somebody else has added it
	api := newSmallAPI(configuration(foreign))
	config := api.config(t)
	source := NewSource([]string{host})
	run(t, config, SecretByObject(secretName()), source.SetupWithManager)
	if err := servesUnder(source, nil); err == nil {
		t.Error("a certificate is served before there is a CA")
	}
	for range 2 { // two Keepers do no harm
		run(t, config, ByObject(secretName(), webhookName), NewKeeper(config, secretName(), webhookName).SetupWithManager)
	}

	first := expectCA(t, api, source, nil, foreign)
	if block := parse(t, first); block.NotAfter.Sub(block.NotBefore) != caDuration || !block.IsCA {
		t.Errorf("the CA is for %s, want %s; a CA: %t", block.NotAfter.Sub(block.NotBefore), caDuration, block.IsCA)
	}

	replaceCA(t, api, map[string][]byte{corev1.TLSCertKey: []byte("broken"), corev1.TLSPrivateKeyKey: []byte("broken"), "ca.crt": []byte("broken")})
	second := expectCA(t, api, source, first, first, foreign)
	if bytes.Equal(second, []byte("broken")) {
		t.Error("a broken CA has not been replaced")
	}

	aged := caSecretBetween(t, 5, time.Now().Add(-3*time.Hour), time.Now().Add(time.Hour)) // three quarters are over
	replaceCA(t, api, aged.Data)
	old := aged.Data[corev1.TLSCertKey]
	eventually(t, func() error {
		ca, err := currentCA(t.Context(), api)
		if err == nil && bytes.Equal(ca, old) {
			return errors.New("a CA that is about to end has not been renewed")
		}
		return err
	})
	eventually(t, func() error {
		ca, err := currentCA(t.Context(), api)
		if err != nil {
			return err
		}
		bundle, err := trusted(t.Context(), api)
		if err == nil && (!bytes.HasPrefix(bundle, ca) || !bytes.Contains(bundle, second)) {
			return errors.New("the webhooks do not trust the renewed CA first and the one before still")
		}
		return errors.Join(err, servesUnder(source, ca))
	})
}

func TestReconcileOfTheCABundle(t *testing.T) {
	ca := caSecret(t, 1, t0.AddDate(1, 0, 0))
	current := ca.Data[corev1.TLSCertKey]
	previous := certificate(t, 2, t0.Add(time.Hour))
	broken := caSecret(t, 3, t0.AddDate(1, 0, 0))
	broken.Data[corev1.TLSCertKey] = []byte("broken")
	ofCertManager := configuration(previous)
	ofCertManager.Annotations = map[string]string{cmapi.WantInjectAnnotation: "gridlatch-system/gridlatch"}
	for name, tt := range map[string]struct {
		config *admissionv1.MutatingWebhookConfiguration
		secret *corev1.Secret
		want   []byte
	}{
		"the CA is injected":                        {configuration(nil), ca, current},
		"a CA that was replaced is trusted still":   {configuration(previous), ca, append(bytes.Clone(current), previous...)},
		"what is right is not written":              {configuration(current), ca, current},
		"without a Secret the bundle stays":         {configuration(previous), nil, previous},
		"a broken CA is not injected":               {configuration(previous), broken, previous},
		"what cert-manager injects is left to that": {ofCertManager, ca, previous},
	} {
		t.Run(name, func(t *testing.T) {
			objects := []client.Object{tt.config}
			if tt.secret != nil {
				objects = append(objects, tt.secret.DeepCopy())
			}
			api := newSmallAPI(objects...)
			k := &Keeper{secret: secretName(), webhook: webhookName, client: api, now: func() time.Time { return t0 }}
			before := getConfiguration(t, api)
			if _, err := k.Reconcile(t.Context(), before.DeepCopy()); err != nil {
				t.Fatal(err)
			}
			got, err := trusted(t.Context(), api)
			if err != nil || !bytes.Equal(got, tt.want) {
				t.Errorf("%v; trusted are\n%s\nwant\n%s", err, got, tt.want)
			}
			if after := getConfiguration(t, api); bytes.Equal(tt.want, before.Webhooks[0].ClientConfig.CABundle) != (after.ResourceVersion == before.ResourceVersion) {
				t.Errorf("version %s became %s", before.ResourceVersion, after.ResourceVersion)
			}
		})
	}
}

func TestACABundleThatSomebodyHasChangedMeanwhileIsNotOverwritten(t *testing.T) {
	api := newSmallAPI(configuration(nil), caSecret(t, 1, t0.AddDate(1, 0, 0)))
	k := &Keeper{secret: secretName(), webhook: webhookName, client: api, now: func() time.Time { return t0 }}
	stale := getConfiguration(t, api)
	others := certificate(t, 2, t0.Add(time.Hour))
	changed := stale.DeepCopy()
	for i := range changed.Webhooks {
		changed.Webhooks[i].ClientConfig.CABundle = others
	}
	if err := api.Update(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Reconcile(t.Context(), stale); !apierrors.IsConflict(err) {
		t.Errorf("a stale configuration was written, with %v", err)
	}
	if got, err := trusted(t.Context(), api); err != nil || !bytes.Equal(got, others) {
		t.Errorf("%v; trusted are\n%s\nwant\n%s", err, got, others)
	}
	if _, err := k.Reconcile(t.Context(), getConfiguration(t, api)); err != nil {
		t.Errorf("the next attempt: %v", err)
	}
	if got, _ := trusted(t.Context(), api); !bytes.HasSuffix(got, others) || bytes.Equal(got, others) {
		t.Errorf("after the next attempt, trusted are\n%s", got)
	}
}

// parse returns the certificate in a PEM block.
func parse(t *testing.T, encoded []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(encoded)
	if block == nil {
		t.Fatalf("no certificate: %q", encoded)
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func getConfiguration(t *testing.T, api client.Client) *admissionv1.MutatingWebhookConfiguration {
	t.Helper()
	config := &admissionv1.MutatingWebhookConfiguration{}
	if err := api.Get(t.Context(), client.ObjectKey{Name: webhookName}, config); err != nil {
		t.Fatal(err)
	}
	return config
}
