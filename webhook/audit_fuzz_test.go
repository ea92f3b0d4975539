package webhook

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// randomObject returns an object of a kind that asks to wait. Whatever can be on an object that Gridlatch
// reads or writes may be there, with a good value or a bad one.
func randomObject(r *rand.Rand) (kind string, object map[string]any) {
	kinds := []string{"Pod", "Job", "JobSet", "RayJob", "Workflow", "PipelineRun", "TaskRun", "MPIJob", "SparkApplication", "TrainJob"}
	kind = kinds[r.IntN(len(kinds))]
	if r.IntN(2) == 0 {
		kind = kinds[r.IntN(2)]
	}
	object = map[string]any{"metadata": randomMeta(r, true), "spec": randomSpec(r, kind)}
	return kind, object
}

func randomMeta(r *rand.Rand, asks bool) map[string]any {
	values := []string{"", "true", "false", "1h", "8h", "low", "200", "default", "gone", "X", "Y", "suspend", "gate", "kueue", "strict", "held", "released", "audited", v1alpha1.Gate, t0.Format(time.RFC3339), "waits"}
	value := func() any { return values[r.IntN(len(values))] }
	labels, annotations := map[string]any{}, map[string]any{}
	for _, key := range append(append(policy.AskKeys(), policy.WrittenKeys()...), hold.KueueGatesAnnotation, "example.com/x", "helm.sh/hook") {
		if r.IntN(4) == 0 {
			annotations[key] = value()
		}
	}
	for _, key := range []string{v1alpha1.StateLabel, hold.KueueQueueLabel, "kueue.x-k8s.io/podset", "app", "dag_id", v1alpha1.DelayTolerantAnnotation, "runner-pod"} {
		if r.IntN(5) == 0 {
			labels[key] = value()
		}
	}
	if asks {
		annotations[v1alpha1.DelayTolerantAnnotation] = "true"
	}
	meta := map[string]any{"name": "x", "annotations": annotations}
	if len(labels) > 0 || r.IntN(2) == 0 {
		meta["labels"] = labels
	}
	if owners := []string{"Job", "CronJob", "JobSet", "PyTorchJob", "PipelineRun"}; asks && r.IntN(3) == 0 {
		group := map[string]string{"Job": "batch/v1", "CronJob": "batch/v1", "JobSet": "jobset.x-k8s.io/v1alpha2", "PyTorchJob": "kubeflow.org/v1", "PipelineRun": "tekton.dev/v1"}
		owner := owners[r.IntN(len(owners))]
		meta["ownerReferences"] = []any{map[string]any{"apiVersion": group[owner], "kind": owner, "name": "o", "uid": "o", "controller": r.IntN(3) > 0}}
	}
	return meta
}

func randomSpec(r *rand.Rand, kind string) map[string]any {
	spec := map[string]any{}
	if kind == "Job" {
		spec["template"] = map[string]any{"metadata": randomMeta(r, false), "spec": randomPodSpec(r)}
	}
	if kind != "Pod" {
		for key, value := range map[string]any{"suspend": r.IntN(2) == 0, "activeDeadlineSeconds": int64(600), "parallelism": int64(r.IntN(3)), "managedBy": "example.com/x", "shutdownAfterJobFinishes": true, "status": "PipelineRunPending"} {
			if r.IntN(4) == 0 {
				spec[key] = value
			}
		}
		return spec
	}
	return randomPodSpec(r)
}

func randomPodSpec(r *rand.Rand) map[string]any {
	spec := map[string]any{"containers": []any{map[string]any{"name": "c", "resources": map[string]any{"requests": map[string]any{"cpu": "1"}}}}}
	var gates []any
	for _, gate := range []string{v1alpha1.Gate, "example.com/gate", "kueue.x-k8s.io/admission"} {
		if r.IntN(3) == 0 {
			gates = append(gates, map[string]any{"name": gate})
		}
	}
	if gates != nil {
		spec["schedulingGates"] = gates
	}
	if r.IntN(3) == 0 {
		spec["affinity"] = map[string]any{"nodeAffinity": map[string]any{}}
	}
	if r.IntN(5) == 0 {
		spec["nodeName"] = "n"
	}
	if r.IntN(5) == 0 {
		spec["nodeSelector"] = map[string]any{v1alpha1.CarbonStatusKey: v1alpha1.LowIntensity}
	}
	if r.IntN(2) == 0 {
		spec["restartPolicy"] = []string{"Always", "Never", "OnFailure"}[r.IntN(3)]
	}
	return spec
}

// isMarkedClosed reports whether a random object says that Gridlatch has closed its door, which the loop
// then opens.
func isMarkedClosed(kind string, object map[string]any) bool {
	_, isMarked, _ := unstructured.NestedString(object, "metadata", "annotations", v1alpha1.HeldByAnnotation)
	return kind != "Pod" && isMarked
}

// asksForPolicy reports whether a random object names a policy.
func asksForPolicy(object map[string]any) bool {
	_, own, _ := unstructured.NestedString(object, "metadata", "annotations", v1alpha1.PolicyAnnotation)
	_, ofTemplate, _ := unstructured.NestedString(object, "spec", "template", "metadata", "annotations", v1alpha1.PolicyAnnotation)
	return own || ofTemplate
}

// FuzzAudit tries to have audited work held, changed or refused.
func FuzzAudit(f *testing.F) {
	for seed := range uint64(100) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		kind, object := randomObject(r)
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if isMarkedClosed(kind, object) {
			return // see TestADoorThatWeHadClosedIsOpenedAtOnce
		}
		for why, w := range auditors(t) {
			if why == byMode && asksForPolicy(object) {
				continue // another policy, or none that exists, may hold or refuse the work
			}
			checkAudit(t, w, kind, raw, true)
		}
	})
}

func TestOnlyAuditHoldsNothing(t *testing.T) {
	// the same objects are held without audit, so that FuzzAudit can fail
	held := map[string]int{}
	for seed := range uint64(5000) { // most have an annotation that cannot be read
		kind, object := randomObject(rand.New(rand.NewPCG(seed, 1)))
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		w := inWorld(t, v1alpha1.ModeEnforce, "")
		response := w.Handle(t.Context(), request(kind, raw))
		if response.PatchType != nil && *response.PatchType == admissionv1.PatchTypeJSONPatch && strings.Contains(string(response.Patch), `"/spec`) {
			if kind != "Pod" && kind != "Job" {
				kind = "others"
			}
			held[kind]++
		}
	}
	for _, kind := range []string{"Pod", "Job", "others"} {
		if held[kind] < 2 {
			t.Errorf("the spec of %d objects of kind %s is changed without audit, want more", held[kind], kind)
		}
	}
}
