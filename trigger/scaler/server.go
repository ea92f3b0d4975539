package scaler

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// stopTime bounds how long calls may take to end once the server stops.
const stopTime = 5 * time.Second

// Server serves a Scaler. A manager runs the Server in every replica.
type Server struct {
	listener net.Listener
	server   *grpc.Server
	gate     *gate
	scaler   *Scaler
}

// NewServer returns a server that speaks TLS on a listener. It serves nothing but the protocol of
// KEDA. The caller bounds the connections of the listener, see [serving.Bound].
func NewServer(s *Scaler, listener net.Listener, secure *tls.Config) *Server {
	g := newGate()
	return newServer(s, listener, secure, g)
}

func newServer(s *Scaler, listener net.Listener, secure *tls.Config, g *gate) *Server {
	options := append(g.limits(), grpc.Creds(credentials.NewTLS(secure)), grpc.UnaryInterceptor(s.unary))
	server := grpc.NewServer(options...)
	server.RegisterService(s.description(), s)
	return &Server{listener: listener, server: server, gate: g, scaler: s}
}

// Start serves until the context ends. Then it ends the streams, and waits a while for the other calls.
func (s *Server) Start(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.server.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve KEDA: %w", err)
	case <-ctx.Done():
	}
	close(s.gate.stopping)
	s.scaler.wakes.ring() // the streams then see that
	late := clock.RealClock{}.AfterFunc(stopTime, s.server.Stop)
	defer late.Stop()
	s.server.GracefulStop()
	return nil
}

// NeedLeaderElection returns false, because every replica answers.
func (s *Server) NeedLeaderElection() bool { return false }

// unary counts a call, and survives a panic.
func (s *Scaler) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (response any, err error) {
	defer func() { s.Metrics.ended(info.FullMethod, err) }()
	defer survive(ctx, &err)
	if err := check(ctx); err != nil {
		return nil, err
	}
	return handle(ctx, request)
}

// survive makes a panic the error of one call.
func survive(ctx context.Context, err *error) {
	if why := recover(); why != nil {
		log.FromContext(ctx).Error(fmt.Errorf("panic: %v", why), "cannot answer KEDA", "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "this is a mistake of Gridlatch: its log has more")
	}
}
