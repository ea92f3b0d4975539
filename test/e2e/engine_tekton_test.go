package e2e

import (
	"testing"

	"github.com/gridlatch/gridlatch/test/env"
)

const (
	pipelineRun = `
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: work}
spec:
  status: PipelineRunPending
  pipelineSpec:
    tasks:
    - name: first
      taskSpec: {steps: [{name: work, image: work, command: [work]}]}
    - name: second
      taskSpec: {steps: [{name: work, image: work, command: [work]}]}
`
	taskRun = `
apiVersion: tekton.dev/v1
kind: TaskRun
metadata: {name: work}
spec:
  status: TaskRunPending
  taskSpec: {steps: [{name: work, image: work, command: [work]}]}
`
)

func TestTektonMakesNoPodsOfAPendingRun(t *testing.T) {
	t.Parallel()
	c := env.Start(t)
	c.Tekton(t)
	for _, test := range []struct {
		manifest, reason string
		pods             int
	}{
		{pipelineRun, "PipelineRunPending", 2},
		{taskRun, "TaskRunPending", 1},
	} {
		ns := namespace(t, c)
		run := objectIn(t, ns, test.manifest)
		create(t, c, run)
		awaitSeen(t, c, run, test.reason)
		expectNoPods(t, c, ns)
		open(t, c, run, `{"spec":{"status":null}}`)
		awaitPodCount(t, c, ns, test.pods)
	}
}
