package webhook

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// sibling is a pod of a PyTorchJob that was decided on.
func sibling(state string, latestStart time.Duration) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "w0", UID: "w0", Labels: map[string]string{v1alpha1.StateLabel: state}}}
	pod.Annotations = map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.LatestStartAnnotation: policy.FormatTime(t0.Add(latestStart))}
	pod.OwnerReferences = ofPyTorchJob()
	if state == v1alpha1.StateHeld {
		pod.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}}
	}
	return pod
}

func ofPyTorchJob() []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: "kubeflow.org/v1", Kind: "PyTorchJob", Name: "bert", UID: "bert", Controller: ptr.To(true)}}
}

func TestAPodOfAPieceOfWorkWaitsOrStartsWithTheOthers(t *testing.T) {
	owned := ofPyTorchJob()
	executor := map[string]string{door.SparkRoleLabel: door.SparkExecutor}
	for name, tt := range map[string]struct {
		sibling             *corev1.Pod
		deadline            string
		owners              []metav1.OwnerReference
		labels              map[string]string
		latestStart, reason string // the reason of what starts at once
	}{
		"the first": {nil, "8h", owned, nil, "2026-11-21T18:57:00Z", ""},
		"a wall-clock time that has passed meanwhile":  {sibling(v1alpha1.StateHeld, 2*time.Hour), "11:59 UTC", owned, nil, "2026-11-21T14:00:00Z", ""},
		"a duration that would end later":              {sibling(v1alpha1.StateHeld, 2*time.Hour), "8h", owned, nil, "2026-11-21T14:00:00Z", ""},
		"no deadline":                                  {sibling(v1alpha1.StateHeld, 2*time.Hour), "", owned, nil, "2026-11-21T14:00:00Z", ""},
		"one that ends earlier":                        {sibling(v1alpha1.StateHeld, 20*time.Hour), "8h", owned, nil, "2026-11-21T18:57:00Z", ""},
		"it waits also where waiting alone pays not":   {sibling(v1alpha1.StateHeld, 30*time.Minute), "11:59 UTC", owned, nil, "2026-11-21T12:30:00Z", ""},
		"the latest start of the others has come":      {sibling(v1alpha1.StateHeld, 0), "11:59 UTC", owned, nil, "", "latest"},
		"a wall-clock time, as the others run":         {sibling(v1alpha1.StateReleased, 0), "11:59 UTC", owned, nil, "", "its PyTorchJob bert runs already"},
		"a duration, as the others run":                {sibling(v1alpha1.StateReleased, 0), "8h", owned, nil, "", "its PyTorchJob bert runs already"},
		"of another owner":                             {sibling(v1alpha1.StateReleased, 0), "8h", nil, nil, "2026-11-21T18:57:00Z", ""},
		"an executor of Spark":                         {nil, "8h", nil, executor, "", "it is an executor of Spark, whose driver runs already"},
		"an executor of Spark that says whose it is":   {nil, "8h", []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "driver", UID: "d", Controller: ptr.To(true)}}, executor, "", "its Pod driver runs already"},
		"a pod of a Job that Gridlatch has not seen":   {nil, "8h", []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "j", Controller: ptr.To(true)}}, nil, "", "not held: Gridlatch did not decide on its Job, which may have started"},
		"a pod that a user makes for somebody's owner": {sibling(v1alpha1.StateHeld, 2*time.Hour), "30h", owned, nil, "2026-11-21T14:00:00Z", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := dirtyNow(t)
			var err error
			if tt.sibling != nil {
				w.Records, err = gating.StaticRecords(tt.sibling)
			} else {
				w.Records, err = gating.StaticRecords()
			}
			if err != nil {
				t.Fatal(err)
			}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: tt.labels, Annotations: tolerant(nil), OwnerReferences: tt.owners}}
			if tt.deadline != "" {
				pod.Annotations[v1alpha1.DeadlineAnnotation] = tt.deadline
			}
			pod = admitPod(t, w, pod)
			isHeld, reason := hold.HasGate(pod.Spec.SchedulingGates), pod.Annotations[v1alpha1.ReasonAnnotation]
			if tt.reason == "latest" { // in the planner's words
				tt.reason = reason
			}
			if latest := pod.Annotations[v1alpha1.LatestStartAnnotation]; latest != tt.latestStart || isHeld != (tt.latestStart != "") {
				t.Errorf("held: %t, latest start %q, want %q", isHeld, latest, tt.latestStart)
			}
			if !isHeld && reason != tt.reason {
				t.Errorf("it starts for %q, want %q", reason, tt.reason)
			}
		})
	}
}

// A pod that names a Job as its owner has no say in the Job's promise, nor in that of the Job's pods.
func TestAForgedPodDoesNotChangeThePromiseOfAJob(t *testing.T) {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "j", UID: "j", Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}, Annotations: tolerant(nil)}}
	forged := sibling(v1alpha1.StateHeld, time.Minute)
	forged.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "j", Controller: ptr.To(true)}}
	w := dirtyNow(t)
	var err error
	if w.Records, err = gating.StaticRecords(job, forged); err != nil {
		t.Fatal(err)
	}
	promised := t0.Add(5 * time.Hour).Format(time.RFC3339)
	pod := admitPod(t, w, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: forged.OwnerReferences, Annotations: tolerant(map[string]string{v1alpha1.LatestStartAnnotation: promised})}})
	if latest := pod.Annotations[v1alpha1.LatestStartAnnotation]; latest != promised {
		t.Errorf("latest start %s, want %s", latest, promised)
	}
}
