package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"sync"
	"time"

	servertls "github.com/cert-manager/cert-manager/pkg/server/tls"
	"github.com/cert-manager/cert-manager/pkg/server/tls/authority"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Source serves certificates that Source signs itself. Source only reads the CA.
type Source struct {
	tls *servertls.DynamicSource
	ca  *signer
}

// NewSource returns a source of certificates for DNS names. A certificate exists some time after
// the manager has started and the Secret exists.
func NewSource(hosts []string) *Source {
	ca := &signer{now: time.Now}
	return &Source{ca: ca, tls: &servertls.DynamicSource{DNSNames: hosts, Authority: ca}}
}

// TLS makes a server present the current certificate. TLS handshakes fail until there is one.
func (s *Source) TLS(config *tls.Config) { config.GetCertificate = s.tls.GetCertificate }

// CA returns the certificate of the CA with which Source signs, in PEM; nil if there is none yet.
func (s *Source) CA() []byte {
	ca := s.ca.current()
	if ca == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Leaf.Raw})
}

// WatchRotation makes Source send to a channel when there is another CA. A channel that is full is left
// as it is.
func (s *Source) WatchRotation(rotated chan<- struct{}) { s.ca.WatchRotation(rotated) }

// SetupWithManager runs the source in every replica. The cache of the manager must keep what
// [SecretByObject] returns.
func (s *Source) SetupWithManager(mgr manager.Manager) error {
	if err := mgr.Add(s.tls); err != nil {
		return fmt.Errorf("add certificate source: %w", err)
	}
	everyReplica := false
	err := ctrl.NewControllerManagedBy(mgr).Named("certificates").
		For(&corev1.Secret{}).
		WithOptions(controller.Options{NeedLeaderElection: &everyReplica}).
		Complete(reconcile.AsReconciler(mgr.GetClient(), s.ca))
	if err != nil {
		return fmt.Errorf("watch the CA: %w", err)
	}
	return nil
}

// signer signs with the CA that was read last. A DynamicSource calls the signer.
type signer struct {
	now func() time.Time

	mu          sync.Mutex
	ca          *tls.Certificate // nil until the first CA was read
	subscribers []chan<- struct{}
}

// Reconcile takes over the CA in a Secret, and requests new certificates. A CA that cannot be used
// leaves the last good CA in use.
func (s *signer) Reconcile(ctx context.Context, secret *corev1.Secret) (ctrl.Result, error) {
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		log.FromContext(ctx).Error(err, "cannot use the CA") // another CA calls Reconcile again
		return ctrl.Result{}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ca != nil && s.ca.Leaf.Equal(pair.Leaf) {
		return ctrl.Result{}, nil
	}
	s.ca = &pair
	for _, rotated := range s.subscribers {
		select {
		case rotated <- struct{}{}:
		default: // a notification waits already
		}
	}
	return ctrl.Result{}, nil
}

// Run does nothing, because the manager watches the Secret.
func (s *signer) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// WatchRotation subscribes a channel to changes of the CA.
func (s *signer) WatchRotation(rotated chan<- struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers = append(s.subscribers, rotated)
}

// StopWatchingRotation ends the subscription of a channel.
func (s *signer) StopWatchingRotation(rotated chan<- struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers = slices.DeleteFunc(s.subscribers, func(c chan<- struct{}) bool { return c == rotated })
}

// current returns the CA that was read last, or nil.
func (s *signer) current() *tls.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ca
}

// Sign makes a certificate of a template. The certificate is valid from a while ago on, for API
// servers whose clocks are behind ours, and never for longer than the CA.
func (s *signer) Sign(template *x509.Certificate) (*x509.Certificate, error) {
	ca, now := s.current(), s.now()
	if ca == nil || !now.Before(ca.Leaf.NotAfter) {
		return nil, authority.ErrCertificateNotAvailable
	}
	template.BasicConstraintsValid = true
	template.NotAfter = now.Add(leafDuration)
	if ca.Leaf.NotAfter.Before(template.NotAfter) {
		template.NotAfter = ca.Leaf.NotAfter
	}
	// A certificate that is nearly over is renewed after a part of its whole time: most of that must
	// not be past already.
	template.NotBefore = now.Add(-min(clockTolerance, template.NotAfter.Sub(now)))
	_, certificate, err := pki.SignCertificate(template, ca.Leaf, template.PublicKey, ca.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return certificate, nil
}
