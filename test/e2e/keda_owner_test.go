package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	pausedReplicas = "autoscaling.keda.sh/paused-replicas"
	paused         = "autoscaling.keda.sh/paused"
)

// awaitUnowned waits until the field manager Gridlatch owns nothing of an object.
func awaitUnowned(t *testing.T, s *site, o *unstructured.Unstructured) {
	t.Helper()
	awaitObject(t, s.cluster, o, func() error {
		for _, e := range o.GetManagedFields() {
			if e.Manager == override.Manager {
				return fmt.Errorf("%s owns %s", e.Manager, e.FieldsV1)
			}
		}
		return nil
	})
}

// owns reports whether a field manager owns a field, which is given as in the
// managed fields.
func owns(o *unstructured.Unstructured, manager, field string) bool {
	return slices.ContainsFunc(o.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == manager && e.FieldsV1 != nil && strings.Contains(e.FieldsV1.GetRawString(), `"`+field+`"`)
	})
}

// repauses has the owner pause an object otherwise than Gridlatch does.
func repauses(t *testing.T, s *site) {
	o := s.follower(t, 100, 10, 200, 10, 1000, 0)
	s.intensity(t, 500)
	awaitObject(t, s.cluster, o, wantAnnotation(o, pausedReplicas, "0"))
	awaitReplicas(t, s, o, 0)
	amend(t, s.cluster, o, annotate(pausedReplicas, "3"))
	awaitReplicas(t, s, o, 3)
	stays(t, s.cluster, o, 3*time.Second, wantAnnotation(o, pausedReplicas, "3"))
	s.intensity(t, 100)
	awaitObject(t, s.cluster, o, wantAnnotation(o, v1alpha1.CeilingAnnotation, "10"))
	stays(t, s.cluster, o, 2*time.Second, wantAnnotation(o, pausedReplicas, "3"))
	awaitReplicas(t, s, o, 3)
	amend(t, s.cluster, o, annotate(pausedReplicas, "")) // nothing else pauses it
	awaitCeiling(t, s.cluster, o, 10)
}

// closesADirection has the owner close one direction before the grid is dirty.
func closesADirection(t *testing.T, s *site) {
	o := s.follower(t, 100, 10, 200, 10, 1000, 0)
	for _, key := range []string{"autoscaling.keda.sh/paused-scale-in", "autoscaling.keda.sh/paused-scale-out"} {
		amend(t, s.cluster, o, annotate(key, "true"))
		s.intensity(t, 500)
		awaitObject(t, s.cluster, o, func() error {
			if reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.Contains(reason, key) {
				return fmt.Errorf("reason %q, want one that names %s", reason, key)
			}
			return nil
		})
		if value, ok := o.GetAnnotations()[pausedReplicas]; ok || maxReplicas(o) != 10 {
			t.Errorf("with %s: paused at %q, maxReplicaCount %d", key, value, maxReplicas(o))
		}
		amend(t, s.cluster, o, annotate(key, ""))
		awaitObject(t, s.cluster, o, wantAnnotation(o, pausedReplicas, "0"))
		s.intensity(t, 100)
		awaitCeiling(t, s.cluster, o, 10)
	}
}

// saysNotPaused has an owner whose annotation says, in several ways, that their
// object is not paused.
func saysNotPaused(t *testing.T, s *site) {
	s.policy(t, 200, 10, 1000, 0)
	s.intensity(t, 500)
	for i, value := range []string{"False", "0", "f"} {
		name := fmt.Sprint("web-", i)
		o := env.ScaledObject(s.name, name, 3, 50)
		o.SetAnnotations(map[string]string{v1alpha1.PolicyAnnotation: s.name, paused: value})
		create(t, s.cluster, env.Deployment(s.name, name), o)
		awaitObject(t, s.cluster, o, wantAnnotation(o, pausedReplicas, "0"))
		awaitReplicas(t, s, o, 0)
		if got := o.GetAnnotations()[paused]; got != value {
			t.Errorf("%s is %q, want the owner's %q", paused, got, value)
		}
	}
	job := env.ScaledJob(s.name, "batch", 0, 10, true)
	job.SetAnnotations(map[string]string{v1alpha1.PolicyAnnotation: s.name, paused: "False"})
	create(t, s.cluster, job)
	awaitObject(t, s.cluster, job, wantAnnotation(job, paused, "true"))
	s.intensity(t, 100)
	awaitObject(t, s.cluster, job, wantAnnotation(job, paused, "False"))
}

// appliesWhatTheCeilingIs has the owner set maxReplicaCount to the ceiling: with
// kubectl apply, which leaves a value alone that is there already, and on the
// server's side.
func appliesWhatTheCeilingIs(t *testing.T, s *site) {
	s.policy(t, 200, 20, 1000, 5)
	for name, how := range map[string][]string{
		"applied": {"apply", "-f", "-"}, "server-side": {"apply", "--server-side", "--force-conflicts", "-f", "-"},
	} {
		s.intensity(t, 500)
		manifest := func(most int64) string {
			o := env.ScaledObject(s.name, name, 3, most)
			o.SetAnnotations(map[string]string{v1alpha1.PolicyAnnotation: s.name})
			text, err := o.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		apply := func(most int64) {
			t.Helper()
			if _, err := s.cluster.KubectlInput(t.Context(), manifest(most), how...); err != nil {
				t.Fatal(err)
			}
		}
		create(t, s.cluster, env.Deployment(s.name, name))
		o := env.ScaledObject(s.name, name, 3, 20)
		apply(20)
		awaitMax(t, s.cluster, o, 5)
		time.Sleep(time.Second) // the API server notes seconds
		apply(5)
		awaitObject(t, s.cluster, o, wantAnnotation(o, v1alpha1.OriginalMaxReplicaCountAnnotation, "5"))
		s.intensity(t, 100)
		awaitObject(t, s.cluster, o, func() error {
			if reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.Contains(reason, "<=200") {
				return fmt.Errorf("reason %q, want the clean bucket", reason)
			}
			return nil
		})
		stays(t, s.cluster, o, 2*time.Second, func() error {
			if got := maxReplicas(o); got != 5 {
				return fmt.Errorf("%s: maxReplicaCount is %d, want the owner's 5", name, got)
			}
			return nil
		})
		amend(t, s.cluster, o, annotate(v1alpha1.PolicyAnnotation, ""))
		awaitUntouched(t, s.cluster, o)
		awaitUnowned(t, s, o)
		if got := maxReplicas(o); got != 5 {
			t.Errorf("%s: restored %d, want the owner's 5", name, got)
		}
	}
}

// ownsNothingOfWhatIsGivenBack has an object whose manifest is in git, and is
// applied on the server's side but for what Gridlatch owns, as with the settings
// for Argo CD that the README has.
func ownsNothingOfWhatIsGivenBack(t *testing.T, s *site) {
	s.policy(t, 200, 60, 1000, 5)
	s.intensity(t, 500)
	o := s.scaledObject(t, "web", 3, 50, map[string]string{v1alpha1.PolicyAnnotation: s.name})
	awaitMax(t, s.cluster, o, 5)
	if !owns(o, override.Manager, "f:maxReplicaCount") {
		t.Errorf("the ceiling is not ours, by the managed fields: %v", o.GetManagedFields())
	}
	// as much as the owner has is the owner's
	s.intensity(t, 100)
	awaitObject(t, s.cluster, o, func() error {
		if maxReplicas(o) != 50 || owns(o, override.Manager, "f:maxReplicaCount") {
			return fmt.Errorf("maxReplicaCount is %d; managed: %v", maxReplicas(o), o.GetManagedFields())
		}
		return nil
	})
	git := func(most int) {
		t.Helper()
		patch := fmt.Appendf(nil, `{"apiVersion":"keda.sh/v1alpha1","kind":"ScaledObject","metadata":{"name":"web"},"spec":{"maxReplicaCount":%d}}`, most)
		err := s.cluster.Client.Patch(t.Context(), o.DeepCopy(), client.RawPatch(types.ApplyPatchType, patch), client.FieldOwner("argocd-controller"))
		if err != nil { // without force: a field of somebody else's would be a conflict
			t.Fatal(err)
		}
	}
	git(30)
	awaitCeiling(t, s.cluster, o, 30)
	s.intensity(t, 500)
	awaitMax(t, s.cluster, o, 5)
	// the ceiling goes, and with it all that is ours
	amend(t, s.cluster, o, annotate(v1alpha1.PolicyAnnotation, ""))
	awaitMax(t, s.cluster, o, 30)
	awaitUntouched(t, s.cluster, o)
	awaitUnowned(t, s, o)
	git(40)
	awaitMax(t, s.cluster, o, 40)

	amend(t, s.cluster, o, annotate(v1alpha1.PolicyAnnotation, s.name))
	s.policyCeiling(t, 0)
	awaitObject(t, s.cluster, o, wantAnnotation(o, pausedReplicas, "0"))
	amend(t, s.cluster, o, annotate(v1alpha1.PolicyAnnotation, ""))
	awaitUntouched(t, s.cluster, o)
	awaitUnowned(t, s, o)
}

// lowersInSteps lowers a ceiling by three replicas at a time.
func lowersInSteps(t *testing.T, s *site) {
	s.policy(t, 200, 10, 1000, 2)
	s.intensity(t, 100)
	o := s.scaledObject(t, "web", 3, 10, map[string]string{v1alpha1.PolicyAnnotation: s.name, v1alpha1.LowerByAnnotation: "3"})
	awaitObject(t, s.cluster, o, wantAnnotation(o, v1alpha1.CeilingAnnotation, "10"))
	s.intensity(t, 500)
	var steps []int64
	awaitObject(t, s.cluster, o, func() error {
		if n := maxReplicas(o); len(steps) == 0 || steps[len(steps)-1] != n {
			steps = append(steps, n)
		}
		if maxReplicas(o) != 2 {
			return fmt.Errorf("maxReplicaCount was %d", steps)
		}
		return nil
	})
	if steps[0] == 10 {
		steps = steps[1:]
	}
	if !slices.Equal(steps, []int64{7, 4, 2}) {
		t.Errorf("maxReplicaCount was %d, want 7, 4, 2", steps)
	}
	s.intensity(t, 100)
	awaitMax(t, s.cluster, o, 10)
}

// policyCeiling replaces the ceiling of the dirtiest bucket.
func (s *site) policyCeiling(t *testing.T, most int) {
	t.Helper()
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/buckets/1/ceiling","value":%d}]`, most)
	if _, err := s.cluster.Kubectl(t.Context(), "patch", "carbonpolicy", s.name, "--type=json", "-p", patch); err != nil {
		t.Fatal(err)
	}
}
