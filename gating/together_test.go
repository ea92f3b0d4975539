package gating

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/policy"
)

// planned are the groups of some records, planned at t0.
func planned(t *testing.T, rules *policy.Policy, records *Records, isReleased func(types.UID) (string, bool)) []*group {
	t.Helper()
	groups, unseen, err := records.groups("default", isReleased)
	if err != nil {
		t.Fatal(err)
	}
	p := &pass{policy: rules, snapshot: grid(t, rules, map[string][]float64{"north": {500, 400, 300, 200, 100, 900, 900, 900}}), now: t0, groups: groups}
	p.byLocation = nil
	records.findPieces(groups, unseen, t0)
	setTasks(rules, groups)
	p.decide()
	p.makeWithdrawnDue()
	return p.groups
}

func mpiJob(name string) metav1.OwnerReference {
	return controlledBy("kubeflow.org/v2beta1", "MPIJob", name)
}

// startingIn is a member that waits, with a duration.
func startingIn(kind, name string, until time.Duration, duration string) *record {
	o := waitingMember(kind, name, until)
	o.CreationTimestamp = metav1.NewTime(t0)
	o.Annotations[v1alpha1.DurationAnnotation] = duration
	o.podsToRun = 1
	return o
}

func TestThePartsOfAPieceOfWorkArePlannedAsOne(t *testing.T) {
	north := v1alpha1.Location{Name: "north"}
	pinned := startingIn("Pod", "w1", 4*time.Hour, "1h")
	pinned.Annotations[v1alpha1.LocationAnnotation] = "south"
	withdrawn := startingIn("Job", "launcher", time.Hour, "1h")
	withdrawn.Annotations[v1alpha1.DelayTolerantAnnotation] = "false"
	whole := func(state string) *record {
		o := unstructured.Unstructured{Object: map[string]any{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "spec": map[string]any{"suspend": state == v1alpha1.StateHeld}}}
		o.SetNamespace("default")
		o.SetName("set")
		o.SetUID("uid-set")
		o.SetCreationTimestamp(metav1.NewTime(t0))
		o.SetLabels(map[string]string{v1alpha1.StateLabel: state})
		o.SetAnnotations(map[string]string{
			v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.PolicyAnnotation: "default", v1alpha1.HeldByAnnotation: map[string]string{v1alpha1.StateHeld: v1alpha1.HoldBySuspend}[state],
			v1alpha1.DurationAnnotation: "1h", v1alpha1.LatestStartAnnotation: policy.FormatTime(t0.Add(5 * time.Hour)), v1alpha1.ReasonAnnotation: "r",
		})
		return stripped(t, newRecordMaker(), &o)
	}
	ofGroup := *door.LabelledOwner(map[string]string{door.PodGroupLabel: "g"})
	for name, tt := range map[string]struct {
		records []*record
		// latestStart and start are in hours after t0, by the name of the head
		want map[string]string
	}{
		"pods that came in the same moment, the one for today and the other for tomorrow": {
			[]*record{of(pyTorchJob("bert"), startingIn("Pod", "w0", 3*time.Hour, "1h")), of(pyTorchJob("bert"), startingIn("Pod", "w1", 27*time.Hour, "1h"))},
			map[string]string{"w0": "2 pods start in 3h0m0s, by 3h0m0s"},
		},
		"the longest duration counts": {
			[]*record{of(pyTorchJob("bert"), startingIn("Pod", "w0", 4*time.Hour, "1h")), of(pyTorchJob("bert"), startingIn("Pod", "w1", 4*time.Hour, "3h"))},
			map[string]string{"w0": "2 pods start in 2h0m0s, by 4h0m0s"},
		},
		"a Job and pods of one owner": {
			[]*record{of(mpiJob("hpl"), startingIn("Job", "launcher", 3*time.Hour, "1h")), of(mpiJob("hpl"), startingIn("Pod", "w0", 2*time.Hour, "1h")), of(mpiJob("hpl"), startingIn("Pod", "w1", 27*time.Hour, "1h"))},
			map[string]string{"launcher": "0 pods start in 2h0m0s, by 2h0m0s", "w0": "2 pods start in 2h0m0s, by 2h0m0s"},
		},
		"Jobs of a JobSet": {
			[]*record{of(jobSet("set"), startingIn("Job", "a", 3*time.Hour, "1h")), of(jobSet("set"), startingIn("Job", "b", 20*time.Hour, "1h"))},
			map[string]string{"a": "0 pods start in 3h0m0s, by 3h0m0s", "b": "0 pods start in 3h0m0s, by 3h0m0s"},
		},
		"Jobs of a CronJob each alone": {
			[]*record{of(controlledBy("batch/v1", "CronJob", "n"), startingIn("Job", "a", 3*time.Hour, "1h")), of(controlledBy("batch/v1", "CronJob", "n"), startingIn("Job", "b", 20*time.Hour, "1h"))},
			map[string]string{"a": "0 pods start in 3h0m0s, by 3h0m0s", "b": "0 pods start in 4h0m0s, by 20h0m0s"},
		},
		"a part that is pinned elsewhere is planned by itself": {
			[]*record{of(mpiJob("hpl"), startingIn("Job", "launcher", 3*time.Hour, "1h")), of(mpiJob("hpl"), pinned)},
			map[string]string{"launcher": "0 pods start in 3h0m0s, by 3h0m0s", "w1": "1 pods start in 0s, by 4h0m0s"},
		},
		"a part that does not wait any more starts alone": {
			[]*record{of(mpiJob("hpl"), withdrawn), of(mpiJob("hpl"), startingIn("Pod", "w0", 3*time.Hour, "1h"))},
			map[string]string{"launcher": "0 pods start in 0s, by 1h0m0s", "w0": "1 pods start in 3h0m0s, by 3h0m0s"},
		},
		"pods of a pod group": {
			[]*record{of(ofGroup, startingIn("Pod", "w0", 3*time.Hour, "1h")), of(ofGroup, startingIn("Pod", "w1", 9*time.Hour, "1h"))},
			map[string]string{"w0": "2 pods start in 3h0m0s, by 3h0m0s"},
		},
		"an executor waits with its driver": {
			[]*record{of(controlledBy("sparkoperator.k8s.io/v1beta2", "SparkApplication", "pi"), startingIn("Pod", "driver", 3*time.Hour, "1h")), of(controlledBy("v1", "Pod", "driver"), startingIn("Pod", "exec", 9*time.Hour, "1h"))},
			map[string]string{"driver": "2 pods start in 3h0m0s, by 3h0m0s"},
		},
		"one that runs": {
			[]*record{of(pyTorchJob("bert"), startingIn("Pod", "w0", 3*time.Hour, "1h")), of(pyTorchJob("bert"), runningMember("Pod", "w1"))},
			map[string]string{"w0": "1 pods start at once: its PyTorchJob bert runs already"},
		},
		"one that does not wait any more does not count as one that runs": {
			[]*record{of(pyTorchJob("bert"), startingIn("Pod", "w0", 3*time.Hour, "1h")), of(pyTorchJob("bert"), released("Pod", "w1", 0, nil))},
			map[string]string{"w0": "1 pods start in 3h0m0s, by 3h0m0s"},
		},
		"all of what runs already": {
			[]*record{of(mpiJob("hpl"), startingIn("Job", "launcher", 3*time.Hour, "1h")), of(mpiJob("hpl"), startingIn("Pod", "w0", 2*time.Hour, "1h")), of(mpiJob("hpl"), runningMember("Pod", "w1"))},
			map[string]string{"launcher": "0 pods start at once: its MPIJob hpl runs already", "w0": "1 pods start at once: its MPIJob hpl runs already"},
		},
		"a release that the cache does not show": {
			[]*record{of(mpiJob("hpl"), startingIn("Job", "launcher", 3*time.Hour, "1h")), of(mpiJob("hpl"), startingIn("Pod", "unseen", 2*time.Hour, "1h"))},
			map[string]string{"launcher": "0 pods start at once: its MPIJob hpl runs already"},
		},
		"pods of a ReplicaSet, whatever runs of it": {
			[]*record{of(controlledBy("apps/v1", "ReplicaSet", "web"), startingIn("Pod", "w0", 3*time.Hour, "1h")), of(controlledBy("apps/v1", "ReplicaSet", "web"), runningMember("Pod", "w1"))},
			map[string]string{"w0": "1 pods start in 3h0m0s, by 3h0m0s"},
		},
		"what others say of an owner that is held whole does not count": {
			[]*record{whole(v1alpha1.StateHeld), of(jobSet("set"), startingIn("Pod", "forged", time.Hour, "9h")), of(jobSet("set"), runningMember("Pod", "forged-too"))},
			map[string]string{"set": "1 pods start in 4h0m0s, by 5h0m0s"},
		},
		"a pod that comes after the release of an owner that was held whole": {
			[]*record{whole(v1alpha1.StateReleased), of(jobSet("set"), startingIn("Pod", "late", time.Hour, "1h"))},
			map[string]string{"set": "1 pods start at once: its JobSet has been released: r"},
		},
		"a pod that only says that it is of a Job does not change the Job's promise": {
			[]*record{startingIn("Job", "a", 4*time.Hour, "1h"), of(controlledBy("batch/v1", "Job", "a"), startingIn("Pod", "forged", time.Hour, "9h"))},
			map[string]string{"a": "1 pods start in 4h0m0s, by 4h0m0s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			isReleased := func(uid types.UID) (string, bool) { return "", uid == "uid-unseen" }
			got := map[string]string{}
			for _, g := range planned(t, at(north), recordsOf(t, tt.records...), isReleased) {
				said := fmt.Sprintf("in %v, by %v", g.decision.Start.Sub(t0), g.task.LatestStart.Sub(t0))
				if g.setReason(); g.cause == causeJoined {
					said = "at once: " + g.reason
				}
				if g.isDue() != (g.cause == causeJoined || !g.decision.Holds()) {
					t.Errorf("%s is due: %t", g.head().Name, g.isDue())
				}
				got[g.head().Name] = fmt.Sprintf("%d pods start %s", len(g.pods), said)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPieceOfWorkNeedsRoomForAllItsPodsAtOnce(t *testing.T) {
	records := recordsOf(t, of(mpiJob("hpl"), startingIn("Job", "launcher", 5*time.Hour, "1h")),
		of(mpiJob("hpl"), startingIn("Pod", "w0", 5*time.Hour, "1h")), of(mpiJob("hpl"), startingIn("Pod", "w1", 5*time.Hour, "1h")))
	for ceiling, want := range map[int32]time.Duration{2: 5 * time.Hour, 3: 4 * time.Hour} {
		rules := choosing(t, nil, []v1alpha1.Bucket{{UpTo: ptr.To[int32](1000), Ceiling: ceiling}}, "north")
		for _, g := range planned(t, rules, records, notDone) {
			if got := g.decision.Start.Sub(t0); got != want {
				t.Errorf("below a ceiling of %d, %s starts in %v, want %v", ceiling, g.head().Name, got, want)
			}
		}
	}
}

func TestSiblingsThatWaitAreKnown(t *testing.T) {
	records := recordsOf(t, of(pyTorchJob("bert"), waitingMember("Pod", "w0", time.Hour)))
	for name, tt := range map[string]struct {
		of   *record
		want bool
	}{
		"of its own piece of work": {of(pyTorchJob("bert"), runningMember("Pod", "w1")), true},
		"of another":               {of(pyTorchJob("gpt"), runningMember("Pod", "w1")), false},
		"of none":                  {runningMember("Pod", "w1"), false},
	} {
		if got := records.hasWaitingSiblings(tt.of); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if (*Records)(nil).hasWaitingSiblings(runningMember("Pod", "w1")) {
		t.Error("nothing is known")
	}
}

// BenchmarkPieces is what a pass does for all that is held before it plans: 100,000 pods of 1,000 owners
// that are no Jobs.
func BenchmarkPieces(b *testing.B) {
	const owners, pods = 1000, 100
	var all []*record
	s := newRecordMaker()
	for j := range owners {
		for i := range pods {
			pod := heldPodOf(j, i)
			pod.OwnerReferences = []metav1.OwnerReference{pyTorchJob(fmt.Sprintf("train-%d", j))}
			all = append(all, stripped(b, s, sent(b, pod)))
		}
	}
	records, rules := recordsOf(b, all...), &policy.Policy{Name: "default"}
	b.ReportAllocs()
	for b.Loop() {
		groups, unseen, err := records.groups("default", notDone)
		if err != nil {
			b.Fatal(err)
		}
		records.findPieces(groups, unseen, t0)
		setTasks(rules, groups)
		if len(groups) != owners {
			b.Fatalf("%d groups", len(groups))
		}
	}
}

// BenchmarkPiece is what an admission asks, with 100,000 pods of one owner in the cache.
func BenchmarkPiece(b *testing.B) {
	s := newRecordMaker()
	var all []*record
	for i := range 100_000 {
		pod := heldPodOf(0, i)
		pod.OwnerReferences = []metav1.OwnerReference{pyTorchJob("train")}
		all = append(all, stripped(b, s, sent(b, pod)))
	}
	records, pod := recordsOf(b, all...), newPod(nil, pyTorchJob("train"))
	b.ReportAllocs()
	for b.Loop() {
		if records.Piece("batch", pod).LatestStart.IsZero() {
			b.Fatal("nothing waits")
		}
	}
}
