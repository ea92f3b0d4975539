package cached

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/policy"
)

func TestACachedCronJobKeepsWhatTellsWhenItReplacesItsRun(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	kept, err := stripCronJob(&batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "c", UID: "u"},
		Spec:       batchv1.CronJobSpec{Schedule: "0 6 * * *", TimeZone: ptr.To("Europe/Berlin"), ConcurrencyPolicy: batchv1.ReplaceConcurrent},
	})
	if err != nil {
		t.Fatal(err)
	}
	reader := fake.NewClientBuilder().WithObjects(kept.(*batchv1.CronJob)).Build()
	job := &metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "CronJob", Name: "c", UID: "u", Controller: ptr.To(true)}}}
	if got := policy.ReplacedAt(t.Context(), reader, "n", job, now); got.Format(time.RFC3339) != "2026-11-22T05:00:00Z" {
		t.Errorf("the run is replaced at %v", got)
	}
}
