package hold

import (
	"errors"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

func TestHandHoldWithoutAForecastLeavesThePlanToTheLoop(t *testing.T) {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "j", UID: "u", CreationTimestamp: metav1.NewTime(t0)}}
	c := fake.NewClientBuilder().WithObjects(job).Build()
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(job), job); err != nil {
		t.Fatal(err)
	}
	now := t0.Add(48 * time.Hour)
	if err := (ManualHold{Policy: builtin()}).Apply(t.Context(), c, job, now); err != nil {
		t.Fatal(err)
	}
	if !HoldsJobItself(job) || job.Annotations[v1alpha1.PlannedStartAnnotation] != "" {
		t.Errorf("%+v", job)
	}
	if task := builtin().TaskOf(job); !task.LatestStart.Equal(now.Add(24 * time.Hour)) {
		t.Errorf("latest start %s, want a day from %s", task.LatestStart, now)
	}
}

func TestPodsLeftOverByAnInterruptedReleaseGoWithTheirJob(t *testing.T) {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "j", UID: "u", Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}}}
	left := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: "p", UID: "v", Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec:   corev1.PodSpec{SchedulingGates: []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	c := fake.NewClientBuilder().WithObjects(job, left).
		WithIndex(&corev1.Pod{}, "status.phase", func(o client.Object) []string { return []string{string(o.(*corev1.Pod).Status.Phase)} }).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string { return []string{o.(*corev1.Pod).Spec.NodeName} }).
		Build()
	if n, err := Release(t.Context(), c, job, ManualReleaseReason(t0), t0); n != 1 || err != nil {
		t.Errorf("released %d, %v", n, err)
	}
	if n, err := Release(t.Context(), c, job, ManualReleaseReason(t0), t0); n != 0 || err == nil {
		t.Errorf("released %d again, %v", n, err)
	}
}

func TestAJobIsHeldByHandUnlessThatIsOfNoUse(t *testing.T) {
	now := t0.Add(time.Hour)
	north := func(values ...float64) *forecast.Snapshot {
		var slots []forecast.Slot
		for i, v := range values {
			start := now.Add(time.Duration(i) * time.Hour)
			slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: v})
		}
		store := &forecast.Store{}
		if err := store.Offer(builtin().Source, forecast.Document{Series: map[string]*forecast.Series{"north": forecast.NewSeries(slots)}, Issued: now}, now); err != nil {
			t.Fatal(err)
		}
		return store.Snapshot(builtin().Source)
	}
	job := func(change func(*batchv1.Job)) *batchv1.Job {
		j := jobIn("", "j")
		change(j)
		return j
	}
	finished := []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
	for name, tt := range map[string]struct {
		job         *batchv1.Job
		hold        ManualHold
		want        string // the error
		needsForce  bool
		latestStart time.Time
	}{
		"until the cleanest start":      {job: jobIn("", "j"), hold: ManualHold{Snapshot: north(400, 100, 400)}, latestStart: now.Add(24 * time.Hour)},
		"by a deadline that is given":   {job: jobIn("", "j", v1alpha1.DurationAnnotation, "1h", v1alpha1.DeadlineAnnotation, "2026-11-21T23:00:00Z"), hold: ManualHold{Deadline: now.Add(4 * time.Hour)}, latestStart: plan.LatestStart(now.Add(4*time.Hour), time.Hour)},
		"by the deadline of the Job":    {job: jobIn("", "j", v1alpha1.DurationAnnotation, "1h", v1alpha1.DeadlineAnnotation, "2026-11-21T23:00:00Z"), latestStart: plan.LatestStart(time.Date(2026, 11, 21, 23, 0, 0, 0, time.UTC), time.Hour)},
		"by force, what others suspend": {job: job(func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) }), hold: ManualHold{Force: true}, latestStart: now.Add(24 * time.Hour)},
		"not what others suspend":       {job: job(func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) }), want: "somebody else has suspended it", needsForce: true},
		"not what is held":              {job: jobIn(v1alpha1.StateHeld, "j", v1alpha1.ReasonAnnotation, "waits"), want: "it is already held: waits"},
		"not what is held itself":       {job: heldItself(jobIn("", "j"), v1alpha1.HoldBySuspend), want: "it is already held"},
		"not what is over":              {job: job(func(j *batchv1.Job) { j.Status.Conditions = finished }), want: "it has finished"},
		"not what is being deleted":     {job: job(func(j *batchv1.Job) { at := metav1.NewTime(t0); j.DeletionTimestamp, j.Finalizers = &at, []string{"x"} }), want: "it is being deleted"},
		"not what another runs":         {job: job(func(j *batchv1.Job) { j.Spec.ManagedBy = ptr.To("a.example/b") }), want: "it is managed by a.example/b"},
		"not what Kueue runs":           {job: job(func(j *batchv1.Job) { j.Labels[KueueQueueLabel] = "q" }), want: "Kueue decides when it runs"},
		"not what is cleanest now":      {job: jobIn("", "j"), hold: ManualHold{Snapshot: north(100, 400, 400)}, want: "it would start at once: "},
		"not what has no time left":     {job: jobIn("", "j"), hold: ManualHold{Deadline: now.Add(time.Minute)}, want: "it has to start by "},
		"not what asks for nonsense":    {job: jobIn("", "j", v1alpha1.DurationAnnotation, "long"), want: "metadata.annotations"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.hold.Policy = builtin()
			c := server(nil, tt.job)
			err := tt.hold.Apply(t.Context(), c, read(t, c, tt.job), now)
			if _, needsForce := errors.AsType[NeedsForceError](err); needsForce != tt.needsForce {
				t.Errorf("it needs force: %t, %v", needsForce, err)
			}
			stored := read(t, c, jobIn("", "j"))
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %q", err, tt.want)
				}
				return
			}
			if err != nil || !HoldsJobItself(stored) || stored.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld {
				t.Fatalf("%v: %+v", err, stored.ObjectMeta)
			}
			if got := builtin().TaskOf(stored).LatestStart; !got.Equal(tt.latestStart) {
				t.Errorf("latest start %s, want %s", got, tt.latestStart)
			}
		})
	}
}

func TestAJobWhosePodsRunIsHeldByForceOnly(t *testing.T) {
	job := jobIn("", "j")
	job.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"job": "j"}}
	pod := ownedBy(gatedPod("p"), job)
	pod.Labels["job"], pod.Spec = "j", corev1.PodSpec{NodeName: "node"}
	for phase, want := range map[corev1.PodPhase]bool{corev1.PodRunning: true, corev1.PodPending: true, corev1.PodSucceeded: false, corev1.PodFailed: false} {
		pod.Status.Phase = phase
		for _, force := range []bool{false, true} {
			c := server(nil, job.DeepCopy(), pod.DeepCopy())
			err := ManualHold{Policy: builtin(), Force: force}.Apply(t.Context(), c, read(t, c, job.DeepCopy()), t0)
			if _, needsForce := errors.AsType[NeedsForceError](err); needsForce != (want && !force) {
				t.Errorf("with a pod that is %s, and force %t: %v", phase, force, err)
			}
		}
	}
}

func TestAJobThatHasChangedMeanwhileIsNotHeldByHand(t *testing.T) {
	c := server(nil, jobIn("", "j"))
	stale, newer := read(t, c, jobIn("", "j")), read(t, c, jobIn("", "j"))
	newer.Labels = map[string]string{"changed": "yes"}
	if err := c.Update(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	if err := (ManualHold{Policy: builtin()}).Apply(t.Context(), c, stale, t0); !apierrors.IsConflict(err) {
		t.Errorf("%v, want a conflict", err)
	}
}
