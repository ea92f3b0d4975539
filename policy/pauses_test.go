package policy

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

func after(h float64) time.Time { return t0.Add(time.Duration(h * float64(time.Hour))) }

// interruptibleJob is a Job of 4 hours that was created at t0, started at once, and may be paused. It was
// promised to start within 10 hours, so it must be done in 14.
func interruptibleJob(more map[string]string) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		CreationTimestamp: metav1.NewTime(t0), Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased},
		Annotations: map[string]string{
			v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.InterruptibleAnnotation: "true", v1alpha1.RestartCostAnnotation: "30m",
			v1alpha1.DurationAnnotation: "4h", v1alpha1.DeadlineAnnotation: "20h", v1alpha1.LatestStartAnnotation: FormatTime(after(10)),
		},
	}}
	j.Spec.Template.Labels = map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}
	maps.Copy(j.Annotations, more)
	return j
}

func TestARunningTaskIsAboutWhatIsLeft(t *testing.T) {
	tests := map[string]struct {
		more                   map[string]string
		completions, succeeded int32
		began                  float64
		left, latest, done     float64 // hours
		runs                   int
	}{
		"by the time that it has run":               {left: 3, latest: 11, done: 1, runs: 2, began: 2},
		"what ran before counts, but no restarts":   {more: map[string]string{v1alpha1.RanAnnotation: "90m", v1alpha1.PausesAnnotation: "1", v1alpha1.FinishByAnnotation: FormatTime(after(13))}, left: 2, latest: 11, done: 2, runs: 1, began: 2},
		"who has run before was paused before":      {more: map[string]string{v1alpha1.RanAnnotation: "90m", v1alpha1.PausesAnnotation: "-1"}, left: 2, latest: 12, done: 2, runs: 1, began: 2},
		"a restart that goes on is no progress":     {more: map[string]string{v1alpha1.RanAnnotation: "1h", v1alpha1.PausesAnnotation: "1", v1alpha1.FinishByAnnotation: FormatTime(after(13))}, left: 3, latest: 10, done: 1, runs: 1, began: 2.9},
		"by its completions, and the more counts":   {completions: 4, succeeded: 2, left: 2, latest: 11, done: 1, runs: 2, began: 2},
		"few completions count as much work":        {completions: 4, left: 4, latest: 10, done: 1, runs: 2, began: 2},
		"one completion says nothing":               {completions: 1, left: 3, latest: 11, done: 1, runs: 2, began: 2},
		"by its own word, and the more counts":      {more: map[string]string{v1alpha1.RemainingAnnotation: "1h"}, left: 1, latest: 11, done: 1, runs: 2, began: 2},
		"its own word of more than was expected":    {more: map[string]string{v1alpha1.RemainingAnnotation: "9h"}, left: 9, latest: 5, done: 1, runs: 2, began: 2},
		"nothing left by its word":                  {more: map[string]string{v1alpha1.RemainingAnnotation: "0s"}, left: 1. / 3600, latest: 11, done: 1, runs: 2, began: 2},
		"longer than expected, the rest is unknown": {more: map[string]string{v1alpha1.DurationAnnotation: "1h"}, left: 1. / 3600, latest: 0, done: 1, runs: 2, began: 2},
		"unless the work itself knows":              {more: map[string]string{v1alpha1.DurationAnnotation: "1h", v1alpha1.RemainingAnnotation: "1h"}, left: 1, latest: 10, done: 1, runs: 2, began: 2},
		"a deadline that was moved forward":         {more: map[string]string{v1alpha1.DeadlineAnnotation: FormatTime(after(8)), v1alpha1.FinishByAnnotation: FormatTime(after(13))}, left: 3, latest: 8 - 1./6 - 3, done: 1, runs: 2, began: 2},
		"a deadline that was moved back":            {more: map[string]string{v1alpha1.DeadlineAnnotation: FormatTime(after(40)), v1alpha1.FinishByAnnotation: FormatTime(after(13))}, left: 3, latest: 10, done: 1, runs: 2, began: 2},
		"no more runs than there are":               {more: map[string]string{v1alpha1.PausesAnnotation: "7"}, left: 3.5, latest: 10.5, done: 0.5, runs: -5, began: 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			j := interruptibleJob(tt.more)
			j.Spec.Completions, j.Status.Succeeded = &tt.completions, tt.succeeded
			got, isKnown := builtin().RunningTaskOf(j, after(tt.began), after(3))
			if !isKnown {
				t.Fatal("nothing is known of it")
			}
			near := func(what string, got, want float64) {
				if diff := got - want; diff > 0.001 || diff < -0.001 {
					t.Errorf("%s: %v h, want %v", what, got, want)
				}
			}
			near("left", got.Duration.Hours(), tt.left)
			near("latest start", got.LatestStart.Sub(t0).Hours(), tt.latest)
			near("done", got.Done.Hours(), tt.done)
			near("resumed by", got.ResumeBy().Sub(t0).Hours(), tt.latest-0.5)
			want := plan.Pauses{RestartCost: 30 * time.Minute, MinRun: 30 * time.Minute, Runs: tt.runs, State: plan.Running, RanFor: time.Duration((3 - tt.began) * float64(time.Hour))}
			got.Pauses.RanFor = got.Pauses.RanFor.Round(time.Second)
			want.RanFor = want.RanFor.Round(time.Second)
			if diff := cmp.Diff(want, *got.Pauses); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPausedTaskLeavesTimeForTheRestart(t *testing.T) {
	for name, tt := range map[string]struct {
		more         map[string]string
		left, latest float64
		runs         int
	}{
		"by what has run":                     {nil, 2.5, 10, 2},
		"a later promise is not believed":     {map[string]string{v1alpha1.LatestStartAnnotation: FormatTime(after(12))}, 2.5, 10, 2},
		"its pause was taken away":            {map[string]string{v1alpha1.PausedAnnotation: ""}, 2.5, 10, 2},
		"an earlier promise is":               {map[string]string{v1alpha1.LatestStartAnnotation: FormatTime(after(9))}, 2.5, 9, 2},
		"the word of work that was saved":     {map[string]string{v1alpha1.RemainingAnnotation: "3h"}, 3, 9.5, 2},
		"a deadline that was moved forward":   {map[string]string{v1alpha1.DeadlineAnnotation: FormatTime(after(8))}, 2.5, 8 - 1./6 - 3, 2},
		"a deadline that was moved back":      {map[string]string{v1alpha1.DeadlineAnnotation: FormatTime(after(80))}, 2.5, 10, 2},
		"after all runs there is one more":    {map[string]string{v1alpha1.PausesAnnotation: "5"}, 2.5, 10, 1},
		"what cannot be read leaves the rest": {map[string]string{v1alpha1.DeadlineAnnotation: "never", v1alpha1.RanAnnotation: "much"}, 4, 8.5, 2},
	} {
		t.Run(name, func(t *testing.T) {
			j := interruptibleJob(map[string]string{
				v1alpha1.PausedAnnotation: FormatTime(after(2)), v1alpha1.RanAnnotation: "90m", v1alpha1.PausesAnnotation: "1", v1alpha1.FinishByAnnotation: FormatTime(after(13)),
				v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend,
			})
			maps.Copy(j.Annotations, tt.more)
			j.Labels[v1alpha1.StateLabel], j.Spec.Suspend = v1alpha1.StateHeld, ptr.To(true)
			got := builtin().TaskOf(j)
			if got.Pauses == nil || got.Pauses.State != plan.Paused || got.Pauses.Runs != tt.runs {
				t.Fatalf("%+v", got.Pauses)
			}
			if diff := got.LatestStart.Sub(after(tt.latest)); diff.Abs() > time.Second || got.Duration != time.Duration(tt.left*float64(time.Hour)) {
				t.Errorf("left %s, latest start %s, want %v h, %s", got.Duration, got.LatestStart, tt.left, after(tt.latest))
			}
		})
	}
}

func TestOnlyAJobThatWasDecidedOnAsOneIsInterruptible(t *testing.T) {
	for name, change := range map[string]func(*batchv1.Job){
		"it does not ask":           func(j *batchv1.Job) { j.Annotations[v1alpha1.InterruptibleAnnotation] = "false" },
		"its pods wait by gates":    func(j *batchv1.Job) { j.Spec.Template.Labels = nil },
		"another controller has it": func(j *batchv1.Job) { j.Spec.ManagedBy = ptr.To("example.com/other") },
		"it has ended": func(j *batchv1.Job) {
			j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
		},
		"it was promised nothing":     func(j *batchv1.Job) { delete(j.Annotations, v1alpha1.LatestStartAnnotation) },
		"its duration cannot be read": func(j *batchv1.Job) { j.Annotations[v1alpha1.DurationAnnotation] = "long" },
		"its promise cannot be read":  func(j *batchv1.Job) { j.Annotations[v1alpha1.LatestStartAnnotation] = "soon" },
	} {
		t.Run(name, func(t *testing.T) {
			j := interruptibleJob(nil)
			change(j)
			if got, isKnown := builtin().RunningTaskOf(j, t0, after(1)); isKnown {
				t.Errorf("%+v", got)
			}
		})
	}
	if task := builtin().TaskOf(&corev1.Pod{ObjectMeta: interruptibleJob(nil).ObjectMeta}); task.Pauses != nil {
		t.Error("a pod can be paused")
	}
}

func TestDurationsOfPausesMayBeZero(t *testing.T) {
	path := field.NewPath("metadata", "annotations")
	ask, errs := ParseAsk(map[string]string{
		v1alpha1.InterruptibleAnnotation: "true", v1alpha1.RestartCostAnnotation: "0s", v1alpha1.MinRunAnnotation: "0", v1alpha1.RemainingAnnotation: "PT2H",
	}, t0, path)
	want := Ask{Interruptible: true, RestartCost: ptr.To(time.Duration(0)), MinRun: ptr.To(time.Duration(0)), Remaining: ptr.To(2 * time.Hour)}
	if diff := cmp.Diff(want, ask); diff != "" || len(errs) > 0 {
		t.Error(diff, errs)
	}
	for key, value := range map[string]string{
		v1alpha1.InterruptibleAnnotation: "yes", v1alpha1.RestartCostAnnotation: "-1m", v1alpha1.MinRunAnnotation: "soon", v1alpha1.RemainingAnnotation: "367d",
	} {
		if _, errs := ParseAsk(map[string]string{key: value}, t0, path); len(errs) != 1 || errs[0].Field != path.Key(key).String() {
			t.Errorf("%s: %q: %v", key, value, errs)
		}
	}
	both := Ask{Interruptible: true, Hold: v1alpha1.HoldByGate}
	if errs := both.CheckTogether(path); len(errs) != 1 {
		t.Error("gates cannot pause a Job, and may be asked for:", errs)
	}
}

// FuzzStartedWork checks that whatever the annotations say, nothing panics, and that work is not kept
// from running beyond what was promised.
func FuzzStartedWork(f *testing.F) {
	f.Add("20h", "4h", "30m", "3h", "90m", "1", "2026-11-22T01:00:00Z", "2026-11-21T22:00:00Z", int32(4), int32(2))
	f.Add("-1s", "9e9h", "", "-3h", "NaN", "-7", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", int32(-4), int32(2147483647))
	f.Fuzz(func(t *testing.T, deadline, duration, restart, remaining, ran, pauses, finish, latest string, completions, succeeded int32) {
		j := interruptibleJob(map[string]string{
			v1alpha1.DeadlineAnnotation: deadline, v1alpha1.DurationAnnotation: duration, v1alpha1.RestartCostAnnotation: restart, v1alpha1.RemainingAnnotation: remaining,
			v1alpha1.RanAnnotation: ran, v1alpha1.PausesAnnotation: pauses, v1alpha1.FinishByAnnotation: finish, v1alpha1.LatestStartAnnotation: latest,
		})
		j.Spec.Completions, j.Status.Succeeded = &completions, succeeded
		runs := ReadRuns(j.Annotations)
		if got, isKnown := builtin().RunningTaskOf(j, t0, after(3)); isKnown {
			end := got.LatestStart.Add(got.Duration)
			if !runs.FinishBy.IsZero() && end.After(runs.FinishBy.Add(time.Second)) || got.Duration <= 0 || got.Done < 0 {
				t.Fatalf("%+v", got)
			}
		}
		j.Annotations[v1alpha1.PausedAnnotation], j.Labels[v1alpha1.StateLabel] = FormatTime(t0), v1alpha1.StateHeld
		task := builtin().TaskOf(j)
		if promised, err := time.Parse(time.RFC3339, latest); err == nil && task.LatestStart.After(promised) {
			t.Fatalf("resumed by %s, and promised was %s", task.LatestStart, promised)
		}
		if task.Duration <= 0 {
			t.Fatalf("%s are left", task.Duration)
		}
	})
}
