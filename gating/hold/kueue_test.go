package hold

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestAPodInAQueueIsReleasedFromItsGateAndItsQueueByOnePatch(t *testing.T) {
	note := ReleaseNote{Reason: "clean", At: t0}
	for name, tt := range map[string]struct {
		queue string
		patch func(*corev1.Pod) client.Patch
		want  string
	}{
		"with a note":    {v1alpha1.Gate, func(p *corev1.Pod) client.Patch { return note.PodPatches(p).Full }, ""},
		"without a note": {v1alpha1.Gate, func(p *corev1.Pod) client.Patch { return note.PodPatches(p).Minimal }, ""},
		"with a preference": {v1alpha1.Gate, func(p *corev1.Pod) client.Patch {
			return note.PreferencePatch(p, corev1.PreferredSchedulingTerm{Weight: 1})
		}, ""},
		"but for what others ask": {"a.example/b," + v1alpha1.Gate, func(p *corev1.Pod) client.Patch { return note.PodPatches(p).Full }, "a.example/b"},
		"of others alone":         {"a.example/b", func(p *corev1.Pod) client.Patch { return note.PodPatches(p).Full }, "a.example/b"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := gatedPod("p")
			pod.Annotations = map[string]string{KueueGatesAnnotation: tt.queue}
			pod.Spec.SchedulingGates = append(pod.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: "kueue.x-k8s.io/admission"})
			c := server(nil, pod)
			seen := read(t, c, gatedPod("p"))
			if err := c.Patch(t.Context(), PatchTarget(PodKind(), pod), tt.patch(seen)); err != nil {
				t.Fatal(err)
			}
			after := read(t, c, gatedPod("p"))
			if got, exists := after.Annotations[KueueGatesAnnotation]; got != tt.want || exists && tt.want == "" {
				t.Errorf("the queue waits for %q, want %q", got, tt.want)
			}
			if HoldsPod(after) || len(after.Spec.SchedulingGates) != 1 {
				t.Errorf("gates %v", after.Spec.SchedulingGates)
			}
		})
	}
}

func TestAPodAtItsQueueIsHeldAlsoWithoutOurGate(t *testing.T) {
	pod := gatedPod("p")
	pod.Annotations = map[string]string{KueueGatesAnnotation: v1alpha1.Gate}
	if pod.Spec.SchedulingGates[0].Name = "kueue.x-k8s.io/admission"; !HoldsPod(pod) {
		t.Error("nobody else removes our gate from the queue")
	}
	if pod.Spec.SchedulingGates = nil; HoldsPod(pod) {
		t.Error("a pod without a gate is held")
	}
}

func TestAJobAtItsQueueIsReleasedWhateverItsMark(t *testing.T) {
	for name, tt := range map[string]struct {
		by        string
		suspended bool // after the release
	}{
		"with its mark":                      {v1alpha1.HoldByKueue, true},
		"without its mark":                   {"", true},
		"that we have suspended, at a queue": {v1alpha1.HoldBySuspend, false},
	} {
		t.Run(name, func(t *testing.T) {
			job := heldItself(jobIn(v1alpha1.StateHeld, "j", KueueGatesAnnotation, v1alpha1.Gate), tt.by)
			if tt.by == "" {
				delete(job.Annotations, v1alpha1.HeldByAnnotation)
			}
			c := server(nil, job)
			if n, err := Release(t.Context(), c, job, "r", t0); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			got := read(t, c, job)
			if ptr.Deref(got.Spec.Suspend, false) != tt.suspended || HoldsJobItself(got) || HeldBy(got.Annotations) != "" || got.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased {
				t.Errorf("suspended: %v, %v %v", *got.Spec.Suspend, got.Labels, got.Annotations)
			}
		})
	}
}

func TestAJobThatOthersStartedLeavesItsQueue(t *testing.T) {
	job := heldItself(jobIn(v1alpha1.StateHeld, "j", KueueGatesAnnotation, "a.example/b,"+v1alpha1.Gate), v1alpha1.HoldByKueue)
	c := server(nil, job)
	patch := ReleaseNote{Reason: ReasonStartedByKueue, At: t0, Outcome: v1alpha1.OutcomeTaken}.RecordPatch(job)
	if err := c.Patch(t.Context(), PatchTarget(JobKind(), job), patch); err != nil {
		t.Fatal(err)
	}
	got := read(t, c, job).Annotations
	if got[KueueGatesAnnotation] != "a.example/b" || got[v1alpha1.OutcomeAnnotation] != v1alpha1.OutcomeTaken {
		t.Errorf("once it is evicted, it would wait for us: %v", got)
	}
}

func TestAJobThatNoQueueHoldsIsHeldWithoutIt(t *testing.T) {
	for name, tt := range map[string]struct {
		mark      bool
		suspended bool // the Job as it is
		suspend   bool
		by        string
		refused   bool
	}{
		"by the gates of its pods":                  {mark: true},
		"by the gates of its pods, unmarked":        {},
		"by its suspend":                            {mark: true, suspend: true, by: v1alpha1.HoldBySuspend},
		"not if the queue has suspended it":         {mark: true, suspended: true, refused: true},
		"not if the queue has suspended it, either": {mark: true, suspended: true, suspend: true, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			job := jobIn(v1alpha1.StateHeld, "j", KueueGatesAnnotation, "a.example/b,"+v1alpha1.Gate, v1alpha1.ReasonAnnotation, "old")
			if tt.mark {
				job.Annotations[v1alpha1.HeldByAnnotation] = v1alpha1.HoldByKueue
			}
			job.Spec.Suspend = &tt.suspended
			c := server(nil, job)
			err := c.Patch(t.Context(), PatchTarget(JobKind(), job), LeaveQueuePatch(job, map[string]string{v1alpha1.ReasonAnnotation: "new"}, tt.suspend))
			if (err != nil) != tt.refused {
				t.Fatal(err)
			}
			got := read(t, c, job)
			if tt.refused {
				if got.Annotations[v1alpha1.ReasonAnnotation] != "old" {
					t.Errorf("%v", got.Annotations)
				}
				return
			}
			if *got.Spec.Suspend != tt.suspend || HeldBy(got.Annotations) != tt.by || got.Annotations[KueueGatesAnnotation] != "a.example/b" ||
				got.Annotations[v1alpha1.ReasonAnnotation] != "new" || got.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld {
				t.Errorf("suspended: %v, %v %v", *got.Spec.Suspend, got.Labels, got.Annotations)
			}
		})
	}
}

func TestWorkThatKueueCouldNotLetGoIsNotHeldAtItsQueue(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(labels, annotations map[string]string)
		want   string
	}{
		"work in a queue":                       {func(_, _ map[string]string) {}, ""},
		"work in no queue":                      {func(l, a map[string]string) { delete(l, KueueQueueLabel); a[kueueElasticAnnotation] = "true" }, ""},
		"with a Workload, by label":             {func(l, _ map[string]string) { l[kueueWorkloadKey] = "w" }, "existed before the work"},
		"with a Workload, by annotation":        {func(_, a map[string]string) { a[kueueWorkloadKey] = "w" }, "existed before the work"},
		"an elastic Job":                        {func(_, a map[string]string) { a[kueueElasticAnnotation] = "true" }, "elastic"},
		"with a list of gates that is not kept": {func(_, a map[string]string) { a[KueueGatesAnnotation] = strings.Repeat("a.example/b,", 400) }, "too long"},
	} {
		o := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{KueueQueueLabel: "q"}, Annotations: map[string]string{}}}
		tt.change(o.Labels, o.Annotations)
		if got := WhyNotInQueue(o); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
