package ceiling

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// course returns the intensity at a time, and whether the intensity is known.
type course func(time.Time) (intensity float64, isKnown bool)

// intensities is what a scaler knows of the intensity.
type intensities struct {
	course
	// nextChange returns when the intensity changes after a time, zero if it does not.
	nextChange func(time.Time) time.Time
	source     forecast.Source
	problem    error
	// isPending says that it is too early to say that there is no forecast.
	isPending bool
}

// seriesKey names the forecast of one location.
type seriesKey struct {
	source   forecast.Source
	location string
}

// seen is what has been seen of a forecast: the newest series, and that series with what was seen
// before it.
type seen struct{ newest, whole *forecast.Series }

// intensitiesOf returns what a scaler knows of the intensity.
func (c *Controller) intensitiesOf(s *carbonaware.CarbonAwareKedaScaler, t *target, now time.Time) intensities {
	source, err := sourceOf(s)
	if err == nil && source == (forecast.Source{}) {
		return intensities{course: mockCourse, nextChange: func(at time.Time) time.Time { return at.Truncate(mockSlot).Add(mockSlot) }}
	}
	known := intensities{
		course:     func(time.Time) (float64, bool) { return 0, false },
		nextChange: func(time.Time) time.Time { return time.Time{} },
		source:     source, problem: err,
	}
	if err != nil {
		return known
	}
	snapshot := c.Store.Snapshot(source)
	if limit, exceeds := c.named.Load().exceeds(source); exceeds && !snapshot.IsKnown() {
		known.problem = errors.New(limit.String())
		return known
	}
	if problem := snapshot.Problem(); problem != "" {
		known.problem = errors.New(problem)
	}
	f, ok := snapshot.Forecast(s.Annotations[v1alpha1.LocationAnnotation])
	if !ok {
		if locations := snapshot.Locations(); len(locations) > 0 {
			known.problem = fmt.Errorf("want the annotation %s with a location of the forecast: %s", v1alpha1.LocationAnnotation, strings.Join(locations, ", "))
		}
		known.isPending = c.isTooEarly(source, t, now)
		return known
	}
	series := c.remember(seriesKey{source, f.Location}, f.Series, now)
	known.course = func(at time.Time) (float64, bool) {
		if intensity, isKnown := series.At(at); isKnown || at.Before(now) {
			return intensity, isKnown
		}
		return f.Near(at)
	}
	known.nextChange = func(at time.Time) time.Time {
		boundary, _ := series.NextBoundary(at) // zero if there is none
		return boundary
	}
	return known
}

// remember returns a series with what was seen before it. Rules on a time of high intensity look
// back further than a forecast does.
func (c *Controller) remember(key seriesKey, newest *forecast.Series, now time.Time) *forecast.Series {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[seriesKey]seen{}
	}
	known := c.seen[key]
	if known.newest != newest {
		known = seen{newest, known.whole.Splice(newest, now.Add(-lookback))}
		c.seen[key] = known
	}
	return known.whole
}

const mockSlot = 5 * time.Minute

// mockCourse is the course of the mock forecast. The mock forecast never ends, and is the same in
// every replica and after a restart.
func mockCourse(at time.Time) (float64, bool) {
	const lowest, span = 529, 51
	h := fnv.New64a()
	fmt.Fprint(h, at.Truncate(mockSlot).Unix())
	return lowest + span*float64(h.Sum64()>>11)/(1<<53), true
}
