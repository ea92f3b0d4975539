package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/test/env"
)

// wholeKind is what the tests know of a kind that is held whole: how its engine behaves.
type wholeKind struct {
	// heldReason is what the engine says of an object that it does not start: as the reason of a condition, or
	// in the field heldAt.
	heldReason string
	heldAt     []string
	// needs are objects that the example of docs/engines.md refers to.
	needs string
	// members is a merge patch of the example with NOTES, the annotations of work that may wait, where they
	// reach what the engine makes for the object.
	members string
	// pods are how many pods the engine makes once it goes on.
	pods int
	// ends says that the pods end after a second, so that the engine makes the next.
	ends bool
	// late has late members made, and restarts. It is nil if the engine makes none.
	late func(t *testing.T, s *wholeSite, ns string)
}

const (
	jobTemplate = `{metadata: {annotations: NOTES}, spec: {backoffLimit: 0, template: {metadata: {annotations: NOTES}, spec: {restartPolicy: Never, containers: [{name: work, image: work}]}}}}`
	podTemplate = `{metadata: {annotations: NOTES}, spec: {containers: [{name: work, image: work}]}}`
	twoTasks    = `[{name: first, taskSpec: {steps: [{name: work, image: work, command: [work]}]}}, {name: second, runAfter: [first], taskSpec: {steps: [{name: work, image: work, command: [work]}]}}]`
)

// wholeKinds has an entry for each kind of door.All.
func wholeKinds() map[string]wholeKind {
	return map[string]wholeKind{
		"JobSet": {
			heldReason: "SuspendedJobs", pods: 1, late: jobSetStartsLateAndRestarts,
			members: `
spec:
  startupPolicy: {startupPolicyOrder: InOrder}
  failurePolicy: {maxRestarts: 1}
  replicatedJobs: [{name: first, template: ` + jobTemplate + `}, {name: second, template: ` + jobTemplate + `}]`,
		},
		"TrainJob": {
			heldReason: "Suspended", pods: 4,
			needs: `
apiVersion: trainer.kubeflow.org/v1alpha1
kind: ClusterTrainingRuntime
metadata: {name: torch-distributed, labels: {trainer.kubeflow.org/framework: torch}}
spec:
  mlPolicy: {numNodes: 1}
  template:
    metadata: {annotations: NOTES}
    spec:
      replicatedJobs:
      - name: node
        template:
          metadata: {labels: {trainer.kubeflow.org/trainjob-ancestor-step: trainer}, annotations: NOTES}
          spec: {template: {metadata: {annotations: NOTES}, spec: {containers: [{name: node, image: work}]}}}`,
		},
		"MPIJob": {
			heldReason: "MPIJobSuspended", pods: 3, late: replacesAWorker,
			members: `
spec: {mpiReplicaSpecs: {Launcher: {replicas: 1, template: ` + podTemplate + `}, Worker: {replicas: 2, template: ` + podTemplate + `}}}`,
		},
		"RayJob": {
			heldReason: "Suspended", heldAt: []string{"status", "jobDeploymentStatus"}, pods: 5, late: submits,
			// Of the pods of its RayCluster, Gridlatch does not know to which RayJob they belong: see docs/engines.md.
			members: `
spec: {submitterPodTemplate: {metadata: {annotations: NOTES}, spec: {restartPolicy: Never, containers: [{name: submit, image: work}]}}}`,
		},
		"SparkApplication": {
			heldReason: "SUSPENDED", heldAt: []string{"status", "applicationState", "state"}, pods: 1, late: driverMakesAnExecutor,
			members: `
spec: {driver: {annotations: NOTES}}`,
		},
		"Workflow": {
			heldReason: "Running", heldAt: []string{"status", "phase"}, pods: 2, ends: true,
			members: `
spec:
  podMetadata: {annotations: NOTES}
  entrypoint: steps
  templates:
  - {name: steps, steps: [[{name: first, template: main}], [{name: second, template: main}]]}
  - {name: main, container: {image: work, command: [work]}}`,
		},
		"PipelineRun": {
			heldReason: "PipelineRunPending", pods: 2, ends: true,
			needs: `
apiVersion: tekton.dev/v1
kind: Pipeline
metadata: {name: build}
spec: {tasks: ` + twoTasks + `}`,
		},
		"TaskRun": {
			heldReason: "TaskRunPending", pods: 1, ends: true,
			needs: `
apiVersion: tekton.dev/v1
kind: Task
metadata: {name: scan}
spec: {steps: [{name: work, image: work, command: [work]}]}`,
		},
	}
}

// jobSetStartsLateAndRestarts waits for the second Job, which starts after the first, and then lets the first fail.
func jobSetStartsLateAndRestarts(t *testing.T, s *wholeSite, ns string) {
	t.Helper()
	awaitPodOf := func(want client.MatchingLabels) corev1.Pod {
		var pods corev1.PodList
		env.Eventually(t, 2*patience, func(ctx context.Context) error {
			if err := s.c.Client.List(ctx, &pods, client.InNamespace(ns), want); err != nil {
				return err
			}
			if len(pods.Items) != 1 || pods.Items[0].Spec.NodeName == "" {
				return fmt.Errorf("%d pods of %v, or without a node, want 1", len(pods.Items), want)
			}
			return nil
		})
		return pods.Items[0]
	}
	awaitPodOf(client.MatchingLabels{batchv1.JobNameLabel: "work-second-0"})
	first := awaitPodOf(client.MatchingLabels{batchv1.JobNameLabel: "work-first-0"})
	failed := client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Failed"}}`))
	if err := s.c.Client.Status().Patch(t.Context(), &first, failed); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"work-first-0", "work-second-0"} {
		awaitPodOf(client.MatchingLabels{batchv1.JobNameLabel: name, door.RestartLabel: "1"})
	}
}

// submits waits for the Job that submits the work to the cluster of Ray.
func submits(t *testing.T, s *wholeSite, ns string) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := s.c.Client.List(ctx, &pods, client.InNamespace(ns), client.MatchingLabels{batchv1.JobNameLabel: "work"}); err != nil {
			return err
		}
		if len(pods.Items) == 0 {
			return errors.New("nothing submits the work")
		}
		return nil
	})
}

// replacesAWorker deletes a worker, which the engine makes again.
func replacesAWorker(t *testing.T, s *wholeSite, ns string) {
	t.Helper()
	worker := pod(ns, "work-worker-0", nil)
	remove(t, s.c, worker, metav1.DeletePropagationBackground)
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		again := pod(ns, worker.Name, nil)
		if err := s.c.Client.Get(ctx, client.ObjectKeyFromObject(again), again); err != nil {
			return err
		}
		if again.DeletionTimestamp != nil || again.Spec.NodeName == "" {
			return fmt.Errorf("the worker is not back: %v", again.Annotations)
		}
		return nil
	})
}

// driverMakesAnExecutor makes an executor as the driver would, which is a pod of no use here.
func driverMakesAnExecutor(t *testing.T, s *wholeSite, ns string) {
	t.Helper()
	driver := awaitPodCount(t, s.c, ns, 1)[0]
	executor := memberOf(&driver, "executor", tolerant())
	executor.Labels = map[string]string{door.SparkRoleLabel: door.SparkExecutor}
	create(t, s.c, executor)
	awaitStarted(t, s.c, executor)
}
