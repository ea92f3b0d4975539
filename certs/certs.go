// Package certs makes the webhook's certificates where cert-manager is not installed: a self-signed
// CA in a Secret, a short-lived serving certificate in the memory of each replica, and the CA in
// the caBundle of the webhook configuration.
//
// # Two parts
//
// A [Keeper] makes and renews the CA, and writes the caBundle. The Keeper is a process of its own
// (gridlatch certs), because a program that may write a webhook configuration may see and change
// every object of the cluster. No admission policy can limit such writes, since the API server does
// not ask admission about these configurations. The Keeper's service account can do nothing else,
// and the Keeper serves only metrics and probes.
//
// A [Source] is in each replica of Gridlatch. The Source reads the Secret, signs a certificate for
// itself, and signs again when the CA is replaced. The Source never writes, and needs no right to
// write.
//
// No volume, no restart and no order of installation is needed. One Keeper is enough, because a
// Keeper has months to renew a CA. Two Keepers do no harm and need no leader: a write fails if the
// other Keeper has written in between. A replaced CA stays in the caBundle for as long as the CA is
// valid. So replicas that still serve under the old CA are trusted until they serve under the new
// one.
//
// Where cert-manager writes the caBundle, a Keeper that was left behind does not write.
//
// # LDAP and NTLM in go.mod
//
// The renewal of certificates and the signing are cert-manager's. Its package pki also parses names
// of LDAP for one function that Gridlatch never calls. So go.mod lists a client for LDAP, and its
// client for NTLM. The linker leaves both clients out of the program: only LDAP's tables of error
// names remain, about 2 KiB. A test of the image looks for them.
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
	// clockTolerance is how far the clock of an API server may be behind that of a replica.
	clockTolerance = time.Hour
)

// SecretByObject returns what the cache of a Source must keep: one Secret, so that no right to read
// others is needed.
func SecretByObject(secret types.NamespacedName) map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&corev1.Secret{}: {Namespaces: map[string]cache.Config{
			secret.Namespace: {FieldSelector: byName(secret.Name)},
		}},
	}
}

// ByObject returns what the cache of a Keeper must keep: one Secret and one
// MutatingWebhookConfiguration.
func ByObject(secret types.NamespacedName, webhook string) map[client.Object]cache.ByObject {
	cached := SecretByObject(secret)
	cached[&admissionv1.MutatingWebhookConfiguration{}] = cache.ByObject{Field: byName(webhook)}
	return cached
}

func byName(name string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", name) }
