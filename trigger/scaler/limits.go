package scaler

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"k8s.io/utils/clock"
)

const (
	// maxKeys bounds the keys of a trigger's metadata.
	maxKeys = 64
	// maxMessage bounds a request in bytes. The metadata of a trigger takes a few hundred.
	maxMessage = 32 << 10
	// maxHeaders bounds the headers of a call in bytes.
	maxHeaders = 8 << 10
	// window is how many bytes of a call are in memory before somebody reads them. gRPC allows no
	// fewer.
	window = 64 << 10
	// buffer is the size of a connection's buffers. Requests and answers are small.
	buffer = 4 << 10
	// maxStreams bounds the streams in all. KEDA has one for each trigger.
	maxStreams = 8000
	// maxArriving bounds the calls whose request has not arrived, and those that are answered. After a
	// restart of KEDA, all streams come at once.
	maxArriving = 2048
	// maxPerConnection bounds the calls of one connection. KEDA has one connection to each replica. If its
	// streams took all places, no other call of KEDA could begin.
	maxPerConnection = maxStreams + maxArriving
	// arrivalTime bounds how long a request may take to arrive and to be answered, but for streams.
	arrivalTime = 10 * time.Second
	// refusalTime is how long the request of a call may take that is refused.
	refusalTime = 10 * time.Millisecond
	// handshakeTime bounds how long a connection may take to be ready.
	handshakeTime = 5 * time.Second
	// pingAfter is how long a connection may be silent before the caller is asked whether it is there.
	pingAfter, pingTime = 30 * time.Second, 20 * time.Second
	// minPing is how often a caller may ask us the same.
	minPing = 10 * time.Second
)

// limits returns the options of a server that bound what a caller can take.
func (g *gate) limits() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxHeaderListSize(maxHeaders), grpc.MaxConcurrentStreams(maxPerConnection),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
		grpc.ReadBufferSize(buffer), grpc.WriteBufferSize(buffer),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTime}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.InTapHandle(g.admit),
	}
}

// gate counts the calls of all connections. A call is arriving until it is a stream or has ended.
type gate struct {
	stopping    chan struct{} // closed when the server stops
	arrivalTime time.Duration

	mu                sync.Mutex
	arriving, streams places
}

func newGate() *gate {
	return &gate{
		stopping: make(chan struct{}), arrivalTime: arrivalTime,
		arriving: places{max: maxArriving}, streams: places{max: maxStreams},
	}
}

// call is a call that was admitted.
type call struct {
	gate      *gate
	caller    netip.Addr
	cancel    context.CancelFunc
	late      clock.Timer
	isRefused bool    // it takes no place
	place     *places // nil if it has none; under the mutex of the gate
}

type callKey struct{}

// admit counts a call. The context ends when the call does, or if its request takes too long to arrive.
// A call for which there is no place is refused later: gRPC would not free the context of a call that
// is refused here, as long as the time-out of the caller lasts.
func (g *gate) admit(ctx context.Context, _ *tap.Info) (context.Context, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	limited, cancel := context.WithCancel(ctx)
	c, arrivalTime := &call{gate: g, caller: callerOf(ctx), cancel: cancel}, g.arrivalTime
	if c.isRefused = !g.arriving.take(c); c.isRefused {
		arrivalTime = refusalTime
	}
	c.late = clock.RealClock{}.AfterFunc(arrivalTime, cancel)
	context.AfterFunc(limited, func() {
		cancel()
		c.end()
	})
	return context.WithValue(limited, callKey{}, c), nil
}

// callerOf returns the address of a caller, which is not valid if it is not known.
func callerOf(ctx context.Context) netip.Addr {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return netip.Addr{}
	}
	address, _ := netip.ParseAddrPort(p.Addr.String()) // else all such callers are one
	return address.Addr()
}

// check returns an error if there was no place for a call.
func check(ctx context.Context) error {
	if c, ok := ctx.Value(callKey{}).(*call); ok && c.isRefused {
		return status.Error(codes.ResourceExhausted, "there are too many calls at once")
	}
	return nil
}

// settle makes a call whose request has arrived a stream.
func (c *call) settle() error {
	g := c.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.place == nil {
		return status.Error(codes.DeadlineExceeded, "the request took too long to arrive, or others have taken its place")
	}
	g.arriving.free(c)
	if !g.streams.take(c) {
		return status.Errorf(codes.ResourceExhausted, "there are %d streams at once already", g.streams.taken)
	}
	c.late.Stop()
	return nil
}

// end gives the place of a call to another one.
func (c *call) end() {
	c.late.Stop()
	g := c.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.place != nil {
		c.place.free(c)
	}
}
