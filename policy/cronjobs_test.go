package policy

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestReplacedAt(t *testing.T) {
	hourly := func(change func(*batchv1.CronJob)) *batchv1.CronJob {
		c := &batchv1.CronJob{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "c", UID: "u"},
			Spec:       batchv1.CronJobSpec{Schedule: "10 * * * *", ConcurrencyPolicy: batchv1.ReplaceConcurrent},
		}
		change(c)
		return c
	}
	for name, tt := range map[string]struct {
		change func(*batchv1.CronJob)
		owner  metav1.OwnerReference
		want   string // empty if never
	}{
		"at the next run":           {func(*batchv1.CronJob) {}, metav1.OwnerReference{}, "2026-11-21T12:10:00Z"},
		"by the clock of a zone":    {func(c *batchv1.CronJob) { c.Spec.Schedule, c.Spec.TimeZone = "0 6 * * *", ptr.To("Europe/Berlin") }, metav1.OwnerReference{}, "2026-11-22T05:00:00Z"},
		"every so often":            {func(c *batchv1.CronJob) { c.Spec.Schedule = "@every 90m" }, metav1.OwnerReference{}, "2026-11-21T13:30:00Z"},
		"not if it is suspended":    {func(c *batchv1.CronJob) { c.Spec.Suspend = ptr.To(true) }, metav1.OwnerReference{}, ""},
		"not if the next waits":     {func(c *batchv1.CronJob) { c.Spec.ConcurrencyPolicy = batchv1.ForbidConcurrent }, metav1.OwnerReference{}, ""},
		"not of another":            {func(c *batchv1.CronJob) { c.UID = "other" }, metav1.OwnerReference{}, ""},
		"not by nonsense":           {func(c *batchv1.CronJob) { c.Spec.Schedule = "nonsense" }, metav1.OwnerReference{}, ""},
		"not what was made by hand": {func(*batchv1.CronJob) {}, metav1.OwnerReference{APIVersion: "batch/v1", Kind: "CronJob", Name: "c", UID: "u"}, ""},
		"not of another kind":       {func(*batchv1.CronJob) {}, metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "CronJob", Name: "c", UID: "u", Controller: ptr.To(true)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.owner.Name == "" {
				tt.owner = metav1.OwnerReference{APIVersion: "batch/v1", Kind: "CronJob", Name: "c", UID: "u", Controller: ptr.To(true)}
			}
			job := &metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{tt.owner}}
			reader := fake.NewClientBuilder().WithObjects(hourly(tt.change)).Build()
			got := ReplacedAt(t.Context(), reader, "n", job, t0)
			if got.IsZero() != (tt.want == "") || tt.want != "" && FormatTime(got) != tt.want {
				t.Errorf("replaced at %s, want %s", got, tt.want)
			}
		})
	}
}

func TestARunThatIsReplacedIsDoneBeforeThat(t *testing.T) {
	ask := Ask{Duration: 20 * time.Minute, Deadline: t0.Add(8 * time.Hour), ReplacedAt: t0.Add(time.Hour)}
	if got, want := builtin().Task(ask, t0).LatestStart, t0.Add(39*time.Minute); !got.Equal(want) {
		t.Errorf("latest start %s, want %s", got, want)
	}
	ask.Duration, ask.EarlierRuns = 0, RunTimes{Median: time.Minute, Slowest: 40 * time.Minute, Count: 9}
	if got, want := builtin().Task(ask, t0).LatestStart, t0.Add(18*time.Minute); !got.Equal(want) {
		t.Errorf("latest start %s for the slowest, want %s", got, want)
	}
}
