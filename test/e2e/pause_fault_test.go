package e2e

import (
	"context"
	"maps"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/test/env"
)

func TestAControllerKilledDuringAPauseResumesTheJobWhenItIsBack(t *testing.T) {
	c, first := ownCluster(t)
	gridIs(t, c, 100, 400)
	ns := namespace(t, c)
	paused, running := interruptible(ns, "paused", 30*time.Second), interruptible(ns, "running", 5*time.Minute, v1alpha1.MinRunAnnotation, "20m")
	create(t, c, paused, running)
	awaitRunningJob(t, c, paused)
	awaitRunningJob(t, c, running)
	versions := followJob(t, c, paused)

	gridIs(t, c, 430, 430, 100, 400)
	before := awaitPaused(t, c, paused, 1)
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	gridIsUnseen(t, c, 100, 400)
	time.Sleep(5 * time.Second)
	if after := awaitPaused(t, c, paused, 1); after != before {
		t.Errorf("nobody was there, and it says %+v, and said %+v", after, before)
	}
	c.Controller(t, first.Webhook)
	awaitRunningJob(t, c, paused)
	awaitComplete(t, c, ns, "paused")
	awaitRunningJob(t, c, running)
	if runs := policy.ReadRuns(running.Annotations); runs != (policy.Runs{}) {
		t.Errorf("it had run for too short a time to be paused, and says %+v", runs)
	}

	changes, last := 0, jobVersion{}
	for _, v := range versions() {
		if v.suspended != (v.annotations[v1alpha1.PausedAnnotation] != "") || v.suspended != (v.state == v1alpha1.StateHeld) {
			t.Errorf("a version of the Job says one thing and does the other: %+v", v)
		}
		if v.suspended != last.suspended || !maps.Equal(v.annotations, last.annotations) {
			changes++
		}
		last = v
	}
	if changes > 3 { // what it was at first, the pause, the resume
		t.Errorf("the Job was written %d times, want at most two", changes-1)
	}
}

// jobVersion is what a version of a Job says of a pause.
type jobVersion struct {
	suspended   bool
	state       string
	annotations map[string]string
}

// followJob follows the versions of a Job. The function that it returns ends that, and returns them.
func followJob(t *testing.T, c *env.Cluster, j *batchv1.Job) func() []jobVersion {
	t.Helper()
	clientset, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	watch, err := clientset.BatchV1().Jobs(j.Namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + j.Name, ResourceVersion: j.ResourceVersion,
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan []jobVersion)
	go func() {
		versions := []jobVersion{versionOf(j)}
		for event := range watch.ResultChan() {
			if job, ok := event.Object.(*batchv1.Job); ok {
				versions = append(versions, versionOf(job))
			}
		}
		done <- versions
	}()
	return func() []jobVersion {
		cancel()
		watch.Stop()
		return <-done
	}
}

func versionOf(j *batchv1.Job) jobVersion {
	return jobVersion{
		suspended: j.Spec.Suspend != nil && *j.Spec.Suspend, state: j.Labels[v1alpha1.StateLabel], annotations: maps.Clone(j.Annotations),
	}
}
