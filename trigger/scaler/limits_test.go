package scaler

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/gridlatch/gridlatch/serving"
	pb "github.com/gridlatch/gridlatch/trigger/scaler/externalscaler"
)

func (w *world) trusting() *tls.Config { return &tls.Config{RootCAs: w.roots} }

func TestOnlyCallersWithTheRightCertificateGetAnAnswer(t *testing.T) {
	servers, clients, others := newAuthority(t), newAuthority(t), newAuthority(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: clients.certificate.Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{servers.sign(t, "localhost")}}
	secure, err := serving.Authenticate(secure, file)
	if err != nil {
		t.Fatal(err)
	}
	w := serve(t, secure)
	for name, tt := range map[string]struct {
		certificates []tls.Certificate
		want         codes.Code
	}{
		"the right one":          {[]tls.Certificate{clients.sign(t, "keda")}, codes.OK},
		"one of somebody else":   {[]tls.Certificate{others.sign(t, "keda")}, codes.Unavailable},
		"one of the server's CA": {[]tls.Certificate{servers.sign(t, "keda")}, codes.Unavailable},
		"none":                   {nil, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			connection := w.dial(t, &tls.Config{RootCAs: servers.pool(), Certificates: tt.certificates})
			_, err := pb.NewExternalScalerClient(connection).IsActive(ctx, ref())
			expectCode(t, err, tt.want)
		})
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	w := newWorld(t)
	connection, err := tls.Dial("tcp", w.address, &tls.Config{RootCAs: w.roots, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil {
		_ = connection.Close()
		t.Error("TLS 1.1 is accepted")
	}
}

func TestLargeRequestsAndHeadersAreRefused(t *testing.T) {
	w, ctx := newWorld(t), within(t)
	_, err := w.client.IsActive(ctx, ref("region", strings.Repeat("x", 2<<20)))
	expectCode(t, err, codes.ResourceExhausted)
	long := metadata.AppendToOutgoingContext(ctx, "x", strings.Repeat("x", 2*maxHeaders))
	if _, err := w.client.IsActive(long, ref()); err == nil {
		t.Error("large headers are read")
	}
	if _, err := w.client.IsActive(ctx, ref()); err != nil {
		t.Error(err)
	}
	eventually(t, "the calls have ended", func() bool { return w.arriving() == 0 })
}

func TestStreamsAreBoundedAndLeaveRoomForOtherCalls(t *testing.T) {
	w, ctx := newWorld(t, func(g *gate, _ *Scaler) { g.streams.max = 3 }), within(t)
	open := func() (context.CancelFunc, error) {
		ctx, cancel := context.WithCancel(ctx)
		stream, err := w.client.StreamIsActive(ctx, ref())
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		return cancel, err
	}
	var end context.CancelFunc
	for range 3 {
		var err error
		if end, err = open(); err != nil {
			t.Fatal(err)
		}
	}
	cancel, err := open()
	defer cancel()
	expectCode(t, err, codes.ResourceExhausted)
	if _, err := w.client.IsActive(ctx, ref()); err != nil {
		t.Error(err)
	}
	end()
	eventually(t, "there is a place again", func() bool { return w.open() == 2 })
	cancel, err = open()
	defer cancel()
	expectCode(t, err, codes.OK)
}

func TestRequestsThatDoNotArriveLoseTheirPlace(t *testing.T) {
	w, ctx := newWorld(t, func(g *gate, _ *Scaler) { g.arriving.max, g.arrivalTime = 2, time.Second }), within(t)
	connection := w.dial(t, w.trusting())
	var silent []grpc.ClientStream
	for _, method := range []string{pb.ExternalScaler_StreamIsActive_FullMethodName, pb.ExternalScaler_IsActive_FullMethodName} {
		stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, stream)
	}
	eventually(t, "both arrive", func() bool { return w.arriving() == 2 })
	_, err := w.client.IsActive(ctx, ref())
	expectCode(t, err, codes.ResourceExhausted)
	for _, stream := range silent {
		if err := stream.RecvMsg(&pb.IsActiveResponse{}); err == nil {
			t.Error("a request that never came has an answer")
		}
	}
	eventually(t, "both have lost their places", func() bool { return w.arriving() == 0 })
	if _, err := w.client.IsActive(ctx, ref()); err != nil {
		t.Error(err)
	}
}

func TestAStreamThatIsSettledOutlivesTheTimeToArrive(t *testing.T) {
	w := newWorld(t, func(g *gate, _ *Scaler) { g.arrivalTime = 200 * time.Millisecond })
	stream, err := w.client.StreamIsActive(within(t), ref())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(400 * time.Millisecond)
	w.turn(300, time.Time{})
	w.scaler.Changed()
	if turned, err := stream.Recv(); err != nil || turned.Result {
		t.Error(turned, err)
	}
}

func TestAConnectionThatSaysNothingIsClosed(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as the limit")
	}
	w := newWorld(t)
	connection, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_ = connection.SetReadDeadline(time.Now().Add(2 * handshakeTime))
	if _, err := connection.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("got %v", err)
	}
}

// Each address of this machine is another caller.
func TestNobodyTakesThePlacesOfAll(t *testing.T) {
	w, ctx := newWorld(t, func(g *gate, _ *Scaler) { g.streams.max, g.arriving.max = 4, 4 }), within(t)
	as := func(address string) pb.ExternalScalerClient {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		connection, err := grpc.NewClient("passthrough:///"+w.address, grpc.WithTransportCredentials(credentials.NewTLS(w.trusting())),
			grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) {
				_, port, _ := net.SplitHostPort(to)
				return dialer.DialContext(ctx, "tcp4", "127.0.0.1:"+port)
			}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = connection.Close() })
		return pb.NewExternalScalerClient(connection)
	}
	greedy, keda := as("127.0.0.2"), as("127.0.0.3")
	open := func(client pb.ExternalScalerClient) (grpc.ServerStreamingClient[pb.IsActiveResponse], error) {
		stream, err := client.StreamIsActive(ctx, ref())
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		return stream, err
	}
	for range 4 {
		if _, err := open(greedy); err != nil {
			t.Fatal(err)
		}
	}
	var mine []grpc.ServerStreamingClient[pb.IsActiveResponse]
	for range 2 {
		stream, err := open(keda)
		if err != nil {
			t.Fatal(err)
		}
		mine = append(mine, stream)
	}
	_, err := open(keda)
	expectCode(t, err, codes.ResourceExhausted) // each has half
	_, err = open(greedy)
	expectCode(t, err, codes.ResourceExhausted)
	w.turn(300, time.Time{})
	w.scaler.Changed()
	for _, stream := range mine {
		if turned, err := stream.Recv(); err != nil || turned.Result {
			t.Error(turned, err)
		}
	}
	if n := w.open(); n != 4 {
		t.Errorf("%d streams are open", n)
	}
}
