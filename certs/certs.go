// Package certs keeps the webhook reachable where cert-manager is not
// installed: a self-signed CA in a Secret, a short-lived serving certificate in
// the memory of each replica, and the CA in the webhook configuration's
// caBundle.
//
// It stands on cert-manager's own library. No volume, no restart and no order
// of installation is needed: each replica signs for itself as soon as the
// Secret is there, and again when the CA is replaced. A replaced CA stays in
// the caBundle for as long as it is valid, so that replicas which still serve
// under it are trusted until they have changed over.
package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	servertls "github.com/cert-manager/cert-manager/pkg/server/tls"
	"github.com/cert-manager/cert-manager/pkg/server/tls/authority"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	caDuration   = 365 * 24 * time.Hour
	leafDuration = 7 * 24 * time.Hour
)

// Names are the objects that certificates are kept in and made for.
type Names struct {
	// Secret holds the CA and its key.
	Secret types.NamespacedName
	// Webhook is the MutatingWebhookConfiguration to make trust the CA.
	Webhook string
	// Hosts are the DNS names under which the webhook is called.
	Hosts []string
}

// CacheByObject says what this package needs to have cached: the one Secret
// and the one configuration, so that no right to read others is needed.
func (n Names) CacheByObject() map[client.Object]cache.ByObject {
	named := func(name string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", name) }
	return map[client.Object]cache.ByObject{
		&corev1.Secret{}: {Namespaces: map[string]cache.Config{
			n.Secret.Namespace: {FieldSelector: named(n.Secret.Name)},
		}},
		&admissionv1.MutatingWebhookConfiguration{}: {Field: named(n.Webhook)},
	}
}

// Source serves certificates that it signs itself.
type Source struct {
	names  Names
	tls    *servertls.DynamicSource
	client client.Client
	now    func() time.Time
}

// New returns a source; it has a certificate some time after it was set up
// with a manager that runs.
func New(config *rest.Config, names Names) *Source {
	return &Source{names: names, now: time.Now, tls: &servertls.DynamicSource{
		DNSNames: names.Hosts,
		Authority: &authority.DynamicAuthority{
			RESTConfig: config, SecretNamespace: names.Secret.Namespace, SecretName: names.Secret.Name,
			CommonName: "gridlatch-ca", CADuration: caDuration, LeafDuration: leafDuration,
		},
	}}
}

// TLS makes a server present the current certificate; handshakes fail until
// there is one.
func (s *Source) TLS(config *tls.Config) { config.GetCertificate = s.tls.GetCertificate }

// SetupWithManager runs the source in every replica, and keeps the webhook
// configuration's caBundle current from the leader.
func (s *Source) SetupWithManager(mgr manager.Manager) error {
	s.client = mgr.GetClient()
	if err := mgr.Add(s.tls); err != nil {
		return fmt.Errorf("add certificate source: %w", err)
	}
	toWebhook := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: s.names.Webhook}}}
	})
	err := ctrl.NewControllerManagedBy(mgr).Named("cabundle").
		For(&admissionv1.MutatingWebhookConfiguration{}).
		Watches(&corev1.Secret{}, toWebhook).
		Complete(reconcile.AsReconciler(s.client, s))
	if err != nil {
		return fmt.Errorf("set up caBundle injection: %w", err)
	}
	return nil
}

// Reconcile puts the CA into every caBundle of a configuration.
func (s *Source) Reconcile(ctx context.Context, config *admissionv1.MutatingWebhookConfiguration) (ctrl.Result, error) {
	var secret corev1.Secret
	if err := s.client.Get(ctx, s.names.Secret, &secret); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err) // its creation comes back here
	}
	changed := config.DeepCopy()
	for i := range changed.Webhooks {
		trust := &changed.Webhooks[i].ClientConfig
		trust.CABundle = bundle(trust.CABundle, secret.Data[corev1.TLSCertKey], s.now())
	}
	if same(config, changed) {
		return ctrl.Result{}, nil
	}
	patch := client.MergeFromWithOptions(config, client.MergeFromWithOptimisticLock{})
	if err := s.client.Patch(ctx, changed, patch); err != nil {
		return ctrl.Result{}, fmt.Errorf("patch MutatingWebhookConfiguration %s: %w", config.Name, err)
	}
	return ctrl.Result{}, nil
}

func same(a, b *admissionv1.MutatingWebhookConfiguration) bool {
	for i := range a.Webhooks {
		if !bytes.Equal(a.Webhooks[i].ClientConfig.CABundle, b.Webhooks[i].ClientConfig.CABundle) {
			return false
		}
	}
	return true
}

// bundle returns ca followed by those certificates of old that are still
// valid, each once. Old ones that cannot be read are dropped.
func bundle(old, ca []byte, now time.Time) []byte {
	kept := append([]byte(nil), ca...)
	for block, rest := pem.Decode(old); block != nil; block, rest = pem.Decode(rest) {
		encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err == nil && now.Before(certificate.NotAfter) && !bytes.Contains(kept, encoded) {
			kept = append(kept, encoded...)
		}
	}
	return kept
}
