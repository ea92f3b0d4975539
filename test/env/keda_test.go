package env_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/test/env"
)

func TestKEDAFollowsMaxReplicaCount(t *testing.T) {
	t.Parallel()
	c := env.Start(t)
	c.KEDA(t)
	object := env.ScaledObject("default", "followed", 3, 10)
	create(t, c, env.Deployment("default", "followed"))
	create(t, c, object)
	create(t, c, env.ScaledJob("default", "jobs", 2, 5, true))
	awaitCeiling(t, c, "followed", 10)
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"maxReplicaCount":7}}`))
	if err := c.Client.Patch(t.Context(), object, patch); err != nil {
		t.Fatal(err)
	}
	awaitCeiling(t, c, "followed", 7)
	env.Eventually(t, 20*time.Second, func(ctx context.Context) error {
		var jobs batchv1.JobList
		if err := c.Client.List(ctx, &jobs, client.MatchingLabels{"scaledjob.keda.sh/name": "jobs"}); err != nil {
			return err
		}
		if len(jobs.Items) != 2 {
			return fmt.Errorf("there are %d Jobs, want 2", len(jobs.Items))
		}
		return nil
	})
}

// TestTheAutoscalerFollowsKEDAsMetrics has the load of a trigger come and go. The number goes from KEDA's operator through
// its metrics adapter and the API server to the HPA controller.
func TestTheAutoscalerFollowsKEDAsMetrics(t *testing.T) {
	t.Parallel()
	var load atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"load":%d}`, load.Load())
	}))
	t.Cleanup(server.Close)
	c := env.Start(t, env.QuickAutoscaler())
	c.WholeKEDA(t)
	create(t, c, env.Deployment("default", "loaded"))
	object := env.ScaledObject("default", "loaded", 0, 9)
	spec := object.Object["spec"].(map[string]any)
	spec["pollingInterval"], spec["cooldownPeriod"] = int64(1), int64(1)
	spec["triggers"] = []any{env.LoadTrigger(server.URL)}
	create(t, c, object)
	for _, step := range []struct {
		load int64
		want int32
	}{{1, 1}, {4, 4}, {1, 1}, {0, 0}} {
		load.Store(step.load)
		env.Eventually(t, 30*time.Second, func(ctx context.Context) error {
			var d appsv1.Deployment
			err := c.Client.Get(ctx, client.ObjectKey{Namespace: "default", Name: "loaded"}, &d)
			if err == nil && *d.Spec.Replicas != step.want {
				err = fmt.Errorf("there are %d replicas at a load of %d, want %d", *d.Spec.Replicas, step.load, step.want)
			}
			return err
		})
	}
}

// awaitCeiling waits until the autoscaler that KEDA makes for a ScaledObject may go that far.
func awaitCeiling(t *testing.T, c *env.Cluster, scaledObject string, want int32) {
	t.Helper()
	env.Eventually(t, 20*time.Second, func(ctx context.Context) error {
		var hpa autoscalingv2.HorizontalPodAutoscaler
		err := c.Client.Get(ctx, client.ObjectKey{Namespace: "default", Name: "keda-hpa-" + scaledObject}, &hpa)
		if err == nil && hpa.Spec.MaxReplicas != want {
			err = fmt.Errorf("maxReplicas is %d, want %d", hpa.Spec.MaxReplicas, want)
		}
		return err
	})
}

// TestNothingOutlivesAKilledTest runs itself as the one that is killed.
func TestNothingOutlivesAKilledTest(t *testing.T) {
	env.SkipIfShort(t)
	const victim = "GRIDLATCH_TEST_VICTIM"
	if os.Getenv(victim) != "" {
		c := env.Start(t)
		c.WholeKEDA(t)
		c.KEDAWebhook(t)
		c.CertManager(t)
		c.JobSet(t)
		fmt.Fprintln(os.Stderr, filepath.Dir(c.Kubeconfig))
		select {}
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), victim+"=1")
	output, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSpace(line)
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // whoever is killed leaves its files
	if n := len(processes(t, dir)); n != 11 {
		t.Errorf("%d processes run, want a supervisor, 5 components, 3 of KEDA's, cert-manager and JobSet", n)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	env.Eventually(t, 10*time.Second, func(context.Context) error {
		if left := processes(t, dir); len(left) > 0 {
			return fmt.Errorf("left: %q", left)
		}
		return nil
	})
}
