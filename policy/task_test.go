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

func TestTaskOf(t *testing.T) {
	hours := func(h float64) time.Time { return t0.Add(time.Duration(h * float64(time.Hour))) }
	stamped := func(h float64) string { return hours(h).Format(time.RFC3339) }
	tests := map[string]struct {
		annotations map[string]string
		want        time.Time
	}{
		"without a deadline, the policy's longest delay":         {map[string]string{}, hours(24)},
		"a deadline leaves time for the work and a margin":       {map[string]string{v1alpha1.DeadlineAnnotation: "8h", v1alpha1.DurationAnnotation: "1h"}, hours(6.95)},
		"the promise of its Job, which is older, holds":          {map[string]string{v1alpha1.DeadlineAnnotation: "8h", v1alpha1.DurationAnnotation: "1h", v1alpha1.LatestStartAnnotation: stamped(5)}, hours(5)},
		"an edit can make it earlier":                            {map[string]string{v1alpha1.DeadlineAnnotation: "4h", v1alpha1.DurationAnnotation: "1h", v1alpha1.LatestStartAnnotation: stamped(5)}, hours(2.95)},
		"an edit cannot make it later":                           {map[string]string{v1alpha1.DeadlineAnnotation: "48h", v1alpha1.DurationAnnotation: "1h", v1alpha1.LatestStartAnnotation: stamped(5)}, hours(5)},
		"a deadline that was garbled leaves the promise":         {map[string]string{v1alpha1.DeadlineAnnotation: "never", v1alpha1.LatestStartAnnotation: stamped(5)}, hours(5)},
		"a garbled promise leaves the deadline":                  {map[string]string{v1alpha1.DeadlineAnnotation: "4h", v1alpha1.DurationAnnotation: "1h", v1alpha1.LatestStartAnnotation: "never"}, hours(2.95)},
		"both garbled is now":                                    {map[string]string{v1alpha1.DeadlineAnnotation: "never", v1alpha1.LatestStartAnnotation: "never"}, t0},
		"a garbled duration without a promise is now":            {map[string]string{v1alpha1.DeadlineAnnotation: "4h", v1alpha1.DurationAnnotation: "long"}, t0},
		"a promise that is past is past, whatever else is asked": {map[string]string{v1alpha1.DeadlineAnnotation: "4h", v1alpha1.LatestStartAnnotation: stamped(-3)}, hours(-3)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := builtin().TaskOf(&metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(t0), Annotations: tt.annotations})
			if !got.LatestStart.Equal(tt.want) {
				t.Errorf("latest start %s, want %s", got.LatestStart, tt.want)
			}
		})
	}
}

// FuzzTaskOf checks that whatever the annotations say, nothing panics, and work
// is not held beyond what was promised, nor, with no promise and nothing
// readable, at all.
func FuzzTaskOf(f *testing.F) {
	f.Add("8h", "1h", "200", "2026-11-21T15:00:00Z", "47m")
	f.Add("06:00 Europe/Berlin", "P1D", "-1", "never", "-1s")
	f.Fuzz(func(t *testing.T, deadline, duration, threshold, promise, expected string) {
		object := &metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(t0), Annotations: map[string]string{
			v1alpha1.DeadlineAnnotation: deadline, v1alpha1.DurationAnnotation: duration, v1alpha1.ThresholdAnnotation: threshold, v1alpha1.LatestStartAnnotation: promise, v1alpha1.ExpectedDurationAnnotation: expected,
		}}
		task := builtin().TaskOf(object)
		promised, err := time.Parse(time.RFC3339, promise)
		if err == nil && task.LatestStart.After(promised) {
			t.Fatalf("latest start %s is after the promise %s", task.LatestStart, promised)
		}
		_, errs := ParseAsk(object.Annotations, t0, field.NewPath("x"))
		if err != nil && len(errs) > 0 && task.LatestStart.After(t0) {
			t.Fatalf("nothing is readable, but it waits until %s", task.LatestStart)
		}
		if task.Duration <= 0 {
			t.Fatalf("duration %s", task.Duration)
		}
	})
}

func TestDurationOfWorkThatAsksForNone(t *testing.T) {
	deadline := t0.Add(8 * time.Hour)
	learned := RunTimes{Median: 47 * time.Minute, Slowest: 100 * time.Minute, Count: 5}
	type want struct {
		Duration    time.Duration
		Guess       string
		LatestStart time.Time
		Notes       map[string]string
	}
	tests := map[string]struct {
		ask  Ask
		want want
	}{
		"what is asked for, whatever earlier runs took": {Ask{Deadline: deadline, Duration: 2 * time.Hour, EarlierRuns: learned},
			want{2 * time.Hour, "", t0.Add(5*time.Hour + 54*time.Minute), nil}},
		"the median, early enough for the slowest": {Ask{Deadline: deadline, EarlierRuns: learned},
			want{47 * time.Minute, "~47m", t0.Add(6*time.Hour + 15*time.Minute),
				map[string]string{v1alpha1.ExpectedDurationAnnotation: "47m", v1alpha1.DurationSourceAnnotation: "median of 5 earlier runs"}}},
		"one run": {Ask{Deadline: deadline, EarlierRuns: RunTimes{time.Hour, time.Hour, 1}},
			want{time.Hour, "~1h", t0.Add(6*time.Hour + 57*time.Minute), map[string]string{v1alpha1.ExpectedDurationAnnotation: "1h", v1alpha1.DurationSourceAnnotation: "the one earlier run"}}},
		"the policy's default": {Ask{Deadline: deadline},
			want{time.Hour, "1h", t0.Add(6*time.Hour + 57*time.Minute), map[string]string{v1alpha1.DurationSourceAnnotation: "the policy's default"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			task := builtin().Task(tt.ask, t0)
			got := want{task.Duration, task.EstimatedDuration, task.LatestStart, DurationNotes(tt.ask)}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTaskOfPlansWithWhatWasExpected(t *testing.T) {
	tests := map[string]struct {
		annotations map[string]string
		want        plan.Task
	}{
		"what earlier runs took":    {map[string]string{v1alpha1.ExpectedDurationAnnotation: "1d2h"}, plan.Task{Duration: 26 * time.Hour, EstimatedDuration: "~1d2h"}},
		"unless asked otherwise":    {map[string]string{v1alpha1.ExpectedDurationAnnotation: "1d2h", v1alpha1.DurationAnnotation: "2h"}, plan.Task{Duration: 2 * time.Hour}},
		"if it can be read":         {map[string]string{v1alpha1.ExpectedDurationAnnotation: "long"}, plan.Task{Duration: time.Hour, EstimatedDuration: "1h"}},
		"else the policy's default": {nil, plan.Task{Duration: time.Hour, EstimatedDuration: "1h"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.want.LatestStart = t0.Add(3 * time.Hour)
			annotations := map[string]string{v1alpha1.LatestStartAnnotation: FormatTime(tt.want.LatestStart)}
			maps.Copy(annotations, tt.annotations)
			got := builtin().TaskOf(&metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(t0), Annotations: annotations})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFromWhenOnAJobWaits(t *testing.T) {
	suspended := func(status corev1.ConditionStatus, at time.Time) batchv1.JobCondition {
		return batchv1.JobCondition{Type: batchv1.JobSuspended, Status: status, LastTransitionTime: metav1.NewTime(at)}
	}
	later := t0.Add(time.Hour)
	for name, tt := range map[string]struct {
		annotations map[string]string
		conditions  []batchv1.JobCondition
		want        time.Time
	}{
		"from its creation":                       {nil, nil, t0},
		"from when it was resumed":                {nil, []batchv1.JobCondition{{Type: batchv1.JobComplete}, suspended(corev1.ConditionFalse, later)}, later},
		"from its creation while it is suspended": {nil, []batchv1.JobCondition{suspended(corev1.ConditionTrue, later)}, t0},
		"from its creation if we have resumed it": {map[string]string{v1alpha1.HeldByAnnotation: "suspend"}, []batchv1.JobCondition{suspended(corev1.ConditionFalse, later)}, t0},
		"never from a time before it was created": {nil, []batchv1.JobCondition{suspended(corev1.ConditionFalse, t0.Add(-time.Hour))}, t0},
	} {
		t.Run(name, func(t *testing.T) {
			job := &batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(t0), Annotations: tt.annotations},
				Status:     batchv1.JobStatus{Conditions: tt.conditions},
			}
			if got := WaitsSince(job); !got.Equal(tt.want) {
				t.Errorf("from %s on, want %s", got, tt.want)
			}
		})
	}
}

func TestWorkOfOneOwnerHasOneTaskID(t *testing.T) {
	owned := &metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{UID: "owner", Controller: ptr.To(true)}}}
	if got := TaskID(owned, "own"); got != "owner" {
		t.Errorf("owned work has ID %q", got)
	}
	if got := TaskID(&metav1.ObjectMeta{}, "own"); got != "own" {
		t.Errorf("work without an owner has ID %q", got)
	}
}

func TestTheStartOfWorkThatWidensIsChosenForItsWidths(t *testing.T) {
	task := func(annotations map[string]string) plan.Task {
		return builtin().TaskOf(&metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(t0), Annotations: annotations})
	}
	widening := map[string]string{v1alpha1.ParallelismAnnotation: "2-40", v1alpha1.SpeedupAnnotation: "2=2,40=20"}
	got := task(widening).Elastic
	if got == nil || got.Least != 2 || got.Most != 40 || got.Speedup.String() != "2=2,40=20" {
		t.Errorf("got %+v, want 2 to 40 pods", got)
	}
	if got := task(nil).Elastic; got != nil {
		t.Errorf("work that does not ask for widths: got %+v", got)
	}
}
