package ceiling

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sort"
	"strconv"
	"time"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

const (
	// lookback is how much of the past of a forecast is kept for rules on a time
	// of high intensity, and maxHigh how long that may be, in minutes.
	lookback = 48 * time.Hour
	maxHigh  = int32(lookback / time.Minute)
)

const (
	// The most schedules that are looked at; a longer list cannot be read.
	maxWindows, maxRecurring = 1000, 100
	// maxWarnings is the most warnings that are given.
	maxWarnings = 20
)

// ecoRules are those of a CarbonAwareKedaScaler, made ready. They are for one
// goroutine, and for moments in ascending order.
type ecoRules struct {
	buckets  []carbonaware.CarbonIntensityConfig // ascending, of equals the first
	off      int32
	windows  []window
	cron     []recurring
	high     carbonaware.CarbonIntensityDuration
	warnings []string
}

type window struct {
	from, to time.Time
	err      error
}

type recurring struct {
	expression string
	exempt     plan.Exemption
	err        error
	turns      time.Time // when it begins or ends next, once that was asked for
}

// newEcoRules makes a spec ready. early moves recurring schedules a minute
// ahead, as the operator had them.
func newEcoRules(spec *carbonaware.CarbonAwareKedaScalerSpec, early bool, now time.Time) *ecoRules {
	r := &ecoRules{off: spec.EcoModeOff.MaxReplicas, buckets: slices.Clone(spec.MaxReplicasByCarbonIntensity)}
	slices.SortStableFunc(r.buckets, func(a, b carbonaware.CarbonIntensityConfig) int {
		return int(a.CarbonIntensityThreshold) - int(b.CarbonIntensityThreshold)
	})
	r.warnings = checkBuckets(spec)
	r.addWindows(spec.EcoModeOff.CustomSchedule)
	r.addRecurring(spec.EcoModeOff.RecurringSchedule, early, now)
	if high := spec.EcoModeOff.CarbonIntensityDuration; high != nil {
		r.high = *high
		if minutes := high.OverrideEcoAfterDurationInMins; minutes < 0 || minutes > maxHigh {
			r.high.OverrideEcoAfterDurationInMins = 0
			r.warn("spec.ecoModeOff.carbonIntensityDuration.overrideEcoAfterDurationInMins: %d: want 1 to %d minutes, or 0 for never, as which it is taken", minutes, maxHigh)
		}
	}
	if more := len(r.warnings) - maxWarnings; more > 0 {
		r.warnings = append(r.warnings[:maxWarnings:maxWarnings], fmt.Sprintf("and %d more", more))
	}
	return r
}

func (r *ecoRules) warn(format string, values ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, values...))
}

func (r *ecoRules) addWindows(schedules []carbonaware.Schedule) {
	const path = "spec.ecoModeOff.customSchedule"
	if n := len(schedules); n > maxWindows {
		r.windows = []window{{err: fmt.Errorf("%s: %d entries: want at most %d", path, n, maxWindows)}}
		r.warn("%v", r.windows[0].err)
		return
	}
	for i, s := range schedules {
		w := newWindow(s, fmt.Sprintf("%s[%d]", path, i))
		r.windows = append(r.windows, w)
		switch {
		case w.err != nil:
			r.warn("%v", w.err)
		case !w.from.Before(w.to):
			r.warn("%s[%d]: startTime %s: want a time before endTime %s", path, i, s.StartTime, s.EndTime)
		}
	}
}

func (r *ecoRules) addRecurring(expressions []string, early bool, now time.Time) {
	const path = "spec.ecoModeOff.recurringSchedule"
	if n := len(expressions); n > maxRecurring {
		r.cron = []recurring{{err: fmt.Errorf("%s: %d entries: want at most %d", path, n, maxRecurring)}}
		r.warn("%v", r.cron[0].err)
		return
	}
	for i, expression := range expressions {
		entry := newRecurring(expression, early, now)
		if entry.err != nil {
			entry.err = fmt.Errorf("%s[%d]: %.80q: %w", path, i, expression, entry.err)
			r.warn("%v", entry.err)
		}
		if warning := entry.exempt.Warning(); warning != "" {
			r.warn("%s[%d]: %.80q: %s", path, i, expression, warning)
		}
		if !errors.Is(entry.err, plan.ErrNeverMatches) {
			r.cron = append(r.cron, entry)
		}
	}
}

// checkBuckets says what cannot be meant.
func checkBuckets(spec *carbonaware.CarbonAwareKedaScalerSpec) (warnings []string) {
	seen := map[int32]int{}
	for i, b := range spec.MaxReplicasByCarbonIntensity {
		path := fmt.Sprintf("spec.maxReplicasByCarbonIntensity[%d]", i)
		if first, ok := seen[b.CarbonIntensityThreshold]; ok {
			warnings = append(warnings, fmt.Sprintf("%s: carbonIntensityThreshold %d is that of [%d], too, which holds", path, b.CarbonIntensityThreshold, first))
		} else {
			seen[b.CarbonIntensityThreshold] = i
		}
		if b.MaxReplicas < 0 {
			warnings = append(warnings, fmt.Sprintf("%s: maxReplicas %d is taken for 0", path, b.MaxReplicas))
		}
	}
	if off := spec.EcoModeOff.MaxReplicas; off < 0 {
		warnings = append(warnings, fmt.Sprintf("spec.ecoModeOff: maxReplicas %d is taken for 0", off))
	}
	return warnings
}

func newWindow(s carbonaware.Schedule, path string) (w window) {
	for _, end := range []struct {
		name, value string
		to          *time.Time
	}{{"startTime", s.StartTime, &w.from}, {"endTime", s.EndTime, &w.to}} {
		at, err := time.Parse(time.RFC3339, end.value)
		if err != nil {
			w.err = fmt.Errorf("%s.%s: %.40q: want RFC 3339, such as 2026-11-22T16:45:00Z", path, end.name, end.value)
			return w
		}
		*end.to = at
	}
	return w
}

func newRecurring(expression string, early bool, now time.Time) recurring {
	exempt, err := plan.ParseCronExemption(expression, now)
	exempt = exempt.WholeMinutes()
	if early {
		exempt = exempt.MovedEarlier(time.Minute)
	}
	return recurring{expression: expression, exempt: exempt, err: err}
}

// course is what is known of the intensity at a time.
type course func(time.Time) (intensity float64, known bool)

// eco is what the rules make of a moment.
type eco struct {
	max int32
	// off says why the intensity does not count; empty if it does.
	off string
	// wrong is what in the schedules cannot be read; off is set, too.
	wrong     error
	intensity float64
	known     bool
	bucket    string
	scheduled bool // off by a schedule
}

// at judges a moment.
func (r *ecoRules) at(now time.Time, intensity course) eco {
	e := eco{max: max(r.off, 0)}
	e.intensity, e.known = intensity(now)
	if !e.known {
		e.off = "unable to find current carbon forecast"
		return e
	}
	if e.off, e.wrong = r.schedule(now); e.off != "" || e.wrong != nil {
		e.scheduled = true
		return e
	}
	if r.isHigh(now, intensity) {
		e.off = fmt.Sprintf("carbon intensity >= threshold of %d for the last %s",
			r.high.CarbonIntensityThreshold, time.Duration(r.high.OverrideEcoAfterDurationInMins)*time.Minute)
		return e
	}
	e.max, e.bucket = r.lookUp(e.intensity)
	return e
}

// schedule says which schedule applies now. What is listed before one that
// cannot be read is still kept.
func (r *ecoRules) schedule(now time.Time) (off string, wrong error) {
	for _, w := range r.windows {
		if w.err != nil {
			return "custom schedule cannot be read", w.err
		}
		if w.from.Before(now) && now.Before(w.to) {
			return fmt.Sprintf("custom schedule from %s to %s", w.from, w.to), nil
		}
	}
	for _, c := range r.cron {
		if c.err != nil {
			return "recurring schedule cannot be read", c.err
		}
		if c.exempt.Applies(now) {
			return fmt.Sprintf("recurring schedule %q", c.expression), nil
		}
	}
	return "", nil
}

// isHigh reports whether the intensity has been high for as long as it takes:
// now, and at each full minute before now.
func (r *ecoRules) isHigh(now time.Time, intensity course) bool {
	for i := range r.high.OverrideEcoAfterDurationInMins {
		at, known := intensity(now.Add(-time.Duration(i) * time.Minute))
		if !known || at < float64(r.high.CarbonIntensityThreshold) {
			return false
		}
	}
	return r.high.OverrideEcoAfterDurationInMins > 0
}

// lookUp returns what holds at an intensity, and the name of its bucket.
func (r *ecoRules) lookUp(intensity float64) (replicas int32, name string) {
	last := len(r.buckets) - 1
	if last < 0 {
		return max(r.off, 0), "" // the schema does not let this happen
	}
	i := sort.Search(last, func(i int) bool { return intensity <= float64(r.buckets[i].CarbonIntensityThreshold) })
	switch {
	case last == 0:
	case i == last:
		name = ">" + strconv.Itoa(int(r.buckets[i-1].CarbonIntensityThreshold))
	default:
		name = "<=" + strconv.Itoa(int(r.buckets[i].CarbonIntensityThreshold))
	}
	return max(r.buckets[i].MaxReplicas, 0), name
}

// turn returns the next moment after now at which a schedule begins or ends, or
// the intensity may have been high for long enough; zero if there is none.
// boundary is the next moment at which the intensity changes.
func (r *ecoRules) turn(now, boundary time.Time, intensity course) time.Time {
	next := boundary
	soonest := func(at time.Time) {
		if at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, w := range r.windows {
		soonest(w.from.Add(time.Millisecond)) // which is exclusive
		soonest(w.to)
	}
	for i := range r.cron {
		if c := &r.cron[i]; c.err == nil && !c.turns.After(now) {
			c.turns = c.exempt.NextChange(now)
		}
		soonest(r.cron[i].turns)
	}
	if at, known := intensity(now); known && r.high.OverrideEcoAfterDurationInMins > 0 && at >= float64(r.high.CarbonIntensityThreshold) {
		soonest(now.Truncate(time.Minute).Add(time.Minute))
	}
	return next.UTC()
}

const mockSlot = 5 * time.Minute

// mock is the course of the mock forecast: it never ends, and is the same in
// every replica and after a restart.
func mock(at time.Time) (float64, bool) {
	const least, span = 529, 51
	h := fnv.New64a()
	fmt.Fprint(h, at.Truncate(mockSlot).Unix())
	return least + span*float64(h.Sum64()>>11)/(1<<53), true
}
