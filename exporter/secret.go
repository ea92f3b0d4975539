package exporter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/exporter/provider"
)

// roleName is the Role in Gridlatch's namespace that lists the Secrets to read.
const roleName = "gridlatch-export"

// secretInterval is how often a Secret is read. The exporter may read Secrets by name only, and so
// cannot watch them.
const secretInterval = 30 * time.Second

// digest tells whether credentials are those of before. The rest of a Secret does not matter: its
// labels and annotations change without a new key.
type digest [sha256.Size]byte

// key is what a Secret has.
type key struct {
	credentials provider.Credentials
	// digest is that of the credentials. It never leaves the memory, and the zero digest is that of
	// none.
	digest digest
	// problem says what to do about a Secret that cannot be used; "" if it can.
	problem string
}

// readKey reads a Secret in Gridlatch's namespace. An error is one of the API server, and says
// nothing of the Secret.
func readKey(ctx context.Context, reader client.Reader, namespace, name string, of provider.Type) (key, error) {
	var secret corev1.Secret
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return key{problem: fmt.Sprintf("the Secret %s does not exist: create it with: kubectl -n %s create secret generic %s %s", name, namespace, name, secretFlags(of))}, nil
	case apierrors.IsForbidden(err):
		return key{problem: fmt.Sprintf("Gridlatch may not read the Secret %s: add the name to resourceNames in the Role %s in the namespace %s", name, roleName, namespace)}, nil
	case err != nil:
		return key{}, fmt.Errorf("read Secret %s: %w", name, err)
	}
	var k key
	for _, field := range secretFields(of) {
		if len(secret.Data[field]) == 0 {
			k.problem = fmt.Sprintf("the Secret %s has nothing under %s: create it anew with: kubectl -n %s create secret generic %s %s", name, field, namespace, name, secretFlags(of))
			return k, nil
		}
	}
	k.digest = digestOf(secret.Data, secretFields(of))
	text := func(field string) provider.Secret { return provider.NewSecret(string(secret.Data[field])) }
	k.credentials = provider.Credentials{Key: text("key"), User: text("username"), Password: text("password")}
	return k, nil
}

// digestOf returns the digest of some fields of a Secret.
func digestOf(data map[string][]byte, fields []string) digest {
	h := sha256.New()
	for _, field := range fields {
		sum := sha256.Sum256(bytes.TrimSpace(data[field])) // of the same length for all fields
		h.Write(sum[:])
	}
	return digest(h.Sum(nil))
}

// secretFields returns what the Secret of a provider must have.
func secretFields(of provider.Type) []string {
	if of == provider.TypeWattTime {
		return []string{"username", "password"}
	}
	return []string{"key"}
}

// secretFlags returns the flags with which kubectl makes the Secret. The key is in a file, since the
// history of a shell remembers arguments.
func secretFlags(of provider.Type) string {
	if of == provider.TypeWattTime {
		return "--from-literal=username=NAME --from-file=password=FILE"
	}
	return "--from-file=key=FILE"
}
