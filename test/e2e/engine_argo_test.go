package e2e

import (
	"testing"

	"github.com/gridlatch/gridlatch/test/env"
)

const workflow = `
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: work}
spec:
  suspend: true
  entrypoint: main
  templates:
  - name: main
    container: {name: main, image: work, command: [work]}
`

func TestArgoMakesNoPodsOfASuspendedWorkflow(t *testing.T) {
	t.Parallel()
	c := env.Start(t)
	c.Argo(t)
	ns := namespace(t, c)
	w := objectIn(t, ns, workflow)
	create(t, c, w)
	awaitSeen(t, c, w, "Running", "status", "phase")
	expectNoPods(t, c, ns)
	open(t, c, w, `{"spec":{"suspend":null}}`)
	awaitPodCount(t, c, ns, 1)
}
