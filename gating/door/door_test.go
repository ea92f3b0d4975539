package door

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// content reads the YAML of an object as the API server has the object.
func content(t *testing.T, text string) map[string]any {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &object); err != nil {
		t.Fatal(err)
	}
	return object
}

// doorOf returns the door of a kind by the name of the kind.
func doorOf(t *testing.T, kind string) *Door {
	t.Helper()
	for _, d := range All() {
		if d.Kind.Kind == kind {
			return &d
		}
	}
	t.Fatalf("no door of %s", kind)
	return nil
}

func TestEveryDoorIsWhole(t *testing.T) {
	seen := map[schema.GroupKind]bool{}
	for _, d := range All() {
		t.Run(d.Kind.Kind, func(t *testing.T) {
			if seen[d.Kind.GroupKind()] || Of(d.Kind.GroupKind()).Kind != d.Kind {
				t.Error("it is not found by its kind, or comes twice")
			}
			seen[d.Kind.GroupKind()] = true
			if d.Engine == "" || d.Component == "" || d.Resource == "" || len(d.Field) < 2 || d.Pods == nil || d.IsOver == nil || (d.ReleaseLabel == "") != (d.MinRelease == "") {
				t.Errorf("something is missing: %+v", d)
			}
			if d.Pods(nil) < 1 || d.IsOver(nil) || d.IsClosed(nil) || d.IsSet(nil) || d.ManagedBy(nil) != "" || d.CheckTypes(nil) != nil {
				t.Error("an empty object is not read as one")
			}
		})
	}
}

func TestWhetherADoorIsClosed(t *testing.T) {
	for name, tt := range map[string]struct {
		kind, object string
		closed, set  bool
		wrong        string
	}{
		"suspended":                          {"JobSet", `spec: {suspend: true}`, true, true, ""},
		"not suspended":                      {"JobSet", `spec: {suspend: false}`, false, false, ""},
		"null":                               {"JobSet", `spec: {suspend: null}`, false, false, ""},
		"without a spec":                     {"JobSet", `spec: null`, false, false, ""},
		"of another type":                    {"JobSet", `spec: {suspend: "true"}`, false, true, "spec.suspend: want a bool"},
		"suspended in its policy":            {"MPIJob", `spec: {runPolicy: {suspend: true}}`, true, true, ""},
		"with a policy that is no object":    {"MPIJob", `spec: {runPolicy: 7}`, false, true, ""},
		"pending":                            {"TaskRun", `spec: {status: TaskRunPending}`, true, true, ""},
		"cancelled":                          {"TaskRun", `spec: {status: TaskRunCancelled}`, false, true, ""},
		"with the word of another kind":      {"TaskRun", `spec: {status: PipelineRunPending}`, false, true, ""},
		"with an empty word":                 {"PipelineRun", `spec: {status: ""}`, false, false, ""},
		"with a limit that is no number":     {"Workflow", `spec: {activeDeadlineSeconds: "1h"}`, false, false, "spec.activeDeadlineSeconds: want a whole number"},
		"with a limit that is half a second": {"Workflow", `spec: {activeDeadlineSeconds: 0.5}`, false, false, "spec.activeDeadlineSeconds: want a whole number"},
		"with a manager that is a list":      {"RayJob", `spec: {managedBy: [x]}`, false, false, "spec.managedBy: want a string"},
	} {
		t.Run(name, func(t *testing.T) {
			d, object := doorOf(t, tt.kind), content(t, tt.object)
			wrong := ""
			if err := d.CheckTypes(object); err != nil {
				wrong = err.Error()
			}
			if d.IsClosed(object) != tt.closed || d.IsSet(object) != tt.set || wrong != tt.wrong {
				t.Errorf("closed %t, set %t, %q", d.IsClosed(object), d.IsSet(object), wrong)
			}
		})
	}
}

func TestWhatIsNotHeld(t *testing.T) {
	for name, tt := range map[string]struct{ kind, object, want string }{
		"a RayJob that shuts down":            {"RayJob", `spec: {shutdownAfterJobFinishes: true, clusterSelector: {}}`, ""},
		"a RayJob that keeps its cluster":     {"RayJob", `spec: {}`, "KubeRay suspends only a RayJob with spec.shutdownAfterJobFinishes: true"},
		"a RayJob that says so":               {"RayJob", `spec: {shutdownAfterJobFinishes: false}`, "KubeRay suspends only a RayJob with spec.shutdownAfterJobFinishes: true"},
		"a RayJob in the cluster of others":   {"RayJob", `spec: {shutdownAfterJobFinishes: true, clusterSelector: {a: b}}`, "KubeRay does not suspend a RayJob with spec.clusterSelector"},
		"a RayJob that somebody waits for":    {"RayJob", `spec: {shutdownAfterJobFinishes: true, submissionMode: InteractiveMode}`, "its spec.submissionMode is InteractiveMode, so that somebody waits for it"},
		"a RayJob by HTTP":                    {"RayJob", `spec: {shutdownAfterJobFinishes: true, submissionMode: HTTPMode}`, ""},
		"a Workflow":                          {"Workflow", `spec: {activeDeadlineSeconds: 60}`, ""},
		"a Workflow with locks":               {"Workflow", `spec: {synchronization: {mutexes: [{name: x}]}}`, "it would keep the locks of its spec.synchronization while it waits"},
		"a Workflow with locks that are null": {"Workflow", `spec: {synchronization: null}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, doorOf(t, tt.kind).Refusal(content(t, tt.object))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHowManyPodsThereAreAtFirst(t *testing.T) {
	for name, tt := range map[string]struct {
		kind, object string
		want         int
	}{
		"of all Jobs of a JobSet":         {"JobSet", `spec: {replicatedJobs: [{replicas: 2, template: {spec: {parallelism: 3}}}, {}, {template: {spec: {parallelism: 9, completions: 4}}}]}`, 11},
		"of a JobSet without Jobs":        {"JobSet", `spec: {replicatedJobs: 7}`, 1},
		"of a TrainJob":                   {"TrainJob", `spec: {trainer: {numNodes: 5}}`, 5},
		"of an MPIJob":                    {"MPIJob", `spec: {mpiReplicaSpecs: {Launcher: {}, Worker: {replicas: 4}}}`, 5},
		"of an MPIJob without workers":    {"MPIJob", `spec: {mpiReplicaSpecs: {Launcher: {}, Worker: {}}}`, 1},
		"of a RayJob":                     {"RayJob", `spec: {rayClusterSpec: {workerGroupSpecs: [{replicas: 2, numOfHosts: 3}, {minReplicas: 1}, {replicas: 8, suspend: true}]}}`, 9},
		"of a RayJob by HTTP":             {"RayJob", `spec: {submissionMode: HTTPMode}`, 1},
		"of a SparkApplication":           {"SparkApplication", `spec: {executor: {instances: 4}}`, 5},
		"of one that grows":               {"SparkApplication", `spec: {dynamicAllocation: {enabled: true, initialExecutors: 3}, executor: {instances: 9}}`, 4},
		"of numbers that nobody can mean": {"JobSet", `spec: {replicatedJobs: [{replicas: 4000000000, template: {spec: {parallelism: 4000000000}}}]}`, maxPods},
	} {
		t.Run(name, func(t *testing.T) {
			if got := doorOf(t, tt.kind).Pods(content(t, tt.object)); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
}

func TestATimeLimitIsBounded(t *testing.T) {
	for text, want := range map[string]time.Duration{"3600": time.Hour, "-7": 0, "0": 0, "9223372036854775807": maxLimit * time.Second} {
		limit, ok := doorOf(t, "Workflow").TimeLimit(content(t, "spec: {activeDeadlineSeconds: "+text+"}"))
		if !ok || limit != want {
			t.Errorf("%s: %s, %t", text, limit, ok)
		}
	}
	stored := content(t, "{spec: {}, status: {storedWorkflowTemplateSpec: {activeDeadlineSeconds: 60}}}")
	if limit, ok := doorOf(t, "Workflow").TimeLimit(stored); !ok || limit != time.Minute {
		t.Errorf("of its template: %s, %t", limit, ok)
	}
	for kind, text := range map[string]string{"Workflow": "spec: {}", "JobSet": "spec: {activeDeadlineSeconds: 60}"} {
		if limit, ok := doorOf(t, kind).TimeLimit(content(t, text)); ok {
			t.Errorf("a %s with %s has the limit %s", kind, text, limit)
		}
	}
}

func TestATemplateLimitsTheTimeOfAHeldWorkflow(t *testing.T) {
	d := doorOf(t, "Workflow")
	for text, want := range map[string]time.Duration{
		`status: {storedWorkflowTemplateSpec: {activeDeadlineSeconds: 60}}`:                                      time.Minute,
		`{spec: {activeDeadlineSeconds: 30}, status: {storedWorkflowTemplateSpec: {activeDeadlineSeconds: 60}}}`: 30 * time.Second,
		`{spec: {activeDeadlineSeconds: 90}, status: {storedWorkflowTemplateSpec: {activeDeadlineSeconds: 60}}}`: time.Minute,
	} {
		if limit, ok := d.TimeLimit(content(t, text)); !ok || limit != want {
			t.Errorf("%s: %s, %t", text, limit, ok)
		}
	}
	if !d.KeepsLocks(content(t, `status: {storedWorkflowTemplateSpec: {synchronization: {mutexes: [{name: x}]}}}`)) || d.KeepsLocks(nil) || doorOf(t, "JobSet").KeepsLocks(nil) {
		t.Error("the locks of the template are not read")
	}
}

func TestAnOlderEngineWouldIgnoreTheDoor(t *testing.T) {
	for name, tt := range map[string]struct{ kind, spec, want string }{
		"that has the field":           {"SparkApplication", `versions: [{name: v1beta2, schema: {openAPIV3Schema: {properties: {spec: {properties: {suspend: {type: boolean}}}}}}}]`, ""},
		"that does not have the field": {"SparkApplication", `versions: [{name: v1beta2, schema: {openAPIV3Schema: {properties: {spec: {properties: {mode: {}}}}}}}]`, "the installed version of Spark Operator does not know the field spec.suspend of SparkApplications"},
		"that has the field in another version only": {
			"SparkApplication", `versions: [{name: v1, schema: {openAPIV3Schema: {properties: {spec: {properties: {suspend: {}}}}}}}, {name: v1beta2, schema: {openAPIV3Schema: {}}}]`,
			"the installed version of Spark Operator does not know the field spec.suspend of SparkApplications",
		},
		"that does not have a deeper field":              {"MPIJob", `versions: [{name: v2beta1, schema: {openAPIV3Schema: {properties: {spec: {x-kubernetes-preserve-unknown-fields: true, properties: {runPolicy: {properties: {}}}}}}}}]`, "the installed version of MPI Operator does not know the field spec.runPolicy.suspend of MPIJobs"},
		"that keeps all fields":                          {"Workflow", `versions: [{name: v1alpha1, schema: {openAPIV3Schema: {properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}]`, ""},
		"that keeps all fields, in the way of long ago":  {"Workflow", `{preserveUnknownFields: true, versions: [{name: v1alpha1, schema: {openAPIV3Schema: {}}}]}`, ""},
		"that says nothing of fields":                    {"Workflow", `versions: [{name: v1alpha1}]`, ""},
		"that does not have the version, and is no list": {"Workflow", `versions: 7`, ""},
	} {
		t.Run("a definition "+name, func(t *testing.T) {
			spec := content(t, tt.spec)
			if diff := cmp.Diff(tt.want, doorOf(t, tt.kind).WhyIgnored(map[string]any{"spec": spec})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnOlderEngineWouldRefuseTheObject(t *testing.T) {
	for release, want := range map[string]string{
		"v1.11.0": "", "v1.15.2": "", "v2.0.0": "",
		"v1.9.3": "Tekton before v1.11.0 refuses a TaskRun that waits, and v1.9.3 is installed",
		"devel":  "the version of Tekton is not known: its CustomResourceDefinition has no version in the label pipeline.tekton.dev/release",
		"":       "the version of Tekton is not known: its CustomResourceDefinition has no version in the label pipeline.tekton.dev/release",
	} {
		definition := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"pipeline.tekton.dev/release": release}}}
		if diff := cmp.Diff(want, doorOf(t, "TaskRun").WhyTooOld(definition)); diff != "" {
			t.Errorf("%s: %s", release, diff)
		}
		if why := doorOf(t, "PipelineRun").WhyTooOld(definition); why != "" {
			t.Errorf("a PipelineRun: %s", why)
		}
	}
}
