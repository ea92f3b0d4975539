package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestAContainerGoesOnAfterAPauseWhereItWas runs under a real kubelet: the container saves its state to a
// volume when it gets SIGTERM, and goes on from there.
func TestAContainerGoesOnAfterAPauseWhereItWas(t *testing.T) {
	const work = 40 * time.Second
	t.Parallel()
	c := env.Start(t, env.Nodes(0))
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	c.Node(t)
	c.Gridlatch(t)
	gridIs(t, c, 100, 400)
	ns, state := namespace(t, c), t.TempDir()
	j := interruptible(ns, "counting", 0)
	spec := &j.Spec.Template.Spec
	spec.Containers[0] = corev1.Container{
		Name: "work", Image: env.WorkImage, Args: []string{"--for=" + work.String(), "--state=/state"},
		VolumeMounts: []corev1.VolumeMount{{Name: "state", MountPath: "/state"}},
	}
	spec.Volumes = []corev1.Volume{{Name: "state", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: state}}}}
	if err := os.Chmod(state, 0o777); err != nil { // the container is another user
		t.Fatal(err)
	}
	create(t, c, j)
	awaitRunningJob(t, c, j)
	time.Sleep(3 * time.Second)

	gridIs(t, c, 430, 430, 100, 400)
	runs := awaitPaused(t, c, j, 1)
	done := savedWork(t, state)
	if done < 2*time.Second || done > work {
		t.Fatalf("%s of work are saved", done)
	}
	if lost := done - runs.Ran; lost < -5*time.Second || lost > 5*time.Second {
		t.Errorf("%s of work are saved, and Gridlatch believes that it has run for %s", done, runs.Ran)
	}
	time.Sleep(3 * time.Second)
	if again := savedWork(t, state); again != done {
		t.Errorf("it works while it is paused: %s, and before %s", again, done)
	}

	gridIs(t, c, 100, 400)
	awaitRunningJob(t, c, j)
	completed := awaitComplete(t, c, ns, "counting")
	logs, err := c.Kubectl(t.Context(), "logs", "--namespace="+ns, "job/counting")
	if want := fmt.Sprintf("of which %s is done", done); err != nil || !strings.Contains(logs, want) {
		t.Errorf("it has not gone on where it was: %v, %q, want %q", err, logs, want)
	}
	pods := podsOfJob(t, c, completed)
	ended := pods[len(pods)-1].Status.ContainerStatuses[0].State.Terminated
	if took := ended.FinishedAt.Sub(ended.StartedAt.Time); took > work-done+2*time.Second {
		t.Errorf("the second run took %s, and %s were done of %s", took, done, work)
	}
}

// savedWork returns how much work a container has saved in a directory, once it has.
func savedWork(t *testing.T, directory string) (done time.Duration) {
	t.Helper()
	env.Eventually(t, patience, func(context.Context) error {
		text, err := os.ReadFile(filepath.Join(directory, "done"))
		if err != nil {
			return err
		}
		done, err = time.ParseDuration(string(text))
		return err
	})
	return done
}

// podsOfJob returns the pods of a Job that there are; one at least.
func podsOfJob(t *testing.T, c *env.Cluster, j *batchv1.Job) []corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	if err := c.Client.List(t.Context(), &pods, client.InNamespace(j.Namespace), client.MatchingLabels{batchv1.JobNameLabel: j.Name}); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) == 0 {
		t.Fatal("the Job has no pods")
	}
	return pods.Items
}
