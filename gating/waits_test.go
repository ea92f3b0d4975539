package gating

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// suspendedJob is a held Job that is suspended, and what the Job controller says of it.
func suspendedJob(suspended bool, noted corev1.ConditionStatus, annotations map[string]string) *batchv1.Job {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "j", Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}, Annotations: map[string]string{v1alpha1.DelayTolerantAnnotation: "true"}, CreationTimestamp: metav1.NewTime(t0)},
		Spec:       batchv1.JobSpec{Suspend: ptr.To(suspended)},
	}
	for key, value := range annotations {
		j.Annotations[key] = value
	}
	if noted != "" {
		j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: noted, LastTransitionTime: metav1.NewTime(t0.Add(48 * time.Hour))}}
	}
	return j
}

func TestAJobThatWasCreatedSuspendedIsPlannedFromItsResume(t *testing.T) {
	yes, no := corev1.ConditionTrue, corev1.ConditionFalse
	for name, tt := range map[string]struct {
		job    *batchv1.Job
		awaits bool
		since  time.Duration // after its creation
	}{
		"while it is suspended":               {suspendedJob(true, yes, nil), true, 0},
		"before that is noted":                {suspendedJob(true, "", nil), true, 0},
		"before its resume is noted":          {suspendedJob(false, yes, nil), true, 0},
		"once it is resumed":                  {suspendedJob(false, no, nil), false, 48 * time.Hour},
		"not if it was promised a start":      {suspendedJob(true, yes, map[string]string{v1alpha1.LatestStartAnnotation: policy.FormatTime(t0)}), false, 0},
		"not if we have suspended it":         {suspendedJob(true, yes, map[string]string{v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend}), false, 0},
		"nor counted from our resume of it":   {suspendedJob(false, no, map[string]string{v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend}), false, 0},
		"nor from what it was before it came": {suspendedJob(false, "", nil), false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			cached := stripped(t, newRecordMaker(), tt.job)
			if hold.AwaitsResume(tt.job) != tt.awaits || cached.awaitsResume() != tt.awaits {
				t.Errorf("it awaits its resume: %v, %v as cached, want %v", hold.AwaitsResume(tt.job), cached.awaitsResume(), tt.awaits)
			}
			want := t0.Add(tt.since)
			if got, again := policy.WaitsSince(cached), policy.WaitsSince(tt.job); !got.Equal(want) || !again.Equal(want) {
				t.Errorf("it counts from %s and %s, want %s", got, again, want)
			}
			g := &group{owner: cached, decision: plan.Decision{Decided: t0, Start: t0, Cause: plan.CauseCleanestNow}}
			(&pass{groups: []*group{g}}).waitForUsers()
			if g.isDue() == tt.awaits {
				t.Errorf("it is due: %v", g.isDue())
			}
		})
	}
	// pods may come before the resume is noted, and do not wait for that
	early := waitingRecord("Pod", "early", map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.LatestStartAnnotation: policy.FormatTime(t0.Add(time.Minute))})
	unnoted := &group{owner: stripped(t, newRecordMaker(), suspendedJob(false, yes, nil)), pods: []*record{early}, decision: plan.Decision{Decided: t0, Start: t0}}
	setTasks(builtin(), []*group{unnoted})
	(&pass{groups: []*group{unnoted}}).waitForUsers()
	if want := t0.Add(time.Minute); !unnoted.isDue() || !unnoted.task.LatestStart.Equal(want) {
		t.Errorf("it is due: %v, by %s, want %s", unnoted.isDue(), unnoted.task.LatestStart, want)
	}
	// the promise that it is given then counts from its resume
	g := &group{owner: stripped(t, newRecordMaker(), suspendedJob(false, no, nil))}
	setTasks(builtin(), []*group{g})
	if want := policy.FormatTime(t0.Add(72 * time.Hour)); g.notes(g.owner)[v1alpha1.LatestStartAnnotation] != want {
		t.Errorf("latest start %s, want %s", g.notes(g.owner)[v1alpha1.LatestStartAnnotation], want)
	}
}

func TestWhatElseWorkWaitsForOnceItIsLetGo(t *testing.T) {
	gates := func(names ...string) *corev1.Pod {
		pod := &corev1.Pod{}
		for _, name := range names {
			pod.Spec.SchedulingGates = append(pod.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: name})
		}
		return pod
	}
	jobThat := func(change func(*batchv1.Job)) *batchv1.Job {
		j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{}}}
		change(j)
		return j
	}
	suspend := func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) }
	for name, tt := range map[string]struct {
		object any
		pods   []*corev1.Pod
		want   string
	}{
		"a pod without others":           {gates(v1alpha1.Gate), nil, ""},
		"a pod with another gate":        {gates("a.example/x", v1alpha1.Gate), nil, "the gate a.example/x"},
		"a pod in a queue of Kueue":      {gates("kueue.x-k8s.io/admission", "kueue.x-k8s.io/topology", v1alpha1.Gate), nil, "its queue in Kueue"},
		"a pod with others":              {gates("a.example/x", v1alpha1.Gate, "b.example/y"), nil, "the gates a.example/x, b.example/y"},
		"a Job":                          {jobThat(func(*batchv1.Job) {}), nil, ""},
		"a Job of no pods at once":       {jobThat(func(j *batchv1.Job) { j.Spec.Parallelism = ptr.To(int32(0)) }), nil, "parallelism 0"},
		"a Job that others suspend":      {jobThat(suspend), nil, "its suspend"},
		"a Job that we suspend":          {jobThat(func(j *batchv1.Job) { suspend(j); j.Annotations[v1alpha1.HeldByAnnotation] = v1alpha1.HoldBySuspend }), nil, ""},
		"a Job of Kueue":                 {jobThat(func(j *batchv1.Job) { suspend(j); j.Annotations[v1alpha1.HeldByAnnotation] = v1alpha1.HoldByKueue }), nil, "its queue in Kueue"},
		"a Job whose pods all wait":      {jobThat(func(*batchv1.Job) {}), []*corev1.Pod{gates("a.example/x"), gates("a.example/x")}, "the gate a.example/x"},
		"a Job of which some pod starts": {jobThat(func(*batchv1.Job) {}), []*corev1.Pod{gates("a.example/x"), gates(v1alpha1.Gate)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g, o := &group{decision: plan.Decision{Decided: t0, Start: t0, Cause: plan.CauseCleanestNow, Expected: 100, ExpectedAtOnce: 100}}, stripped(t, newRecordMaker(), tt.object)
			if g.owner = o; o.Kind == hold.PodKind().Kind {
				g.owner, g.pods = nil, []*record{o}
			}
			for _, pod := range tt.pods {
				g.pods = append(g.pods, stripped(t, newRecordMaker(), pod))
			}
			waits := g.stillWaits()
			if waits != tt.want {
				t.Errorf("it waits for %q, want %q", waits, tt.want)
			}
			g.head().Annotations[v1alpha1.IntensityAtCreationAnnotation] = "400"
			reason := g.releaseReason(waits)
			if begins := strings.HasPrefix(reason, "released ") && strings.HasSuffix(reason, "; it still waits for "+tt.want); begins != (tt.want != "") {
				t.Errorf("reason %q", reason)
			}
			if saves := strings.Contains(reason, "75 % less"); saves != (tt.want == "") {
				t.Errorf("reason %q", reason)
			}
		})
	}
}

func TestReasonsAtAdmissionNameWhatElseWorkWaitsFor(t *testing.T) {
	if got := PodStillWaits([]corev1.PodSchedulingGate{{Name: v1alpha1.Gate}, {Name: "a.example/x"}}); got != "the gate a.example/x" {
		t.Errorf("a pod waits for %q", got)
	}
	for name, tt := range map[string]struct {
		change func(*batchv1.Job)
		want   string
	}{
		"a Job": {func(*batchv1.Job) {}, ""},
		"a Job that Kueue suspends": {func(j *batchv1.Job) {
			j.Spec.Suspend, j.Labels = ptr.To(true), map[string]string{hold.KueueQueueLabel: "q"}
		}, "its queue in Kueue"},
		"a Job that Kueue does not manage": {func(j *batchv1.Job) { j.Labels = map[string]string{hold.KueueQueueLabel: "q"} }, ""},
		"a Job that is suspended":          {func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) }, "its suspend"},
		"a Job of no pods":                 {func(j *batchv1.Job) { j.Spec.Parallelism = ptr.To(int32(0)) }, "parallelism 0"},
	} {
		job := &batchv1.Job{}
		if tt.change(job); JobStillWaits(job) != tt.want {
			t.Errorf("%s waits for %q, want %q", name, JobStillWaits(job), tt.want)
		}
	}
}
