package keep

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
)

// resumed notes on a Job when it was resumed.
func resumed(j *batchv1.Job, at time.Time) *batchv1.Job {
	j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{
		Type: batchv1.JobSuspended, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(at),
	})
	return j
}

func TestAJobThatItsUserSuspendedCameWhenItWasResumed(t *testing.T) {
	byUs := resumed(released("by-us", t0, time.Hour), t0.Add(time.Hour+time.Second))
	byUs.Spec.Template.Labels = map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}
	queued := resumed(released("queued", t0, time.Hour), t0.Add(30*time.Minute))
	queued.Labels[hold.KueueQueueLabel] = "q"
	inItsRun := resumed(released("in-its-run", t0, time.Hour), t0.Add(2*time.Hour))
	for name, tt := range map[string]struct {
		job  *batchv1.Job
		want time.Duration
	}{
		"never suspended":     {released("j", t0, time.Hour), 0},
		"resumed by its user": {resumed(released("j", t0, time.Hour), t0.Add(20*time.Minute)), 20 * time.Minute},
		"suspended by us":     {byUs, 0},
		"in a queue":          {queued, 0},
		"in its run":          {inItsRun, 0},
	} {
		if got := arrivalOf(tt.job).Sub(t0); got != tt.want {
			t.Errorf("%s: it came after %v, want %v", name, got, tt.want)
		}
	}
}

func TestTheRunOfAPodIsThatOfItsContainers(t *testing.T) {
	p := running(released("j", t0, 0), 0, t0)
	p.Status.ContainerStatuses[0].State.Running.StartedAt = metav1.NewTime(t0.Add(time.Minute))
	if got := startOf(p).Sub(t0); got != time.Minute {
		t.Errorf("the image was pulled for a minute: the pod started after %v", got)
	}
	p.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{StartedAt: metav1.NewTime(t0.Add(30 * time.Second))}
	if got := startOf(p).Sub(t0); got != 30*time.Second {
		t.Errorf("the container was restarted: the pod started after %v", got)
	}
	p = ended(p, corev1.PodFailed, t0.Add(time.Hour))
	if got := endOf(p, t0.Add(2*time.Hour)).Sub(t0); got != time.Hour {
		t.Errorf("the pod ended after %v", got)
	}
	if got := endOf(p, t0.Add(time.Minute)).Sub(t0); got != time.Minute {
		t.Errorf("a node whose clock is ahead: the pod ended after %v", got)
	}
	p.Status.ContainerStatuses = nil // evicted before its node said more
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(t0.Add(50 * time.Minute))}}
	if got := endOf(p, t0.Add(2*time.Hour)).Sub(t0); got != 50*time.Minute {
		t.Errorf("an evicted pod ended after %v", got)
	}
}

func TestRequestsAreCoresMemoryAndGPUs(t *testing.T) {
	spec := twoCores()
	spec.Containers[0].Resources.Requests["nvidia.com/gpu"] = resource.MustParse("2")
	spec.Containers[0].Resources.Requests["example.com/tokens"] = resource.MustParse("9")
	spec.InitContainers = []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}}}}
	if got := requestsOf(&spec); got != (energy.Requests{Cores: 2, GiB: 4, GPUs: 2}) {
		t.Errorf("%+v", got)
	}
}

func TestWhatWorkStatesOfItselfIsBounded(t *testing.T) {
	for _, text := range []string{"", "x", "-1", "0", "NaN", "Inf", "1e308", "1\x00"} {
		if got := number(text, maxUnits); got != 0 {
			t.Errorf("%q is read as %v", text, got)
		}
	}
	for _, text := range []string{"", "now", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"} {
		if got := instant(text); !got.IsZero() {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestAuditedWorkIsBookedApart(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	j, p := done("j", t0, 0, time.Hour)
	j.Labels = map[string]string{v1alpha1.StateLabel: v1alpha1.StateAudited}
	j.Annotations = map[string]string{v1alpha1.PolicyAnnotation: "default", v1alpha1.PlannedStartAnnotation: t0.Add(5 * time.Hour).Format(time.RFC3339), v1alpha1.FunctionalUnitsAnnotation: "40"}
	p.Labels, p.Annotations = nil, nil // a Job speaks for its pods
	stranger := running(released("stranger", t0, 0), 0, t0)
	stranger.Labels = nil
	r.now = t0.Add(time.Hour)
	k.list(t, j)
	if err := k.podSink(watchJobPods).Replace([]any{p, stranger}, ""); err != nil {
		t.Fatal(err)
	}
	if !k.further.wanted[watchJobPods] {
		t.Error("nobody watches the pods of audited Jobs")
	}
	r.pass(t, k, t0.Add(2*time.Hour))
	g := r.booked(t)["j"]
	if g.Mode != ledger.Audit || g.Wait != 5*time.Hour || !g.Released.Equal(t0) || g.Units != 40 || len(g.Steps) != 1 || g.CoreHours != 2 {
		t.Errorf("booked as %+v", g)
	}
	if len(k.known.pods) != 0 {
		t.Errorf("%d pods of others are kept", len(k.known.pods))
	}
}

func TestAnObjectOfAnEngineIsBookedWithItsPods(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	d := door.Of(schema.GroupKind{Group: "jobset.x-k8s.io", Kind: "JobSet"})
	set := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{
			"namespace": "n", "name": "set", "uid": "set", "creationTimestamp": t0.Format(time.RFC3339),
			"labels":      map[string]any{v1alpha1.StateLabel: v1alpha1.StateReleased},
			"annotations": map[string]any{v1alpha1.StartedAnnotation: t0.Add(time.Hour).Format(time.RFC3339)},
		},
	}}
	j := released("set-a-0", t0, 0) // a Job that was decided on, too
	j.OwnerReferences = []metav1.OwnerReference{{Kind: "JobSet", Name: "set", UID: "set", Controller: ptr.To(true)}}
	first, second := running(j, 0, t0.Add(time.Hour)), running(released("set-b-0", t0, 0), 0, t0.Add(time.Hour))
	second.Labels = map[string]string{d.PodLabel: "set"}
	tell := func(at time.Time) {
		r.now = at
		kept, err := k.keepWhole(d)(set)
		if err != nil {
			t.Fatal(err)
		}
		k.wholeHandler().OnAdd(kept, false)
	}
	k.list(t, j, first)
	if err := k.podSink(d.PodLabel).Add(second); err != nil {
		t.Fatal(err)
	}
	tell(t0)
	if !k.further.wanted[d.PodLabel] {
		t.Error("nobody watches the pods of JobSets")
	}
	r.pass(t, k, t0.Add(90*time.Minute))
	end := t0.Add(2 * time.Hour)
	k.see(t, end, ended(first, corev1.PodSucceeded, end))
	if err := k.podSink(d.PodLabel).Add(ended(second, corev1.PodFailed, end)); err != nil {
		t.Fatal(err)
	}
	k.see(t, end, complete(j, end))
	set.Object["status"] = map[string]any{"terminalState": "Completed"}
	tell(end)
	r.pass(t, k, t0.Add(3*time.Hour))
	found := r.booked(t)
	g := found["set"]
	if len(found) != 1 || g.Kind != "JobSet" || g.Wait != time.Hour || g.Units != 1 || g.Failed || g.CoreHours != 4 || len(g.Steps) != 1 || g.Steps[0].FailedWatts*2 != g.Steps[0].Watts {
		t.Errorf("booked: %+v", found)
	}
	if k.known.size() != 0 {
		t.Errorf("%d are open", k.known.size())
	}
}

func TestEveryEngineSaysWhichWorkFailed(t *testing.T) {
	condition := func(kind, status string) map[string]any {
		return map[string]any{"conditions": []any{map[string]any{"type": kind, "status": status}}}
	}
	for _, tt := range []struct {
		status any
		want   bool
	}{
		{map[string]any{"terminalState": "Failed"}, true},
		{map[string]any{"terminalState": "Completed"}, false},
		{map[string]any{"phase": "Error"}, true},
		{map[string]any{"phase": "Succeeded"}, false},
		{map[string]any{"applicationState": map[string]any{"state": "FAILED"}}, true},
		{map[string]any{"jobDeploymentStatus": "Failed"}, true},
		{condition("Failed", "True"), true},
		{condition("Complete", "True"), false},
		{condition("Succeeded", "False"), true},
		{condition("Succeeded", "True"), false},
		{map[string]any{"conditions": []any{"x", nil, 3.5}, "phase": 3.5}, false},
		{"x", false},
		{nil, false},
	} {
		if got := wholeFailed(map[string]any{"status": tt.status}); got != tt.want {
			t.Errorf("status %v has failed: %v", tt.status, got)
		}
	}
}

func TestAPodOfALaterWatchIsNotLost(t *testing.T) {
	k := newKnown()
	p := podOf(running(released("j", t0, 0), 0, t0), watchJobPods, t0)
	other := *p
	other.Watch = watchPods
	k.setPod(p)
	k.setPod(&other)
	k.dropPod(p.UID, watchJobPods, p, t0.Add(time.Hour)) // it has got a label, and another watch has it
	if k.pods[p.UID].isOver() {
		t.Error("the pod counts as gone")
	}
	k.replacePods(watchJobPods, nil, map[types.UID]bool{}, t0.Add(time.Hour))
	if k.pods[p.UID].isOver() {
		t.Error("the pod counts as gone after a new list")
	}
	k.replacePods(watchPods, nil, map[types.UID]bool{}, t0.Add(time.Hour))
	if p := k.pods[p.UID]; !p.Gone || !p.IsUnseen {
		t.Errorf("%+v", p)
	}
}

func TestWhatIsOpenFitsIntoAConfigMap(t *testing.T) {
	k := newKnown()
	for i := range 30_000 {
		j := released("j", t0, 0)
		j.UID = types.UID(time.Duration(i*7919*7919 + i).String())
		p := podOf(running(j, i, t0), watchPods, t0)
		if i%100 == 0 {
			p.End, p.Gone = t0.Add(time.Minute), true
		}
		k.setPod(p)
	}
	encoded, err := k.open().encode()
	if err != nil || len(encoded) > maxOpenBytes {
		t.Fatalf("%d bytes, %v", len(encoded), err)
	}
	o, err := decodeOpen(encoded)
	if err != nil {
		t.Fatal(err)
	}
	gone := 0
	for _, p := range o.Pods {
		if p.Gone {
			gone++
		}
	}
	if gone != 300 || len(o.Pods) < 1000 {
		t.Errorf("%d pods are kept, of which %d have gone", len(o.Pods), gone)
	}
}

func FuzzOpenNeverPanics(f *testing.F) {
	encoded, err := (&open{At: t0, Pods: []*pod{podOf(running(released("j", t0, 0), 0, t0), watchPods, t0)}}).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, data []byte) {
		o, err := decodeOpen(data)
		if err != nil {
			return
		}
		k := newKnown()
		k.restore(o)
		for _, g := range k.groups(func(types.UID) bool { return false }, t0) {
			g.fate(t0, time.Time{})
		}
	})
}

func BenchmarkPassOfTenThousandGroups(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		r := newRig(b)
		r.now = t0.Add(24 * time.Hour)
		r.offer(b, t0, hours(24)...)
		k := r.keeper(b)
		var objects []any
		var pods []any
		for i := range 10_000 {
			created := t0.Add(time.Duration(i) * time.Second)
			j, p := done("j", created, time.Duration(i%3)*time.Hour, time.Hour)
			j.UID, j.Name = types.UID(created.String()), created.Format("j-150405")
			p.UID, p.Name, p.OwnerReferences[0].UID = types.UID("p"+created.String()), created.Format("p-150405"), j.UID
			objects, pods = append(objects, j), append(pods, p)
		}
		if err := k.jobSink().Replace(objects, ""); err != nil {
			b.Fatal(err)
		}
		if err := k.podSink(watchPods).Replace(pods, ""); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		r.pass(b, k, r.now.Add(time.Minute))
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ledger_10k_ms")
}
