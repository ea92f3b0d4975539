package gating

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// elasticJob returns a released Job that lends its width.
func elasticJob(name string, pods int32) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: name, UID: types.UID(name), Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased},
			Annotations: map[string]string{v1alpha1.ParallelismAnnotation: "2-40", v1alpha1.DurationAnnotation: "2h"},
		},
		Spec: batchv1.JobSpec{Parallelism: &pods, Completions: ptr.To(int32(100))},
	}
}

// podsOfJob returns released pods of a Job that run.
func podsOfJob(job string, n int) (pods []runtime.Object) {
	for i := range n {
		pods = append(pods, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "n", Name: job + string(rune('a'+i)), UID: types.UID(job + string(rune('a'+i))), Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased},
				Annotations:     map[string]string{v1alpha1.DurationAnnotation: "2h", v1alpha1.StartedAnnotation: "2026-11-21T11:00:00Z"},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: job, UID: types.UID(job), Controller: ptr.To(true)}},
			},
			Spec: corev1.PodSpec{NodeName: "node"},
		})
	}
	return pods
}

func elasticLoop(t *testing.T, objects ...runtime.Object) *Loop {
	t.Helper()
	records, err := StaticRecords(objects...)
	if err != nil {
		t.Fatal(err)
	}
	return &Loop{Records: records, Clock: clocktesting.NewFakePassiveClock(t0)}
}

func TestTheJobsOfAPolicyThatLendTheirWidthAreKnown(t *testing.T) {
	lends, hasLent, other, plain := elasticJob("lends", 2), elasticJob("has-lent", 2), elasticJob("other", 2), elasticJob("plain", 2)
	delete(hasLent.Annotations, v1alpha1.ParallelismAnnotation)
	hasLent.Annotations[v1alpha1.OriginalParallelismAnnotation] = "4"
	other.Annotations[v1alpha1.PolicyAnnotation] = "nightly"
	delete(plain.Annotations, v1alpha1.ParallelismAnnotation)
	l := elasticLoop(t, append(podsOfJob("lends", 1), lends, hasLent, other, plain)...)
	var names []string
	for _, name := range l.Elastic(v1alpha1.DefaultPolicy) {
		names = append(names, name.String())
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"n/has-lent", "n/lends"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestWhatRunsBesideAJobDoesNotCountTheJobItself(t *testing.T) {
	l := elasticLoop(t, slices.Concat(podsOfJob("self", 3), podsOfJob("beside", 2), podsOfJob("growing", 1),
		[]runtime.Object{elasticJob("self", 3), elasticJob("beside", 2), elasticJob("growing", 7)})...)
	runs, err := l.Beside(builtin(), "", "self", map[types.UID]int{"growing": 7, "self": 40})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[time.Time]int{}
	for _, run := range runs {
		counts[run.Until] += run.Pods
	}
	// The pods that run began an hour ago. Those that are expected begin now.
	want := map[time.Time]int{t0.Add(time.Hour): 3, t0.Add(2 * time.Hour): 6}
	if !maps.Equal(counts, want) {
		t.Errorf("got %v, want %v", counts, want)
	}
	if other, err := l.Beside(builtin(), "elsewhere", "self", nil); err != nil || len(other) > 0 {
		t.Errorf("at another location run %v (%v)", other, err)
	}
}

func TestAStatusAloneWakesNoJob(t *testing.T) {
	before := elasticJob("job", 2)
	for name, tt := range map[string]struct {
		change func(*batchv1.Job)
		want   bool
	}{
		"its status":      {func(j *batchv1.Job) { j.Status.Succeeded = 7 }, false},
		"its end":         {func(j *batchv1.Job) { j.Status.Succeeded = 100 }, true},
		"its spec":        {func(j *batchv1.Job) { j.Generation++ }, true},
		"an annotation":   {func(j *batchv1.Job) { j.Annotations[v1alpha1.ParallelismAnnotation] = "2-3" }, true},
		"its state":       {func(j *batchv1.Job) { j.Labels[v1alpha1.StateLabel] = v1alpha1.StateHeld }, true},
		"another's label": {func(j *batchv1.Job) { j.Labels["app"] = "x" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			after := before.DeepCopy()
			tt.change(after)
			if got := hasNewWish(stripped(t, newRecordMaker(), before), stripped(t, newRecordMaker(), after)); got != tt.want {
				t.Errorf("the Job is woken: %t", got)
			}
		})
	}
}
