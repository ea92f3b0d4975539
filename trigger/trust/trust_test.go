package trust

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var t0 = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// authority returns the certificate of a CA in PEM.
func authority(t *testing.T, name string, end time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: t0.Add(-time.Hour), NotAfter: end,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

// world is an API server with both kinds, and a keeper that the test makes look.
type world struct {
	*Keeper
	client.Client
	ca     []byte
	writes int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	scheme.AddKnownTypeWithName(authenticationKind(), &unstructured.Unstructured{})
	w.Client = fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			w.writes++
			return c.Apply(ctx, o, options...)
		},
	}).Build()
	w.Keeper = &Keeper{
		Client: w.Client, Live: w.Client, Namespace: "keda", Clock: clocktesting.NewFakeClock(t0),
		CA: func() ([]byte, error) { return w.ca, nil },
	}
	return w
}

// kept returns the CA that KEDA reads, by the name of the ConfigMap and of the key.
func (w *world) kept(t *testing.T) string {
	t.Helper()
	authentication := emptyAuthentication()
	if err := w.Get(t.Context(), client.ObjectKey{Name: "gridlatch"}, authentication); err != nil {
		t.Fatal(err)
	}
	refs, _, _ := unstructured.NestedSlice(authentication.Object, "spec", "configMapTargetRef")
	want := []any{map[string]any{"parameter": "caCert", "name": "gridlatch-scaler-ca", "key": "ca.crt"}}
	if diff := cmp.Diff(want, refs); diff != "" {
		t.Fatal(diff)
	}
	kept := emptyConfigMap("keda")
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "keda", Name: "gridlatch-scaler-ca"}, kept); err != nil {
		t.Fatal(err)
	}
	text, found, err := unstructured.NestedString(kept.Object, "data", "ca.crt")
	if err != nil || !found {
		t.Fatal(found, err)
	}
	return text
}

func (w *world) mustLook(t *testing.T) {
	t.Helper()
	if err := w.look(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestBothAreWrittenOnceAndMended(t *testing.T) {
	w := newWorld(t)
	w.ca = authority(t, "a", t0.Add(time.Hour))
	for range 3 {
		w.mustLook(t)
	}
	if got := w.kept(t); got != string(w.ca) {
		t.Errorf("got %s", got)
	}
	if w.writes != 2 {
		t.Errorf("%d writes, want 2", w.writes)
	}
	for _, broken := range []*unstructured.Unstructured{emptyAuthentication(), emptyConfigMap("keda")} {
		if err := w.Delete(t.Context(), broken); err != nil {
			t.Fatal(err)
		}
		w.mustLook(t)
		if got := w.kept(t); got != string(w.ca) {
			t.Errorf("got %s", got)
		}
		if err := w.Patch(t.Context(), broken.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"configMapTargetRef":null},"data":{"ca.crt":"x"}}`))); err != nil {
			t.Fatal(err)
		}
		w.mustLook(t)
		if got := w.kept(t); got != string(w.ca) {
			t.Errorf("got %s", got)
		}
	}
}

func TestAnEarlierCAStaysUntilItEnds(t *testing.T) {
	w := newWorld(t)
	first, second := authority(t, "first", t0.Add(time.Hour)), authority(t, "second", t0.Add(48*time.Hour))
	w.ca = first
	w.mustLook(t)
	w.ca = second
	w.mustLook(t)
	if got := w.kept(t); got != string(second)+string(first) {
		t.Errorf("got %s", got)
	}
	w.Clock = clocktesting.NewFakeClock(t0.Add(2 * time.Hour))
	w.mustLook(t)
	if got := w.kept(t); got != string(second) {
		t.Errorf("got %s", got)
	}
	w.ca = nil // a public CA
	w.mustLook(t)
	if got := w.kept(t); got != "" {
		t.Errorf("got %s", got)
	}
}

func TestWhatIsNoBundleIsNotKept(t *testing.T) {
	ca := authority(t, "ca", t0.Add(time.Hour))
	for name, old := range map[string]string{
		"nothing": "", "text": "x\x00", "a key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "the same": string(ca),
		"too much": string(authority(t, "old", t0.Add(time.Hour))) + strings.Repeat("x", maxBundleBytes),
	} {
		if got := bundle(old, ca, t0); !bytes.Equal(got, ca) {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

func TestNothingIsWrittenWhileTheCAIsNotKnown(t *testing.T) {
	w := newWorld(t)
	w.CA = func() ([]byte, error) { return nil, errors.New("not read yet") }
	if err := w.look(t.Context()); err == nil || w.writes > 0 {
		t.Errorf("%d writes: %v", w.writes, err)
	}
}

func TestNothingIsWrittenWithoutKEDAOrWhileLeaving(t *testing.T) {
	for name, tt := range map[string]struct{ hasKEDA, isLeaving, isWritten bool }{
		"with KEDA": {true, false, true}, "without": {false, false, false}, "leaving": {true, true, false},
	} {
		w := newWorld(t)
		w.IsLeaving = func() bool { return tt.isLeaving }
		ctx, cancel := context.WithCancel(t.Context())
		w.run(ctx, nil, func() bool {
			defer time.AfterFunc(50*time.Millisecond, cancel)
			return tt.hasKEDA
		})
		if got := w.writes > 0; got != tt.isWritten {
			t.Errorf("%s: %d writes", name, w.writes)
		}
		cancel()
	}
}

func TestRemoveDeletesBothAndNeedsNeither(t *testing.T) {
	w := newWorld(t)
	w.mustLook(t)
	for range 2 {
		if err := Remove(t.Context(), w.Client, "keda"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Get(t.Context(), client.ObjectKey{Name: "gridlatch"}, emptyAuthentication()); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

// Nobody tells a leader that runs of the ConfigMap. KEDA would trust nobody until the leader looks again.
func TestALeaderThatRunsMendsAtOnceWhatARemovalByHandTakes(t *testing.T) {
	w := newWorld(t)
	w.ca = authority(t, "a", t0.Add(time.Hour))
	w.mustLook(t)
	told := interceptor.NewClient(w.Client.(client.WithWatch), interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			err := c.Delete(ctx, o, options...)
			if o.GetName() == Authentication {
				w.mustLook(t)
			}
			return err
		},
	})
	if err := Remove(t.Context(), told, "keda"); err != nil {
		t.Fatal(err)
	}
	w.kept(t)
}

// A tool that keeps the objects as they are in git writes, too, and so would both without end.
func TestARivalMakesTheKeeperWriteOncePerSecondAtMost(t *testing.T) {
	w := newWorld(t)
	w.ca, w.Clock = authority(t, "a", t0.Add(time.Hour)), clock.RealClock{}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	woken := make(chan struct{})
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case woken <- struct{}{}: // somebody has written
			}
		}
	}()
	looks := 0
	w.run(ctx, woken, func() bool { looks++; return true })
	if looks != 1 {
		t.Errorf("looked %d times", looks)
	}
}
