package webhook

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// markedPod returns the resources of a pod's first container as the API server
// would have them after the webhook, as JSON; empty if the pod was not admitted.
func markedPod(t *testing.T, pod string, mark bool) string {
	t.Helper()
	w := dirtyNow(t)
	w.MarkForExtender = mark
	once, response := admit(t, w, "Pod", []byte(pod))
	if !response.Allowed {
		return ""
	}
	twice, _ := admit(t, w, "Pod", once)
	if diff := cmp.Diff(string(once), string(twice)); diff != "" {
		t.Errorf("once more changes it: %s", diff)
	}
	var got struct {
		Spec struct {
			Containers []struct{ Resources json.RawMessage }
		}
	}
	if err := json.Unmarshal(once, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Spec.Containers) == 0 {
		return "no container"
	}
	return string(got.Spec.Containers[0].Resources)
}

func TestPodsThatMayWaitAreMarkedForTheScheduler(t *testing.T) {
	const (
		mark   = `{"limits":{"gridlatch.dev/placement":"0"},"requests":{"gridlatch.dev/placement":"0"}}`
		held   = `"annotations":{"gridlatch.dev/delay-tolerant":"true","gridlatch.dev/duration":"1h"}`
		strict = `"annotations":{"gridlatch.dev/delay-tolerant":"true","gridlatch.dev/duration":"1h","gridlatch.dev/placement":"strict"}`
		soon   = `"annotations":{"gridlatch.dev/delay-tolerant":"true","gridlatch.dev/duration":"1h","gridlatch.dev/deadline":"1m"}`
		plain  = `"containers":[{"name":"a","resources":{}},{"name":"b"}]`
		owner  = `"ownerReferences":[{"apiVersion":"batch/v1","kind":"Job","name":"j","uid":"1","controller":true}]`
	)
	for name, tt := range map[string]struct{ meta, spec, want string }{
		"held":                             {held, plain, mark},
		"started at once":                  {soon, plain, mark},
		"of a Job that was released":       {held + `,"labels":{"gridlatch.dev/state":"released"},` + owner, plain, mark},
		"without resources":                {held, `"containers":[{"name":"a"}]`, mark},
		"that names its node":              {held, `"nodeName":"n",` + plain, mark},
		"with requests":                    {held, `"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}]`, `{"limits":{"gridlatch.dev/placement":"0"},"requests":{"cpu":"1","gridlatch.dev/placement":"0"}}`},
		"with both":                        {held, `"containers":[{"name":"a","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"1"}}}]`, `{"limits":{"cpu":"2","gridlatch.dev/placement":"0"},"requests":{"cpu":"1","gridlatch.dev/placement":"0"}}`},
		"with what is not known here":      {held, `"containers":[{"name":"a","resources":{"claims":[{"name":"c"}],"limits":{"cpu":"2"},"new":1}}]`, `{"claims":[{"name":"c"}],"limits":{"cpu":"2","gridlatch.dev/placement":"0"},"new":1,"requests":{"gridlatch.dev/placement":"0"}}`},
		"with a mark that a user has made": {held, `"containers":[{"name":"a","resources":{"limits":{"gridlatch.dev/placement":"1"}}}]`, `{"limits":{"gridlatch.dev/placement":"1"}}`},
		"that is strict":                   {strict, plain, `{"limits":{"gridlatch.dev/placement":"0","gridlatch.dev/strict-placement":"0"},"requests":{"gridlatch.dev/placement":"0","gridlatch.dev/strict-placement":"0"}}`},
		"that is strict and half marked":   {strict, `"containers":[{"name":"a","resources":{"limits":{"gridlatch.dev/placement":"0"},"requests":{"gridlatch.dev/placement":"0"}}}]`, `{"limits":{"gridlatch.dev/placement":"0","gridlatch.dev/strict-placement":"0"},"requests":{"gridlatch.dev/placement":"0","gridlatch.dev/strict-placement":"0"}}`},
		"in a queue of Kueue":              {held + `,"labels":{"kueue.x-k8s.io/queue-name":"q"}`, plain, `{}`},
		"that does not ask":                {`"annotations":{"gridlatch.dev/delay-tolerant":"false"}`, plain, `{}`},
		"without containers":               {held, `"containers":[]`, "no container"},
		"that is refused":                  {`"annotations":{"gridlatch.dev/delay-tolerant":"true","gridlatch.dev/placement":"maybe"}`, plain, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := markedPod(t, `{"metadata":{`+tt.meta+`},"spec":{`+tt.spec+`}}`, true)
			var a, b any
			_, _ = json.Unmarshal([]byte(got), &a), json.Unmarshal([]byte(tt.want), &b)
			if got != tt.want && (a == nil || !cmp.Equal(a, b)) {
				t.Errorf("resources %s, want %s", got, tt.want)
			}
		})
	}
	t.Run("not without an extender", func(t *testing.T) {
		if got := markedPod(t, `{"metadata":{`+held+`},"spec":{`+plain+`}}`, false); got != "{}" {
			t.Errorf("resources %s", got)
		}
	})
}

// TestPodsOfAJobComeToBeMarked has a Job start at once that is asked for on the
// Job alone: only what its template says makes its pods come to the webhook.
func TestPodsOfAJobComeToBeMarked(t *testing.T) {
	asked := map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DeadlineAnnotation: "1m", v1alpha1.DurationAnnotation: "1h", v1alpha1.PlacementAnnotation: v1alpha1.PlacementStrict}
	raw, err := json.Marshal(batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: asked}})
	if err != nil {
		t.Fatal(err)
	}
	for _, mark := range []bool{true, false} {
		w := dirtyNow(t)
		w.MarkForExtender = mark
		admitted, _ := admit(t, w, "Job", raw)
		var job batchv1.Job
		if err := json.Unmarshal(admitted, &job); err != nil {
			t.Fatal(err)
		}
		template := job.Spec.Template
		if template.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased {
			t.Fatalf("the Job does not start at once: %+v", template)
		}
		for key, value := range asked {
			if got, ok := template.Annotations[key]; ok != mark || mark && got != value {
				t.Errorf("marked %t: %s is %q in the template, want %q", mark, key, got, value)
			}
		}
		if diff := cmp.Diff(corev1.PodSpec{}, template.Spec); diff != "" {
			t.Errorf("the template's spec has changed: %s", diff)
		}
	}
}

// TestStrictPlacementEndsForLatePods has pods come when the latest start of their
// Job is long over, which has not been theirs to wait for.
func TestStrictPlacementEndsForLatePods(t *testing.T) {
	controls, limit := true, int64(3600)
	for name, tt := range map[string]struct {
		deadline string
		spec     batchv1.JobSpec
	}{
		"of a Job that was suspended":       {"8h", batchv1.JobSpec{ActiveDeadlineSeconds: &limit}},
		"of a Job that was held by gates":   {"8h", batchv1.JobSpec{}},
		"of a Job that has started at once": {"1h3m30s", batchv1.JobSpec{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := dirtyNow(t)
			w.MarkForExtender = true
			job := admitJob(t, w, &batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
					v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DeadlineAnnotation: tt.deadline, v1alpha1.DurationAnnotation: "1h", v1alpha1.PlacementAnnotation: v1alpha1.PlacementStrict,
				}},
				Spec: tt.spec,
			})
			late := t0.Add(10 * time.Hour)
			w.Clock = clocktesting.NewFakePassiveClock(late)
			pod := admitPod(t, w, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}, Annotations: job.Spec.Template.Annotations,
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "1", Controller: &controls}},
			}})
			rules := defaultPolicy(t, w)
			pod.CreationTimestamp = metav1.NewTime(late)
			if task := rules.TaskOf(pod); policy.IsStrict(pod, task, late) {
				t.Errorf("its placement is strict until %v: %v", task.LatestStart, pod.Annotations)
			}
			if early := t0.Add(-10 * time.Minute); !policy.IsStrict(pod, rules.TaskOf(pod), early) {
				t.Errorf("its placement was never strict: %v", pod.Annotations)
			}
		})
	}
}
