package e2e

import (
	"testing"

	"github.com/gridlatch/gridlatch/test/env"
)

const sparkApplication = `
apiVersion: sparkoperator.k8s.io/v1beta2
kind: SparkApplication
metadata: {name: work}
spec:
  suspend: true
  type: Scala
  mode: cluster
  image: spark
  mainClass: Work
  mainApplicationFile: local:///work.jar
  sparkVersion: 4.0.0
  restartPolicy: {type: Never}
  driver: {cores: 1, memory: 512m}
  executor: {instances: 2, cores: 1, memory: 512m}
`

func TestSparkSubmitsNoSuspendedApplication(t *testing.T) {
	t.Parallel()
	c := env.Start(t)
	c.Spark(t)
	ns := namespace(t, c)
	application := objectIn(t, ns, sparkApplication)
	create(t, c, application)
	awaitSeen(t, c, application, "SUSPENDED", "status", "applicationState", "state")
	expectNoPods(t, c, ns)
	open(t, c, application, `{"spec":{"suspend":null}}`)
	driver := awaitPodCount(t, c, ns, 1)[0]
	if owner := driver.OwnerReferences; len(owner) != 1 || owner[0].Kind != "SparkApplication" {
		t.Errorf("the driver's owners are %v", owner)
	}
}
