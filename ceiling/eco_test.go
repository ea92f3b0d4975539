package ceiling

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

func clock(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// three is the spec of the operator's samples.
func three() *carbonaware.CarbonAwareKedaScalerSpec {
	return &carbonaware.CarbonAwareKedaScalerSpec{
		MaxReplicasByCarbonIntensity: []carbonaware.CarbonIntensityConfig{
			{CarbonIntensityThreshold: 571, MaxReplicas: 10}, // in no order
			{CarbonIntensityThreshold: 437, MaxReplicas: 110},
			{CarbonIntensityThreshold: 504, MaxReplicas: 60},
		},
		EcoModeOff: carbonaware.EcoModeOff{MaxReplicas: 100},
	}
}

func constant(intensity float64) course {
	return func(time.Time) (float64, bool) { return intensity, true }
}

func unknown(time.Time) (float64, bool) { return 0, false }

func TestBucketsAreThoseOfTheOperator(t *testing.T) {
	now := clock(t, "2026-11-22T12:00:00Z")
	tests := []struct {
		name      string
		intensity float64
		want      int32
		bucket    string
	}{
		{"the cleanest", 0.0001, 110, "<=437"},
		{"just below a threshold", 436.99, 110, "<=437"},
		{"a threshold belongs to the bucket below it", 437, 110, "<=437"},
		{"just above a threshold", 437.0001, 60, "<=504"},
		{"the second threshold", 504, 60, "<=504"},
		{"above it", 504.5, 10, ">504"},
		{"the last threshold", 571, 10, ">504"},
		{"just above the last threshold", 571.0001, 10, ">504"},
		{"far above it", 99999, 10, ">504"},
		{"zero is clean, which is a deviation", 0, 110, "<=437"},
		{"less than zero is clean, which is a deviation", -30, 110, "<=437"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEcoRules(three(), false, now).at(now, constant(tt.intensity))
			if e.max != tt.want || e.bucket != tt.bucket || e.offReason != "" {
				t.Errorf("got %d in %s, off %q, want %d in %s", e.max, e.bucket, e.offReason, tt.want, tt.bucket)
			}
		})
	}
}

func TestOddBuckets(t *testing.T) {
	now := clock(t, "2026-11-22T12:00:00Z")
	config := func(pairs ...int32) []carbonaware.CarbonIntensityConfig {
		var configs []carbonaware.CarbonIntensityConfig
		for i := 0; i < len(pairs); i += 2 {
			configs = append(configs, carbonaware.CarbonIntensityConfig{CarbonIntensityThreshold: pairs[i], MaxReplicas: pairs[i+1]})
		}
		return configs
	}
	tests := []struct {
		name      string
		buckets   []carbonaware.CarbonIntensityConfig
		intensity float64
		want      int32
		warning   string
	}{
		{"of two equal thresholds the first holds", config(500, 10, 500, 5), 500, 10, "spec.maxReplicasByCarbonIntensity[1]: carbonIntensityThreshold 500 is that of [0], too; only [0] counts"},
		{"and the last above them", config(500, 10, 500, 5), 501, 5, "spec.maxReplicasByCarbonIntensity[1]: carbonIntensityThreshold 500 is that of [0], too; only [0] counts"},
		{"one bucket is for any intensity", config(500, 10), 9999, 10, ""},
		{"a negative maximum is none", config(500, -3), 100, 0, "spec.maxReplicasByCarbonIntensity[0]: maxReplicas -3 counts as 0"},
		{"a negative threshold is a bound like any other", config(-5, 1, 100, 50), 40, 50, ""},
		{"no buckets, which the schema prevents", nil, 40, 100, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := three()
			spec.MaxReplicasByCarbonIntensity = tt.buckets
			rules := newEcoRules(spec, false, now)
			if got := rules.at(now, constant(tt.intensity)).max; got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
			if got := strings.Join(rules.warnings, "; "); got != tt.warning {
				t.Errorf("got the warnings %q, want %q", got, tt.warning)
			}
		})
	}
}

func TestRecurringSchedules(t *testing.T) {
	tests := []struct {
		name, expression, now string
		off                   bool
		offEarly              bool // with --ceiling-early-cron, which is as the operator was
	}{
		{"two minutes before the first", "* 9-17 * * *", "2026-11-20T08:58:59.999Z", false, false},
		{"the minute before the first", "* 9-17 * * *", "2026-11-20T08:59:00Z", false, true},
		{"the first minute", "* 9-17 * * *", "2026-11-20T09:00:00Z", true, true},
		{"the last minute but one", "* 9-17 * * *", "2026-11-20T17:58:59.999Z", true, true},
		{"the last minute", "* 9-17 * * *", "2026-11-20T17:59:00Z", true, false},
		{"in the last minute", "* 9-17 * * *", "2026-11-20T17:59:30Z", true, false},
		{"after the last minute", "* 9-17 * * *", "2026-11-20T18:00:00Z", false, false},
		{"just before the one minute", "0 9 * * *", "2026-11-20T08:59:30Z", false, true},
		{"the one minute", "0 9 * * *", "2026-11-20T09:00:00Z", true, false},
		{"in the one minute", "0 9 * * *", "2026-11-20T09:00:30Z", true, false},
		{"before the README's hour on a Monday", "* 23 * * 1-5", "2026-11-23T22:59:30Z", false, true},
		{"in it", "* 23 * * 1-5", "2026-11-23T23:58:59Z", true, true},
		{"in its last minute", "* 23 * * 1-5", "2026-11-23T23:59:30Z", true, false},
		{"on a Sunday", "* 23 * * 1-5", "2026-11-22T23:30:00Z", false, false},
		{"a minute before every tenth", "*/10 * * * *", "2026-11-20T12:09:00Z", false, true},
		{"longer before it", "*/10 * * * *", "2026-11-20T12:08:30Z", false, false},
		{"every tenth minute", "*/10 * * * *", "2026-11-20T12:10:00Z", true, false},
		{"day of the month or of the week: Monday the second", "* * 1 * 1", "2026-11-02T12:00:00Z", true, true},
		{"day of the month or of the week: Sunday the first", "* * 1 * 1", "2026-11-01T12:00:00Z", true, true},
		{"day of the month or of the week: Tuesday the third", "* * 1 * 1", "2026-11-03T12:00:00Z", false, false},
		{"always, at 23:59, which was a crash", "* * * * *", "2026-11-20T23:59:30Z", true, true},
		{"after midnight, at 23:59, which was a crash", "* 00-01 * * 1-5", "2026-11-19T23:59:00Z", false, true},
		{"hours around midnight, which was a crash", "* 22-5 * * *", "2026-11-20T23:30:00Z", true, true},
		{"in the last of them", "* 22-5 * * *", "2026-11-20T05:59:30Z", true, false},
		{"on the second day of the weekend", "* * * * 6-7", "2026-11-22T23:30:00Z", true, true},
		{"a year that is over, which was a crash", "* * * * * 2020", "2026-11-20T12:00:00Z", false, false},
		{"with seconds, the rest of the minute", "0 0 9 * * * *", "2026-11-20T09:00:59Z", true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := clock(t, tt.now)
			spec := three()
			spec.EcoModeOff.RecurringSchedule = []string{tt.expression}
			for early, want := range map[bool]bool{false: tt.off, true: tt.offEarly} {
				e := newEcoRules(spec, early, now).at(now, constant(450))
				if got := e.offReason != ""; got != want {
					t.Errorf("early %v: got off %v (%s), want %v", early, got, e.offReason, want)
				}
				if max := map[bool]int32{false: 60, true: 100}[want]; e.max != max {
					t.Errorf("early %v: got %d, want %d", early, e.max, max)
				}
			}
		})
	}
}

func TestWhatTurnsEcoModeOff(t *testing.T) {
	now := clock(t, "2026-11-22T12:00:00Z")
	tests := []struct {
		name   string
		change func(*carbonaware.EcoModeOff)
		course course
		off    string
		wrong  string
	}{
		{name: "nothing", course: constant(450)},
		{
			name: "no forecast", course: unknown,
			off: "unable to find current carbon forecast",
		},
		{
			name: "a window",
			change: func(o *carbonaware.EcoModeOff) {
				o.CustomSchedule = []carbonaware.Schedule{{StartTime: "2026-11-22T11:00:00Z", EndTime: "2026-11-22T14:00:00+01:00"}}
			},
			course: constant(450), off: "custom schedule from 2026-11-22 11:00:00 +0000 UTC to 2026-11-22 14:00:00 +0100",
		},
		{
			name: "not a window that begins now",
			change: func(o *carbonaware.EcoModeOff) {
				o.CustomSchedule = []carbonaware.Schedule{{StartTime: "2026-11-22T12:00:00Z", EndTime: "2026-11-22T13:00:00Z"}}
			},
			course: constant(450),
		},
		{
			name: "not a window that ends now",
			change: func(o *carbonaware.EcoModeOff) {
				o.CustomSchedule = []carbonaware.Schedule{{StartTime: "2026-11-22T11:00:00Z", EndTime: "2026-11-22T12:00:00Z"}}
			},
			course: constant(450),
		},
		{
			name: "a window that cannot be read",
			change: func(o *carbonaware.EcoModeOff) {
				o.CustomSchedule = []carbonaware.Schedule{{StartTime: "tomorrow", EndTime: "2026-11-22T12:00:00Z"}}
				o.RecurringSchedule = []string{"* * * * *"}
			},
			course: constant(450), off: "custom schedule cannot be read",
			wrong: `spec.ecoModeOff.customSchedule[0].startTime: "tomorrow": want RFC 3339, such as 2026-11-22T16:45:00Z`,
		},
		{
			name: "a window before one that cannot be read",
			change: func(o *carbonaware.EcoModeOff) {
				o.CustomSchedule = []carbonaware.Schedule{{StartTime: "2026-11-22T11:00:00Z", EndTime: "2026-11-22T13:00:00Z"}, {StartTime: "x", EndTime: "y"}}
			},
			course: constant(450), off: "custom schedule from 2026-11-22 11:00:00 +0000 UTC to 2026-11-22 13:00:00 +0000 UTC",
		},
		{
			name: "a recurring schedule that cannot be read, which was a crash",
			change: func(o *carbonaware.EcoModeOff) {
				o.RecurringSchedule = []string{"* 22-24 * * *"}
			},
			course: constant(450), off: "recurring schedule cannot be read",
			wrong: `spec.ecoModeOff.recurringSchedule[0]: "* 22-24 * * *": hour field: "22-24": want 0 to 23`,
		},
		{
			name: "windows before recurring schedules",
			change: func(o *carbonaware.EcoModeOff) {
				o.CustomSchedule = []carbonaware.Schedule{{StartTime: "2026-11-22T11:00:00Z", EndTime: "2026-11-22T13:00:00Z"}}
				o.RecurringSchedule = []string{"bad"}
			},
			course: constant(450), off: "custom schedule from 2026-11-22 11:00:00 +0000 UTC to 2026-11-22 13:00:00 +0000 UTC",
		},
		{
			name: "a time of high intensity",
			change: func(o *carbonaware.EcoModeOff) {
				o.CarbonIntensityDuration = &carbonaware.CarbonIntensityDuration{CarbonIntensityThreshold: 450, OverrideEcoAfterDurationInMins: 45}
			},
			course: constant(450), off: "carbon intensity >= threshold of 450 for the last 45m0s",
		},
		{
			name: "not if it was lower at the start of it",
			change: func(o *carbonaware.EcoModeOff) {
				o.CarbonIntensityDuration = &carbonaware.CarbonIntensityDuration{CarbonIntensityThreshold: 450, OverrideEcoAfterDurationInMins: 45}
			},
			course: func(at time.Time) (float64, bool) {
				if at.Before(now.Add(-43 * time.Minute)) {
					return 449, true
				}
				return 500, true
			},
		},
		{
			name: "nor if that is not known",
			change: func(o *carbonaware.EcoModeOff) {
				o.CarbonIntensityDuration = &carbonaware.CarbonIntensityDuration{CarbonIntensityThreshold: 450, OverrideEcoAfterDurationInMins: 45}
			},
			course: func(at time.Time) (float64, bool) { return 500, !at.Before(now.Add(-43 * time.Minute)) },
		},
		{
			name: "nor with no minutes",
			change: func(o *carbonaware.EcoModeOff) {
				o.CarbonIntensityDuration = &carbonaware.CarbonIntensityDuration{CarbonIntensityThreshold: 1}
			},
			course: constant(450),
		},
		{
			name: "nor with more minutes than anybody remembers",
			change: func(o *carbonaware.EcoModeOff) {
				o.CarbonIntensityDuration = &carbonaware.CarbonIntensityDuration{CarbonIntensityThreshold: 1, OverrideEcoAfterDurationInMins: 1<<31 - 1}
			},
			course: constant(450),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := three()
			if tt.change != nil {
				tt.change(&spec.EcoModeOff)
			}
			e := newEcoRules(spec, false, now).at(now, tt.course)
			wrong := ""
			if e.mistake != nil {
				wrong = e.mistake.Error()
			}
			if e.offReason != tt.off && !strings.HasPrefix(e.offReason, tt.off+" ") || (tt.off == "") != (e.offReason == "") {
				t.Errorf("got off because of %q, want %q", e.offReason, tt.off)
			}
			if wrong != tt.wrong {
				t.Errorf("got wrong %q, want %q", wrong, tt.wrong)
			}
			want := int32(60)
			if tt.off != "" {
				want = 100
			}
			if e.max != want {
				t.Errorf("got %d, want %d", e.max, want)
			}
		})
	}
}

func TestListsThatAreTooLongTurnEcoModeOff(t *testing.T) {
	now := clock(t, "2026-11-22T12:00:00Z")
	tests := []struct {
		name   string
		change func(*carbonaware.EcoModeOff)
		want   string
	}{
		{"windows", func(o *carbonaware.EcoModeOff) { o.CustomSchedule = make([]carbonaware.Schedule, maxWindows+1) }, "spec.ecoModeOff.customSchedule: 1001 entries: want at most 1000"},
		{"cron expressions", func(o *carbonaware.EcoModeOff) { o.RecurringSchedule = make([]string, maxRecurring+1) }, "spec.ecoModeOff.recurringSchedule: 101 entries: want at most 100"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := three()
			tt.change(&spec.EcoModeOff)
			rules := newEcoRules(spec, false, now)
			if e := rules.at(now, constant(450)); e.mistake == nil || e.mistake.Error() != tt.want || e.max != 100 {
				t.Errorf("got %v, and %d", e.mistake, e.max)
			}
			if diff := cmp.Diff([]string{tt.want}, rules.warnings); diff != "" {
				t.Error(diff)
			}
		})
	}
	spec := three()
	spec.EcoModeOff.RecurringSchedule = make([]string, maxRecurring) // each of which is bad
	if warnings := newEcoRules(spec, false, now).warnings; len(warnings) != maxWarnings+1 || warnings[maxWarnings] != "and 80 more" {
		t.Errorf("got %d warnings, the last %q", len(warnings), warnings[len(warnings)-1])
	}
}

func TestTurnsAreThoseOfForecastAndSchedules(t *testing.T) {
	start := clock(t, "2026-11-22T12:00:00Z")
	var slots []forecast.Slot
	for i, intensity := range []float64{400, 400, 450, 600, 600, 600, 450} {
		from := start.Add(time.Duration(i) * 30 * time.Minute)
		slots = append(slots, forecast.Slot{Start: from, End: from.Add(30 * time.Minute), Intensity: intensity})
	}
	series := forecast.NewSeries(slots)
	o := intensities{course: series.At, nextChange: func(at time.Time) time.Time {
		next, _ := series.NextBoundary(at)
		return next
	}}
	spec := three()
	spec.EcoModeOff.CustomSchedule = []carbonaware.Schedule{{StartTime: "2026-11-22T12:10:00Z", EndTime: "2026-11-22T12:20:00Z"}}
	spec.EcoModeOff.RecurringSchedule = []string{"15-16 13 * * *"}
	spec.EcoModeOff.CarbonIntensityDuration = &carbonaware.CarbonIntensityDuration{CarbonIntensityThreshold: 600, OverrideEcoAfterDurationInMins: 46}
	rules := newEcoRules(spec, false, start)
	type step struct {
		At  string
		Max int32
	}
	var got []step
	for now := start; ; {
		e := rules.at(now, o.course)
		got = append(got, step{now.Format("15:04:05.000"), e.max})
		if now = rules.nextCeiling(e.max, rules.turn(now, o.nextChange(now), o.course), o); now.IsZero() || len(got) > 20 {
			break
		}
	}
	want := []step{
		{"12:00:00.000", 110},
		{"12:10:00.001", 100}, // both ends of a window are exclusive
		{"12:20:00.000", 110},
		{"13:00:00.000", 60},
		{"13:15:00.000", 100},
		{"13:17:00.000", 60},
		{"13:30:00.000", 10},
		{"14:15:00.000", 100}, // 600 at 13:30, and at each of the 45 minutes after it
		{"15:00:00.000", 60},
		{"15:30:00.000", 100}, // the forecast has ended
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMockForecastNeverEndsAndStaysTheSame(t *testing.T) {
	at := clock(t, "2031-05-01T00:02:00Z")
	seen := map[float64]bool{}
	for range 1000 {
		intensity, known := mockCourse(at)
		again, _ := mockCourse(at.Add(2 * time.Minute))
		if !known || intensity < 529 || intensity >= 580 || again != intensity {
			t.Fatalf("got %v, then %v, known %v", intensity, again, known)
		}
		seen[intensity] = true
		at = at.Add(mockSlot)
	}
	if len(seen) < 900 {
		t.Errorf("got %d different intensities of 1000", len(seen))
	}
}

// FuzzEcoRules: no schedule, however written, is a crash, takes long, or turns in the past; what is
// wrong with it is said.
func FuzzEcoRules(f *testing.F) {
	f.Add("* 23 * * 1-5", "2026-11-22T16:45:00Z", "2026-11-22T17:00:00Z", int32(437), int32(110), int32(45), 450.0, int64(0))
	f.Add("* 22-2 * * *", "x", "", int32(-1), int32(-1), int32(-1), -1.0, int64(1<<40))
	f.Add("* * * * * 2020", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", int32(0), int32(0), int32(1<<31-1), 1e300, int64(-1))
	f.Add("0 0 31 2 *", "2026-11-22T16:45:00+14:00", "2026-11-22T16:45:00-12:00", int32(1), int32(1), int32(2880), 0.0, int64(59))
	f.Fuzz(func(t *testing.T, cron, from, to string, threshold, replicas, minutes int32, intensity float64, seconds int64) {
		now := time.Unix(1763800000, 0).UTC().Add(time.Duration(seconds%(1<<28)) * time.Second)
		spec := three()
		spec.MaxReplicasByCarbonIntensity = append(spec.MaxReplicasByCarbonIntensity, carbonaware.CarbonIntensityConfig{CarbonIntensityThreshold: threshold, MaxReplicas: replicas})
		spec.EcoModeOff.RecurringSchedule = []string{cron}
		spec.EcoModeOff.CustomSchedule = []carbonaware.Schedule{{StartTime: from, EndTime: to}}
		spec.EcoModeOff.CarbonIntensityDuration = &carbonaware.CarbonIntensityDuration{CarbonIntensityThreshold: threshold, OverrideEcoAfterDurationInMins: minutes}
		rules := newEcoRules(spec, seconds%2 == 0, now)
		e := rules.at(now, constant(intensity))
		if e.max < 0 {
			t.Errorf("got a ceiling of %d", e.max)
		}
		if e.mistake != nil && len(rules.warnings) == 0 {
			t.Errorf("no warning tells of %v", e.mistake)
		}
		if next := rules.turn(now, time.Time{}, constant(intensity)); !next.IsZero() && !next.After(now) {
			t.Errorf("turns at %v, which is not after %v", next, now)
		}
	})
}
