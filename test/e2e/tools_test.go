package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// made has the labels and annotations that a tool writes on the pods that it makes.
type made struct{ labels, annotations map[string]string }

// executorTask is a pod of Airflow's KubernetesExecutor.
func executorTask() made {
	return made{
		map[string]string{
			"dag_id": "nightly", "task_id": "report", "try_number": "1", "kubernetes_executor": "True", "airflow_version": "3.1.0",
			"airflow-worker": "17", "run_id": "scheduled__2026-11-21",
		},
		map[string]string{"dag_id": "nightly", "task_id": "report", "try_number": "1", "run_id": "scheduled__2026-11-21"},
	}
}

// operatorTask is a pod of Airflow's KubernetesPodOperator.
func operatorTask() made {
	return made{map[string]string{
		"dag_id": "nightly", "task_id": "report", "try_number": "1", "kubernetes_pod_operator": "True", "airflow_version": "3.1.0",
		"airflow_kpo_in_cluster": "True", "run_id": "scheduled__2026-11-21",
	}, nil}
}

// gitLabJob is a pod of GitLab Runner's Kubernetes executor.
func gitLabJob() made {
	return made{
		map[string]string{"job.runner.gitlab.com/pod": "runner-1-project-7-concurrent-0", "project.runner.gitlab.com/name": "report"},
		map[string]string{
			"job.runner.gitlab.com/id": "3", "job.runner.gitlab.com/name": "report", "job.runner.gitlab.com/ref": "main",
			"job.runner.gitlab.com/url": "https://gitlab.example/team/report/-/jobs/3", "project.runner.gitlab.com/id": "7",
		},
	}
}

// gitHubRunner is a pod of GitHub's Actions Runner Controller.
func gitHubRunner() made {
	return made{map[string]string{
		"actions-ephemeral-runner": "True", "actions.github.com/scale-set-name": "can-wait", "actions.github.com/scale-set-namespace": "runners",
		"app.kubernetes.io/part-of": "gha-runner-scale-set",
	}, nil}
}

// gitHubHook is a pod of the container hooks of GitHub's runner.
func gitHubHook() made {
	return made{map[string]string{"runner-pod": "can-wait-x7k2p-runner-9f4dz"}, nil}
}

// ofTool makes a pod of a tool that asks to wait, with a deadline unless that is empty.
func ofTool(namespace, name, deadline string, by made) *corev1.Pod {
	p := pod(namespace, name, tolerant(v1alpha1.DeadlineAnnotation, deadline))
	p.Labels = by.labels
	maps.Copy(p.Annotations, by.annotations)
	return p
}

// TestAToolThatGivesUpGetsItsPodInTime has a grid that is dirty for a moment, then cleaner, and
// clean in ten minutes: what may wait for as long does.
func TestAToolThatGivesUpGetsItsPodInTime(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	elements := append(env.Elements(location, now, 45*time.Second, 430), env.Elements(location, now.Add(45*time.Second), 10*time.Minute, 300, 120)...)
	if err := cluster.Forecast(t.Context(), elements...); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		made
		within time.Duration // by default
		says   string
	}{
		"airflow-executor": {executorTask(), 5 * time.Minute, "(setting: task_queued_timeout)"},
		"airflow-operator": {operatorTask(), time.Minute, "(setting: schedule_timeout_seconds and startup_timeout_seconds)"},
		"gitlab":           {gitLabJob(), 90 * time.Second, "(setting: poll_timeout and timeout)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns, raised := namespace(t, cluster), namespace(t, cluster)
			usual, patient := ofTool(ns, name, "", tt.made), ofTool(raised, name, "2h", tt.made)
			if told := createWarned(t, cluster, usual); !strings.Contains(told, tt.says+"; to let the work wait longer, raise ") || !strings.Contains(told, " and add the annotation") {
				t.Errorf("warned of %q", told)
			}
			if told := createWarned(t, cluster, patient); !strings.Contains(told, tt.says+"; this deadline lets the work wait longer, so raise ") {
				t.Errorf("warned of %q with a deadline", told)
			}
			expectLatestStart(t, usual, tt.within)
			expectLatestStart(t, patient, 2*time.Hour)
			env.Eventually(t, tt.within+patience, func(ctx context.Context) error {
				pods, err := podsOf(ctx, cluster, ns)
				if err != nil || len(pods) != 1 || pods[0].Spec.NodeName == "" {
					return fmt.Errorf("not started: %w", err)
				}
				return nil
			})
			awaitPods(t, cluster, raised, wantGated(1, 0))
		})
	}
}

func TestNoDeadlineRaisesALimitOfGitHub(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	ns := namespace(t, cluster)
	for deadline, within := range map[string]time.Duration{"": 24*time.Hour - 10*time.Minute, "40h": 24*time.Hour - 10*time.Minute, "2h": 2 * time.Hour} {
		runner := ofTool(ns, "runner-within-"+strings.ToLower(within.String())+deadline, deadline, gitHubRunner())
		runner.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "actions.github.com/v1alpha1", Kind: "EphemeralRunner", Name: "can-wait-x7k2p", UID: "x7k2p", Controller: ptr(true),
		}}
		if told := createWarned(t, cluster, runner, client.DryRunAll); !strings.Contains(told, "does not start within 1d, and no setting changes this") {
			t.Errorf("warned of %q", told)
		}
		expectLatestStart(t, runner, within)
	}
}

func TestThePodOfARunnersContainerHooksNeverWaits(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	ns := namespace(t, cluster)
	for _, deadline := range []string{"", "2h"} {
		hook := ofTool(ns, "hook"+deadline, deadline, gitHubHook())
		create(t, cluster, hook)
		if why := hook.Annotations[v1alpha1.ReasonAnnotation]; why != "not held: its GitHub runner runs already, and fails if the pod does not start soon" {
			t.Errorf("says %q", why)
		}
	}
	awaitPods(t, cluster, ns, wantGated(0, 2))
}

func TestAHookOfHelmIsHeldNoLongerThanHelmWaits(t *testing.T) {
	dirtyThenClean(t, cluster, 45*time.Second)
	hook := job(namespace(t, cluster), "hook", tolerant(v1alpha1.DeadlineAnnotation, ""), 1)
	hook.Annotations["helm.sh/hook"] = "post-install"
	if told := createWarned(t, cluster, hook); !strings.Contains(told, "Helm by default gives up on work that does not end within 5m (setting: --timeout)") {
		t.Errorf("warned of %q", told)
	}
	expectLatestStart(t, hook, 150*time.Second)
}

// expectLatestStart expects a latest start that is a little before the end of a wait.
func expectLatestStart(t *testing.T, o client.Object, within time.Duration) {
	t.Helper()
	created := o.GetCreationTimestamp().Time
	latest, err := time.Parse(time.RFC3339, o.GetAnnotations()[v1alpha1.LatestStartAnnotation])
	if err != nil || latest.After(created.Add(within+2*time.Second)) || latest.Before(created.Add(within-time.Minute/2)) {
		t.Errorf("%s: latest start %v, %v, want within %s of %s", o.GetName(), latest, err, within, created)
	}
}
