package scaler

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	pb "github.com/gridlatch/gridlatch/trigger/scaler/externalscaler"
)

func TestAnswersFollowTheGrid(t *testing.T) {
	for name, tt := range map[string]struct {
		intensity float64
		metadata  []string
		isActive  bool
		isSilent  bool // it is active, and asks for no replicas
	}{
		"awake, clean":           {100, []string{"effect", "awake"}, true, true},
		"awake, dirty":           {300, []string{"effect", "awake"}, false, true},
		"awake, paused":          {300, []string{"effect", "awake", "handler", "pause"}, false, true},
		"awake, without a place": {300, []string{"effect", "awake", "region", "nowhere"}, true, true},
		"clean":                  {200, nil, true, false},
		"dirty":                  {200.1, nil, false, false},
		"a region":               {100, []string{"region", "X"}, true, false},
		"half clean":             {300, []string{"gradual", "true"}, true, false},
		"wholly dirty":           {400, []string{"gradual", "true"}, false, false},
		"pause while clean":      {100, []string{"handler", "pause"}, true, false},
		"a ceiling, clean":       {100, []string{"effect", "ceiling"}, false, false},
		"a ceiling, dirty":       {300, []string{"effect", "ceiling"}, false, false},
		"what KEDA itself reads": {100, []string{"scalerAddress", "x:1", "enableTLS", "true", "writtenAs", "carbon-intensity"}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, ctx := newWorld(t), within(t)
			w.turn(tt.intensity, time.Time{})
			active, err := w.client.IsActive(ctx, ref(tt.metadata...))
			if err != nil || active.Result != tt.isActive {
				t.Errorf("active %v, want %v: %v", active.GetResult(), tt.isActive, err)
			}
			values, err := w.client.GetMetrics(ctx, &pb.GetMetricsRequest{ScaledObjectRef: ref(tt.metadata...), MetricName: "carbon-intensity"})
			if err != nil || len(values.MetricValues) != 1 {
				t.Fatalf("got %v: %v", values, err)
			}
			want := 0.0
			if tt.isActive && !tt.isSilent {
				want = 1e6
			}
			if got := values.MetricValues[0]; got.MetricName != "carbon-intensity" || float64(got.MetricValue) != want || got.MetricValueFloat != want {
				t.Errorf("got %v, want %v", got, want)
			}
			specs, err := w.client.GetMetricSpec(ctx, ref(tt.metadata...))
			if err != nil || len(specs.MetricSpecs) != 1 {
				t.Fatalf("got %v: %v", specs, err)
			}
			if got := specs.MetricSpecs[0]; got.MetricName != "carbon-intensity" || got.TargetSize != 1 || got.TargetSizeFloat != 1 {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestAStreamTellsTheTurnsAndNothingElse(t *testing.T) {
	w := newWorld(t)
	w.turn(100, time.Time{})
	stream, err := w.client.StreamIsActive(within(t), ref())
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want bool) {
		t.Helper()
		got, err := stream.Recv()
		if err != nil || got.Result != want {
			t.Fatalf("got %v, want %v: %v", got, want, err)
		}
	}
	expect(true) // at once
	for _, intensity := range []float64{150, 190, 300} {
		w.turn(intensity, time.Time{})
		w.scaler.Changed()
	}
	expect(false) // the first two are clean, too
	w.turn(100, time.Time{})
	w.scaler.Changed()
	expect(true)
}

func TestAStreamLooksAgainWhenItsVerdictEnds(t *testing.T) {
	w := newWorld(t)
	w.turn(100, t0.Add(time.Hour))
	stream, err := w.client.StreamIsActive(within(t), ref())
	if err != nil {
		t.Fatal(err)
	}
	if first, err := stream.Recv(); err != nil || !first.Result {
		t.Fatal(first, err)
	}
	eventually(t, "the stream waits for the time", w.clock.HasWaiters)
	w.turn(300, time.Time{}) // nobody rings
	w.clock.Step(time.Hour)
	if turned, err := stream.Recv(); err != nil || turned.Result {
		t.Fatal(turned, err)
	}
}

func TestAVerdictThatHasEndedMakesNoStreamBusy(t *testing.T) {
	w := newWorld(t)
	w.turn(100, t0.Add(-time.Hour))
	stream, err := w.client.StreamIsActive(within(t), ref())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream waits", w.clock.HasWaiters)
	time.Sleep(50 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked != 2 { // the first look at a forecast is repeated
		t.Errorf("looked %d times", w.asked)
	}
}

// KEDA 2.21 stops to ask for the stream after this code, and after no other.
func TestTheStreamThatKEDADoesWithoutIsUnimplemented(t *testing.T) {
	w := newWorld(t)
	stream, err := w.client.StreamMetricSpec(within(t), ref())
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	expectCode(t, err, codes.Unimplemented)
	eventually(t, "the call has ended", func() bool { return w.arriving() == 0 && w.open() == 0 })
}

func TestStreamsEndCleanlyWhenTheProgramStops(t *testing.T) {
	w := newWorld(t)
	stream, err := w.client.StreamIsActive(within(t), ref())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w.stop()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v", err) // KEDA waits longer after any other error
	}
	if err := <-w.stopped; err != nil || time.Since(began) > stopTime {
		t.Errorf("stopped after %v: %v", time.Since(began), err)
	}
}

func TestStreamsThatTheCallerEndsAreForgotten(t *testing.T) {
	w := newWorld(t)
	connection := w.dial(t, w.trusting())
	for range 10 {
		stream, err := pb.NewExternalScalerClient(connection).StreamIsActive(within(t), ref())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.open(); got != 10 {
		t.Errorf("%d streams are open", got)
	}
	_ = connection.Close()
	eventually(t, "the streams have ended", func() bool {
		return w.open() == 0 && w.arriving() == 0 && testutil.ToFloat64(w.scaler.Metrics.streams) == 0
	})
}

func TestMistakesAreToldPlainly(t *testing.T) {
	many := []string{}
	for i := range 1000 {
		many = append(many, fmt.Sprint("k", i), "")
	}
	for name, tt := range map[string]struct {
		metadata []string
		want     string
	}{
		"not a number":       {[]string{"emissionThreshold", "dirty"}, `metadata.emissionThreshold: Invalid value: "dirty"`},
		"NaN":                {[]string{"emissionThreshold", "NaN"}, `metadata.emissionThreshold`},
		"infinite":           {[]string{"emissionThreshold", "+Inf"}, `metadata.emissionThreshold`},
		"negative":           {[]string{"emissionThreshold", "-1"}, `metadata.emissionThreshold`},
		"an unknown handler": {[]string{"handler", "explode"}, "scaleDown"},
		"no such policy":     {[]string{"policy", "nobody's"}, `metadata.policy: "nobody's": there is no such CarbonPolicy`},
		"no such region":     {[]string{"region", "Y"}, "the policy has the locations X"},
		"control characters": {[]string{"region\x00\r\n", "\x1b[2J"}, "metadata"},
		"huge":               {[]string{"region", strings.Repeat("é", 10_000)}, "metadata.region"},
		"a huge key":         {[]string{strings.Repeat("é", 10_000), "x"}, "metadata"},
		"a thousand keys":    {many, "metadata: 1001 keys: want at most 64"},
	} {
		t.Run(name, func(t *testing.T) {
			w, ctx := newWorld(t), within(t)
			_, err := w.client.IsActive(ctx, ref(tt.metadata...))
			check := func(err error) {
				t.Helper()
				expectCode(t, err, codes.InvalidArgument)
				message := status.Convert(err).Message()
				if !strings.Contains(message, tt.want) || len(message) > maxMessageBytes+len("…") || !utf8.ValidString(message) {
					t.Errorf("the message %.2000q does not have %q", message, tt.want)
				}
			}
			check(err)
			_, err = w.client.GetMetrics(ctx, &pb.GetMetricsRequest{ScaledObjectRef: ref(tt.metadata...), MetricName: "carbon-intensity"})
			check(err)
			stream, err := w.client.StreamIsActive(ctx, ref(tt.metadata...))
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			check(err)
			if got := testutil.ToFloat64(w.scaler.Metrics.requests.WithLabelValues("StreamIsActive", "InvalidArgument")); got != 1 {
				t.Errorf("%v streams are counted", got)
			}
		})
	}
}

func TestOtherMetricsAndNoObjectAreMistakes(t *testing.T) {
	w, ctx := newWorld(t), within(t)
	for _, request := range []*pb.GetMetricsRequest{
		{ScaledObjectRef: ref(), MetricName: "s0-carbon-intensity"}, {ScaledObjectRef: ref()}, {MetricName: "carbon-intensity"}, {},
	} {
		_, err := w.client.GetMetrics(ctx, request)
		expectCode(t, err, codes.InvalidArgument)
	}
	_, err := w.client.IsActive(ctx, &pb.ScaledObjectRef{})
	expectCode(t, err, codes.InvalidArgument)
}

func TestAPolicyThatGoesEndsItsStreamsAndKeepsTheMetric(t *testing.T) {
	w, ctx := newWorld(t), within(t)
	stream, err := w.client.StreamIsActive(ctx, ref())
	if err != nil {
		t.Fatal(err)
	}
	if first, err := stream.Recv(); err != nil || !first.Result {
		t.Fatal(first, err)
	}
	w.mu.Lock()
	w.err = apierrors.NewNotFound(schema.GroupResource{Resource: "carbonpolicies"}, "default")
	w.mu.Unlock()
	w.scaler.Changed()
	_, err = stream.Recv()
	expectCode(t, err, codes.InvalidArgument)
	if _, err := w.client.GetMetricSpec(ctx, ref()); err != nil {
		t.Error(err)
	}
}

func TestAReplicaThatHasNotReadAForecastYetDoesNotCallTheGridClean(t *testing.T) {
	w, ctx := newWorld(t), within(t)
	w.level = plan.Level{IsUnread: true}
	for _, metadata := range [][]string{nil, {"handler", "pause"}} {
		_, err := w.client.IsActive(ctx, ref(metadata...))
		expectCode(t, err, codes.Unavailable)
	}
	if _, err := w.client.IsActive(ctx, ref("effect", "ceiling")); err != nil {
		t.Error(err)
	}
}

func TestAPanicEndsOneCall(t *testing.T) {
	w, ctx := newWorld(t), within(t)
	_, err := w.client.IsActive(ctx, ref("region", "panic"))
	expectCode(t, err, codes.Internal)
	stream, err := w.client.StreamIsActive(ctx, ref("region", "panic"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	expectCode(t, err, codes.Internal)
	if _, err := w.client.IsActive(ctx, ref()); err != nil {
		t.Error(err)
	}
	eventually(t, "the streams have ended", func() bool { return testutil.ToFloat64(w.scaler.Metrics.streams) == 0 })
}

func TestOnlyTheProtocolIsServed(t *testing.T) {
	w, ctx := newWorld(t), within(t)
	connection := w.dial(t, w.trusting())
	for _, method := range []string{"/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/externalscaler.ExternalScaler/Other"} {
		err := connection.Invoke(ctx, method, ref(), ref())
		expectCode(t, err, codes.Unimplemented)
	}
	eventually(t, "the calls have ended", func() bool { return w.arriving() == 0 })
}

// Tenants may write forecasts that no policy names.
func TestAForecastThatNoPolicyNamesWakesNoStream(t *testing.T) {
	w := newWorld(t)
	stream, err := w.client.StreamIsActive(within(t), ref())
	if err != nil {
		t.Fatal(err)
	}
	if first, err := stream.Recv(); err != nil || !first.Result {
		t.Fatal(first, err)
	}
	w.turn(300, time.Time{})
	woken := w.scaler.wakes.next()
	w.scaler.ForecastChanged(forecast.Source{Namespace: "tenant"})
	select {
	case <-woken:
		t.Error("the stream is woken")
	default:
	}
	w.scaler.ForecastChanged(forecast.Source{}) // that of the grid
	if turned, err := stream.Recv(); err != nil || turned.Result {
		t.Fatal(turned, err)
	}
}

func TestStreamsShareTheirTimeZones(t *testing.T) {
	w, ctx := newWorld(t), within(t)
	planned := &pb.ScaledObjectRef{ScalerMetadata: map[string]string{"mode": "planned", "cleanHoursPerDay": "8", "timeZone": "Europe/Berlin"}}
	for range 2 {
		stream, err := w.client.StreamIsActive(ctx, planned)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	first, err := parse(planned)
	if err != nil {
		t.Fatal(err)
	}
	own := first.Zone
	if w.scaler.shareZone(first); first.Zone == own || first.Zone.String() != "Europe/Berlin" {
		t.Errorf("got the zone %v of its own", first.Zone)
	}
}
