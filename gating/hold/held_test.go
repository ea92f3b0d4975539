package hold

import (
	"context"
	"errors"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestAJobIsHeldItselfByOurSuspendOrItsQueue(t *testing.T) {
	tests := map[string]struct {
		by, queue string
		suspended bool
		want      bool
	}{
		"suspended by us":                   {by: v1alpha1.HoldBySuspend, suspended: true, want: true},
		"resumed by somebody else":          {by: v1alpha1.HoldBySuspend},
		"suspended by somebody else":        {suspended: true},
		"with a mark that nobody knows":     {by: "string", suspended: true},
		"at the queue":                      {by: v1alpha1.HoldByKueue, queue: v1alpha1.Gate, suspended: true, want: true},
		"at the queue, behind another":      {by: v1alpha1.HoldByKueue, queue: "a.example/b, " + v1alpha1.Gate, suspended: true, want: true},
		"at the queue, without our mark":    {queue: v1alpha1.Gate, suspended: true, want: true},
		"at the queue, by somebody else":    {by: v1alpha1.HoldByKueue, queue: "a.example/b", suspended: true},
		"let go by the queue all the same":  {by: v1alpha1.HoldByKueue, queue: v1alpha1.Gate},
		"at a queue that asks nobody to go": {by: v1alpha1.HoldByKueue, suspended: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			job := &batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.HeldByAnnotation: tt.by, KueueGatesAnnotation: tt.queue}},
				Spec:       batchv1.JobSpec{Suspend: ptr.To(tt.suspended)},
			}
			if got := HoldsJobItself(job); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestHowManyPodsAJobRunsAtOnce(t *testing.T) {
	over := batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue}}}
	for name, tt := range map[string]struct {
		spec   batchv1.JobSpec
		status batchv1.JobStatus
		want   int
	}{
		"one, if it does not say":          {batchv1.JobSpec{}, batchv1.JobStatus{}, 1},
		"its parallelism":                  {batchv1.JobSpec{Parallelism: ptr.To(int32(7))}, batchv1.JobStatus{}, 7},
		"no more than are left":            {batchv1.JobSpec{Parallelism: ptr.To(int32(7)), Completions: ptr.To(int32(9))}, batchv1.JobStatus{Succeeded: 5}, 4},
		"none, if more have succeeded":     {batchv1.JobSpec{Completions: ptr.To(int32(1))}, batchv1.JobStatus{Succeeded: 2}, 0},
		"none, once the Job is over":       {batchv1.JobSpec{Parallelism: ptr.To(int32(7))}, over, 0},
		"its parallelism while it resumes": {batchv1.JobSpec{Parallelism: ptr.To(int32(2)), Suspend: ptr.To(true)}, batchv1.JobStatus{}, 2},
	} {
		if got := PodsToRun(&batchv1.Job{Spec: tt.spec, Status: tt.status}); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestAJobThatItsUserCreatedSuspendedAwaitsItsResume(t *testing.T) {
	suspended := func(is bool, noted corev1.ConditionStatus, job *batchv1.Job) *batchv1.Job {
		job.Spec.Suspend = &is
		job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: noted}}
		return job
	}
	yes, no := corev1.ConditionTrue, corev1.ConditionFalse
	held := v1alpha1.StateHeld
	for name, tt := range map[string]struct {
		job  *batchv1.Job
		want bool
	}{
		"while it is suspended":             {suspended(true, yes, jobIn(held, "j")), true},
		"before its resume is noted":        {suspended(false, yes, jobIn(held, "j")), true},
		"not once it is resumed":            {suspended(false, no, jobIn(held, "j")), false},
		"not if we suspended it":            {suspended(true, yes, jobIn(held, "j", v1alpha1.HeldByAnnotation, v1alpha1.HoldBySuspend)), false},
		"not if it was promised a start":    {suspended(true, yes, jobIn(held, "j", v1alpha1.LatestStartAnnotation, "2026-11-22T02:00:00Z")), false},
		"not if it was never held":          {suspended(true, yes, jobIn("", "j")), false},
		"not if it was released meanwhile":  {suspended(true, yes, jobIn(v1alpha1.StateReleased, "j")), false},
		"though nobody has noted it so far": {func() *batchv1.Job { j := jobIn(held, "j"); j.Spec.Suspend = ptr.To(true); return j }(), true},
	} {
		if got := AwaitsResume(tt.job); got != tt.want {
			t.Errorf("%s: %t, want %t", name, got, tt.want)
		}
	}
}

func TestTheJobOfAPodIsTheOneThatOwnsIt(t *testing.T) {
	job := jobIn("", "j")
	another := ownedBy(gatedPod("another"), job)
	another.OwnerReferences[0].UID = "deleted and created again"
	set := gatedPod("set")
	set.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "j", UID: "j", Controller: ptr.To(true)}}
	for name, tt := range map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"its owner":                      {ownedBy(gatedPod("p"), job), true},
		"not a Job of the same name":     {another, false},
		"not an owner of another kind":   {set, false},
		"nobody, for a pod by itself":    {gatedPod("bare"), false},
		"nobody, if the Job was deleted": {ownedBy(gatedPod("orphan"), jobIn("", "deleted")), false},
	} {
		got, err := ReadOwningJob(t.Context(), server(nil, job.DeepCopy()), tt.pod)
		if err != nil || (got != nil) != tt.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	unreachable := interceptor.NewClient(server(nil).(client.WithWatch), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errors.New("no answer")
		},
	})
	if _, err := ReadOwningJob(t.Context(), unreachable, ownedBy(gatedPod("p"), job)); err == nil {
		t.Error("without an answer, want an error")
	}
}

func TestThePodsOfAJobAreThoseThatItSelectsAndOwns(t *testing.T) {
	job := jobIn("", "j")
	job.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"job": "j"}}
	mine, forged, elsewhere := ownedBy(gatedPod("mine"), job), gatedPod("forged"), ownedBy(gatedPod("elsewhere"), job)
	for _, pod := range []*corev1.Pod{mine, forged, elsewhere} {
		pod.Labels["job"] = "j"
	}
	elsewhere.Namespace = "another"
	c := server(nil, mine, forged, elsewhere)
	pods, err := PodsOf(t.Context(), c, job)
	if err != nil || len(pods) != 1 || pods[0].Name != "mine" {
		t.Errorf("%d pods, %v", len(pods), err)
	}
	if pods, err := PodsOf(t.Context(), c, jobIn("", "j")); err != nil || len(pods) != 0 {
		t.Errorf("without a selector: %d pods, %v", len(pods), err)
	}
	job.Spec.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "job", Operator: "Is"}}}
	if _, err := PodsOf(t.Context(), c, job); err == nil {
		t.Error("a selector that nobody knows selects nothing")
	}
}

func TestOurGateIsPutAmongThoseOfTheQueueAndTakenOut(t *testing.T) {
	for before, want := range map[string]string{
		"":              v1alpha1.Gate,
		" ":             v1alpha1.Gate,
		"a.example/b":   "a.example/b," + v1alpha1.Gate,
		"a.example/b,c": "a.example/b,c," + v1alpha1.Gate,
	} {
		if got := AddKueueGate(before); got != want {
			t.Errorf("%q and ours: %q, want %q", before, got, want)
		}
		if got := AddKueueGate(want); got != want {
			t.Errorf("%q and ours once more: %q, which Kueue refuses", want, got)
		}
		forged := map[string]string{KueueGatesAnnotation: want, "a": "b"}
		if ForgetKueueGate(forged); forged[KueueGatesAnnotation] != strings.TrimSpace(before) || len(forged) == 2 && before == "" {
			t.Errorf("%q written by somebody else: %v", want, forged)
		}
		if got := RemoveKueueGate(want); got != strings.TrimSpace(before) {
			t.Errorf("%q without ours: %q, want %q", want, got, before)
		}
	}
	for key, want := range map[string]bool{v1alpha1.Prefix + "any": true, KueueQueueLabel: true, KueueGatesAnnotation: true, batchv1.CronJobScheduledTimestampAnnotation: true, "kueue.x-k8s.io/other": false, "app": false} {
		if IsKnownKey(key) != want {
			t.Errorf("%s is read: %t", key, !want)
		}
	}
}
