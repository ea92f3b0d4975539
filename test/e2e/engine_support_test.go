package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/test/env"
)

// queueLabel is by what work names the queue of Kueue's that it waits in.
const queueLabel = "kueue.x-k8s.io/queue-name"

// object reads the one object in a text.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return o
}

// jobSet has a Job "first" and then a Job "second", of one pod each, and further
// fields of its spec. No node would do for the pods: they wait to be scheduled.
func jobSet(t *testing.T, ns, name string, fields string) *unstructured.Unstructured {
	t.Helper()
	const template = `{spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, nodeSelector: {is: nowhere}, containers: [{name: work, image: work}]}}}}`
	return object(t, fmt.Sprintf(`
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata: {namespace: %s, name: %s}
spec:
  %s
  replicatedJobs:
  - {name: first, template: %s}
  - {name: second, template: %s}
`, ns, name, fields, template, template))
}

// trainingRuntime makes a runtime for the TrainJobs of a namespace.
func trainingRuntime(t *testing.T, c *env.Cluster, ns string) {
	t.Helper()
	create(t, c, object(t, fmt.Sprintf(`
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainingRuntime
metadata: {namespace: %s, name: runtime, labels: {trainer.kubeflow.org/framework: torch}}
spec:
  template:
    spec:
      replicatedJobs:
      - name: node
        template:
          metadata: {labels: {trainer.kubeflow.org/trainjob-ancestor-step: trainer}}
          spec: {template: {spec: {nodeSelector: {is: nowhere}, containers: [{name: node, image: work}]}}}
`, ns)))
}

// trainJob is one that uses the runtime of its namespace.
func trainJob(t *testing.T, ns, name string, suspend bool) *unstructured.Unstructured {
	t.Helper()
	return object(t, fmt.Sprintf(`
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata: {namespace: %s, name: %s}
spec: {runtimeRef: {kind: TrainingRuntime, name: runtime}, suspend: %t}
`, ns, name, suspend))
}

// awaitSuspended waits until exactly these Jobs are in a namespace, by their
// names, and each is suspended or not.
func awaitSuspended(t *testing.T, c *env.Cluster, ns string, want map[string]bool) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		var list batchv1.JobList
		if err := c.Client.List(ctx, &list, client.InNamespace(ns)); err != nil {
			return err
		}
		got := map[string]bool{}
		for _, j := range list.Items {
			got[j.Name] = isSuspended(j)
		}
		if !maps.Equal(got, want) {
			return fmt.Errorf("Jobs, and whether they are suspended: %v, want %v", got, want)
		}
		return nil
	})
}

func isSuspended(j batchv1.Job) bool { return j.Spec.Suspend != nil && *j.Spec.Suspend }

// quota gives a cluster with Kueue a ClusterQueue "all" that any namespace may use.
func quota(t *testing.T, c *env.Cluster) {
	t.Helper()
	create(t, c, object(t, `
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: any}
`), object(t, `
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: all}
spec:
  namespaceSelector: {}
  resourceGroups:
  - {coveredResources: [cpu], flavors: [{name: any, resources: [{name: cpu, nominalQuota: 100}]}]}
`))
}

// localQueue gives a namespace a queue, and returns when Kueue would admit work
// from there.
func localQueue(t *testing.T, c *env.Cluster, ns, name string) {
	t.Helper()
	o := object(t, fmt.Sprintf(`
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {namespace: %s, name: %s}
spec: {clusterQueue: all}
`, ns, name))
	create(t, c, o)
	awaitObject(t, c, o, func() error { return isTrue(o, "Active") })
}

// isTrue fails if a condition of an object is not true.
func isTrue(o *unstructured.Unstructured, condition string) error {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions") // none is not true
	met := func(c any) bool {
		fields, _ := c.(map[string]any)
		return fields["type"] == condition && fields["status"] == "True"
	}
	if !slices.ContainsFunc(conditions, met) {
		return fmt.Errorf("%s is not %s: %v", o.GetName(), condition, conditions)
	}
	return nil
}

// workload returns Kueue's record of an object, or nil.
func workload(ctx context.Context, c *env.Cluster, of client.Object) (*unstructured.Unstructured, error) {
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("kueue.x-k8s.io/v1beta2")
	list.SetKind("WorkloadList")
	if err := c.Client.List(ctx, list, client.InNamespace(of.GetNamespace())); err != nil {
		return nil, err
	}
	for _, w := range list.Items {
		for _, owner := range w.GetOwnerReferences() {
			if owner.UID == of.GetUID() {
				return &w, nil
			}
		}
	}
	return nil, nil
}

// awaitWorkload waits until Kueue has a record of an object, and check has nothing
// to say on the record.
func awaitWorkload(t *testing.T, c *env.Cluster, of client.Object, check func(*unstructured.Unstructured) error) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		w, err := workload(ctx, c, of)
		if err != nil {
			return err
		}
		if w == nil {
			return fmt.Errorf("Kueue has no Workload for %s", of.GetName())
		}
		return check(w)
	})
}
