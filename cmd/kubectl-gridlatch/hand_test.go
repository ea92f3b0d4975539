package main

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

func TestReleaseLetsGoAndNamesWhatItDoesNot(t *testing.T) {
	connect, c := fakeCluster(t, workInEachState()...)
	code, stdout, stderr := call(t, connect, "release", "job/nightly-report", "pod/backup", "job/bounded", "pod/started", "job/nobody")
	if code != 1 || stdout != "job/nightly-report released, 2 pods\npod/backup released, 1 pod\njob/bounded released, 7 pods\n" {
		t.Errorf("exit code %d, stdout %s", code, stdout)
	}
	if want := "pod/started: it is no longer held: started Nov 21 21:00 UTC"; !strings.Contains(stderr, want) || !strings.Contains(stderr, "namespace batch has no job/nobody") {
		t.Errorf("stderr %s", stderr)
	}
	if job := read(t, c, "bounded", &batchv1.Job{}); *job.Spec.Suspend || job.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased || job.Annotations[v1alpha1.HeldByAnnotation] != "" {
		t.Errorf("bounded: %+v", job)
	}
	for _, name := range []string{"backup", "nightly-report-a", "nightly-report-b"} {
		pod := read(t, c, name, &corev1.Pod{})
		if gates := pod.Spec.SchedulingGates; len(gates) != 1 || gates[0].Name != "example.com/other" || pod.Annotations[v1alpha1.ReasonAnnotation] != "released by hand at 2026-11-21 21:14 UTC" {
			t.Errorf("%s: gates %v, %v", name, gates, pod.Annotations)
		}
	}
}

func TestAPodOfAHeldJobIsNotReleasedByItself(t *testing.T) {
	connect, c := fakeCluster(t, workInEachState()...)
	code, _, stderr := call(t, connect, "release", "pod", "nightly-report-a")
	if code != 1 || !strings.Contains(stderr, "all pods of a Job are released together: release job/nightly-report") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
	if pod := read(t, c, "nightly-report-a", &corev1.Pod{}); !hold.HasGate(pod.Spec.SchedulingGates) {
		t.Error("it was released")
	}
}

func TestReleaseAllStaysInItsNamespace(t *testing.T) {
	other := podOf("other", v1alpha1.StateHeld, heldAnnotations(), nil)
	other.Namespace = "elsewhere"
	connect, c := fakeCluster(t, append(workInEachState(), other)...)
	if code, stdout, stderr := call(t, connect, "release", "--all", "-n", "batch"); code != 0 || stdout != "released 10 pods\n" {
		t.Errorf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(other), other); err != nil || !hold.HasGate(other.Spec.SchedulingGates) {
		t.Errorf("%v, gates %v", err, other.Spec.SchedulingGates)
	}
	if code, stdout, _ := call(t, connect, "release", "--all", "-A"); code != 0 || stdout != "released 1 pod\n" {
		t.Errorf("exit code %d, stdout %s", code, stdout)
	}
}

func TestReleaseAllRemovesTheFinalizersWhenNoReplicaRuns(t *testing.T) {
	scaled := func(note string) client.Object {
		o := &metav1.PartialObjectMetadata{ObjectMeta: named("scaled", "", map[string]string{note: "10"})}
		o.SetGroupVersionKind(schema.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: "ScaledObject"})
		return o
	}
	pool := &metav1.PartialObjectMetadata{ObjectMeta: named("pool", "", map[string]string{v1alpha1.OriginalWeightAnnotation: "unset"})}
	overlay := &metav1.PartialObjectMetadata{ObjectMeta: named("gridlatch-pool", "", map[string]string{v1alpha1.ReasonAnnotation: "the grid is dirty"})}
	overlay.SetGroupVersionKind(schema.GroupVersionKind{Group: "karpenter.sh", Version: "v1alpha1", Kind: "NodeOverlay"})
	overlay.Namespace = ""
	pool.SetGroupVersionKind(schema.GroupVersionKind{Group: "karpenter.sh", Version: "v1", Kind: "NodePool"})
	pool.Namespace = ""
	wide := &batchv1.Job{ObjectMeta: named("wide", "", map[string]string{v1alpha1.OriginalParallelismAnnotation: "4"})}
	groups := nodeGroups("kube-system", map[string]string{"original-priorities": "null"})
	const isRemoved = "removed the finalizer of Gridlatch from 2 objects: no replica of Gridlatch runs\n"
	for _, tt := range []struct {
		name           string
		args           []string
		isGone         bool
		scaled         client.Object
		code           int
		stdout, stderr string
	}{
		{name: "a replica runs", args: []string{"-A"}},
		{name: "no replica runs", args: []string{"-A"}, isGone: true, stdout: isRemoved},
		{name: "no replica runs, and no object of KEDA has a ceiling", args: []string{"-A"}, isGone: true, scaled: scaled("gridlatch.dev/ceilings"), stdout: isRemoved},
		{name: "no replica runs, and an object of KEDA has a ceiling", args: []string{"-A"}, isGone: true, scaled: scaled(v1alpha1.OriginalMaxReplicaCountAnnotation), code: 1, stderr: "1 objects of KEDA still have a ceiling"},
		{name: "no replica runs, and a NodePool has a weight", args: []string{"-A"}, isGone: true, scaled: pool, code: 1, stderr: "1 NodePools of Karpenter still have limits or a weight of Gridlatch"},
		{name: "no replica runs, and a NodePool has a price", args: []string{"-A"}, isGone: true, scaled: overlay, code: 1, stderr: "1 NodeOverlays of Gridlatch are still there"},
		{name: "no replica runs, and a Job runs wider", args: []string{"-A"}, isGone: true, scaled: wide, code: 1, stderr: "1 Jobs still have a parallelism of Gridlatch"},
		{name: "no replica runs, and node groups have priorities", args: []string{"-A"}, isGone: true, scaled: groups, code: 1, stderr: "1 ConfigMaps of Cluster Autoscaler still have priorities of Gridlatch"},
		{name: "only one namespace is released", args: []string{"-n", "batch"}, isGone: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			anchors := []client.Object{&rbacv1.ClusterRole{}, &corev1.ServiceAccount{}}
			for _, o := range anchors {
				o.SetName("gridlatch")
				o.SetFinalizers([]string{v1alpha1.ReleaseFinalizer})
			}
			anchors[1].SetNamespace("gridlatch-system")
			objects := anchors
			if tt.scaled != nil {
				objects = append(objects, tt.scaled)
			}
			connect, c := fakeCluster(t, objects...)
			if tt.isGone {
				if err := c.Delete(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "gridlatch-system", Name: "gridlatch"}}); err != nil {
					t.Fatal(err)
				}
			}
			code, stdout, stderr := call(t, connect, append([]string{"release", "--all"}, tt.args...)...)
			if code != tt.code || stdout != "released 0 pods\n"+tt.stdout || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
			}
			for _, o := range anchors[:2] {
				if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil || (len(o.GetFinalizers()) == 0) != (tt.stdout != "") {
					t.Errorf("%v, finalizers %v", err, o.GetFinalizers())
				}
			}
		})
	}
}

func TestHoldSuspendsUntilItIsPlanned(t *testing.T) {
	connect, c := fakeCluster(t, workInEachState()...)
	code, stdout, stderr := call(t, connect, "hold", "job", "ordinary", "--deadline", "12h")
	if code != 0 || !strings.HasPrefix(stdout, "job/ordinary held: waits until Nov 22 0") {
		t.Fatalf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	job := read(t, c, "ordinary", &batchv1.Job{})
	if !*job.Spec.Suspend || job.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld || job.Labels["app"] != "ordinary" {
		t.Errorf("%+v", job)
	}
	for key, want := range map[string]string{
		v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend, v1alpha1.PolicyAnnotation: "default",
		v1alpha1.DeadlineAnnotation: "2026-11-22T09:14:00Z", v1alpha1.LatestStartAnnotation: "2026-11-22T08:11:00Z",
	} {
		if got := job.Annotations[key]; got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	rules, err := policy.Policies{Reader: c, Clock: testingclock.NewFakePassiveClock(parse(t, evening))}.Get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if task := rules.TaskOf(job); !task.LatestStart.Equal(parse(t, "2026-11-22T08:11:00Z")) {
		t.Errorf("the loop has it start by %s", task.LatestStart)
	}
	if code, stdout, _ := call(t, connect, "release", "ordinary"); code != 0 || stdout != "job/ordinary released, 1 pod\n" {
		t.Errorf("released: exit code %d, stdout %s", code, stdout)
	}
	if job := read(t, c, "ordinary", &batchv1.Job{}); *job.Spec.Suspend {
		t.Error("it is suspended still")
	}
}

func TestHoldWithoutADeadlineCountsFromNow(t *testing.T) {
	old := jobOf("old", "", nil, 0)
	old.CreationTimestamp = metav1.NewTime(parse(t, evening).Add(-72 * time.Hour))
	connect, c := fakeCluster(t, old)
	if code, _, stderr := call(t, connect, "hold", "old"); code != 0 {
		t.Fatal(stderr)
	}
	job := read(t, c, "old", &batchv1.Job{})
	rules, err := policy.Policies{Reader: c, Clock: testingclock.NewFakePassiveClock(parse(t, evening))}.Get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if task := rules.TaskOf(job); !task.LatestStart.Equal(parse(t, evening).Add(24 * time.Hour)) {
		t.Errorf("the loop has it start by %s", task.LatestStart)
	}
}

func TestHoldRefuses(t *testing.T) {
	queued := jobOf("queued", "", nil, 1)
	queued.Labels[hold.KueueQueueLabel] = "q"
	late := jobOf("late", "", map[string]string{v1alpha1.DeadlineAnnotation: "1h"}, 1)
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"a pod":                 {[]string{"pod/backup"}, "pod/backup: a pod cannot be held by hand: a scheduling gate can be put on a pod only when the pod is created"},
		"what is held":          {[]string{"job/bounded"}, "job/bounded: it is already held: waits until"},
		"what is done":          {[]string{"job/done"}, "job/done: it has finished"},
		"what runs":             {[]string{"working"}, "job/working: 1 of its pods run, and suspending it would kill them (to hold it all the same: --force)"},
		"what others suspended": {[]string{"asleep"}, "job/asleep: somebody else has suspended it, and may not want it to be resumed"},
		"what is in a queue":    {[]string{"queued"}, "job/queued: Kueue decides when it runs"},
		"what has no time":      {[]string{"late"}, "job/late: it has to start by 2026-11-21 20:27 UTC to finish in time"},
		"what is clean now":     {[]string{"ordinary", "--deadline", "61m"}, "job/ordinary: it has to start by"},
		"a policy that is none": {[]string{"ordinary", "--policy", "nobody"}, "get CarbonPolicy nobody"},
		"what it does not know": {[]string{"job/nobody"}, "namespace batch has no job/nobody"},
		"neither a Job nor pod": {[]string{"nobody"}, "namespace batch has neither a Job nor a pod nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			connect, _ := fakeCluster(t, append(workInEachState(), queued.DeepCopy(), late.DeepCopy())...)
			code, stdout, stderr := call(t, connect, append([]string{"hold"}, tt.args...)...)
			if code != 1 || stdout != "" || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, stdout %q, stderr\n%s", code, stdout, stderr)
			}
		})
	}
}

func TestForceHoldsWhatRuns(t *testing.T) {
	connect, c := fakeCluster(t, workInEachState()...)
	if code, _, stderr := call(t, connect, "hold", "working", "asleep", "--force"); code != 0 {
		t.Fatal(stderr)
	}
	if job := read(t, c, "working", &batchv1.Job{}); !*job.Spec.Suspend {
		t.Errorf("%+v", job)
	}
}

func TestNothingIsHeldThatNobodyWouldLetGo(t *testing.T) {
	connect, c := fakeCluster(t, workInEachState()...)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "gridlatch-system", Name: "gridlatch"}}
	if err := c.Delete(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := call(t, connect, "hold", "ordinary")
	if code != 1 || !strings.Contains(stderr, "nobody would release the work: no controller of Gridlatch was found: namespace gridlatch-system has no Lease gridlatch") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
}

// heldRun is a PipelineRun that is held whole.
func heldRun() *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"status": "PipelineRunPending"}}}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: "tekton.dev", Version: "v1", Kind: "PipelineRun"})
	o.SetNamespace("batch")
	o.SetName("release-build")
	o.SetUID("uid-run")
	o.SetCreationTimestamp(metav1.NewTime(time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)))
	o.SetLabels(map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld})
	annotations := heldAnnotations()
	annotations[v1alpha1.HeldByAnnotation] = v1alpha1.HoldBySuspend
	o.SetAnnotations(annotations)
	return o
}

func TestWhatIsHeldWholeIsListedExplainedAndReleased(t *testing.T) {
	connect, c := fakeCluster(t, append(workInEachState(), heldRun())...)
	for _, name := range []string{"pipelinerun/release-build", "pipelineruns/release-build", "pipelineruns.tekton.dev/release-build"} {
		code, stdout, stderr := call(t, connect, "explain", name)
		if code != 0 || !strings.Contains(stdout, "pipelinerun/release-build in namespace batch waits until") || !strings.Contains(stdout, "suspend") {
			t.Errorf("%s: exit code %d, %s%s", name, code, stdout, stderr)
		}
	}
	if _, stdout, _ := call(t, connect, "status", "-n", "batch", "-o", "json"); !strings.Contains(stdout, `"heldPods": 11`) {
		t.Errorf("status: %s", stdout)
	}
	if code, _, stderr := call(t, connect, "hold", "pipelinerun", "release-build"); code != 1 || !strings.Contains(stderr, "a PipelineRun cannot be held by hand: create it with the annotation gridlatch.dev/delay-tolerant") {
		t.Errorf("hold: exit code %d, %s", code, stderr)
	}
	if code, stdout, stderr := call(t, connect, "release", "pipelinerun", "release-build"); code != 0 || stdout != "pipelinerun/release-build released, 1 pod\n" {
		t.Errorf("release: exit code %d, %s%s", code, stdout, stderr)
	}
	run := heldRun()
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(run), run); err != nil {
		t.Fatal(err)
	}
	if status, found, _ := unstructured.NestedFieldNoCopy(run.Object, "spec", "status"); found || run.GetLabels()[v1alpha1.StateLabel] != v1alpha1.StateReleased {
		t.Errorf("spec.status %v, %v", status, run.GetLabels())
	}
	if code, _, stderr := call(t, connect, "release", "pipelinerun", "release-build"); code != 1 || !strings.Contains(stderr, "it is no longer held: released by hand") {
		t.Errorf("again: exit code %d, %s", code, stderr)
	}
	if code, _, stderr := call(t, connect, "explain", "taskrun", "none"); code != 1 || !strings.Contains(stderr, "namespace batch has no taskrun/none") {
		t.Errorf("none: exit code %d, %s", code, stderr)
	}
}
