package scaler

import (
	"time"
	"unique"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/utils/clock"

	"github.com/gridlatch/gridlatch/trigger"
	pb "github.com/gridlatch/gridlatch/trigger/scaler/externalscaler"
)

// minLook is the shortest time between two looks of a stream that nothing has woken.
const minLook = 100 * time.Millisecond

// description returns the description of the protocol, with the streams of this file.
func (s *Scaler) description() *grpc.ServiceDesc {
	d := pb.ExternalScaler_ServiceDesc
	d.Streams = []grpc.StreamDesc{
		{StreamName: "StreamIsActive", Handler: s.follow, ServerStreams: true},
		{StreamName: "StreamMetricSpec", Handler: s.refuse, ServerStreams: true},
	}
	return &d
}

// refuse ends a stream at once: Gridlatch has none of the kind.
func (s *Scaler) refuse(_ any, stream grpc.ServerStream) error {
	err := check(stream.Context())
	if err == nil {
		err = status.Error(codes.Unimplemented, "ask by GetMetricSpec: the metric is always the same")
	}
	s.Metrics.ended(pb.ExternalScaler_StreamMetricSpec_FullMethodName, err)
	return err
}

// follower is a stream of StreamIsActive.
type follower struct {
	stream grpc.ServerStream
	call   *call
	// wish is what the request asks for. Equal wishes share their memory.
	wish            unique.Handle[trigger.Wish]
	isOpen          bool // the request has arrived
	hasSent, isSent bool // isSent is the value that was sent last

	// What has come of the last look.
	woken <-chan struct{} // closed at the next change
	alarm *alarm          // of the next look at the latest, nil if there is none
}

// follow sends what IsActive returns: at once, and after each change.
//
// The goroutine of a stream only waits. Each look has a goroutine of its own. A look needs a stack of
// 8 KiB, the wait needs 4 KiB, and with the frames of gRPC on it a stack of 8 KiB never shrinks again.
// An interceptor would have one more frame.
func (s *Scaler) follow(_ any, stream grpc.ServerStream) error {
	f := newFollower(stream)
	if err := s.arrive(f); err != nil {
		return err
	}
	for f.wait() {
		looked := make(chan error, 1)
		go s.look(f, looked)
		if err := <-looked; err != nil {
			return s.leave(f, err)
		}
	}
	return s.leave(f, nil)
}

// newFollower returns a follower whose request has not arrived.
func newFollower(stream grpc.ServerStream) *follower {
	c, _ := stream.Context().Value(callKey{}).(*call)
	return &follower{stream: stream, call: c}
}

// arrive waits for the first look, but not for ever for the request.
func (s *Scaler) arrive(f *follower) error {
	looked := make(chan error, 1)
	go s.look(f, looked)
	late := clock.RealClock{}.NewTimer(f.call.arrivalTime())
	defer late.Stop()
	select {
	case err := <-looked:
		if err != nil {
			return s.leave(f, err)
		}
		return nil
	case <-late.C():
	case <-f.call.evicted:
	}
	if f.call.expire() { // what the look does to the follower is of no interest any more
		s.Metrics.ended(pb.ExternalScaler_StreamIsActive_FullMethodName, errLate())
		return errLate()
	}
	if err := <-looked; err != nil {
		return s.leave(f, err)
	}
	return nil
}

// leave ends a stream, and counts the stream by its error.
func (s *Scaler) leave(f *follower, err error) error {
	s.dropAlarm(f)
	if f.isOpen {
		s.Metrics.streams.Dec()
		f.call.end()
	}
	s.Metrics.ended(pb.ExternalScaler_StreamIsActive_FullMethodName, err)
	return err
}

// look sends the value of a stream if the value has changed.
func (s *Scaler) look(f *follower, looked chan<- error) {
	var err error
	defer func() { looked <- err }()
	defer survive(f.stream.Context(), &err)
	err = s.tell(f)
}

func (s *Scaler) tell(f *follower) error {
	s.dropAlarm(f)
	ctx := f.stream.Context()
	if !f.isOpen {
		if err := check(ctx); err != nil {
			return err
		}
		if err := s.open(f); err != nil {
			return err
		}
	}
	f.woken = s.wakes.next() // before the look, so that no change is missed
	wish := f.wish.Value()
	v, err := s.judge(ctx, &wish)
	if err != nil {
		return err
	}
	if !f.hasSent || v.isActive != f.isSent {
		if err := f.stream.SendMsg(&pb.IsActiveResponse{Result: v.isActive}); err != nil {
			return err
		}
		f.isSent, f.hasSent = v.isActive, true
	}
	if !v.until.IsZero() {
		at := v.until
		if soonest := s.Clock.Now().Add(minLook); at.Before(soonest) {
			at = soonest
		}
		f.alarm = s.alarms.set(s.Clock, at)
	}
	return nil
}

// open reads the request of a stream, and counts the stream.
func (s *Scaler) open(f *follower) error {
	request := &pb.ScaledObjectRef{}
	if err := f.stream.RecvMsg(request); err != nil {
		return err
	}
	wish, err := parse(request)
	if err != nil {
		return err
	}
	if err := f.call.settle(); err != nil {
		return err
	}
	s.shareZone(wish)
	f.wish, f.isOpen = unique.Make(*wish), true
	s.Metrics.streams.Inc()
	return nil
}

// wait returns when it is time to look, or earlier if something has changed. It returns false if the
// stream is to end.
func (f *follower) wait() bool {
	select {
	case <-f.call.gate.stopping:
		return false // the ring may have come before the look
	default:
	}
	var due <-chan struct{}
	if f.alarm != nil {
		due = f.alarm.rung
	}
	select {
	case <-f.woken:
		return true
	case <-due:
		return true
	case <-f.stream.Context().Done():
		return false
	case <-f.call.evicted:
		return false
	}
}

func (s *Scaler) dropAlarm(f *follower) {
	if f.alarm != nil {
		s.alarms.drop(f.alarm)
		f.alarm = nil
	}
}
