package e2e

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/test/env"
)

const rayJob = `
apiVersion: ray.io/v1
kind: RayJob
metadata: {name: work}
spec:
  suspend: true
  shutdownAfterJobFinishes: true
  entrypoint: work
  rayClusterSpec:
    headGroupSpec:
      rayStartParams: {}
      template: {spec: {containers: [{name: head, image: work}]}}
    workerGroupSpecs:
    - groupName: workers
      replicas: 2
      minReplicas: 0
      maxReplicas: 2
      rayStartParams: {}
      template: {spec: {containers: [{name: worker, image: work}]}}
`

func TestKubeRayMakesNoClusterOfASuspendedRayJob(t *testing.T) {
	t.Parallel()
	c := env.Start(t)
	c.KubeRay(t)
	ns := namespace(t, c)
	job := objectIn(t, ns, rayJob)
	create(t, c, job)
	awaitSeen(t, c, job, "Suspended", "status", "jobDeploymentStatus")
	expectNoPods(t, c, ns)
	open(t, c, job, `{"spec":{"suspend":false}}`)
	clusters := &unstructured.UnstructuredList{}
	clusters.SetAPIVersion("ray.io/v1")
	clusters.SetKind("RayClusterList")
	env.Eventually(t, patience, func(ctx context.Context) error {
		if err := c.Client.List(ctx, clusters, client.InNamespace(ns)); err != nil {
			return err
		}
		if len(clusters.Items) != 1 {
			return fmt.Errorf("there are %d RayClusters, want 1", len(clusters.Items))
		}
		return nil
	})
	awaitPodCount(t, c, ns, 3)
}

// TestKubeRayFailsARayJobThatMayNotBeSuspended shows what becomes of a RayJob that is suspended against KubeRay's rules:
// it is accepted, and then fails for good.
func TestKubeRayFailsARayJobThatMayNotBeSuspended(t *testing.T) {
	t.Parallel()
	c := env.Start(t)
	c.KubeRay(t)
	ns := namespace(t, c)
	job := objectIn(t, ns, rayJob)
	unstructured.RemoveNestedField(job.Object, "spec", "shutdownAfterJobFinishes")
	create(t, c, job)
	awaitSeen(t, c, job, "ValidationFailed", "status", "jobDeploymentStatus")
}
