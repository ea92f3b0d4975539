package e2e

import (
	"context"
	"fmt"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/test/env"
)

const (
	resumed   = `{"spec":{"suspend":false}}`
	suspended = `{"spec":{"suspend":true}}`
)

// TestJobSetAndTrainerDoWhatWeRelyOn has no Gridlatch on its cluster.
func TestJobSetAndTrainerDoWhatWeRelyOn(t *testing.T) {
	t.Parallel()
	c := env.Start(t, env.Nodes(2))
	c.JobSet(t)
	c.Trainer(t)
	for name, check := range map[string]func(*testing.T, *env.Cluster, string){
		"a suspended JobSet has suspended Jobs, which it resumes":                      jobSetResumes,
		"a JobSet resumes a Job of its own that somebody else suspends":                jobSetSyncs,
		"of a JobSet in order, the second Job comes after the first, unless suspended": jobSetStartsInOrder,
		"a Job that is made again says so in a label, as its pods do":                  jobSetRestarts,
		"a suspended TrainJob has a suspended JobSet, which it resumes":                trainJobResumes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, c, namespace(t, c))
		})
	}
}

func jobSetResumes(t *testing.T, c *env.Cluster, ns string) {
	set := jobSet(t, ns, "set", "suspend: true")
	create(t, c, set)
	awaitSuspended(t, c, ns, map[string]bool{"set-first-0": true, "set-second-0": true})
	amend(t, c, set, resumed)
	awaitSuspended(t, c, ns, map[string]bool{"set-first-0": false, "set-second-0": false})
}

func jobSetSyncs(t *testing.T, c *env.Cluster, ns string) {
	create(t, c, jobSet(t, ns, "set", ""))
	awaitSuspended(t, c, ns, map[string]bool{"set-first-0": false, "set-second-0": false})
	first := job(ns, "set-first-0", nil, 1)
	amend(t, c, first, suspended)
	if !isSuspended(*first) {
		t.Fatal("the Job cannot be suspended")
	}
	awaitSuspended(t, c, ns, map[string]bool{"set-first-0": false, "set-second-0": false})
}

func jobSetStartsInOrder(t *testing.T, c *env.Cluster, ns string) {
	set := jobSet(t, ns, "set", "startupPolicy: {startupPolicyOrder: InOrder}")
	create(t, c, set)
	awaitSuspended(t, c, ns, map[string]bool{"set-first-0": false})
	amend(t, c, set, suspended)
	awaitSuspended(t, c, ns, map[string]bool{"set-first-0": true, "set-second-0": true})
	amend(t, c, set, resumed)
	awaitSuspended(t, c, ns, map[string]bool{"set-first-0": false, "set-second-0": true})
}

func jobSetRestarts(t *testing.T, c *env.Cluster, ns string) {
	const attempt = "jobset.sigs.k8s.io/restart-attempt"
	create(t, c, jobSet(t, ns, "set", "failurePolicy: {maxRestarts: 1}"))
	var pods corev1.PodList
	listed := func(want string) func(context.Context) error {
		return func(ctx context.Context) error {
			chosen := client.MatchingLabels{batchv1.JobNameLabel: "set-first-0", attempt: want}
			if err := c.Client.List(ctx, &pods, client.InNamespace(ns), chosen); err != nil {
				return err
			}
			if len(pods.Items) != 1 {
				return fmt.Errorf("%d pods of attempt %s", len(pods.Items), want)
			}
			return nil
		}
	}
	env.Eventually(t, patience, listed("0"))
	failed := client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Failed"}}`))
	if err := c.Client.Status().Patch(t.Context(), &pods.Items[0], failed); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, patience, listed("1"))
	first := job(ns, "set-first-0", nil, 1)
	awaitObject(t, c, first, func() error {
		if got := first.Labels[attempt]; got != "1" {
			return fmt.Errorf("the Job is of attempt %q", got)
		}
		return nil
	})
}

func trainJobResumes(t *testing.T, c *env.Cluster, ns string) {
	trainingRuntime(t, c, ns)
	train := trainJob(t, ns, "train", true)
	create(t, c, train)
	awaitSuspended(t, c, ns, map[string]bool{"train-node-0": true})
	amend(t, c, train, resumed)
	awaitSuspended(t, c, ns, map[string]bool{"train-node-0": false})
}
