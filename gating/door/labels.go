package door

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// These labels of other software say what belongs to a piece of work.
const (
	// SparkRoleLabel is Spark's label of its pods. The role of an executor is SparkExecutor.
	SparkRoleLabel = "spark-role"
	SparkExecutor  = "executor"
	// RestartLabel is JobSet's label of its Jobs. It counts how often the JobSet has restarted.
	RestartLabel = "jobset.sigs.k8s.io/restart-attempt"
	// PodGroupLabel is Kueue's label of pods that Kueue admits together.
	PodGroupLabel = "kueue.x-k8s.io/pod-group-name"
	// PipelineRunLabel and PipelineRunUIDLabel are Tekton's labels of all that belongs to a PipelineRun.
	PipelineRunLabel    = "tekton.dev/pipelineRun"
	PipelineRunUIDLabel = "tekton.dev/pipelineRunUID"
)

// IsKnownLabel reports whether Gridlatch reads a label of other software to learn what belongs to a piece
// of work.
func IsKnownLabel(key string) bool {
	switch key {
	case SparkRoleLabel, RestartLabel, PodGroupLabel, PipelineRunLabel, PipelineRunUIDLabel:
		return true
	default:
		return false
	}
}

// PodGroupKind stands for the kind of a pod group of Kueue, which is no object of its own.
const PodGroupKind = "pod group"

// LabelledOwner returns a reference to the piece of work that the labels of a pod name: a pod group of
// Kueue, or a PipelineRun of Tekton. The result is nil if the labels name none. The UID of a pod group is
// its name, after the key of the label.
func LabelledOwner(labels map[string]string) *metav1.OwnerReference {
	if name := labels[PodGroupLabel]; name != "" {
		return &metav1.OwnerReference{Kind: PodGroupKind, Name: name, UID: PodGroupLabel + "/" + types.UID(name)}
	}
	if uid := labels[PipelineRunUIDLabel]; uid != "" {
		return &metav1.OwnerReference{APIVersion: "tekton.dev/v1", Kind: "PipelineRun", Name: labels[PipelineRunLabel], UID: types.UID(uid)}
	}
	return nil
}

// IsPodGroup reports whether a UID is the one that LabelledOwner gives a pod group.
func IsPodGroup(uid types.UID) bool { return strings.HasPrefix(string(uid), PodGroupLabel+"/") }
