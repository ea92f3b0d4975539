package gating

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// object is the part of a pod or Job that a patch of ours may name. The UID
// makes it fail on another object of the same name.
type object struct {
	Metadata objectMeta `json:"metadata"`
	Spec     *podSpec   `json:"spec,omitempty"`
}

type objectMeta struct {
	UID         types.UID          `json:"uid,omitempty"`
	Labels      map[string]string  `json:"labels,omitempty"`
	Annotations map[string]*string `json:"annotations,omitempty"`
}

type podSpec struct {
	SchedulingGates []dropGate `json:"schedulingGates"`
}

// dropGate deletes the one entry of that name from a list; other gates are
// not touched.
type dropGate struct {
	Patch string `json:"$patch"`
	Name  string `json:"name"`
}

// releasePod takes our gate off a pod, and says why.
func releasePod(pod metav1.Object, reason string) client.Patch {
	patch := releaseMetadata(pod, reason)
	patch.Spec = &podSpec{SchedulingGates: []dropGate{{Patch: "delete", Name: Gate}}}
	return patch.as(types.StrategicMergePatchType)
}

// releaseJob records on a Job that its pods are released.
func releaseJob(job metav1.Object, reason string) client.Patch {
	return releaseMetadata(job, reason).as(types.MergePatchType)
}

func releaseMetadata(o metav1.Object, reason string) object {
	return object{Metadata: objectMeta{
		UID:         o.GetUID(),
		Labels:      map[string]string{State: StateReleased},
		Annotations: map[string]*string{Reason: &reason, PlannedStart: nil},
	}}
}

// explain tells on a pod or Job until when and why it waits.
func explain(o metav1.Object, start, reason string) client.Patch {
	return object{Metadata: objectMeta{
		UID:         o.GetUID(),
		Annotations: map[string]*string{Reason: &reason, PlannedStart: &start},
	}}.as(types.MergePatchType)
}

// adopt makes a pod that has our gate known as held.
func adopt(pod *corev1.Pod) client.Patch {
	return object{Metadata: objectMeta{
		UID:    pod.UID,
		Labels: map[string]string{State: StateHeld},
	}}.as(types.MergePatchType)
}

// replaceStatus writes the whole of a status. A merge of what has changed would
// leave out the zeros, which the schema asks for, of a status that is new.
func replaceStatus(status v1alpha1.CarbonPolicyStatus) client.Patch {
	data, _ := json.Marshal([]map[string]any{{"op": "add", "path": "/status", "value": status}}) // of plain fields: no error is possible
	return client.RawPatch(types.JSONPatchType, data)
}

func (o object) as(kind types.PatchType) client.Patch {
	data, _ := json.Marshal(o) // of strings alone: no error is possible
	return client.RawPatch(kind, data)
}
