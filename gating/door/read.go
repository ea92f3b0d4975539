package door

import (
	"math"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// maxPods bounds how many pods an object can claim to run.
const maxPods = 1 << 20

// valueAt returns the value at a path, and nil without such a value or without a path.
func valueAt(content map[string]any, path []string) any {
	if len(path) == 0 {
		return nil
	}
	value, _, _ := unstructured.NestedFieldNoCopy(content, path...) // a parent may be no object
	return value
}

// number returns a function that reads a number at a path. Without the number, it returns otherwise.
func number(otherwise int, path ...string) func(map[string]any) int {
	return func(content map[string]any) int { return numberAt(content, otherwise, path...) }
}

// numberAt reads a number from 0 to maxPods. Without such a number, it returns otherwise.
func numberAt(content map[string]any, otherwise int, path ...string) int {
	switch n := valueAt(content, path).(type) {
	case int64:
		return int(max(0, min(n, maxPods)))
	case float64: // of a reader that knows no integers
		if math.IsNaN(n) {
			return otherwise
		}
		return int(max(0, min(n, maxPods)))
	default:
		return otherwise
	}
}

// eachIn calls f for each object of the list at a path.
func eachIn(content map[string]any, f func(map[string]any), path ...string) {
	list, _ := valueAt(content, path).([]any)
	for _, item := range list {
		if object, ok := item.(map[string]any); ok {
			f(object)
		}
	}
}

func podsOfJobSet(content map[string]any) int {
	pods := 0
	eachIn(content, func(jobs map[string]any) {
		parallelism := numberAt(jobs, 1, "template", "spec", "parallelism")
		pods += numberAt(jobs, 1, "replicas") * min(parallelism, numberAt(jobs, parallelism, "template", "spec", "completions"))
	}, "spec", "replicatedJobs")
	return bounded(pods)
}

func podsOfMPIJob(content map[string]any) int {
	launchers := numberAt(content, 1, "spec", "mpiReplicaSpecs", "Launcher", "replicas")
	return bounded(launchers + numberAt(content, 0, "spec", "mpiReplicaSpecs", "Worker", "replicas"))
}

func podsOfRayJob(content map[string]any) int {
	pods := 1 // the head
	if mode := valueAt(content, []string{"spec", "submissionMode"}); mode == nil || mode == "" || mode == "K8sJobMode" {
		pods++ // the submitter
	}
	eachIn(content, func(workers map[string]any) {
		if workers["suspend"] != true {
			pods += numberAt(workers, numberAt(workers, 0, "minReplicas"), "replicas") * numberAt(workers, 1, "numOfHosts")
		}
	}, "spec", "rayClusterSpec", "workerGroupSpecs")
	return bounded(pods)
}

func podsOfSparkApplication(content map[string]any) int {
	executors := numberAt(content, 1, "spec", "executor", "instances")
	if valueAt(content, []string{"spec", "dynamicAllocation", "enabled"}) == true {
		executors = numberAt(content, numberAt(content, 1, "spec", "dynamicAllocation", "minExecutors"), "spec", "dynamicAllocation", "initialExecutors")
	}
	return bounded(1 + executors) // and the driver
}

// bounded returns a number of pods from 1 to maxPods.
func bounded(pods int) int { return max(1, min(pods, maxPods)) }

// hasWord returns a function that, for a path, returns a function that reports whether one of the words is
// there.
func hasWord(words ...string) func(path ...string) func(map[string]any) bool {
	return func(path ...string) func(map[string]any) bool {
		return func(content map[string]any) bool {
			word, _, err := unstructured.NestedString(content, path...)
			return err == nil && slices.Contains(words, word)
		}
	}
}

// hasCondition returns a function that reports whether one of the conditions is true.
func hasCondition(types ...string) func(map[string]any) bool {
	return func(content map[string]any) bool {
		return slices.ContainsFunc(types, func(name string) bool { return conditionStatus(content, name) == "True" })
	}
}

// hasEnded returns a function that reports whether a condition is true or false, and not unknown.
func hasEnded(name string) func(map[string]any) bool {
	return func(content map[string]any) bool {
		status := conditionStatus(content, name)
		return status == "True" || status == "False"
	}
}

func conditionStatus(content map[string]any, name string) (status string) {
	eachIn(content, func(c map[string]any) {
		if c["type"] == name {
			status, _ = c["status"].(string)
		}
	}, "status", "conditions")
	return status
}

// refuseRayJob says why a RayJob is not held. KubeRay fails for good a RayJob that is suspended
// against its rules.
func refuseRayJob(content map[string]any) string {
	selector, _ := valueAt(content, []string{"spec", "clusterSelector"}).(map[string]any)
	switch {
	case len(selector) > 0:
		return "KubeRay does not suspend a RayJob with spec.clusterSelector"
	case valueAt(content, []string{"spec", "submissionMode"}) == "InteractiveMode":
		return "its spec.submissionMode is InteractiveMode, so that somebody waits for it"
	case valueAt(content, []string{"spec", "shutdownAfterJobFinishes"}) != true:
		return "KubeRay suspends only a RayJob with spec.shutdownAfterJobFinishes: true"
	default:
		return ""
	}
}

// refuseWorkflow says why a Workflow is not held. Argo Workflows takes the locks of a suspended
// Workflow before it looks at the suspend.
func refuseWorkflow(content map[string]any) string {
	if valueAt(content, []string{"spec", "synchronization"}) != nil {
		return "it would keep the locks of its spec.synchronization while it waits"
	}
	return ""
}
