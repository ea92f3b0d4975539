package ceiling

import (
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestCeilingsAreLoweredInSteps(t *testing.T) {
	start := clock(t, "2026-11-22T12:00:00Z")
	tests := []struct {
		name   string
		by     string
		spec   map[string]any
		limit  int32
		damped bool
		want   []int32 // at each interval
	}{
		{"by a number", "3", map[string]any{"maxReplicaCount": int64(10)}, 2, true, []int32{7, 4, 2}},
		{"by a share", "30%", map[string]any{"maxReplicaCount": int64(10)}, 2, true, []int32{7, 4, 2}},
		{"by a share of little, one goes", "10%", map[string]any{"maxReplicaCount": int64(3)}, 1, true, []int32{2, 1}},
		{"to a pause", "1", map[string]any{"maxReplicaCount": int64(2)}, 0, true, []int32{1, 0}},
		{"from what KEDA takes where none is set", "50%", map[string]any{}, 10, true, []int32{50, 25, 12, 10}},
		{"no lower than the minimum", "5", map[string]any{"minReplicaCount": int64(4), "maxReplicaCount": int64(10)}, 0, true, []int32{5, 4}},
		{"by a schedule, too", "3", map[string]any{"maxReplicaCount": int64(10)}, 6, false, []int32{7, 6}},
		{"all at once without it", "", map[string]any{"maxReplicaCount": int64(10)}, 2, true, []int32{2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			by, err := parseStep(tt.by)
			if err != nil {
				t.Fatal(err)
			}
			p := pace{interval: 5 * time.Minute, followsIntensity: true, step: by}
			v := ceilingOf(tt.limit)
			v.followsIntensity = tt.damped
			object, now := scaled(tt.spec, nil), start
			for i, want := range tt.want {
				change := object.target(scaledObject).settle(byPolicy, v, p, now)
				object = object.after(t, change)
				if got := object.target(scaledObject).record(); got == nil || got.ceiling != want {
					t.Fatalf("at %s: got %+v, want %d", now.Format(time.TimeOnly), got, want)
				}
				last := i == len(tt.want)-1
				if next := now.Add(p.interval); !last && !change.again.Equal(next) || last && !change.again.IsZero() {
					t.Fatalf("at %s: looked at again at %v", now.Format(time.TimeOnly), change.again)
				}
				early := object.target(scaledObject).settle(byPolicy, v, p, now.Add(p.interval-time.Second))
				if !last && !early.IsEmpty() {
					t.Fatalf("too early: %+v", early)
				}
				now = now.Add(p.interval)
			}
			raised := object.target(scaledObject).settle(byPolicy, ceilingOf(9), p, now.Add(time.Second))
			if raised.ceiling == nil || *raised.ceiling != 9 {
				t.Errorf("raised to %v, want 9 at once", raised.ceiling)
			}
		})
	}
	for _, text := range []string{"0", "-1", "0%", "101%", "two", "2.5", "%", "2 %", "+1", "99999999999"} {
		if _, err := parseStep(text); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
}

func TestStepsDoNotExceedWhatTheOwnerHasSet(t *testing.T) {
	now := clock(t, "2026-11-22T12:00:00Z")
	object := scaled(map[string]any{"maxReplicaCount": int64(6)}, map[string]any{v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: "40"})
	v := ceilingOf(20)
	v.isCapped = true
	change := object.target(scaledObject).settle(byPolicy, v, pace{interval: time.Minute, step: step{replicas: 1}}, now)
	if change.ceiling == nil || *change.ceiling != 6 {
		t.Errorf("got %v, want 6", change.ceiling)
	}
}
