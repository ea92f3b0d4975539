package gating

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// heldJobs are Jobs that are held, and their pods, as they are cached.
func heldJobs(tb testing.TB, jobs, pods int) (all []*record) {
	tb.Helper()
	s := newRecordMaker()
	for j := range jobs {
		pod := heldPodOf(j, 0)
		job := &batchv1.Job{ObjectMeta: pod.ObjectMeta}
		job.Name, job.UID, job.OwnerReferences = fmt.Sprintf("nightly-%04d", j), types.UID(fmt.Sprintf("job-%d", j)), nil
		job.Spec.Parallelism = ptr.To(int32(pods))
		all = append(all, stripped(tb, s, job))
		for i := range pods {
			all = append(all, stripped(tb, s, sent(tb, heldPodOf(j, i))))
		}
	}
	return all
}

func notDone(types.UID) (string, bool) { return "", false }

func TestAGroupStartsInTimeForEachOfItsPods(t *testing.T) {
	job := recordOf(hold.JobKind())
	job.CreationTimestamp, job.Annotations = metav1.NewTime(t0), map[string]string{v1alpha1.LatestStartAnnotation: policy.FormatTime(t0.Add(3 * time.Hour))}
	patient := waiting("patient", map[string]string{v1alpha1.LatestStartAnnotation: policy.FormatTime(t0.Add(5 * time.Hour))}).pods[0]
	for name, tt := range map[string]struct {
		job   *record
		hasty map[string]string
		want  time.Duration
	}{
		"what it was promised": {nil, map[string]string{v1alpha1.LatestStartAnnotation: policy.FormatTime(t0.Add(2 * time.Hour))}, 2 * time.Hour},
		// three hours, less the one that it runs and a margin
		"what it asks for, if the promise is gone": {nil, map[string]string{v1alpha1.LatestStartAnnotation: "", v1alpha1.DeadlineAnnotation: "3h"}, 117 * time.Minute},
		"or garbled":                   {nil, map[string]string{v1alpha1.LatestStartAnnotation: "never", v1alpha1.DeadlineAnnotation: "3h"}, 117 * time.Minute},
		"now, if nothing can be read":  {nil, map[string]string{v1alpha1.LatestStartAnnotation: "never", v1alpha1.DeadlineAnnotation: "soon"}, 0},
		"unless its Job speaks for it": {job, map[string]string{v1alpha1.LatestStartAnnotation: "never", v1alpha1.DeadlineAnnotation: "soon"}, 3 * time.Hour},
		"whatever the pod says":        {job, map[string]string{v1alpha1.LatestStartAnnotation: "2000-01-01T00:00:00Z"}, 3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			hasty := waiting("hasty", tt.hasty).pods[0]
			alike := waiting("alike", map[string]string{v1alpha1.LatestStartAnnotation: tt.hasty[v1alpha1.LatestStartAnnotation], v1alpha1.DeadlineAnnotation: "20h"}).pods[0]
			for _, pods := range [][]*record{{hasty, patient, alike}, {patient, alike, hasty}} {
				g := &group{owner: tt.job, pods: pods}
				setTasks(builtin(), []*group{g})
				if got := g.task.LatestStart.Sub(t0); got != tt.want {
					t.Errorf("headed by %s, it starts after %v at the latest, want %v", pods[0].Name, got, tt.want)
				}
			}
		})
	}
}

// A pod may name any owner and say anything of itself.
func TestWhoIsAMemberOfAGroup(t *testing.T) {
	yes := true
	job := recordOf(hold.JobKind())
	job.Namespace, job.Name, job.UID, job.Labels = "victims", "nightly", "uid", map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}
	member := func(namespace, name string, change func(*record)) *record {
		pod := recordOf(hold.PodKind())
		pod.Namespace, pod.Name, pod.UID, pod.isGated = namespace, name, types.UID(namespace+name), true
		pod.Labels = map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "nightly", UID: "uid", Controller: &yes}}
		change(pod)
		return pod
	}
	deleted := metav1.NewTime(t0)
	records := recordsOf(t, job,
		member("victims", "its-own", func(*record) {}),
		member("victims", "relabelled", func(r *record) { r.Labels[v1alpha1.StateLabel] = v1alpha1.StateReleased }),
		member("victims", "not-gated", func(r *record) { r.isGated = false }),
		member("victims", "being-deleted", func(r *record) { r.DeletionTimestamp = &deleted }),
		member("strangers", "forged", func(*record) {}))
	groups, _, err := records.groups("default", notDone)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, g := range groups {
		for _, pod := range g.pods {
			got[g.head().Namespace] = append(got[g.head().Namespace], pod.Name)
		}
		slices.Sort(got[g.head().Namespace])
	}
	want := map[string][]string{"victims": {"its-own", "relabelled"}, "strangers": {"forged"}}
	if diff := cmp.Diff(want, got); diff != "" || len(groups) != 2 {
		t.Errorf("%d groups: %s", len(groups), diff)
	}
}

// BenchmarkGroups is what a pass does for all that is held before it plans: 100,000 pods in 2,000 Jobs.
func BenchmarkGroups(b *testing.B) {
	const jobs, pods = 2000, 50
	records := recordsOf(b, heldJobs(b, jobs, pods)...)
	rules := &policy.Policy{Name: "default"}
	b.ReportAllocs()
	for b.Loop() {
		groups, _, err := records.groups("default", notDone)
		if err != nil {
			b.Fatal(err)
		}
		setTasks(rules, groups)
		if len(groups) != jobs || len(groups[jobs-1].pods) != pods || groups[1].task.LatestStart.Sub(groups[0].task.LatestStart) != time.Second {
			b.Fatalf("%d groups, the last of %d pods", len(groups), len(groups[len(groups)-1].pods))
		}
	}
}

func TestPodsThatComeAfterTheReleaseOfTheirJobAreNotPlannedAgain(t *testing.T) {
	yes := true
	late := func(job string) *record {
		pod := waitingRecord("Pod", "late-of-"+job, map[string]string{v1alpha1.PlannedStartAnnotation: policy.FormatTime(t0)})
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: job, UID: types.UID("uid-" + job), Controller: &yes}}
		return pod
	}
	other := waitingRecord("Job", "other", map[string]string{v1alpha1.PolicyAnnotation: "another"})
	unseen := waitingRecord("Job", "unseen", nil)
	gone := waitingRecord("Pod", "gone", nil)
	records := recordsOf(t, released("Job", "done", 0, nil), late("done"), other, late("other"), unseen, late("unseen"), late("nobody"), gone)
	isReleased := func(uid types.UID) (string, bool) {
		if uid == releaseID(unseen) || uid == gone.UID {
			return "north", true
		}
		return "", false
	}
	groups, leaving, err := records.groups("default", isReleased)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, g := range groups {
		head := "no Job"
		if g.owner != nil {
			head = g.owner.Name
		}
		got[g.pods[0].Name] = fmt.Sprintf("%s, released: %t %s", head, g.wasReleased, g.location)
	}
	want := map[string]string{
		"late-of-done": "done, released: true ", "late-of-other": "other, released: false ",
		"late-of-unseen": "unseen, released: true north", "late-of-nobody": "no Job, released: false ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	names := map[string]string{}
	for _, u := range leaving {
		names[u.Name] = u.location
	}
	if diff := cmp.Diff(map[string]string{"unseen": "north", "gone": "north"}, names); diff != "" {
		t.Errorf("releases that the cache does not show: %s", diff)
	}
}

func TestAGroupIsAsLargeAsItsJobSaysOrMore(t *testing.T) {
	job := released("Job", "j", 0, nil)
	pods := []*record{{}, {}, {}, {}}
	for name, tt := range map[string]struct {
		g           *group
		held, start int
	}{
		"pods without a Job":      {&group{pods: pods}, 4, 4},
		"pods that are to come":   {&group{owner: job, pods: pods[:1]}, 1, 3},
		"more than the Job needs": {&group{owner: job, pods: pods}, 4, 4},
		"a Job that is held":      {&group{owner: released("Job", "j", 0, map[string]string{v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend})}, 3, 3},
	} {
		if held, start := tt.g.heldPods(), tt.g.podsToStart(); held != tt.held || start != tt.start {
			t.Errorf("%s: %d are held and %d start, want %d and %d", name, held, start, tt.held, tt.start)
		}
	}
}
