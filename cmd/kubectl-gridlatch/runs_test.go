package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// interruptible returns a Job of eight hours that may be paused, with more keys and values.
func interruptible(name, state string, more ...string) *batchv1.Job {
	annotations := heldAnnotations(append([]string{
		v1alpha1.InterruptibleAnnotation, "true", v1alpha1.DurationAnnotation, "8h", v1alpha1.DeadlineAnnotation, "34h", v1alpha1.MinRunAnnotation, "1h",
		v1alpha1.RestartCostAnnotation, "10m", v1alpha1.HeldByAnnotation, v1alpha1.HoldBySuspend, v1alpha1.LatestStartAnnotation, "2026-11-22T22:00:00Z",
	}, more...)...)
	job := jobOf(name, state, annotations, 1)
	job.Spec.Suspend = ptr.To(state == v1alpha1.StateHeld)
	job.Spec.Template.Labels = map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}
	job.Status.Ready = ptr.To[int32](1)
	return job
}

// elastic returns a Job of eight hours that may run wider, with more keys and values.
func elastic(name, state string, width int32, more ...string) *batchv1.Job {
	annotations := heldAnnotations(append([]string{
		v1alpha1.ParallelismAnnotation, "2-8", v1alpha1.DurationAnnotation, "8h", v1alpha1.DeadlineAnnotation, "34h",
		v1alpha1.LatestStartAnnotation, "2026-11-22T22:00:00Z", v1alpha1.OriginalParallelismAnnotation, "4", v1alpha1.AppliedParallelismAnnotation, "2",
	}, more...)...)
	job := jobOf(name, state, annotations, width)
	job.Spec.Completions = ptr.To[int32](96)
	return job
}

// longWork returns Jobs that may be paused, or run wider, in each state.
func longWork() []client.Object {
	started := []string{v1alpha1.StartedAnnotation, "2026-11-21T20:30:00Z", v1alpha1.PlannedStartAnnotation, "", v1alpha1.ReasonAnnotation, "started Nov 21 20:30 UTC: its latest start has come"}
	started = slices.Clip(started)
	done := interruptible("done-soon", v1alpha1.StateReleased, append(started, v1alpha1.RemainingAnnotation, "20m")...)
	again := interruptible("again", v1alpha1.StateReleased, append(started, v1alpha1.PausesAnnotation, "1", v1alpha1.RanAnnotation, "2h", v1alpha1.FinishByAnnotation, "2026-11-23T06:00:00Z")...)
	again.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(time.Date(2026, 11, 21, 20, 50, 0, 0, time.UTC))}}
	narrow := elastic("narrow", v1alpha1.StateReleased, 2, append(started, v1alpha1.DurationAnnotation, "12h", v1alpha1.LatestStartAnnotation, "2026-11-22T18:00:00Z",
		v1alpha1.ReasonAnnotation, "2 pods: it has cleaner time to come, or needs no more pods")...)
	narrow.Status.Succeeded = 12
	return []client.Object{
		interruptible("waiting", v1alpha1.StateHeld, v1alpha1.PlannedStartAnnotation, "2026-11-22T04:02:00Z",
			v1alpha1.ReasonAnnotation, "waits until Nov 22 04:02 UTC: 169 gCO2eq/kWh in CAISO_NORTH, 45 % less than the 308 at Nov 21 21:00; latest start Nov 22 22:00"),
		interruptible("paused", v1alpha1.StateHeld, v1alpha1.PausedAnnotation, "2026-11-21T21:00:00Z", v1alpha1.PausesAnnotation, "1", v1alpha1.RanAnnotation, "2h", v1alpha1.FinishByAnnotation, "2026-11-23T06:00:00Z",
			v1alpha1.ReasonAnnotation, "paused until Nov 22 05:00 UTC: 152 gCO2eq/kWh in CAISO_NORTH, 64 % less than the 420 at Nov 21 21:00; resumes by Nov 22 23:50", v1alpha1.LatestStartAnnotation, "2026-11-22T23:50:00Z"),
		interruptible("running", v1alpha1.StateReleased, started...), again, done,
		elastic("patient", v1alpha1.StateHeld, 2), narrow,
		elastic("taken", v1alpha1.StateReleased, 5, append(started, v1alpha1.ParallelismReleasedAnnotation, v1alpha1.ParallelismTaken)...),
	}
}

func TestExplainShowsPlannedRunsAndWidths(t *testing.T) {
	for _, name := range []string{"waiting", "paused", "running", "again", "done-soon", "patient", "narrow", "taken"} {
		t.Run(name, func(t *testing.T) {
			connect, _ := fakeCluster(t, longWork()...)
			code, stdout, stderr := call(t, connect, "explain", "job", name)
			if code != 0 || stderr != "" {
				t.Fatalf("exit code %d, stderr %s", code, stderr)
			}
			wantGolden(t, "explain-long-"+name, stdout)
		})
	}
}

func TestExplainHasThePlannedRunsForPrograms(t *testing.T) {
	connect, _ := fakeCluster(t, longWork()...)
	for name, job := range map[string]string{"explain-long-yaml": "again", "explain-widths-yaml": "narrow"} {
		code, stdout, stderr := call(t, connect, "explain", "job", job, "-o", "yaml")
		if code != 0 || stderr != "" {
			t.Fatalf("exit code %d, stderr %s", code, stderr)
		}
		wantGolden(t, name, stdout)
	}
}

func TestWorkThatOthersDecideOnHasNoPlannedRuns(t *testing.T) {
	for name, change := range map[string]func(*batchv1.Job){
		"a Job in a queue of Kueue":    func(j *batchv1.Job) { j.Labels[hold.KueueQueueLabel] = "gpu" },
		"a Job of another controller":  func(j *batchv1.Job) { j.Spec.ManagedBy = ptr.To("example.com/other") },
		"a Job that was taken over":    func(j *batchv1.Job) { j.Annotations[v1alpha1.OutcomeAnnotation] = v1alpha1.OutcomeTaken },
		"a Job that its user suspends": func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) },
		"a Job that is done": func(j *batchv1.Job) {
			j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
		},
		"a Job that asks for no pauses":  func(j *batchv1.Job) { delete(j.Annotations, v1alpha1.InterruptibleAnnotation) },
		"a Job that was promised no end": func(j *batchv1.Job) { delete(j.Annotations, v1alpha1.LatestStartAnnotation) },
	} {
		t.Run(name, func(t *testing.T) {
			job := interruptible("job", v1alpha1.StateReleased, v1alpha1.StartedAnnotation, "2026-11-21T20:30:00Z", v1alpha1.PlannedStartAnnotation, "")
			for _, isChanged := range []bool{false, true} {
				if isChanged {
					change(job)
				}
				connect, _ := fakeCluster(t, job.DeepCopy())
				code, stdout, stderr := call(t, connect, "explain", "job", "job")
				if code != 0 || stderr != "" || strings.Contains(stdout, "Planned in 2 runs") == isChanged {
					t.Errorf("changed %t: exit code %d, stderr %s\n%s", isChanged, code, stderr, stdout)
				}
			}
		})
	}
}

func TestExplainWithoutAForecastSaysHowLongWorkStands(t *testing.T) {
	there := v1alpha1.Default()
	there.Name, there.Spec.Forecast.ConfigMap.Name = "there", "nothing"
	for _, o := range longWork() {
		o.GetAnnotations()[v1alpha1.PolicyAnnotation] = "there"
		connect, _ := fakeCluster(t, o, there)
		code, stdout, stderr := call(t, connect, "explain", "job", o.GetName())
		isOfWidth := o.GetAnnotations()[v1alpha1.ParallelismAnnotation] != ""
		if code != 0 || !strings.Contains(stderr, "read the forecast") || strings.Contains(stdout, "Planned") ||
			!isOfWidth && !strings.Contains(stdout, "of work; each resume costs 10m") || isOfWidth && !strings.Contains(stdout, "asks for 2 to 8") {
			t.Errorf("%s: exit code %d, stderr %s\n%s", o.GetName(), code, stderr, stdout)
		}
	}
}

func TestStatusCountsPausedWorkApart(t *testing.T) {
	connect, _ := fakeCluster(t, longWork()...)
	code, stdout, stderr := call(t, connect, "status")
	if want := "holds 2 pods in 3 groups, 1 of them paused; next release"; code != 0 || stderr != "" || !strings.Contains(stdout, want) {
		t.Errorf("exit code %d, stderr %s, want %q in\n%s", code, stderr, want, stdout)
	}
	_, stdout, _ = call(t, connect, "status", "-o", "json")
	if !strings.Contains(stdout, `"pausedGroups": 1`) {
		t.Errorf("no count of what is paused in\n%s", stdout)
	}
}

// TestNoNotesOfRunsAndWidthsPanic has everything on Jobs that an API server lets anybody write.
func TestNoNotesOfRunsAndWidthsPanic(t *testing.T) {
	keys := []string{
		v1alpha1.PausedAnnotation, v1alpha1.PausesAnnotation, v1alpha1.RanAnnotation, v1alpha1.FinishByAnnotation, v1alpha1.RemainingAnnotation, v1alpha1.RestartCostAnnotation,
		v1alpha1.MinRunAnnotation, v1alpha1.DurationAnnotation, v1alpha1.StartedAnnotation, v1alpha1.LatestStartAnnotation, v1alpha1.PlannedStartAnnotation, v1alpha1.ParallelismAnnotation,
		v1alpha1.OriginalParallelismAnnotation, v1alpha1.SpeedupAnnotation, v1alpha1.PlannedLocationAnnotation,
	}
	values := []string{
		"", "0", "-1", "NaN", "99999999999999999999", "8760h", "-3h", "1ns", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-21T21:14:00Z",
		"1-2147483647", "2-1", "1=1,2147483647=1", "1=1e308", hostileText,
	}
	for _, key := range keys {
		for _, value := range values {
			for _, o := range longWork() {
				job, _ := o.(*batchv1.Job)
				if !slices.Contains([]string{"waiting", "paused", "again", "patient", "narrow"}, job.Name) {
					continue
				}
				job.Annotations[key] = value
				job.Status.Succeeded, job.Spec.Completions = -3, ptr.To[int32](1<<31-1)
				connect, _ := fakeCluster(t, job)
				if code, stdout, _ := call(t, connect, "explain", "job", job.Name); code != 0 || !strings.HasPrefix(stdout, "job/"+job.Name) || strings.ContainsRune(stdout, '\x1b') {
					t.Fatalf("%s: %.40q on %s: exit code %d\n%s", key, value, job.Name, code, stdout)
				}
				if code, _, stderr := call(t, connect, "explain", "job", job.Name, "-o", "json"); code != 0 {
					t.Fatalf("%s: %.40q on %s: exit code %d, %s", key, value, job.Name, code, stderr)
				}
			}
		}
	}
}
