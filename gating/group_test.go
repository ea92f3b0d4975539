package gating

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// heldJobs are Jobs that are held, and their pods, as they are cached.
func heldJobs(tb testing.TB, jobs, pods int) (all []*metav1.PartialObjectMetadata) {
	tb.Helper()
	strip := transformOf(tb, "Pod")
	for j := range jobs {
		job := heldPodOf(j, 0)
		job.Name, job.UID, job.OwnerReferences = fmt.Sprintf("nightly-%04d", j), types.UID(fmt.Sprintf("job-%d", j)), nil
		job.Kind, job.Annotations[Pods] = jobKind().Kind, fmt.Sprint(pods)
		all = append(all, job)
		for i := range pods {
			pod, err := strip(sent(tb, heldPodOf(j, i)))
			if err != nil {
				tb.Fatal(err)
			}
			all = append(all, pod.(*metav1.PartialObjectMetadata))
		}
	}
	return all
}

func notDone(types.UID) (string, bool) { return "", false }

func TestAGroupStartsInTimeForEachOfItsPods(t *testing.T) {
	job := metadata(jobKind())
	job.CreationTimestamp, job.Annotations = metav1.NewTime(t0), map[string]string{LatestStart: stamp(t0.Add(3 * time.Hour))}
	patient := waiting("patient", map[string]string{LatestStart: stamp(t0.Add(5 * time.Hour))}).pods[0]
	for name, tt := range map[string]struct {
		job   *metav1.PartialObjectMetadata
		hasty map[string]string
		want  time.Duration
	}{
		"what it was promised": {nil, map[string]string{LatestStart: stamp(t0.Add(2 * time.Hour))}, 2 * time.Hour},
		// three hours, less the one that it runs and a margin
		"what it asks for, if the promise is gone": {nil, map[string]string{LatestStart: "", Deadline: "3h"}, 117 * time.Minute},
		"or garbled":                   {nil, map[string]string{LatestStart: "never", Deadline: "3h"}, 117 * time.Minute},
		"now, if nothing can be read":  {nil, map[string]string{LatestStart: "never", Deadline: "soon"}, 0},
		"unless its Job speaks for it": {job, map[string]string{LatestStart: "never", Deadline: "soon"}, 3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			hasty := waiting("hasty", tt.hasty).pods[0]
			alike := waiting("alike", map[string]string{LatestStart: tt.hasty[LatestStart], Deadline: "20h"}).pods[0]
			for _, pods := range [][]*metav1.PartialObjectMetadata{{hasty, patient, alike}, {patient, alike, hasty}} {
				g := &group{job: tt.job, pods: pods}
				schedule(builtin(), []*group{g})
				if got := g.task.LatestStart.Sub(t0); got != tt.want {
					t.Errorf("headed by %s, it starts after %v at the latest, want %v", pods[0].Name, got, tt.want)
				}
			}
		})
	}
}

// BenchmarkGroups is what a pass does for all that is held before it plans: 100,000 pods in 2,000 Jobs.
func BenchmarkGroups(b *testing.B) {
	const jobs, pods = 2000, 50
	records := recordsOf(b, heldJobs(b, jobs, pods)...)
	policy := &Policy{Name: "default"}
	b.ReportAllocs()
	for b.Loop() {
		groups, _, err := records.groups(b.Context(), "default", notDone)
		if err != nil {
			b.Fatal(err)
		}
		schedule(policy, groups)
		if len(groups) != jobs || len(groups[jobs-1].pods) != pods || groups[1].task.LatestStart.Sub(groups[0].task.LatestStart) != time.Second {
			b.Fatalf("%d groups, the last of %d pods", len(groups), len(groups[len(groups)-1].pods))
		}
	}
}
