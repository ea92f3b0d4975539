package scaler

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/serving"
	pb "github.com/gridlatch/gridlatch/trigger/scaler/externalscaler"
)

var t0 = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// grid is a policy "default" with the regions X and panic, whose intensity a test sets.
type grid struct {
	mu    sync.Mutex
	level plan.Level
	err   error
	asked int
}

func (g *grid) Level(_ context.Context, policy, region string, _ time.Time) (plan.Level, forecast.Source, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	level := g.level
	switch {
	case policy != "default":
		return level, forecast.Source{}, apierrors.NewNotFound(schema.GroupResource{Resource: "carbonpolicies"}, policy)
	case region == "panic":
		panic(errors.New("this is a test"))
	case region != "" && region != "X":
		level.HasNoLocation, level.UnknownReason = true, "the policy has the locations X"
	}
	return level, forecast.Source{}, g.err
}

// turn sets the intensity.
func (g *grid) turn(intensity float64, until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.level = plan.Level{Location: "X", Intensity: intensity, IsKnown: true, ValidUntil: until}
}

// world is a server on a TLS connection, and what the test can do to it.
type world struct {
	*grid
	scaler  *Scaler
	server  *Server
	clock   *clocktesting.FakeClock
	address string
	roots   *x509.CertPool
	client  pb.ExternalScalerClient
	stop    context.CancelFunc
	stopped chan error

	authority authority
}

func newWorld(t *testing.T, change ...func(*gate, *Scaler)) *world {
	t.Helper()
	authority := newAuthority(t)
	w := serve(t, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{authority.sign(t, "localhost")}}, change...)
	w.roots, w.authority = authority.pool(), authority
	w.client = pb.NewExternalScalerClient(w.dial(t, &tls.Config{RootCAs: w.roots}))
	return w
}

func serve(t *testing.T, secure *tls.Config, change ...func(*gate, *Scaler)) *world {
	t.Helper()
	w := &world{grid: &grid{}, clock: clocktesting.NewFakeClock(t0), stopped: make(chan error, 1)}
	w.turn(100, time.Time{})
	w.scaler = &Scaler{Levels: w.grid, Clock: w.clock, Metrics: NewMetrics(prometheus.NewRegistry())}
	g := newGate()
	for _, c := range change {
		c(g, w.scaler)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	w.address = "localhost:" + port
	w.server = newServer(w.scaler, serving.Bound(listener), secure, g)
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	go func() { w.stopped <- w.server.Start(ctx) }()
	t.Cleanup(w.stop)
	return w
}

func (w *world) dial(t *testing.T, secure *tls.Config) *grpc.ClientConn {
	t.Helper()
	connection, err := grpc.NewClient(w.address, grpc.WithTransportCredentials(credentials.NewTLS(secure)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

// arriving and open return how many calls arrive, and how many streams are open.
func (w *world) arriving() int {
	w.server.gate.mu.Lock()
	defer w.server.gate.mu.Unlock()
	return w.server.gate.arriving.taken
}

func (w *world) open() int {
	w.server.gate.mu.Lock()
	defer w.server.gate.mu.Unlock()
	return w.server.gate.streams.taken
}

// ref returns a reference to an object whose trigger has metadata, given as keys and values.
func ref(pairs ...string) *pb.ScaledObjectRef {
	r := &pb.ScaledObjectRef{Name: "trainer", Namespace: "ml", ScalerMetadata: map[string]string{"emissionThreshold": "200"}}
	for i := 0; i < len(pairs); i += 2 {
		r.ScalerMetadata[pairs[i]] = pairs[i+1]
	}
	return r
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func expectCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("the code is %v, want %v: %.300v", got, want, err)
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	return authority{sign(t, template, template, key, key), key}
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// sign returns a certificate for a host, which is good for clients, too.
func (a authority) sign(t *testing.T, host string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.certificate, key, a.key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

func sign(t *testing.T, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}
