package e2e

import (
	"testing"

	"github.com/gridlatch/gridlatch/test/env"
)

const mpiJob = `
apiVersion: kubeflow.org/v2beta1
kind: MPIJob
metadata: {name: work}
spec:
  runPolicy: {suspend: true}
  mpiReplicaSpecs:
    Launcher:
      replicas: 1
      template: {spec: {containers: [{name: launcher, image: work}]}}
    Worker:
      replicas: 2
      template: {spec: {containers: [{name: worker, image: work}]}}
`

func TestMPIMakesNoPodsOfASuspendedJob(t *testing.T) {
	t.Parallel()
	c := env.Start(t)
	c.MPI(t)
	ns := namespace(t, c)
	job := objectIn(t, ns, mpiJob)
	create(t, c, job)
	awaitSeen(t, c, job, "MPIJobSuspended")
	expectNoPods(t, c, ns)
	open(t, c, job, `{"spec":{"runPolicy":{"suspend":false}}}`)
	awaitPodCount(t, c, ns, 3)
}
