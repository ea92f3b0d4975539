package policy

import (
	"context"
	"time"

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ReplacedAt returns when the next run of its CronJob deletes a Job, because the concurrency policy
// is Replace. The result is the zero time if no run that the cache knows deletes the Job.
func ReplacedAt(ctx context.Context, reader client.Reader, namespace string, job metav1.Object, now time.Time) time.Time {
	owner := metav1.GetControllerOfNoCopy(job)
	if owner == nil || owner.Kind != "CronJob" || owner.APIVersion != batchv1.SchemeGroupVersion.String() {
		return time.Time{} // what was made of it by hand is not replaced either
	}
	var c batchv1.CronJob
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: owner.Name}, &c, client.UnsafeDisableDeepCopy)
	if err != nil || c.UID != owner.UID || c.Spec.ConcurrencyPolicy != batchv1.ReplaceConcurrent || ptr.Deref(c.Spec.Suspend, false) {
		return time.Time{}
	}
	zone, err := time.LoadLocation(ptr.Deref(c.Spec.TimeZone, "UTC"))
	if err != nil {
		zone = time.UTC
	}
	schedule, err := cron.ParseStandard(c.Spec.Schedule)
	if err != nil {
		return time.Time{} // the CronJob controller cannot read it either
	}
	return schedule.Next(now.In(zone)).UTC()
}
