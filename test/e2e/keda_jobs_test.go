package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ceiling"
	"github.com/gridlatch/gridlatch/test/env"
)

// killed is how long KEDA would need to delete Jobs, and more.
const killed = 3 * time.Second

func letsJobsGoOn(t *testing.T, s *site) {
	s.policy(t, 200, 8, 400, 2, 1000, 0)
	s.intensity(t, 100)
	o := env.ScaledJob(s.name, "batch", 3, 10, true)
	o.SetAnnotations(map[string]string{v1alpha1.PolicyAnnotation: s.name})
	create(t, s.cluster, o)
	awaitMax(t, s.cluster, o, 8)
	jobs := awaitScaled(t, s.cluster, o, 3)
	s.intensity(t, 300)
	awaitMax(t, s.cluster, o, 2)
	expectJobs(t, s.cluster, o, jobs)
	s.intensity(t, 100)
	awaitMax(t, s.cluster, o, 8)
	s.intensity(t, 500)
	awaitObject(t, s.cluster, o, wantAnnotation(o, "autoscaling.keda.sh/paused", "true"))
	expectJobs(t, s.cluster, o, jobs)
}

func waitsForJobs(t *testing.T, s *site) {
	s.policy(t, 200, 8, 1000, 2)
	s.intensity(t, 100)
	o := env.ScaledJob(s.name, "batch", 2, 10, false)
	create(t, s.cluster, o)
	jobs := awaitScaled(t, s.cluster, o, 2)
	amend(t, s.cluster, o, annotate(v1alpha1.PolicyAnnotation, s.name))
	awaitObject(t, s.cluster, o, func() error {
		if reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.Contains(reason, "rollout.strategy") {
			return fmt.Errorf("reason %q, want one that says what to set", reason)
		}
		return nil
	})
	awaitWarning(t, s, o, ceiling.EventWaits, "rollout.strategy")
	expectJobs(t, s.cluster, o, jobs)
	if got := maxReplicas(o); got != 10 {
		t.Errorf("maxReplicaCount is %d while Jobs run that this would kill", got)
	}
	// its owner stops it, and its Jobs end
	amend(t, s.cluster, o, annotate("autoscaling.keda.sh/paused", "true"))
	if err := s.cluster.Client.DeleteAllOf(t.Context(), &batchv1.Job{}, client.InNamespace(s.name), client.PropagationPolicy("Background")); err != nil {
		t.Fatal(err)
	}
	awaitMax(t, s.cluster, o, 8)
	amend(t, s.cluster, o, annotate("autoscaling.keda.sh/paused", ""))
	awaitScaled(t, s.cluster, o, 2)
}
