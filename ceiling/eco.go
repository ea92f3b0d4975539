package ceiling

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"time"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

const (
	// lookback is how much of the past of a forecast is remembered for rules on a time of high
	// intensity.
	lookback = 48 * time.Hour
	// maxHighMinutes is the longest time of high intensity that a rule may name.
	maxHighMinutes = int32(lookback / time.Minute)
	// maxWindows and maxRecurring are the most schedules that are read. A longer list is a mistake.
	maxWindows   = 1000
	maxRecurring = 100
	maxWarnings  = 20
)

// ecoRules are the rules of a CarbonAwareKedaScaler, made ready. They are for one goroutine, and
// for moments in ascending order.
type ecoRules struct {
	buckets    []carbonaware.CarbonIntensityConfig // ascending, of equal thresholds the first counts
	offMax     int32                               // the ceiling while eco mode is off
	windows    []window
	recurrings []recurring
	high       carbonaware.CarbonIntensityDuration
	warnings   []string
}

// window is a schedule with a start and an end.
type window struct {
	from, to time.Time
	mistake  error
}

// recurring is a schedule by a cron expression.
type recurring struct {
	expression string
	exempt     plan.Exemption
	mistake    error
	turn       time.Time // when the schedule begins or ends next, once somebody has asked
}

// newEcoRules makes a spec ready. isEarly moves recurring schedules a minute ahead, as the operator
// had them.
func newEcoRules(spec *carbonaware.CarbonAwareKedaScalerSpec, isEarly bool, now time.Time) *ecoRules {
	r := &ecoRules{offMax: spec.EcoModeOff.MaxReplicas, buckets: slices.Clone(spec.MaxReplicasByCarbonIntensity)}
	slices.SortStableFunc(r.buckets, func(a, b carbonaware.CarbonIntensityConfig) int {
		return int(a.CarbonIntensityThreshold) - int(b.CarbonIntensityThreshold)
	})
	r.warnings = checkBuckets(spec)
	r.addWindows(spec.EcoModeOff.CustomSchedule)
	r.addRecurring(spec.EcoModeOff.RecurringSchedule, isEarly, now)
	if high := spec.EcoModeOff.CarbonIntensityDuration; high != nil {
		r.high = *high
		if minutes := high.OverrideEcoAfterDurationInMins; minutes < 0 || minutes > maxHighMinutes {
			r.high.OverrideEcoAfterDurationInMins = 0
			r.warn("spec.ecoModeOff.carbonIntensityDuration.overrideEcoAfterDurationInMins: %d: want 1 to %d minutes, or 0 for never; this counts as 0", minutes, maxHighMinutes)
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
		r.windows = []window{{mistake: fmt.Errorf("%s: %d entries: want at most %d", path, n, maxWindows)}}
		r.warn("%v", r.windows[0].mistake)
		return
	}
	for i, s := range schedules {
		w := newWindow(s, fmt.Sprintf("%s[%d]", path, i))
		r.windows = append(r.windows, w)
		switch {
		case w.mistake != nil:
			r.warn("%v", w.mistake)
		case !w.from.Before(w.to):
			r.warn("%s[%d]: startTime %s: want a time before endTime %s", path, i, s.StartTime, s.EndTime)
		}
	}
}

func (r *ecoRules) addRecurring(expressions []string, isEarly bool, now time.Time) {
	const path = "spec.ecoModeOff.recurringSchedule"
	if n := len(expressions); n > maxRecurring {
		r.recurrings = []recurring{{mistake: fmt.Errorf("%s: %d entries: want at most %d", path, n, maxRecurring)}}
		r.warn("%v", r.recurrings[0].mistake)
		return
	}
	for i, expression := range expressions {
		entry := newRecurring(expression, isEarly, now)
		if entry.mistake != nil {
			entry.mistake = fmt.Errorf("%s[%d]: %.80q: %w", path, i, expression, entry.mistake)
			r.warn("%v", entry.mistake)
		}
		if warning := entry.exempt.Warning(); warning != "" {
			r.warn("%s[%d]: %.80q: %s", path, i, expression, warning)
		}
		if !errors.Is(entry.mistake, plan.ErrNeverMatches) {
			r.recurrings = append(r.recurrings, entry)
		}
	}
}

// checkBuckets returns warnings of buckets that cannot be meant.
func checkBuckets(spec *carbonaware.CarbonAwareKedaScalerSpec) (warnings []string) {
	firstOf := map[int32]int{}
	for i, b := range spec.MaxReplicasByCarbonIntensity {
		path := fmt.Sprintf("spec.maxReplicasByCarbonIntensity[%d]", i)
		if first, ok := firstOf[b.CarbonIntensityThreshold]; ok {
			warnings = append(warnings, fmt.Sprintf("%s: carbonIntensityThreshold %d is that of [%d], too; only [%[3]d] counts", path, b.CarbonIntensityThreshold, first))
		} else {
			firstOf[b.CarbonIntensityThreshold] = i
		}
		if b.MaxReplicas < 0 {
			warnings = append(warnings, fmt.Sprintf("%s: maxReplicas %d counts as 0", path, b.MaxReplicas))
		}
	}
	if off := spec.EcoModeOff.MaxReplicas; off < 0 {
		warnings = append(warnings, fmt.Sprintf("spec.ecoModeOff: maxReplicas %d counts as 0", off))
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
			w.mistake = fmt.Errorf("%s.%s: %.40q: want RFC 3339, such as 2026-11-22T16:45:00Z", path, end.name, end.value)
			return w
		}
		*end.to = at
	}
	return w
}

func newRecurring(expression string, isEarly bool, now time.Time) recurring {
	exempt, err := plan.ParseCronExemption(expression, now)
	exempt = exempt.WholeMinutes()
	if isEarly {
		exempt = exempt.MovedEarlier(time.Minute)
	}
	return recurring{expression: expression, exempt: exempt, mistake: err}
}

// ecoState is what the rules make of a moment.
type ecoState struct {
	max int32 // the ceiling
	// offReason says why the intensity does not count, empty if it does.
	offReason string
	// mistake is what cannot be read in the schedules. Then offReason is set, too.
	mistake   error
	intensity float64
	isKnown   bool // the intensity is known
	bucket    string
}

// at judges a moment.
func (r *ecoRules) at(now time.Time, intensity course) ecoState {
	e := ecoState{max: max(r.offMax, 0)}
	e.intensity, e.isKnown = intensity(now)
	if !e.isKnown {
		e.offReason = "unable to find current carbon forecast"
		return e
	}
	if e.offReason, e.mistake = r.schedule(now); e.offReason != "" || e.mistake != nil {
		return e
	}
	if r.isHigh(now, intensity) {
		e.offReason = fmt.Sprintf("carbon intensity >= threshold of %d for the last %s",
			r.high.CarbonIntensityThreshold, time.Duration(r.high.OverrideEcoAfterDurationInMins)*time.Minute)
		return e
	}
	e.max, e.bucket = r.lookUp(e.intensity)
	return e
}

// schedule says which schedule applies now. A schedule that is listed before one that cannot be
// read still counts.
func (r *ecoRules) schedule(now time.Time) (offReason string, mistake error) {
	for _, w := range r.windows {
		if w.mistake != nil {
			return "custom schedule cannot be read", w.mistake
		}
		if w.from.Before(now) && now.Before(w.to) {
			return fmt.Sprintf("custom schedule from %s to %s", w.from, w.to), nil
		}
	}
	for _, c := range r.recurrings {
		if c.mistake != nil {
			return "recurring schedule cannot be read", c.mistake
		}
		if c.exempt.Applies(now) {
			return fmt.Sprintf("recurring schedule %q", c.expression), nil
		}
	}
	return "", nil
}

// isHigh reports whether the intensity has been high for as long as the rule says: now, and at each
// full minute before now.
func (r *ecoRules) isHigh(now time.Time, intensity course) bool {
	for i := range r.high.OverrideEcoAfterDurationInMins {
		at, isKnown := intensity(now.Add(-time.Duration(i) * time.Minute))
		if !isKnown || at < float64(r.high.CarbonIntensityThreshold) {
			return false
		}
	}
	return r.high.OverrideEcoAfterDurationInMins > 0
}

// lookUp returns the ceiling at an intensity, and the name of its bucket.
func (r *ecoRules) lookUp(intensity float64) (ceiling int32, bucket string) {
	last := len(r.buckets) - 1
	if last < 0 {
		return max(r.offMax, 0), "" // the schema does not let this happen
	}
	i := sort.Search(last, func(i int) bool { return intensity <= float64(r.buckets[i].CarbonIntensityThreshold) })
	switch {
	case last == 0:
	case i == last:
		bucket = ">" + strconv.Itoa(int(r.buckets[i-1].CarbonIntensityThreshold))
	default:
		bucket = "<=" + strconv.Itoa(int(r.buckets[i].CarbonIntensityThreshold))
	}
	return max(r.buckets[i].MaxReplicas, 0), bucket
}

// turn returns the next moment after now at which a schedule begins or ends, or the intensity may
// have been high for long enough, zero if there is none. boundary is the next moment at which the
// intensity changes.
func (r *ecoRules) turn(now, boundary time.Time, intensity course) time.Time {
	next := boundary
	consider := func(at time.Time) {
		if at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, w := range r.windows {
		consider(w.from.Add(time.Millisecond)) // a window begins just after its start
		consider(w.to)
	}
	for i := range r.recurrings {
		if c := &r.recurrings[i]; c.mistake == nil && !c.turn.After(now) {
			c.turn = c.exempt.NextChange(now)
		}
		consider(r.recurrings[i].turn)
	}
	if at, isKnown := intensity(now); isKnown && r.high.OverrideEcoAfterDurationInMins > 0 && at >= float64(r.high.CarbonIntensityThreshold) {
		consider(now.Truncate(time.Minute).Add(time.Minute))
	}
	return next.UTC()
}
