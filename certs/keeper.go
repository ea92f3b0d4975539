package certs

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/server/tls/authority"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Keeper makes and renews the CA, and makes the API server trust the CA.
type Keeper struct {
	secret  types.NamespacedName
	webhook string
	ca      *authority.DynamicAuthority
	client  client.Client
	now     func() time.Time
}

// NewKeeper returns a Keeper of the CA in a Secret, and of the caBundle in a
// MutatingWebhookConfiguration.
func NewKeeper(config *rest.Config, secret types.NamespacedName, webhook string) *Keeper {
	return &Keeper{secret: secret, webhook: webhook, now: time.Now, ca: &authority.DynamicAuthority{
		RESTConfig: config, SecretNamespace: secret.Namespace, SecretName: secret.Name,
		CommonName: "gridlatch-ca", CADuration: caDuration, LeafDuration: leafDuration,
	}}
}

// SetupWithManager runs the Keeper for as long as a manager runs.
func (k *Keeper) SetupWithManager(mgr manager.Manager) error {
	k.client = mgr.GetClient()
	if err := mgr.Add(manager.RunnableFunc(k.ca.Run)); err != nil {
		return fmt.Errorf("add CA: %w", err)
	}
	toWebhook := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: k.webhook}}}
	})
	err := ctrl.NewControllerManagedBy(mgr).Named("cabundle").
		For(&admissionv1.MutatingWebhookConfiguration{}).
		Watches(&corev1.Secret{}, toWebhook).
		Complete(reconcile.AsReconciler(k.client, k))
	if err != nil {
		return fmt.Errorf("set up caBundle injection: %w", err)
	}
	return nil
}

// Reconcile puts the CA into every caBundle of a configuration.
func (k *Keeper) Reconcile(ctx context.Context, config *admissionv1.MutatingWebhookConfiguration) (ctrl.Result, error) {
	if config.Annotations[cmapi.WantInjectAnnotation] != "" {
		return ctrl.Result{}, nil // cert-manager injects
	}
	var secret corev1.Secret
	if err := k.client.Get(ctx, k.secret, &secret); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err) // the creation of the Secret calls Reconcile again
	}
	ca := secret.Data[corev1.TLSCertKey]
	if len(certificatesIn(ca)) == 0 {
		return ctrl.Result{}, nil // the CA is about to be replaced, which calls Reconcile again
	}
	changed := config.DeepCopy()
	for i := range changed.Webhooks {
		trust := &changed.Webhooks[i].ClientConfig
		trust.CABundle = MergeBundles(trust.CABundle, ca, k.now())
	}
	if haveSameBundles(config, changed) {
		return ctrl.Result{}, nil
	}
	patch := client.MergeFromWithOptions(config, client.MergeFromWithOptimisticLock{})
	if err := k.client.Patch(ctx, changed, patch); err != nil {
		return ctrl.Result{}, fmt.Errorf("patch MutatingWebhookConfiguration %s: %w", config.Name, err)
	}
	return ctrl.Result{}, nil
}

// haveSameBundles reports whether two versions of a configuration have the same caBundles.
func haveSameBundles(a, b *admissionv1.MutatingWebhookConfiguration) bool {
	for i := range a.Webhooks {
		if !bytes.Equal(a.Webhooks[i].ClientConfig.CABundle, b.Webhooks[i].ClientConfig.CABundle) {
			return false
		}
	}
	return true
}

// MergeBundles returns the CA, followed by each certificate of the old bundle that is still valid. A
// certificate that cannot be read is dropped.
func MergeBundles(old, ca []byte, now time.Time) []byte {
	kept := bytes.Clone(ca)
	for _, certificate := range certificatesIn(old) {
		encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
		if now.Before(certificate.NotAfter) && !bytes.Contains(kept, encoded) {
			kept = append(kept, encoded...)
		}
	}
	return kept
}

// certificatesIn returns the certificates in PEM blocks that can be read.
func certificatesIn(encoded []byte) []*x509.Certificate {
	var certificates []*x509.Certificate
	for block, rest := pem.Decode(encoded); block != nil; block, rest = pem.Decode(rest) {
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			certificates = append(certificates, certificate)
		}
	}
	return certificates
}
