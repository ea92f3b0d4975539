package env_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/test/env"
)

func TestClusterRunsJobs(t *testing.T) {
	c := env.Start(t, env.Nodes(2), env.NodeLabels("topology.kubernetes.io/region=west:east"))

	t.Run("nodes are ready and labelled in turn", func(t *testing.T) {
		out, err := c.Kubectl(t.Context(), "get", "nodes", "-o",
			`jsonpath={range .items[*]}{.metadata.name}={.metadata.labels.topology\.kubernetes\.io/region} {end}`)
		if err != nil {
			t.Fatal(err)
		}
		if want := "node-0=west node-1=east "; out != want {
			t.Errorf("nodes are %q, want %q", out, want)
		}
	})
	t.Run("a Job of three pods completes", func(t *testing.T) {
		job := newJob("three", nil)
		completions := int32(3)
		job.Spec.Completions, job.Spec.Parallelism = &completions, &completions
		create(t, c, job)
		awaitCondition(t, c, job, batchv1.JobComplete)
		if job.Status.Succeeded != 3 {
			t.Errorf("%d pods succeeded, want 3", job.Status.Succeeded)
		}
	})
	t.Run("a pod runs for as long as its annotation says", func(t *testing.T) {
		job := newJob("long", map[string]string{"kwok.gridlatch.dev/run-for": "3s"})
		create(t, c, job)
		awaitCondition(t, c, job, batchv1.JobComplete)
		if took := job.Status.CompletionTime.Sub(job.Status.StartTime.Time); took < 2*time.Second {
			t.Errorf("the Job took %v, want 3s to the second", took)
		}
	})
	t.Run("a Job whose pods fail is retried", func(t *testing.T) {
		job := newJob("fails", map[string]string{"kwok.gridlatch.dev/fail": "true", "kwok.gridlatch.dev/run-for": "0s"})
		retries := int32(1)
		job.Spec.BackoffLimit = &retries
		create(t, c, job)
		awaitCondition(t, c, job, batchv1.JobFailed)
		if job.Status.Failed != 2 {
			t.Errorf("%d pods failed, want 2", job.Status.Failed)
		}
	})
	t.Run("a gated pod waits until its gate is removed", func(t *testing.T) { testGatedPod(t, c) })
	t.Run("a deleted pod is gone at once, and fails its Job", func(t *testing.T) {
		job := newJob("deleted", map[string]string{"kwok.gridlatch.dev/run-for": "1h"})
		never := int32(0)
		job.Spec.BackoffLimit = &never
		// With this, the Job controller counts a pod only once it has a final phase.
		policy := batchv1.Failed
		job.Spec.PodReplacementPolicy = &policy
		create(t, c, job)
		// kubectl fails as long as there is no pod to wait for.
		env.Eventually(t, 10*time.Second, func(ctx context.Context) error {
			_, err := c.Kubectl(ctx, "wait", "--for=condition=Ready", "pod", "-l", "job-name=deleted")
			return err
		})
		if _, err := c.Kubectl(t.Context(), "delete", "pod", "-l", "job-name=deleted", "--timeout=10s"); err != nil {
			t.Fatal(err)
		}
		awaitCondition(t, c, job, batchv1.JobFailed)
	})
	t.Run("a service account has its own rights only", func(t *testing.T) { testServiceAccount(t, c) })
}

func testGatedPod(t *testing.T, c *env.Cluster) {
	const manifest = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"gated"},"spec":{
		"schedulingGates":[{"name":"example.com/gate"}],"containers":[{"name":"c","image":"any"}]}}`
	if _, err := c.KubectlInput(t.Context(), manifest, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, 10*time.Second, func(ctx context.Context) error {
		out, err := c.Kubectl(ctx, "get", "pod", "gated")
		if err == nil && !strings.Contains(out, "SchedulingGated") {
			err = errors.New(out)
		}
		return err
	})
	const ungate = `{"spec":{"schedulingGates":[{"$patch":"delete","name":"example.com/gate"}]}}`
	if _, err := c.Kubectl(t.Context(), "patch", "pod", "gated", "-p", ungate); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Kubectl(t.Context(), "wait", "--for=condition=Ready", "pod/gated", "--timeout=10s"); err != nil {
		t.Fatal(err)
	}
}

func testServiceAccount(t *testing.T, c *env.Cluster) {
	config, err := c.ServiceAccountConfig(t.Context(), "default", "default")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(config, path); err != nil {
		t.Fatal(err)
	}
	account, err := env.Attach(path)
	if err != nil {
		t.Fatal(err)
	}
	who, err := account.Kubectl(t.Context(), "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
	if err != nil {
		t.Fatal(err)
	}
	if want := "system:serviceaccount:default:default"; who != want {
		t.Errorf("the account is %q, want %q", who, want)
	}
	if _, err := account.Kubectl(t.Context(), "get", "nodes"); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("getting nodes: error %v, want Forbidden", err)
	}
}

func TestTwoClustersAtOnceAndNothingLeft(t *testing.T) {
	env.SkipIfShort(t)
	clusters := make(chan *env.Cluster, 2)
	for range cap(clusters) {
		go func() {
			c, err := env.Run(t.Context(), env.Nodes(1))
			if err != nil {
				t.Error(err)
			}
			clusters <- c
		}()
	}
	first, second := <-clusters, <-clusters
	for _, c := range []*env.Cluster{first, second} {
		if c == nil {
			continue
		}
		t.Cleanup(func() {
			if err := c.Stop(); err != nil {
				t.Error(err)
			}
			if left := processes(t, filepath.Dir(c.Kubeconfig)); len(left) > 0 {
				t.Errorf("left after Stop: %q", left)
			}
		})
	}
	if t.Failed() {
		return
	}
	create(t, first, newJob("here", nil))
	err := second.Client.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "here"}, &batchv1.Job{})
	if client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the other cluster's Job: error %v, want not found", err)
	}
}

func TestNothingOutlivesAKilledSupervisor(t *testing.T) {
	env.SkipIfShort(t)
	c, err := env.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(c.Kubeconfig)
	if n := len(processes(t, dir)); n != 6 {
		t.Errorf("%d processes run, want a supervisor and 5 components", n)
	}
	text, err := os.ReadFile(filepath.Join(dir, "supervisor.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, 5*time.Second, func(context.Context) error {
		if left := processes(t, dir); len(left) > 0 {
			return fmt.Errorf("left: %q", left)
		}
		return nil
	})
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}

func TestAMissingBinaryIsAnErrorThatHelps(t *testing.T) {
	t.Setenv("GRIDLATCH_CLUSTER_BIN", "/nowhere/gridlatch-cluster")
	_, err := env.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "make bin/gridlatch-cluster") {
		t.Errorf("error %v, want one that says what to run", err)
	}
}

// processes gives the command lines that name the directory.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range paths {
		// A process that has just ended cannot be read.
		if line, err := os.ReadFile(path); err == nil && bytes.Contains(line, []byte(dir)) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func newJob(name string, annotations map[string]string) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Annotations: annotations},
			Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever,
				Containers:    []corev1.Container{{Name: "c", Image: "any"}},
			},
		}},
	}
}

func create(t *testing.T, c *env.Cluster, o client.Object) {
	t.Helper()
	if err := c.Client.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// awaitCondition reads the Job until the condition is true.
func awaitCondition(t *testing.T, c *env.Cluster, job *batchv1.Job, condition batchv1.JobConditionType) {
	t.Helper()
	env.Eventually(t, 60*time.Second, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(job), job); err != nil {
			return err
		}
		for _, have := range job.Status.Conditions {
			if have.Type == condition && have.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("Job %s is not %s: %+v", job.Name, condition, job.Status)
	})
}
