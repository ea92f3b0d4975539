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
