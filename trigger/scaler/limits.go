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

	pb "github.com/gridlatch/gridlatch/trigger/scaler/externalscaler"
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

// call is a call that was admitted. It is the context of a stream, too: the context that gRPC makes
// keeps the headers, which take most of a kilobyte.
type call struct {
	gate      *gate
	caller    netip.Addr
	cancel    context.CancelFunc // ends a call whose place another one needs
	late      clock.Timer        // nil for streams
	isRefused bool               // it takes no place
	place     *places            // nil if it has none; under the mutex of the gate

	// These are for streams alone.
	done    <-chan struct{} // of gRPC's context
	evicted <-chan struct{} // closed when another call has taken the place
	left    func() bool     // stops the wait for the end of the context; true if that has not come
}

type callKey struct{}

// admit counts a call until its context ends. A call for which there is no place is refused later: gRPC
// would not free the context of a call that is refused here, as long as the time-out of the caller
// lasts.
//
// The context ends early if the request takes too long to arrive. The context of a stream does not, for
// follow sees to that: a context with an end of its own takes most of a kilobyte.
func (g *gate) admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &call{gate: g, caller: callerOf(ctx)}
	if isStream(info.FullMethodName) {
		evicted := make(chan struct{})
		c.done, c.evicted, c.cancel = ctx.Done(), evicted, func() { close(evicted) }
		c.isRefused = !g.arriving.take(c)
		c.left = context.AfterFunc(ctx, c.end)
		return c, nil
	}
	limited, cancel := context.WithCancel(ctx)
	c.cancel = cancel
	c.isRefused = !g.arriving.take(c)
	c.late = clock.RealClock{}.AfterFunc(c.arrivalTime(), cancel)
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

// isStream reports whether the calls of a method are followed.
func isStream(method string) bool { return method == pb.ExternalScaler_StreamIsActive_FullMethodName }

// Deadline, Done, Err and Value make the call of a stream a context.
func (c *call) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

// Done returns a channel that is closed when the stream ends.
func (c *call) Done() <-chan struct{} { return c.done }

// Err returns an error after the end of the stream.
func (c *call) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

// Value returns the call itself for callKey, and nothing of the caller.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return nil
}

// arrivalTime returns how long the request may take to arrive.
func (c *call) arrivalTime() time.Duration {
	if c.isRefused {
		return refusalTime
	}
	return c.gate.arrivalTime
}

// check returns an error if there was no place for a call.
func check(ctx context.Context) error {
	if c, ok := ctx.Value(callKey{}).(*call); ok && c.isRefused {
		return status.Error(codes.ResourceExhausted, "there are too many calls at once")
	}
	return nil
}

// settle makes a call whose request has arrived a stream. The caller has to end the stream.
func (c *call) settle() error {
	g := c.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.place == nil {
		return errLate()
	}
	g.arriving.free(c)
	if !g.streams.take(c) {
		return status.Errorf(codes.ResourceExhausted, "there are %d streams at once already", g.streams.taken)
	}
	if !c.left() {
		return errLate() // the end of the context gives the place back
	}
	c.left = nil // nobody needs the rest of the wait any more
	return nil
}

// expire ends a call, unless it is a stream already.
func (c *call) expire() (isExpired bool) {
	g := c.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.place == &g.streams {
		return false
	}
	if c.place != nil {
		c.place.free(c)
	}
	return true
}

func errLate() error {
	return status.Error(codes.DeadlineExceeded, "the request took too long to arrive, or others have taken its place")
}

// end gives the place of a call to another one.
func (c *call) end() {
	if c.late != nil {
		c.late.Stop()
	}
	g := c.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.place != nil {
		c.place.free(c)
	}
}
