package cached

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

func TestACachedCronJobKeepsWhenItRunsNextAndWhatItAsks(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	long := strings.Repeat("x", 200<<10)
	kept, err := stripCronJob(&batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: "c", UID: "u", Labels: map[string]string{v1alpha1.DelayTolerantAnnotation: "true", "app": "x"},
			Annotations: map[string]string{v1alpha1.DeadlineAnnotation: "8h", v1alpha1.LocationAnnotation: long, "example.com/junk": long},
		},
		Spec: batchv1.CronJobSpec{
			Schedule: "0 6 * * *", TimeZone: ptr.To("Europe/Berlin"), ConcurrencyPolicy: batchv1.ReplaceConcurrent, StartingDeadlineSeconds: ptr.To(int64(7)),
			JobTemplate: batchv1.JobTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"example.com/junk": long}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := kept.(*batchv1.CronJob)
	if c.Size() > 1<<10 {
		t.Errorf("%d bytes are kept", c.Size())
	}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Labels: map[string]string{}, Annotations: map[string]string{},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "CronJob", Name: "c", UID: "u", Controller: ptr.To(true)}},
	}}
	if got := policy.NextRun(c, job, now); got.Format(time.RFC3339) != "2026-11-22T05:00:00Z" {
		t.Errorf("the next run is at %v", got)
	}
	policy.InheritAsk(job, c)
	if job.Labels[v1alpha1.DelayTolerantAnnotation] != "true" || job.Annotations[v1alpha1.DeadlineAnnotation] != "8h" || len(job.Annotations[v1alpha1.LocationAnnotation]) != policy.MaxValue+1 {
		t.Errorf("a run inherits %.300v, %.300v", job.Labels, job.Annotations)
	}
	if c.Spec.ConcurrencyPolicy != batchv1.ReplaceConcurrent || *c.Spec.StartingDeadlineSeconds != 7 {
		t.Errorf("kept %+v", c.Spec)
	}
}
