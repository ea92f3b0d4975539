package scaler

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/clock"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/trigger"
	pb "github.com/gridlatch/gridlatch/trigger/scaler/externalscaler"
)

const (
	// metricName is the name of the only metric. KEDA puts the place of the trigger before it.
	metricName = "carbon-intensity"
	// plenty is far above every maxReplicas, and a number of replicas that an int32 can hold.
	plenty = 1_000_000
	// maxMessageBytes bounds what an error tells.
	maxMessageBytes = 1024
)

// Levels know what a policy says at a location or in a cloud region. [policy.KnownLevels] is one.
type Levels interface {
	// Level returns the level, and the source of the policy's forecast. The error is a NotFound if
	// the policy does not exist.
	Level(ctx context.Context, policy, region string, now time.Time) (plan.Level, forecast.Source, error)
}

// Clock tells the time and runs functions later. k8s.io/utils/clock has one, and one that tests can set.
type Clock interface {
	Now() time.Time
	AfterFunc(d time.Duration, f func()) clock.Timer
}

// Scaler has the answers. All fields are required. StreamMetricSpec is left out, see the package
// comment, and so is StreamIsActive: see follow.
type Scaler struct {
	pb.UnimplementedExternalScalerServer
	Levels  Levels
	Clock   Clock
	Metrics *Metrics

	wakes  bell
	alarms alarms
	// zones are the time zones of streams, by name. A thousand streams share them.
	zones sync.Map
	// sources are the forecasts that levels came from.
	sources sync.Map
	// finding makes the first stream that wakes find a level, and all others read it.
	finding sync.Mutex
}

// Changed wakes all streams. The caller calls Changed after a policy has changed.
func (s *Scaler) Changed() { s.wakes.ring() }

// ForecastChanged wakes all streams, if any trigger may be concerned. The caller calls ForecastChanged after
// a forecast has changed. Whoever writes a forecast that no policy names wakes nobody.
func (s *Scaler) ForecastChanged(source forecast.Source) {
	if _, isUsed := s.sources.Load(source); isUsed {
		s.wakes.ring()
	}
}

// IsActive tells whether an object is to have any replicas because of a trigger.
func (s *Scaler) IsActive(ctx context.Context, ref *pb.ScaledObjectRef) (*pb.IsActiveResponse, error) {
	v, err := s.answer(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &pb.IsActiveResponse{Result: v.isActive}, nil
}

// GetMetricSpec returns the only metric, of which each replica is for 1.
func (s *Scaler) GetMetricSpec(_ context.Context, ref *pb.ScaledObjectRef) (*pb.GetMetricSpecResponse, error) {
	if _, err := parse(ref); err != nil {
		return nil, err
	}
	return specs(), nil
}

func specs() *pb.GetMetricSpecResponse {
	return &pb.GetMetricSpecResponse{MetricSpecs: []*pb.MetricSpec{{MetricName: metricName, TargetSize: 1, TargetSizeFloat: 1}}}
}

// GetMetrics returns plenty of the metric while the grid is clean, and none while it is dirty.
func (s *Scaler) GetMetrics(ctx context.Context, request *pb.GetMetricsRequest) (*pb.GetMetricsResponse, error) {
	if name := request.GetMetricName(); name != metricName {
		return nil, invalid(fmt.Sprintf("metricName %.60q: want %s", name, metricName))
	}
	v, err := s.answer(ctx, request.GetScaledObjectRef())
	if err != nil {
		return nil, err
	}
	value := pb.MetricValue{MetricName: metricName}
	if v.isCounted {
		value.MetricValue, value.MetricValueFloat = plenty, plenty
	}
	return &pb.GetMetricsResponse{MetricValues: []*pb.MetricValue{&value}}, nil
}

// shareZone makes a wish that is kept have the same time zone in memory as all others.
func (s *Scaler) shareZone(wish *trigger.Wish) {
	zone, _ := s.zones.LoadOrStore(wish.Zone.String(), wish.Zone)
	wish.Zone = zone.(*time.Location)
}

// answer is what a trigger gets, and when to look again at the latest, zero for never.
type answer struct {
	isActive bool
	// isCounted says that the metric asks for replicas, too.
	isCounted bool
	until     time.Time
}

func (s *Scaler) answer(ctx context.Context, ref *pb.ScaledObjectRef) (answer, error) {
	wish, err := parse(ref)
	if err != nil {
		return answer{}, err
	}
	return s.judge(ctx, wish)
}

// parse returns the wish in the metadata of a trigger. The error has a code.
func parse(ref *pb.ScaledObjectRef) (*trigger.Wish, error) {
	metadata := ref.GetScalerMetadata()
	if len(metadata) > maxKeys {
		return nil, invalid(fmt.Sprintf("metadata: %d keys: want at most %d", len(metadata), maxKeys))
	}
	var unknown *field.Path // nobody tells the place of the trigger in its object
	wish, errs := trigger.ParseWish(metadata, unknown)
	if len(errs) > 0 {
		return nil, invalid(errs.ToAggregate().Error())
	}
	return &wish, nil
}

// judge returns what a wish comes to now. The error has a code.
func (s *Scaler) judge(ctx context.Context, wish *trigger.Wish) (answer, error) {
	switch {
	case wish.KeepsAwake:
		a, err := s.find(ctx, wish)
		if status.Code(err) == codes.InvalidArgument { // this stops no trigger beside it
			return answer{isActive: true}, nil
		}
		return a, err
	case wish.IsCeiling:
		return answer{}, nil
	}
	return s.find(ctx, wish)
}

// find returns what a wish comes to by its policy.
func (s *Scaler) find(ctx context.Context, wish *trigger.Wish) (answer, error) {
	now := s.Clock.Now()
	level, err := s.level(ctx, wish, now)
	switch {
	case apierrors.IsNotFound(err):
		return answer{}, invalid(fmt.Sprintf("metadata.policy: %.253q: there is no such CarbonPolicy", wish.Policy))
	case err != nil:
		return answer{}, status.Error(codes.Unavailable, cut(err.Error()))
	}
	v := wish.Judge(level, now)
	switch {
	case v.IsMistake:
		return answer{}, invalid(v.Reason)
	case !v.IsKnown && level.IsUnread:
		return answer{}, status.Error(codes.Unavailable, "the forecast of the policy has not been read yet")
	}
	return answer{isActive: v.IsClean(), isCounted: v.IsClean() && !wish.IsCeiling, until: v.Until}, nil
}

// level returns the level for a wish. All streams of a policy ask at the same moment, and the level is
// found once.
func (s *Scaler) level(ctx context.Context, wish *trigger.Wish, now time.Time) (plan.Level, error) {
	s.finding.Lock()
	defer s.finding.Unlock()
	for {
		level, source, err := s.Levels.Level(ctx, wish.Policy, wish.Region, now)
		if _, wasUsed := s.sources.LoadOrStore(source, true); wasUsed || err != nil {
			return level, err
		} // else the forecast may have changed meanwhile, and nobody has been woken
	}
}

// invalid is the answer to a mistake of the caller.
func invalid(message string) error { return status.Error(codes.InvalidArgument, cut(message)) }

// cut returns the beginning of a message, which becomes a header.
func cut(message string) string {
	if len(message) <= maxMessageBytes {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessageBytes], "") + "…"
}
