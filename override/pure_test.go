package override

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAContestEndsAlthoughTheClockGoesBack(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var c Contest
	c.Wait(true, now.AddDate(1, 0, 0))
	again, _ := c.Wait(true, now)
	if want := now.Add(longestPause); !again.Equal(want) {
		t.Errorf("the change may be made again at %v, want %v", again, want)
	}
	if second, _ := c.Wait(true, now.Add(time.Minute)); !second.Equal(again) {
		t.Errorf("a second look has moved the pause from %v to %v", again, second)
	}
}

func TestContestsAreFoughtLessOftenEachTime(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var c Contest
	var pauses []time.Duration
	for range 15 {
		again, isNew := c.Wait(true, now)
		if !isNew {
			t.Fatal("a change that was undone is not noticed")
		}
		pauses = append(pauses, again.Sub(now))
		if second, isNew := c.Wait(true, now.Add(time.Millisecond)); !second.Equal(again) || isNew {
			t.Fatalf("a second look has moved the pause from %v to %v", again, second)
		}
		now = again
		c.Resume()
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600, 3600}
	for i := range want {
		want[i] *= time.Second
	}
	if diff := cmp.Diff(want, pauses); diff != "" {
		t.Error(diff)
	}
	if again, isNew := c.Wait(false, now); !again.Equal(now) || isNew {
		t.Errorf("a change that nobody has undone waits until %v", again)
	}
	now = now.Add(3 * time.Hour)
	if again, _ := c.Wait(true, now); again.Sub(now) != time.Second {
		t.Errorf("got a pause of %v after a long time", again.Sub(now))
	}
}

func TestDamp(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	later, earlier := now.Add(time.Minute), now.Add(-time.Minute)
	tests := []struct {
		name                      string
		current, wanted, cautious int64
		mayFall                   time.Time
		want                      int64
		again                     time.Time
	}{
		{"nothing changes", 10, 10, 5, later, 10, time.Time{}},
		{"it rises as far as wanted", 10, 20, 20, later, 20, time.Time{}},
		{"it rises only as far as caution allows", 10, 20, 15, later, 15, time.Time{}},
		{"caution lowers nothing", 10, 20, 5, later, 10, time.Time{}},
		{"caution raises nothing beyond what is wanted", 10, 20, 30, later, 20, time.Time{}},
		{"it may not fall yet", 10, 5, 5, later, 10, later},
		{"it may fall again", 10, 5, 5, earlier, 5, time.Time{}},
		{"it may fall from this moment on", 10, 5, 5, now, 5, time.Time{}},
		{"it may fall at any time", 10, 5, 0, time.Time{}, 5, time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, again := Damp(tt.current, tt.wanted, tt.cautious, tt.mayFall, now)
			if got != tt.want || !again.Equal(tt.again) {
				t.Errorf("got %d, again at %v, want %d, %v", got, again, tt.want, tt.again)
			}
		})
	}
}

func TestStandingWithoutALoan(t *testing.T) {
	object := Read(pond("duck", 40, nil), replicas)
	if diff := cmp.Diff(Standing{Original: "40"}, object.Standing(replicas, nil)); diff != "" {
		t.Error(diff)
	}
}

func TestFieldsAreReadWhateverTheObjectHasThere(t *testing.T) {
	o := pond("duck", 40, map[string]string{drain: `say "yes"`})
	o.Object["spec"].(map[string]any)["limits"] = map[string]any{"cpu": "10", "a/b": int64(1), "rest": nil}
	fields := map[Field]Value{
		replicas:                             "40",
		FieldAt("spec", "limits", "cpu"):     `"10"`,
		FieldAt("spec", "limits", "a/b"):     "1",
		FieldAt("spec", "limits", "rest"):    Unset,
		FieldAt("spec", "limits"):            `{"a/b":1,"cpu":"10","rest":null}`,
		FieldAt("spec", "absent"):            Unset,
		FieldAt("spec", "replicas", "below"): Unset,
		Annotation(drain):                    `"say \"yes\""`,
		Annotation("absent"):                 Unset,
	}
	var all []Field
	for f := range fields {
		all = append(all, f)
	}
	object := Read(o, all...)
	for f, want := range fields {
		if got := object.Value(f); got != want {
			t.Errorf("%s: got %s, want %s", f, got, want)
		}
	}
	object = Read(o)
	if got := object.Value(Annotation(drain)); got != `"say \"yes\""` {
		t.Errorf("an annotation that is not lent: got %s", got)
	}
	if got := ValueOf(math.NaN()); got != Unset {
		t.Errorf("what JSON cannot say: got %s", got)
	}
}

func TestAdviceNamesTheFieldAndTheManager(t *testing.T) {
	advice := GitOpsAdvice(replicas)
	for _, part := range []string{"leave replicas out", "managedFieldsManagers [gridlatch]", "paths [/spec/replicas]"} {
		if !strings.Contains(advice, part) {
			t.Errorf("%q is not in: %s", part, advice)
		}
	}
}

func TestObjectsAreNamedForPeople(t *testing.T) {
	o := pond("duck", 40, nil)
	object := Read(o)
	if got := object.String(); got != "Pond park/duck" {
		t.Error(got)
	}
	o.SetNamespace("")
	object = Read(o)
	if got := object.String(); got != "Pond duck" {
		t.Error(got)
	}
	reference := object.Reference()
	if reference.Kind != "Pond" || reference.APIVersion != "example.com/v1" || reference.UID != "uid-of-duck" || reference.Name != "duck" {
		t.Errorf("got %+v", reference)
	}
}

func TestAChangeMayBeMadeAgainOnceItsIntervalIsOver(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct{ changed, want time.Time }{
		"never changed":    {},
		"just changed":     {now, now.Add(time.Hour)},
		"changed long ago": {now.Add(-5 * time.Hour), now.Add(-4 * time.Hour)},
		"in the future":    {now.Add(time.Second), time.Time{}},
	} {
		if got := MayChange(tt.changed, time.Hour, now); !got.Equal(tt.want) {
			t.Errorf("%s: from %v on, want %v", name, got, tt.want)
		}
	}
}
