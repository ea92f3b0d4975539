package policy

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

func TestNextRun(t *testing.T) {
	every := func(schedule string) *batchv1.CronJob {
		return &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "c", UID: "u"}, Spec: batchv1.CronJobSpec{Schedule: schedule}}
	}
	inBerlin := every("30 2 * * *")
	inBerlin.Spec.TimeZone = ptr.To("Europe/Berlin")
	nowhere := every("0 * * * *")
	nowhere.Spec.TimeZone = ptr.To("Atlantis")
	suspended := every("0 * * * *")
	suspended.Spec.Suspend = ptr.To(true)
	for name, tt := range map[string]struct {
		cronJob   *batchv1.CronJob
		now       string
		scheduled string
		byHand    bool
		want      string // empty if never
	}{
		"at the next time of the schedule":                  {every("10 * * * *"), "2026-11-21T12:00:00Z", "", false, "2026-11-21T12:10:00Z"},
		"by the clock of a zone":                            {inBerlin, "2026-11-21T12:00:00Z", "", false, "2026-11-22T01:30:00Z"},
		"not on the night on which the clock skips the run": {inBerlin, "2027-03-27T12:00:00Z", "", false, "2027-03-29T00:30:00Z"},
		"once on the night on which the clock is put back":  {inBerlin, "2026-10-24T12:00:00Z", "", false, "2026-10-25T00:30:00Z"},
		"so long after the time of the run":                 {every("@every 90m"), "2026-11-21T12:00:20Z", "2026-11-21T12:00:00Z", false, "2026-11-21T13:30:00Z"},
		"after a run that comes late, from now on":          {every("10 * * * *"), "2026-11-21T12:00:00Z", "2026-11-20T09:10:00Z", false, "2026-11-21T12:10:00Z"},
		"not the run itself, if our clock is behind":        {every("0 * * * *"), "2026-11-21T11:59:59Z", "2026-11-21T12:00:00Z", false, "2026-11-21T13:00:00Z"},
		"not by a time that is too far ahead":               {every("0 * * * *"), "2026-11-21T12:00:00Z", "2036-11-21T12:00:00Z", false, "2026-11-21T13:00:00Z"},
		"not by a time that is none":                        {every("0 * * * *"), "2026-11-21T12:00:00Z", "noon", false, "2026-11-21T13:00:00Z"},
		"never, on a day that does not exist":               {every("0 0 30 2 *"), "2026-11-21T12:00:00Z", "", false, ""},
		"never, if the CronJob is suspended":                {suspended, "2026-11-21T12:00:00Z", "", false, ""},
		"never, in a zone that nobody knows":                {nowhere, "2026-11-21T12:00:00Z", "", false, ""},
		"never, by nonsense":                                {every("nonsense"), "2026-11-21T12:00:00Z", "", false, ""},
		"never, by a zone without a schedule":               {every("TZ=UTC"), "2026-11-21T12:00:00Z", "", false, ""},
		"never, after a Job that was made by hand":          {every("10 * * * *"), "2026-11-21T12:00:00Z", "", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, tt.now)
			if err != nil {
				t.Fatal(err)
			}
			job := &metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "CronJob", Name: "c", UID: "u", Controller: ptr.To(!tt.byHand)}}}
			job.Annotations = map[string]string{batchv1.CronJobScheduledTimestampAnnotation: tt.scheduled}
			got := NextRun(tt.cronJob, job, now)
			if got.IsZero() != (tt.want == "") || tt.want != "" && FormatTime(got) != tt.want {
				t.Errorf("next run at %s, want %s", got, tt.want)
			}
		})
	}
	if got := NextRun(nil, &metav1.ObjectMeta{}, t0); !got.IsZero() {
		t.Errorf("a Job without a CronJob has a next run at %s", got)
	}
}

func TestOnlyTheCronJobThatHasMadeAJobIsItsCronJob(t *testing.T) {
	reader := fake.NewClientBuilder().WithObjects(&batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "c", UID: "u"}}).Build()
	for name, tt := range map[string]struct {
		owner metav1.OwnerReference
		want  bool
	}{
		"by its schedule":                {metav1.OwnerReference{APIVersion: "batch/v1", Kind: "CronJob", Name: "c", UID: "u", Controller: ptr.To(true)}, true},
		"by hand":                        {metav1.OwnerReference{APIVersion: "batch/v1", Kind: "CronJob", Name: "c", UID: "u"}, true},
		"not one that was created again": {metav1.OwnerReference{APIVersion: "batch/v1", Kind: "CronJob", Name: "c", UID: "before"}, false},
		"not one that the cache lacks":   {metav1.OwnerReference{APIVersion: "batch/v1", Kind: "CronJob", Name: "new", UID: "new"}, false},
		"not one of another group":       {metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "CronJob", Name: "c", UID: "u", Controller: ptr.To(true)}, false},
		"not what is no CronJob":         {metav1.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Name: "c", UID: "u", Controller: ptr.To(true)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			job := &metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{tt.owner}}
			if got := CronJobOf(t.Context(), reader, "n", job); (got != nil) != tt.want {
				t.Errorf("CronJob %v, want one: %t", got, tt.want)
			}
		})
	}
}

func TestTheShortestTimeBetweenTwoRuns(t *testing.T) {
	for schedule, want := range map[string]string{
		"0 * * * *":         "2026-11-21 13:00 UTC to 2026-11-21 14:00 UTC",
		"0 8,12,14 * * *":   "2026-11-22 12:00 UTC to 2026-11-22 14:00 UTC",
		"0 0 30 2 *":        "",
		"":                  "",
		"0 12 29 2 *":       "2028-02-29 12:00 UTC to 2032-02-29 12:00 UTC",
		"@monthly":          "2027-02-01 00:00 UTC to 2027-03-01 00:00 UTC",
		"*/7 0-23/23 * * *": "2026-11-21 23:56 UTC to 2026-11-22 00:00 UTC",
	} {
		first, second, ok := RunsOfCronJob(&batchv1.CronJob{Spec: batchv1.CronJobSpec{Schedule: schedule}}).ShortestGap(t0)
		got := ""
		if ok {
			got = plan.FormatTime(first) + " to " + plan.FormatTime(second)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", schedule, got, want)
		}
	}
}

func TestWhichRunsMustBeDoneBeforeTheNext(t *testing.T) {
	for name, tt := range map[string]struct {
		policy   batchv1.ConcurrencyPolicy
		deadline time.Time
		want     bool
	}{
		"replaced by the next":                                 {batchv1.ReplaceConcurrent, time.Time{}, true},
		"replaced by the next, whatever the deadline":          {batchv1.ReplaceConcurrent, t0, true},
		"would have the next run skipped":                      {batchv1.ForbidConcurrent, time.Time{}, true},
		"may have the next run skipped, by a deadline":         {batchv1.ForbidConcurrent, t0, false},
		"may run beside the next":                              {batchv1.AllowConcurrent, time.Time{}, false},
		"may run beside the next, which is Kubernetes' choice": {"", time.Time{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := &batchv1.CronJob{Spec: batchv1.CronJobSpec{ConcurrencyPolicy: tt.policy}}
			if got := BoundByNextRun(c, Ask{Deadline: tt.deadline}); got != tt.want {
				t.Errorf("%t, want %t", got, tt.want)
			}
		})
	}
}

func TestARunIsDoneBeforeTheNext(t *testing.T) {
	ask := Ask{Duration: 20 * time.Minute, Deadline: t0.Add(8 * time.Hour), NextRun: t0.Add(time.Hour)}
	if got, want := builtin().Task(ask, t0).LatestStart, t0.Add(39*time.Minute); !got.Equal(want) {
		t.Errorf("latest start %s, want %s", got, want)
	}
	ask.Duration, ask.EarlierRuns = 0, RunTimes{Median: time.Minute, Slowest: 40 * time.Minute, Count: 9}
	if got, want := builtin().Task(ask, t0).LatestStart, t0.Add(18*time.Minute); !got.Equal(want) {
		t.Errorf("latest start %s for the slowest, want %s", got, want)
	}
}

func TestTheNextRunIsToldWhereItMakesTheStartEarlier(t *testing.T) {
	annotations := func(next time.Time) map[string]string {
		return map[string]string{v1alpha1.DurationAnnotation: "20m", v1alpha1.NextRunAnnotation: FormatTime(next), v1alpha1.DeadlineAnnotation: "2h"}
	}
	for name, tt := range map[string]struct {
		next   time.Time
		latest time.Duration
		told   bool
	}{
		"before the deadline":     {t0.Add(time.Hour), 39 * time.Minute, true},
		"after the deadline":      {t0.Add(3 * time.Hour), 99 * time.Minute, false},
		"before the work existed": {t0.Add(-time.Hour), 99 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			task := builtin().TaskOf(&metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(t0), Annotations: annotations(tt.next)})
			if task.LatestStart.Sub(t0) != tt.latest || task.NextRun.IsZero() == tt.told {
				t.Errorf("latest start after %s, next run %s", task.LatestStart.Sub(t0), task.NextRun)
			}
		})
	}
}
