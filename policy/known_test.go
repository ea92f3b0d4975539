package policy

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

func TestALevelIsFoundOutOnceForAsLongAsItStays(t *testing.T) {
	var asked int
	var levels *KnownLevels
	source, isChanging := forecast.Source{Name: "s"}, false
	levels = &KnownLevels{Of: func(_ context.Context, _, _ string, now time.Time) (plan.Level, forecast.Source, error) {
		asked++
		if isChanging {
			levels.Forget(func(string, forecast.Source) bool { return true })
		}
		return plan.Level{IsKnown: true, Intensity: float64(asked), ValidUntil: now.Add(time.Hour)}, source, nil
	}}
	look := func(policy string, after time.Duration) float64 {
		t.Helper()
		level, from, err := levels.Level(t.Context(), policy, "", t0.Add(after))
		if err != nil || from != source {
			t.Fatalf("%v, %v", from, err)
		}
		return level.Intensity
	}
	forget := func(policy string) {
		levels.Forget(func(p string, s forecast.Source) bool { return p == policy && s == source })
	}
	steps := []struct {
		what string
		got  func() float64
		want float64
	}{
		{"at first", func() float64 { return look("a", 0) }, 1},
		{"soon after", func() float64 { return look("a", 59*time.Minute) }, 1},
		{"another policy", func() float64 { return look("b", 0) }, 2},
		{"when it is over", func() float64 { return look("a", time.Hour) }, 3},
		{"before it began, by a clock that went back", func() float64 { return look("a", 0) }, 4},
		{"after another one has changed", func() float64 { forget("b"); return look("a", 0) }, 4},
		{"after it has changed", func() float64 { forget("a"); return look("a", 0) }, 5},
		{"while it changes", func() float64 { isChanging = true; return look("c", 0) }, 6},
		{"after a change while it was found out", func() float64 { isChanging = false; return look("c", 0) }, 7},
	}
	for _, s := range steps {
		if got := s.got(); got != s.want {
			t.Fatalf("%s: got level %v, want %v", s.what, got, s.want)
		}
	}
}

func TestOnlySoManyLevelsAreRemembered(t *testing.T) {
	levels := &KnownLevels{Of: func(context.Context, string, string, time.Time) (plan.Level, forecast.Source, error) {
		return plan.Level{IsKnown: true}, forecast.Source{}, nil
	}}
	for i := range 2*maxKnownLevels + 1 {
		if _, _, err := levels.Level(t.Context(), "", fmt.Sprint(i), t0); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(levels.known); n > maxKnownLevels {
		t.Errorf("%d levels are remembered", n)
	}
}

// Anybody may write any place on an object.
func TestPlacesThatDoNotExistDriveNoLevelOut(t *testing.T) {
	asked := 0
	levels := &KnownLevels{Of: func(_ context.Context, _, location string, _ time.Time) (plan.Level, forecast.Source, error) {
		if location != "X" {
			return plan.Level{HasNoLocation: true}, forecast.Source{}, nil
		}
		asked++
		return plan.Level{IsKnown: true}, forecast.Source{}, nil
	}}
	for i := range 2*maxKnownLevels + 1 {
		for _, location := range []string{"X", fmt.Sprint(i)} {
			if _, _, err := levels.Level(t.Context(), "", location, t0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if asked != 1 {
		t.Errorf("the level of X was found out %d times", asked)
	}
}
