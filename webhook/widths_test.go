package webhook

import (
	"encoding/json"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// elasticJob returns a Job that asks to run with two to ten pods.
func elasticJob(change func(*batchv1.Job)) []byte {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "render", Annotations: map[string]string{
			v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.ParallelismAnnotation: "2-10", v1alpha1.DurationAnnotation: "1h", v1alpha1.DeadlineAnnotation: "12h",
		}},
		Spec: batchv1.JobSpec{
			Parallelism: ptr.To(int32(4)), Completions: ptr.To(int32(100)),
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
		},
	}
	change(j)
	raw, err := json.Marshal(j)
	if err != nil {
		panic(err)
	}
	return raw
}

func TestAJobThatCannotRunWiderIsRefusedAndTold(t *testing.T) {
	for name, tt := range map[string]struct {
		change        func(*batchv1.Job)
		refused, warn string
	}{
		"all is well":         {func(*batchv1.Job) {}, "", ""},
		"no completions":      {func(j *batchv1.Job) { j.Spec.Completions = nil }, "spec.completions: Required value: want more than 2", ""},
		"too few completions": {func(j *batchv1.Job) { j.Spec.Completions = ptr.To(int32(2)) }, "spec.completions: Invalid value: 2: want more than 2", ""},
		"no range":            {func(j *batchv1.Job) { j.Annotations[v1alpha1.ParallelismAnnotation] = "2" }, "metadata.annotations[gridlatch.dev/parallelism]: Invalid value", ""},
		"no speedup":          {func(j *batchv1.Job) { j.Annotations[v1alpha1.SpeedupAnnotation] = "1=1,2=4" }, "metadata.annotations[gridlatch.dev/speedup]: Invalid value", ""},
		"another begin":       {func(j *batchv1.Job) { j.Annotations[v1alpha1.SpeedupAnnotation] = "3=3,9=4" }, "want 1, or the least of gridlatch.dev/parallelism, which is 2", ""},
		"pauses":              {func(j *batchv1.Job) { j.Annotations[v1alpha1.InterruptibleAnnotation] = "true" }, "want one of gridlatch.dev/interruptible and gridlatch.dev/parallelism", ""},
		"long completions": {func(j *batchv1.Job) {
			j.Annotations[v1alpha1.DurationAnnotation], j.Spec.Completions = "10h", ptr.To(int32(10))
		}, "", "each completion takes about 2h"},
		"a queue": {func(j *batchv1.Job) { j.Labels = map[string]string{hold.KueueQueueLabel: "team"} }, "", "has no effect, because Kueue"},
		"a controller's mistake": {func(j *batchv1.Job) {
			j.Spec.Completions = nil
			j.OwnerReferences = []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Render", Name: "r", UID: "r", Controller: ptr.To(true)}}
		}, "", "not held: spec.completions"},
	} {
		t.Run(name, func(t *testing.T) {
			response := inWorld(t, v1alpha1.ModeEnforce, "").Handle(t.Context(), request("Job", elasticJob(tt.change)))
			if response.Allowed != (tt.refused == "") {
				t.Fatalf("allowed: %t, %+v", response.Allowed, response.Result)
			}
			if tt.refused != "" && !strings.Contains(response.Result.Message, tt.refused) {
				t.Errorf("refused because of %q, want %q", response.Result.Message, tt.refused)
			}
			if told := strings.Join(response.Warnings, "\n"); !strings.Contains(told, tt.warn) || tt.warn == "" && strings.Contains(told, "parallelism") {
				t.Errorf("warnings %q, want %q", told, tt.warn)
			}
		})
	}
}

func TestTheWishForAWidthComesFromTheTemplateToTheJob(t *testing.T) {
	raw := elasticJob(func(j *batchv1.Job) {
		j.Spec.Template.Annotations, j.Annotations = j.Annotations, nil
	})
	response := inWorld(t, v1alpha1.ModeEnforce, "").Handle(t.Context(), request("Job", raw))
	if !strings.Contains(string(response.Patch), "2-10") {
		t.Errorf("the patch is %s", response.Patch)
	}
}
