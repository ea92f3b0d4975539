package door

import (
	"math"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// maxPods bounds how many pods an object can claim to run.
const maxPods = 1 << 20

// number returns a function that reads a number at a path. Without the number, it returns otherwise.
func number(otherwise int, path ...string) func(map[string]any) int {
	return func(content map[string]any) int { return numberAt(content, otherwise, path...) }
}

// numberAt reads a number from 0 to maxPods. Without such a number, it returns otherwise.
func numberAt(content map[string]any, otherwise int, path ...string) int {
	if len(path) == 0 {
		return otherwise
	}
	value, found, err := unstructured.NestedFieldNoCopy(content, path...)
	if err != nil || !found {
		return otherwise
	}
	switch n := value.(type) {
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
	value, _, _ := unstructured.NestedFieldNoCopy(content, path...)
	list, _ := value.([]any)
	for _, item := range list {
		if object, ok := item.(map[string]any); ok {
			f(object)
		}
	}
}

func podsOfJobSet(content map[string]any) int {
	pods := 0
	eachIn(content, func(jobs map[string]any) {
		pods += numberAt(jobs, 1, "replicas") * numberAt(jobs, 1, "template", "spec", "parallelism")
	}, "spec", "replicatedJobs")
	return bounded(pods)
}

func podsOfMPIJob(content map[string]any) int {
	value, _, _ := unstructured.NestedFieldNoCopy(content, "spec", "mpiReplicaSpecs")
	roles, _ := value.(map[string]any)
	pods := 0
	for _, role := range roles {
		if object, ok := role.(map[string]any); ok {
			pods += numberAt(object, 1, "replicas")
		}
	}
	return bounded(pods)
}

func podsOfRayJob(content map[string]any) int {
	pods := 1 // the head
	eachIn(content, func(workers map[string]any) { pods += numberAt(workers, 0, "replicas") }, "spec", "rayClusterSpec", "workerGroupSpecs")
	return bounded(pods)
}

func podsOfSparkApplication(content map[string]any) int {
	return bounded(1 + numberAt(content, 1, "spec", "executor", "instances")) // the driver, and its executors
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

// refuseRayJob says why KubeRay refuses a RayJob that is suspended.
func refuseRayJob(content map[string]any) string {
	if shutsDown, _, _ := unstructured.NestedBool(content, "spec", "shutdownAfterJobFinishes"); !shutsDown {
		return "KubeRay suspends only a RayJob with spec.shutdownAfterJobFinishes: true"
	}
	if selector, found, _ := unstructured.NestedFieldNoCopy(content, "spec", "clusterSelector"); found && selector != nil {
		return "KubeRay cannot suspend a RayJob with spec.clusterSelector"
	}
	return ""
}
