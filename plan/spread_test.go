package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

func TestNearlyEqualStartsAreSpread(t *testing.T) {
	const tasks, day = 2000, 24
	tests := map[string]struct {
		intensities []float64
		duration    time.Duration
		threshold   *float64
		slots       map[int]int // how many tasks start in each hour, give or take a quarter
	}{
		"over slots that are as clean as each other": {[]float64{400, 100, 300, 100.04, 300}, time.Hour, nil, map[int]int{1: 1000, 3: 1000}},
		"not over slots that are much later":         {[]float64{100, 300, 300, 100, 300}, time.Hour, nil, map[int]int{0: 2000}},
		"not over slots that are less clean":         {[]float64{400, 100, 300, 100.2, 300}, time.Hour, nil, map[int]int{1: 2000}},
		"over the corners of a long clean time":      {[]float64{400, 100, 100, 100, 400}, time.Hour, nil, map[int]int{1: 667, 2: 667, 3: 667}},
		"below a threshold within the slot":          {[]float64{400, 150, 150, 150, 150}, time.Hour, threshold(200), map[int]int{0: 2000}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			// a day of waiting is worth two hours of spread
			until := hourly(append(slices.Repeat([]float64{400}, day), tt.intensities...)...)
			o := NewPlanner("X", until, "", Terms{}, t0, at(day+4))
			got, latest := map[int]int{}, at(day+4)
			for i := range tasks {
				task := Task{ID: fmt.Sprintf("uid-%d", i), Duration: tt.duration, LatestStart: latest, Threshold: tt.threshold}
				d := o.Decide(task)
				got[int(d.Start.Sub(t0)/time.Hour)-day]++
				if tt.threshold != nil && d.Expected > *tt.threshold {
					t.Fatalf("%s starts above its threshold", task.ID)
				}
			}
			for hour := range 5 {
				if want := tt.slots[hour]; got[hour] < want*3/4 || got[hour] > want*5/4 {
					t.Errorf("%d tasks start in hour %d, want about %d", got[hour], hour, want)
				}
			}
		})
	}
}

func TestStartsAreSpreadOverMinutes(t *testing.T) {
	o := NewPlanner("X", hourly(102, 100, 101, 102), "", Terms{}, t0, at(3))
	minutes := map[time.Time]int{}
	for i := range 3000 {
		d := o.Decide(Task{ID: fmt.Sprintf("uid-%d", i), Duration: 30 * time.Minute, LatestStart: at(3)})
		if d.Start.Nanosecond() != 0 || d.Expected > 100.1 {
			t.Fatalf("starts at %s, at %g", d.Start, d.Expected)
		}
		minutes[d.Start.Truncate(time.Minute)]++
	}
	for start, tasks := range minutes {
		if tasks > 1000 {
			t.Errorf("%d of 3000 tasks start in the minute of %s", tasks, start)
		}
	}
}

func TestSpreadIsStable(t *testing.T) {
	o := NewPlanner("X", hourly(append(slices.Repeat([]float64{400}, 25), 100, 300, 100, 300)...), "", Terms{}, t0, at(28))
	for id, want := range map[string]string{"": "13:00:00", "a": "15:30:00", "b": "13:00:38", "4f3c1ad2-7f5b-4f0e-9d6c-0a1b2c3d4e5f": "13:30:00"} {
		task := Task{ID: id, Duration: 30 * time.Minute, LatestStart: at(28)}
		if got := o.Decide(task).Start.Format(time.TimeOnly); got != want {
			t.Errorf("%q starts at %s, in releases before at %s", id, got, want)
		}
	}
}

func TestAMomentLaterTheSameStartIsPicked(t *testing.T) {
	now := t0.Add(30 * time.Minute)
	decide := func(id string, now time.Time) time.Time {
		o := NewPlanner("X", hourly(400, 100, 400, 400), "", Terms{}, now, at(4))
		return o.Decide(Task{ID: id, Duration: 10 * time.Minute, LatestStart: at(3)}).Start
	}
	moved, starts := 0, map[time.Time]bool{}
	for i := range 1000 {
		id := fmt.Sprintf("uid-%d", i)
		start := decide(id, now)
		starts[start] = true
		if !start.Equal(decide(id, now.Add(10*time.Second))) {
			moved++
		}
	}
	if len(starts) < 100 || moved > 30 {
		t.Errorf("%d of 1000 tasks are planned for another start a moment later; they had %d", moved, len(starts))
	}
}

func TestSpreadGivesNoGainAway(t *testing.T) {
	// The best start just gains 1 %, and a nearly equal one does not.
	o := NewPlanner("X", hourly(400, 396, 400, 396.1, 400), "", Terms{MinGain: 0.01}, t0, at(4))
	for i := range 100 {
		d := o.Decide(Task{ID: fmt.Sprintf("uid-%d", i), Duration: time.Hour, LatestStart: at(4)})
		if d.Cause != CauseCleanerLater || d.Expected > 396 {
			t.Fatalf("%s", d.Reason())
		}
	}
}

func TestHeldTasksStartWithinMinutesOnceNowIsCleanest(t *testing.T) {
	tests := map[string]struct {
		series  *forecast.Series
		now     time.Time
		planned time.Time
		want    time.Time // at the latest
		latest  time.Time // start; at(3) if zero
	}{
		"a new forecast is clean already":                 {series: hourly(100, 100, 400), now: at(0.5), planned: at(1.2), want: at(0.5)},
		"a planned start within the spread of a slot":     {series: hourly(400, 100, 100, 400), now: at(1.01), planned: at(1.05), want: at(1.05)},
		"an equal slot has begun, the plan was the next":  {series: hourly(400, 100, 100, 400), now: at(1), planned: at(2), want: at(1).Add(maxSpread)},
		"the spread of the slot is over":                  {series: hourly(400, 100, 100, 400), now: at(1.2), planned: at(2), want: at(1.2)},
		"the slot has been dirty, and is the last chance": {series: hourly(100, 100, 100, 400), now: at(2.9), want: at(2.9)},
		"the same for who has ten minutes more":           {series: hourly(400, 100, 100, 400), now: at(1), planned: at(1.1), latest: at(1 + 1./6), want: at(1).Add(time.Minute)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			latest := tt.latest
			if latest.IsZero() {
				latest = at(3)
			}
			for _, id := range []string{"a", "b", "c", "d"} {
				d := NewPlanner("X", tt.series, "", Terms{WaitPrice: 0.001}, tt.now, at(3)).
					Decide(Task{Duration: time.Minute, LatestStart: latest, Held: true, ID: id, PlannedStart: tt.planned})
				if d.Start.After(tt.want) {
					t.Errorf("%s: %s, want %s at the latest", id, d.Reason(), tt.want)
				}
				again := NewPlanner("X", tt.series, "", Terms{WaitPrice: 0.001}, d.Start, at(3)).
					Decide(Task{Duration: time.Minute, LatestStart: latest, Held: true, ID: id, PlannedStart: d.Start})
				if again.Holds() {
					t.Errorf("%s: at the start that was planned: %s", id, again.Reason())
				}
			}
		})
	}
}

// TestStartsAreInFullSeconds has slots that begin between two seconds: a start, as it is written,
// is in its slot and is kept.
func TestStartsAreInFullSeconds(t *testing.T) {
	clean := at(1).Add(3*time.Minute + 880*time.Millisecond)
	series := forecast.NewSeries([]forecast.Slot{
		{Start: t0.Add(-time.Hour), End: clean, Intensity: 420},
		{Start: clean, End: clean.Add(time.Hour), Intensity: 120},
		{Start: clean.Add(time.Hour), End: clean.Add(2 * time.Hour), Intensity: 400},
		{Start: clean.Add(2 * time.Hour), End: clean.Add(3 * time.Hour), Intensity: 130},
		{Start: clean.Add(3 * time.Hour), End: at(9), Intensity: 400},
	})
	now := t0.Add(300 * time.Millisecond)
	o := NewPlanner("X", series, "none", Terms{MinGain: 0.01, WaitPrice: 0.001}, now, at(8))
	for i := range 200 {
		task := Task{ID: fmt.Sprint(i), Duration: 2 * time.Second, LatestStart: at(8), Held: true}
		d := o.Decide(task)
		if d.Start.Nanosecond() != 0 || d.Start.Before(clean) || d.Start.After(clean.Add(maxSpread+time.Second)) {
			t.Fatalf("task %d starts at %s; the slot is from %s", i, d.Start, clean)
		}
		task.ID, task.PlannedStart = "other", d.Start
		if again := o.Decide(task); !again.Start.Equal(d.Start) {
			t.Fatalf("task %d is planned for %s, and then for %s", i, d.Start, again.Start)
		}
	}
	for i, d := range Assign(slices.Repeat([]Group{group(0.25, 8, 1)}, 40), o.Fleet(buckets(t, "3"), nil)) {
		if d.Start.Nanosecond() != 0 && d.Holds() {
			t.Errorf("below a ceiling, group %d starts at %s", i, d.Start)
		}
	}
}
