package door

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The words by which Tekton keeps a run from starting.
const (
	pipelineRunPending = "PipelineRunPending"
	taskRunPending     = "TaskRunPending"
)

// All returns the kinds that have a door, by engine.
func All() []Door {
	return []Door{
		{
			Kind: schema.GroupVersionKind{Group: "jobset.x-k8s.io", Version: "v1alpha2", Kind: "JobSet"}, Resource: "jobsets", PodLabel: "jobset.sigs.k8s.io/jobset-name",
			Engine: "JobSet", Component: "jobset", Field: []string{"spec", "suspend"}, Closed: true, Open: false, WritesChildren: true, CanPause: true, KueueAdmits: true,
			Manager: []string{"spec", "managedBy"}, Managers: []string{"jobset.sigs.k8s.io/jobset-controller"},
			Pods: podsOfJobSet, IsOver: hasWord("Completed", "Failed")("status", "terminalState"),
		},
		{
			Kind: schema.GroupVersionKind{Group: "trainer.kubeflow.org", Version: "v1alpha1", Kind: "TrainJob"}, Resource: "trainjobs", PodLabel: "jobset.sigs.k8s.io/jobset-name",
			Engine: "Kubeflow Trainer", Component: "trainer", Field: []string{"spec", "suspend"}, Closed: true, Open: false, WritesChildren: true, CanPause: true, KueueAdmits: true,
			Manager: []string{"spec", "managedBy"}, Managers: []string{"trainer.kubeflow.org/trainjob-controller"},
			Child: schema.GroupKind{Group: "jobset.x-k8s.io", Kind: "JobSet"},
			Pods:  number(1, "spec", "trainer", "numNodes"), IsOver: hasCondition("Complete", "Failed"),
		},
		{
			Kind: schema.GroupVersionKind{Group: "kubeflow.org", Version: "v2beta1", Kind: "MPIJob"}, Resource: "mpijobs", PodLabel: "training.kubeflow.org/job-name",
			Engine: "MPI Operator", Component: "mpi", Field: []string{"spec", "runPolicy", "suspend"}, Closed: true, Open: false, WritesChildren: true, CanPause: true, HasServingPods: true, KueueAdmits: true,
			Manager: []string{"spec", "runPolicy", "managedBy"}, Managers: []string{"kubeflow.org/mpi-operator"},
			Pods: podsOfMPIJob, IsOver: hasCondition("Succeeded", "Failed"),
		},
		{
			Kind: schema.GroupVersionKind{Group: "ray.io", Version: "v1", Kind: "RayJob"}, Resource: "rayjobs", PodLabel: "ray.io/cluster", PodLabelValue: []string{"status", "rayClusterName"},
			Engine: "KubeRay", Component: "ray", Field: []string{"spec", "suspend"}, Closed: true, Open: false, WritesChildren: true, HasServingPods: true, KueueAdmits: true,
			Manager: []string{"spec", "managedBy"}, Managers: []string{"ray.io/kuberay-operator"},
			Needs:   [][]string{{"spec", "shutdownAfterJobFinishes"}, {"spec", "clusterSelector"}, {"spec", "submissionMode"}},
			Refusal: refuseRayJob, Pods: podsOfRayJob, IsOver: hasWord("Complete", "Failed", "ValidationFailed")("status", "jobDeploymentStatus"),
		},
		{
			Kind: schema.GroupVersionKind{Group: "sparkoperator.k8s.io", Version: "v1beta2", Kind: "SparkApplication"}, Resource: "sparkapplications", PodLabel: "sparkoperator.k8s.io/app-name",
			Engine: "Spark Operator", Component: "spark", Field: []string{"spec", "suspend"}, Closed: true, Open: false, KueueAdmits: true,
			Pods: podsOfSparkApplication, IsOver: hasWord("COMPLETED", "FAILED")("status", "applicationState", "state"),
		},
		{
			Kind: schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: "Workflow"}, Resource: "workflows", PodLabel: "workflows.argoproj.io/workflow",
			Engine: "Argo Workflows", Component: "argo-workflows", Field: []string{"spec", "suspend"}, Closed: true,
			Limit:       []string{"spec", "activeDeadlineSeconds"},
			StoredLimit: []string{"status", "storedWorkflowTemplateSpec", "activeDeadlineSeconds"}, StoredLocks: []string{"status", "storedWorkflowTemplateSpec", "synchronization"},
			Needs: [][]string{{"spec", "synchronization"}}, Refusal: refuseWorkflow,
			Pods: number(1), IsOver: hasWord("Succeeded", "Failed", "Error")("status", "phase"),
		},
		{
			Kind: schema.GroupVersionKind{Group: "tekton.dev", Version: "v1", Kind: "PipelineRun"}, Resource: "pipelineruns", PodLabel: PipelineRunLabel,
			Engine: "Tekton", Component: "tekton", Field: []string{"spec", "status"}, Closed: pipelineRunPending, WritesChildren: true,
			Manager: []string{"spec", "managedBy"}, Managers: []string{"tekton.dev/pipeline"},
			Pods: number(1), IsOver: hasEnded("Succeeded"),
		},
		{
			Kind: schema.GroupVersionKind{Group: "tekton.dev", Version: "v1", Kind: "TaskRun"}, Resource: "taskruns", PodLabel: "tekton.dev/taskRun",
			Engine: "Tekton", Component: "tekton", Field: []string{"spec", "status"}, Closed: taskRunPending,
			ReleaseLabel: "pipeline.tekton.dev/release", MinRelease: "v1.11.0",
			Manager: []string{"spec", "managedBy"}, Managers: []string{"tekton.dev/pipeline"},
			Pods: number(1), IsOver: hasEnded("Succeeded"),
		},
	}
}
