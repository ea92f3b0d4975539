// Package certs keeps the webhook reachable where cert-manager is not
// installed: a self-signed CA in a Secret, a short-lived serving certificate in
// the memory of each replica, and the CA in the webhook configuration's
// caBundle.
//
// # Two parts
//
// A [Keeper] makes and renews the CA, and writes the caBundle. It runs by itself
// (gridlatch certs), because whoever may write a webhook configuration may see
// and change every object of the cluster: no admission policy can confine such
// writes, since the API server exempts these configurations from admission.
// Its service account can do nothing else, and it listens for nothing but
// metrics and probes.
//
// A [Source] is in each replica of Gridlatch. It reads the Secret, signs a
// certificate for itself, and signs again when the CA is replaced. It never
// writes, and needs no right to.
//
// No volume, no restart and no order of installation is needed. One Keeper is
// enough, for it has months to renew a CA. Two do no harm: a write fails on what
// the other has changed, so that they need no leader. A replaced CA stays in the
// caBundle for as long as it is valid, so that replicas which still serve under
// it are trusted until they have changed over.
//
// Where cert-manager is to write the caBundle, a Keeper that was left behind
// lets it be.
package certs

import (
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	caDuration   = 365 * 24 * time.Hour
	leafDuration = 7 * 24 * time.Hour
)

// SecretByObject says what a Source needs to have cached: the one Secret, so
// that no right to read others is needed.
func SecretByObject(secret types.NamespacedName) map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&corev1.Secret{}: {Namespaces: map[string]cache.Config{
			secret.Namespace: {FieldSelector: byName(secret.Name)},
		}},
	}
}

// ByObject says what a Keeper needs to have cached: the one Secret and the one
// MutatingWebhookConfiguration.
func ByObject(secret types.NamespacedName, webhook string) map[client.Object]cache.ByObject {
	cached := SecretByObject(secret)
	cached[&admissionv1.MutatingWebhookConfiguration{}] = cache.ByObject{Field: byName(webhook)}
	return cached
}

func byName(name string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", name) }
