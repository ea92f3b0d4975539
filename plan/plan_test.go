package plan

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gridlatch/gridlatch/forecast"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// hourly makes a series of hours from t0.
func hourly(intensities ...float64) *forecast.Series {
	slots := make([]forecast.Slot, len(intensities))
	for i, v := range intensities {
		start := t0.Add(time.Duration(i) * time.Hour)
		slots[i] = forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: v}
	}
	return forecast.NewSeries(slots)
}

func at(hours float64) time.Time { return t0.Add(time.Duration(hours * float64(time.Hour))) }

func threshold(v float64) *float64 { return &v }

func TestDecide(t *testing.T) {
	exempt := func(from, to float64) []Exemption {
		e, err := NewExemption(at(from), at(to))
		if err != nil {
			t.Fatal(err)
		}
		return []Exemption{e}
	}
	tests := map[string]struct {
		series *forecast.Series
		terms  Terms
		now    float64
		task   Task
		want   Decision
	}{
		"waits for the cheapest hour": {
			series: hourly(400, 300, 100, 200),
			task:   Task{Duration: time.Hour, LatestStart: at(3)},
			want:   Decision{Start: at(2), Expected: 100, ExpectedAtOnce: 400, Cause: CauseCleanerLater},
		},
		"does not look beyond the latest start": {
			series: hourly(400, 300, 100, 200),
			task:   Task{Duration: time.Hour, LatestStart: at(1)},
			want:   Decision{Start: at(1), Expected: 300, ExpectedAtOnce: 400, Cause: CauseCleanerLater},
		},
		"a latest start within a slot is a start as good as any": {
			series: hourly(400, 300, 100, 200),
			task:   Task{Duration: time.Hour, LatestStart: at(1.5)},
			want:   Decision{Start: at(1.5), Expected: 200, ExpectedAtOnce: 400, Cause: CauseCleanerLater},
		},
		"takes the window, not the slot": {
			series: hourly(400, 100, 500, 200, 200),
			task:   Task{Duration: 2 * time.Hour, LatestStart: at(3)},
			want:   Decision{Start: at(3), Expected: 200, ExpectedAtOnce: 250, Cause: CauseCleanerLater},
		},
		"ends a window at a boundary where that is cheaper": {
			series: hourly(400, 400, 100, 900),
			task:   Task{Duration: 90 * time.Minute, LatestStart: at(3)},
			want:   Decision{Start: at(1.5), Expected: 200, ExpectedAtOnce: 400, Cause: CauseCleanerLater},
		},
		"takes the earliest of equals": {
			series: hourly(400, 100, 300, 100),
			task:   Task{Duration: time.Hour, LatestStart: at(3)},
			want:   Decision{Start: at(1), Expected: 100, ExpectedAtOnce: 400, Cause: CauseCleanerLater},
		},
		"starts when now is cleanest": {
			series: hourly(100, 300, 100, 200),
			task:   Task{Duration: time.Hour, LatestStart: at(3)},
			want:   Decision{Start: at(0), Expected: 100, ExpectedAtOnce: 100, Cause: CauseCleanestNow},
		},
		"does not hold for less than the minimum gain": {
			series: hourly(400, 397, 400),
			terms:  Terms{MinGain: 0.01},
			task:   Task{Duration: time.Hour, LatestStart: at(2)},
			want:   Decision{Start: at(0), Expected: 400, ExpectedAtOnce: 400, Cause: CauseSmallGain},
		},
		"goes on to hold for less, once it holds": {
			series: hourly(400, 397, 400),
			terms:  Terms{MinGain: 0.01},
			task:   Task{Duration: time.Hour, LatestStart: at(2), Held: true},
			want:   Decision{Start: at(1), Expected: 397, ExpectedAtOnce: 400, Cause: CauseCleanerLater},
		},
		"a wait price prefers the earlier of nearly equals": {
			series: hourly(400, 200, 300, 300, 199),
			terms:  Terms{WaitPrice: 0.01},
			task:   Task{Duration: time.Hour, LatestStart: at(4)},
			want:   Decision{Start: at(1), Expected: 200, ExpectedAtOnce: 400, Cause: CauseCleanerLater},
		},
		"starts at the latest start": {
			series: hourly(400, 300, 100),
			now:    1, task: Task{Duration: time.Hour, LatestStart: at(1)},
			want: Decision{Start: at(1), Expected: 300, ExpectedAtOnce: 300, Cause: CauseLatestStart},
		},
		"starts when the latest start is past": {
			series: hourly(400, 300, 100),
			now:    1, task: Task{Duration: time.Hour, LatestStart: at(0)},
			want: Decision{Start: at(1), Expected: 300, ExpectedAtOnce: 300, Cause: CauseLatestStart},
		},
		"starts without a forecast": {
			task: Task{Duration: time.Hour, LatestStart: at(9)},
			want: Decision{Start: at(0), Expected: math.NaN(), ExpectedAtOnce: math.NaN(), Cause: CauseNoForecast},
		},
		"starts when the forecast has ended": {
			series: hourly(400, 300),
			now:    3, task: Task{Duration: time.Hour, LatestStart: at(9)},
			want: Decision{Start: at(3), Expected: math.NaN(), ExpectedAtOnce: math.NaN(), Cause: CauseNoForecast},
		},
		"plans within the forecast when it ends before the deadline": {
			series: hourly(400, 300, 350),
			task:   Task{Duration: time.Hour, LatestStart: at(9)},
			want:   Decision{Start: at(1), Expected: 300, ExpectedAtOnce: 400, Cause: CauseCleanerLater},
		},
		"a threshold is met now, though it gets cleaner": {
			series: hourly(190, 100),
			task:   Task{Duration: time.Hour, LatestStart: at(1), Threshold: threshold(200)},
			want:   Decision{Start: at(0), Expected: 190, ExpectedAtOnce: 190, Cause: CauseThreshold},
		},
		"a threshold starts at the first window at or below it": {
			series: hourly(400, 200, 100),
			task:   Task{Duration: time.Hour, LatestStart: at(2), Threshold: threshold(200)},
			want:   Decision{Start: at(1), Expected: 200, ExpectedAtOnce: 400, Cause: CauseThreshold},
		},
		"a threshold is crossed between two slots": {
			series: hourly(400, 200, 100),
			task:   Task{Duration: time.Hour, LatestStart: at(2), Threshold: threshold(300)},
			want:   Decision{Start: at(0.5), Expected: 300, ExpectedAtOnce: 400, Cause: CauseThreshold},
		},
		"a threshold is crossed before a latest start within a slot": {
			series: hourly(400, 200, 100),
			task:   Task{Duration: time.Hour, LatestStart: at(0.75), Threshold: threshold(300)},
			want:   Decision{Start: at(0.5), Expected: 300, ExpectedAtOnce: 400, Cause: CauseThreshold},
		},
		"a threshold that is met only after the latest start gives the cleanest window": {
			series: hourly(400, 300, 350, 100),
			task:   Task{Duration: time.Hour, LatestStart: at(2), Threshold: threshold(200)},
			want:   Decision{Start: at(1), Expected: 300, ExpectedAtOnce: 400, Cause: CauseCleanerLater},
		},
		"starts during an exemption": {
			series: hourly(400, 300, 100), terms: Terms{Exemptions: exempt(-1, 1)},
			task: Task{Duration: time.Hour, LatestStart: at(3)},
			want: Decision{Start: at(0), Expected: 400, ExpectedAtOnce: 400, Cause: CauseExempt},
		},
		"does not wait beyond the next exemption": {
			series: hourly(400, 300, 100), terms: Terms{Exemptions: exempt(1, 2)},
			task: Task{Duration: time.Hour, LatestStart: at(3)},
			want: Decision{Start: at(1), Expected: 300, ExpectedAtOnce: 400, Cause: CauseCleanerLater},
		},
		"an exemption that is over does not count": {
			series: hourly(400, 300, 100), terms: Terms{Exemptions: exempt(-2, -1)},
			task: Task{Duration: time.Hour, LatestStart: at(3)},
			want: Decision{Start: at(2), Expected: 100, ExpectedAtOnce: 400, Cause: CauseCleanerLater},
		},
		"does not wait for what is nearly as clean": {
			series: hourly(400, 399.9, 400),
			task:   Task{Duration: time.Hour, LatestStart: at(2), Held: true},
			want:   Decision{Start: at(0), Expected: 400, ExpectedAtOnce: 400, Cause: CauseSmallGain},
		},
		"keeps a planned start that is nearly as cheap": {
			series: hourly(400, 300, 299.9, 300.1),
			task:   Task{Duration: time.Hour, LatestStart: at(3), Held: true, PlannedStart: at(3)},
			want:   Decision{Start: at(3), Expected: 300.1, ExpectedAtOnce: 400, Cause: CauseCleanerLater},
		},
		"moves a planned start for a real gain": {
			series: hourly(400, 300, 290, 300),
			task:   Task{Duration: time.Hour, LatestStart: at(3), Held: true, PlannedStart: at(3)},
			want:   Decision{Start: at(2), Expected: 290, ExpectedAtOnce: 400, Cause: CauseCleanerLater},
		},
		"keeps no planned start after the latest start": {
			series: hourly(400, 300, 300, 300),
			task:   Task{Duration: time.Hour, LatestStart: at(2), Held: true, PlannedStart: at(3)},
			want:   Decision{Start: at(1), Expected: 300, ExpectedAtOnce: 400, Cause: CauseCleanerLater},
		},
		"starts when the planned start is past, and now is nearly as cheap": {
			series: hourly(400, 300, 300, 300),
			now:    1.25, task: Task{Duration: time.Hour, LatestStart: at(2), Held: true, PlannedStart: at(1)},
			want: Decision{Start: at(1.25), Expected: 300, ExpectedAtOnce: 300, Cause: CauseCleanestNow},
		},
		"a threshold keeps a start planned a little later, below it": {
			series: hourly(400, 150, 150),
			task:   Task{Duration: time.Hour, LatestStart: at(2), Threshold: threshold(200), PlannedStart: at(0.82)},
			want:   Decision{Start: at(0.82), Expected: 195, ExpectedAtOnce: 400, Cause: CauseThreshold},
		},
		"a threshold does not keep a start planned much later": {
			series: hourly(400, 200, 100),
			task:   Task{Duration: time.Hour, LatestStart: at(2), Threshold: threshold(300), PlannedStart: at(1)},
			want:   Decision{Start: at(0.5), Expected: 300, ExpectedAtOnce: 400, Cause: CauseThreshold},
		},
		"what is not known is not clean": {
			series: gappy([]byte{24, 25, 255, 25, 18, 24}),
			task:   Task{Duration: time.Hour, LatestStart: at(5)},
			want:   Decision{Start: at(4), Expected: 180, ExpectedAtOnce: 240, Cause: CauseCleanerLater},
		},
		"what is not known now is as dirty as before or after": {
			series: gappy([]byte{24, 25, 255, 22, 18, 24}),
			now:    2.25, task: Task{Duration: time.Hour, LatestStart: at(5), Held: true, PlannedStart: at(4)},
			want: Decision{Start: at(4), Expected: 180, ExpectedAtOnce: 250*0.75 + 220*0.25, Cause: CauseCleanerLater},
		},
		"what is not known is no valley": {
			series: gappy([]byte{24, 18, 255, 18, 25, 25}),
			task:   Task{Duration: 2 * time.Hour, LatestStart: at(4)},
			want:   Decision{Start: at(1), Expected: (180 + 220.) / 2, ExpectedAtOnce: 210, Cause: CauseCleanerLater},
		},
		"zero now is as clean as it gets": {
			series: hourly(0, 300),
			task:   Task{Duration: time.Hour, LatestStart: at(1)},
			want:   Decision{Start: at(0), Expected: 0, ExpectedAtOnce: 0, Cause: CauseCleanestNow},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := NewPlanner("X", tt.series, "none", tt.terms, at(tt.now), at(48))
			got := o.Decide(tt.task)
			opts := []cmp.Option{
				cmpopts.EquateNaNs(), cmpopts.EquateApprox(1e-9, 0),
				cmpopts.IgnoreFields(Decision{}, "Decided", "LatestStart", "Location", "PowerFactor", "LocationAtOnce", "PowerFactorAtOnce", "Duration", "Threshold", "MinGain", "NoForecastReason"),
			}
			if diff := cmp.Diff(tt.want, got, opts...); diff != "" {
				t.Error(diff, got.Reason())
			}
		})
	}
}

func TestReason(t *testing.T) {
	day := hourly(400, 300, 100, 200)
	tests := map[string]struct {
		series *forecast.Series
		task   Task
		want   string
	}{
		"a wait": {day, Task{Duration: time.Hour, LatestStart: at(3)},
			"waits until Nov 21 14:00 UTC: 100 gCO2eq/kWh in X, 75 % less than the 400 at Nov 21 12:00; latest start Nov 21 15:00"},
		"a wait, by a guess": {day, Task{Duration: time.Hour, EstimatedDuration: "~1h", LatestStart: at(3)},
			"waits until Nov 21 14:00 UTC: 100 gCO2eq/kWh in X over ~1h, 75 % less than the 400 at Nov 21 12:00; latest start Nov 21 15:00"},
		"a threshold": {day, Task{Duration: time.Hour, LatestStart: at(3), Threshold: threshold(151)},
			"waits until Nov 21 13:44:42 UTC: 151 gCO2eq/kWh in X, within its threshold of 151; latest start Nov 21 15:00"},
		"the cleanest now": {hourly(100, 400), Task{Duration: time.Hour, LatestStart: at(1)},
			"started Nov 21 12:00 UTC: 100 gCO2eq/kWh in X, no later start is cleaner"},
		"nothing is emitted now": {hourly(0, 400), Task{Duration: time.Hour, LatestStart: at(1)},
			"started Nov 21 12:00 UTC: 0 gCO2eq/kWh in X, nothing to gain at or below zero"},
		"less than nothing is emitted now": {hourly(-20, -150, 400), Task{Duration: time.Hour, LatestStart: at(1)},
			"started Nov 21 12:00 UTC: -20 gCO2eq/kWh in X, nothing to gain at or below zero"},
		"a small gain": {hourly(400, 399), Task{Duration: time.Hour, LatestStart: at(1)},
			"started Nov 21 12:00 UTC: 400 gCO2eq/kWh in X, waiting would save less than 1 %"},
		"the latest start": {day, Task{Duration: time.Hour, LatestStart: at(0)},
			"started Nov 21 12:00 UTC: its latest start has come, at 400 gCO2eq/kWh in X"},
		"no forecast": {nil, Task{Duration: time.Hour, LatestStart: at(3)},
			"started Nov 21 12:00 UTC: no usable forecast: kube-system/carbon-intensity is missing"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := NewPlanner("X", tt.series, "kube-system/carbon-intensity is missing", Terms{MinGain: 0.01}, t0, at(48))
			if diff := cmp.Diff(tt.want, o.Decide(tt.task).Reason()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnEstimateIsToldIfItFits(t *testing.T) {
	d := Decision{
		Decided: t0, Start: at(14), LatestStart: at(15), Location: "CAISO_NORTH", EstimatedDuration: "~47m", Expected: 120, ExpectedAtOnce: 430, Cause: CauseCleanerLater,
	}
	const usual = "waits until Nov 22 02:00 UTC: 120 gCO2eq/kWh in CAISO_NORTH over ~47m, 72 % less than the 430 at Nov 21 12:00; latest start Nov 22 03:00"
	if diff := cmp.Diff(usual, d.Reason()); diff != "" || len(usual) > 140 {
		t.Errorf("%d characters: %s", len(usual), diff)
	}
	told := d
	told.Basis, told.Location, told.EstimatedDuration = forecast.BasisWeather, "", ""
	if got := told.Reason(); !strings.Contains(got, " gCO2eq/kWh by weather and history, ") {
		t.Error(got)
	}
	d.Start, d.Basis = d.Start.Add(42*time.Second), forecast.BasisHistory
	const long = "waits until Nov 22 02:00:42 UTC: 120 gCO2eq/kWh in CAISO_NORTH by history, 72 % less than the 430 at Nov 21 12:00; latest start Nov 22 03:00"
	if diff := cmp.Diff(long, d.Reason()); diff != "" {
		t.Error(diff)
	}
	d.Start, d.Basis, d.Cause = d.Decided, forecast.BasisForecast, CauseCleanestNow
	if got, want := d.ReasonWith("; "+strings.Repeat("x", 50)), "CAISO_NORTH, no later start"; !strings.Contains(got, want) {
		t.Errorf("no room for a guess, but: %s", got)
	}
	if got, want := d.ReasonWith("; short"), "CAISO_NORTH over ~47m, no later start is cleaner; short"; !strings.HasSuffix(got, want) {
		t.Errorf("room for a guess, but: %s", got)
	}
}

func TestAReasonIsBounded(t *testing.T) {
	for _, missing := range []string{strings.Repeat("x", 300<<10), strings.Repeat("ü", 300<<10), strings.Repeat("xü", 300<<10)} {
		d := Decision{Decided: t0, Start: t0, NoForecastReason: missing, Cause: CauseNoForecast}
		got := d.ReasonWith("; more")
		if len(got) > 1024 || len(got) < 1000 || !utf8.ValidString(got) || !strings.HasPrefix(got, "started Nov 21 12:00 UTC: no usable forecast: ") {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	}
	if whole := strings.Repeat("x", 1024); Truncate(whole) != whole {
		t.Error("it is cut though there is room")
	}
}

// FuzzDecide checks what the package promises for every input, against a brute-force search on a
// fine grid.
func FuzzDecide(f *testing.F) {
	f.Add([]byte{40, 30, 10, 20}, int32(0), uint32(3600), int32(3*3600), 0.0, 0.0, 0.0, "", int32(0))
	f.Add([]byte{40, 255, 10, 20}, int32(-600), uint32(5400), int32(9*3600), 0.01, 0.001, 200.0, "a", int32(7200))
	f.Add([]byte{40, 10, 10, 10, 20, 10}, int32(300), uint32(1800), int32(9*3600), 0.01, 0.001, -1.0, "b", int32(7201))
	f.Add([]byte{}, int32(0), uint32(60), int32(-60), 0.5, 0.1, -1.0, "c", int32(0))
	f.Add([]byte("002"), int32(-600), uint32(5400), int32(9*3600), 0.01, 0.001, 200.0, "0", int32(7200))
	f.Fuzz(func(t *testing.T, levels []byte, nowSeconds int32, durationSeconds uint32, latestSeconds int32,
		minGain, waitPrice, limit float64, id string, plannedSeconds int32) {
		held := durationSeconds%2 == 0
		if len(levels) > 60 || !(minGain >= 0 && minGain <= 1) || !(waitPrice >= 0 && waitPrice <= 1) {
			t.Skip()
		}
		now := t0.Add(time.Duration(nowSeconds%1e6) * time.Second)
		task := Task{
			Duration:    time.Duration(durationSeconds%400000) * time.Second,
			LatestStart: now.Add(time.Duration(latestSeconds%400000) * time.Second),
			Held:        held,
			ID:          id,
		}
		if plannedSeconds != 0 {
			task.PlannedStart = now.Add(time.Duration(plannedSeconds%400000) * time.Second)
		}
		if limit >= 0 && limit < 3000 {
			task.Threshold = &limit
		}
		terms := Terms{MinGain: minGain, WaitPrice: waitPrice}
		series := gappy(levels)
		decide := func(now time.Time, task Task) Decision {
			return NewPlanner("X", series, "none", terms, now, task.LatestStart).Decide(task)
		}
		d := decide(now, task)
		if d.Start.Before(now) || (d.Start.After(task.LatestStart) && !d.Start.Equal(now)) {
			t.Fatalf("start %s outside now %s .. latest %s", d.Start, now, task.LatestStart)
		}
		if math.IsNaN(d.ExpectedAtOnce) && d.Holds() {
			t.Fatal("holds without a usable forecast")
		}
		if diff := cmp.Diff(d, decide(now, task), cmpopts.EquateNaNs()); diff != "" {
			t.Fatal("not deterministic", diff)
		}
		next := task
		for planned, later := range map[time.Time]time.Duration{d.Start: time.Second, {}: maxSpread} { // if it is forgotten, it is spread anew
			next.PlannedStart = planned
			if again := decide(d.Start, next); again.Start.Sub(d.Start) > later {
				t.Fatalf("not idempotent, planned at %s: %s, then %s", next.PlannedStart, d.Reason(), again.Reason())
			}
		}
		if d.Reason() == "" {
			t.Fatal("no reason")
		}
		checkCheapest(t, series, terms, task, d)
	})
}

// gappy makes a series of hours from t0 in which 255 is a gap.
func gappy(levels []byte) *forecast.Series {
	var slots []forecast.Slot
	for i, level := range levels {
		if level != 255 {
			slots = append(slots, forecast.Slot{Start: at(float64(i)), End: at(float64(i + 1)), Intensity: 10 * float64(level)})
		}
	}
	return forecast.NewSeries(slots)
}

// checkCheapest fails if a start on a fine grid is cheaper than the decision by more than the
// margin, where the forecast covers every window.
func checkCheapest(t *testing.T, series *forecast.Series, terms Terms, task Task, d Decision) {
	now := d.Decided
	_, covered := series.Mean(now, task.LatestStart.Add(task.Duration))
	if d.Cause != CauseCleanerLater && d.Cause != CauseCleanestNow || task.Threshold != nil || covered < task.LatestStart.Sub(now)+task.Duration {
		return
	}
	o := NewPlanner("X", series, "none", terms, now, task.LatestStart)
	price := func(s time.Time, mean float64) float64 { return mean * (1 + terms.WaitPrice*s.Sub(now).Hours()) }
	step := max(task.LatestStart.Sub(now)/500, time.Second)
	for s := now; !s.After(task.LatestStart); s = s.Add(step) {
		mean, ok := o.expectMean(s, task.Duration)
		if ok && price(d.Start, d.Expected)-price(s, mean) > equalMargin(price(s, mean))+1e-6 {
			t.Fatalf("start %s at %g beats %s (%g)", s, mean, d.Reason(), d.Expected)
		}
	}
}

func BenchmarkPlanner(b *testing.B) {
	levels := make([]float64, 96)
	for i := range levels {
		levels[i] = 300 + 200*math.Sin(float64(i)/24*2*math.Pi)
	}
	series := hourly(levels...)
	b.Run("first task of a duration", func(b *testing.B) {
		for b.Loop() {
			NewPlanner("X", series, "", Terms{}, t0, at(48)).Decide(Task{Duration: 4 * time.Hour, LatestStart: at(48)})
		}
	})
	b.Run("each further task", func(b *testing.B) {
		o := NewPlanner("X", series, "", Terms{}, t0, at(48))
		for b.Loop() {
			o.Decide(Task{Duration: 4 * time.Hour, LatestStart: at(40)})
		}
	})
}

// TestASmallGainIsNotWorthAnUncertainWait plans with a forecast that is wrong by 40 gCO2eq/kWh.
func TestASmallGainIsNotWorthAnUncertainWait(t *testing.T) {
	t.Parallel()
	m := &forecast.Model{}
	up := true
	for h := range 24 * 40 { // a grid that nobody can predict
		if h*h%7 < 3 {
			up = !up
		}
		v := 300.0
		if up {
			v = 340
		}
		start := t0.Add(time.Duration(h-24*40) * time.Hour)
		m.Observe(forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: v})
	}
	errors := m.Predict(t0, time.Hour).Differences
	usual, ok := errors.Error(time.Hour, 3*time.Hour)
	if !ok || usual < 5 {
		t.Fatalf("the usual error is %v, %v: want a grid that is hard to predict", usual, ok)
	}
	decide := func(gain, caution float64, isHeld bool) Decision {
		in := instance{step: time.Hour, now: t0, intensities: []float64{300, 300, 300, 300 - gain, 300}}
		p := NewPlanner("X", in.series(), "", Terms{MinGain: 0.01, Caution: caution}, t0, t0.Add(4*time.Hour)).WithErrors(errors)
		task := Task{Duration: time.Hour, LatestStart: t0.Add(4 * time.Hour), Held: isHeld}
		d := p.Decide(task)
		task.Elastic = &Elastic{Least: 1, Most: 2}
		w := p.PlanWidths(Elastic{Least: 1, Most: 2, Remaining: time.Hour, Finish: t0.Add(5 * time.Hour), IsHeld: isHeld})
		if elastic := p.Decide(task); elastic.Cause != d.Cause || w.Cause != d.Cause {
			t.Errorf("a gain of %.1f: %s, for work that may run wider %s and %s", gain, d.Cause, elastic.Cause, w.Cause)
		}
		task.Elastic, task.Pauses = nil, &Pauses{Runs: 1}
		if pausable := p.Decide(task); pausable.Holds() != d.Holds() {
			t.Errorf("a gain of %.1f: %s, for work that may be paused %s", gain, d.Cause, pausable.Cause)
		}
		return d
	}
	small := max(0.9*usual, 4)
	if d := decide(small, 1, false); d.Holds() || d.Cause != CauseUncertainGain {
		t.Errorf("a gain of %.1f with an error of %.1f: got %s (%s), want a start now", small, usual, d.Reason(), d.Cause)
	}
	if d := decide(1.1*usual+1, 1, false); !d.Holds() {
		t.Errorf("a gain above the error: got %s, want a wait", d.Reason())
	}
	if d := decide(small, 0, false); !d.Holds() {
		t.Errorf("no caution: got %s, want a wait", d.Reason())
	}
	if d := decide(small, 1, true); !d.Holds() {
		t.Errorf("work that is held already: got %s, want it to go on waiting", d.Reason())
	}
}
