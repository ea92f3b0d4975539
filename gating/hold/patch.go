package hold

import (
	"encoding/json"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// PatchTarget returns what names an object to be patched. What the API server answers is its
// metadata only, which costs little.
func PatchTarget(kind schema.GroupVersionKind, o metav1.Object) *metav1.PartialObjectMetadata {
	target := policy.NewMetadata(kind)
	target.Namespace, target.Name = o.GetNamespace(), o.GetName()
	return target
}

// NotesPatch writes annotations on a pod or Job.
func NotesPatch(o metav1.Object, notes map[string]string) client.Patch {
	annotations := make(map[string]*string, len(notes))
	for key, value := range notes {
		annotations[key] = &value
	}
	return object{Metadata: objectMeta{UID: o.GetUID(), Annotations: annotations}}.patch(types.MergePatchType)
}

// AdoptPatch writes the label that says that a pod or Job is held.
func AdoptPatch(o metav1.Object) client.Patch {
	return object{Metadata: objectMeta{
		UID:    o.GetUID(),
		Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld},
	}}.patch(types.MergePatchType)
}

// suspendPatch suspends a Job that exists already, and fails if the Job has changed since it was
// read.
func suspendPatch(job *batchv1.Job, notes map[string]string) client.Patch {
	annotations := make(map[string]any, len(notes)+1)
	for key, value := range notes {
		annotations[key] = value
	}
	for _, key := range append(pauseKeys(), v1alpha1.OutcomeAnnotation) { // what was promised before counts no more
		if _, ok := job.Annotations[key]; ok {
			annotations[key] = nil
		}
	}
	data, _ := json.Marshal(map[string]any{ // of strings and booleans alone: no error is possible
		"metadata": map[string]any{
			"uid": job.UID, "resourceVersion": job.ResourceVersion,
			"labels": map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}, "annotations": annotations,
		},
		"spec": map[string]any{"suspend": true},
	})
	return client.RawPatch(types.MergePatchType, data)
}

// object has the fields of a pod or Job that a patch may change. With a UID, the patch fails on
// another object of the same name.
type object struct {
	Metadata objectMeta `json:"metadata"`
	Spec     *podSpec   `json:"spec,omitempty"`
}

type objectMeta struct {
	UID types.UID `json:"uid,omitempty"`
	// ResourceVersion makes the patch fail on an object that has changed.
	ResourceVersion string             `json:"resourceVersion,omitempty"`
	Labels          map[string]string  `json:"labels,omitempty"`
	Annotations     map[string]*string `json:"annotations,omitempty"` // nil deletes one
}

type podSpec struct {
	SchedulingGates []dropGate       `json:"schedulingGates"`
	Affinity        *corev1.Affinity `json:"affinity,omitempty"`
}

// dropGate deletes the gate with a name from a list, and leaves the other gates.
type dropGate struct {
	Patch string `json:"$patch"`
	Name  string `json:"name"`
}

func (o object) patch(kind types.PatchType) client.Patch {
	data, _ := json.Marshal(o) // of strings alone: no error is possible
	return client.RawPatch(kind, data)
}

// change is an operation of a JSON patch (RFC 6902).
type change struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

func jsonPatch(changes []change) client.Patch {
	data, _ := json.Marshal(changes) // of strings and booleans alone: no error is possible
	return client.RawPatch(types.JSONPatchType, data)
}

func annotationPath(key string) string { return "/metadata/annotations/" + escapePointer(key) }

// fieldPath returns the JSON pointer of a field.
func fieldPath(names []string) string {
	var path strings.Builder
	for _, name := range names {
		path.WriteString("/" + escapePointer(name))
	}
	return path.String()
}

// escapePointer makes a key part of a JSON pointer (RFC 6901).
func escapePointer(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
